"""S4 with a real embedding provider: a multilingual model behind OpenAI's protocol, and a network that fails."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from s4.domains.documents import DocumentStatus
from s4.platform.jobs.models import jobs
from tests.factories import calls
from tests.factories.deployment import FAST, Deployment, running
from tests.factories.house import open_house
from tests.factories.provider import CountingProvider, counting_provider, proxy_in_thread
from tests.fault_proxy import Fault, FaultProxy, Mode

pytestmark = pytest.mark.processes

START_SECONDS_MAX = 60
TEXTS = {
    "cats": "The kitten slept on the sofa all afternoon.",
    "money": "The central bank raised interest rates again this quarter.",
    "bread": "Knead the dough, let it rise for an hour, then bake it in a hot oven.",
}


@pytest.fixture(scope="module")
def network(real_model: str) -> Iterator[FaultProxy]:
    with proxy_in_thread(real_model) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, network: FaultProxy) -> Iterator[Deployment]:
    settings = FAST | {
        "S4_EMBEDDING_PROVIDER": "openai",
        "S4_EMBEDDING_MODEL": "e5-small",
        "S4_EMBEDDING_BASE_URL": f"{network.endpoint}/v1",
        "S4_EMBEDDING_RETRIES_MAX": "1",
        "S4_EMBEDDING_PROBE_SECONDS_MAX": "0.5",
        "S4_JOB_BACKOFF_SECONDS": "0.2",
        "S4_JOB_BACKOFF_MAX_SECONDS": "1",
        # A job's share of errors: waiting for the provider must not use it up.
        "S4_JOB_ATTEMPTS_MAX": "2",
    }
    with running(tmp_path_factory.mktemp("provider"), **settings) as started:
        yield started


@pytest.fixture
def tenant(deployment: Deployment, network: FaultProxy) -> Iterator[httpx.Client]:
    with deployment.new_tenant() as client:
        yield client
    network.heal()


@pytest.fixture
def library(tenant: httpx.Client) -> dict[str, str]:
    """Ids of three documents, ready."""
    ids = {key: calls.stored(calls.put(tenant, key, text))["document_id"] for key, text in TEXTS.items()}
    for document in calls.wait_all(tenant, ids.values()).values():
        assert document["status"] == "ready"
    return ids


def test_a_real_model_finds_by_meaning(tenant: httpx.Client, library: dict[str, str]) -> None:
    for query, key in {
        "a cat is napping": "cats",
        "die Zinsen der Notenbank steigen": "money",
        "how to make a loaf": "bread",
    }.items():
        answer = calls.search(tenant, query, mode="semantic")
        assert answer["results"][0]["document_id"] == library[key], query
        assert answer["degraded"] is False


@pytest.mark.parametrize("fault", [Mode.RESET, Mode.UNAVAILABLE])
def test_without_the_provider_hybrid_answers_from_keywords_and_says_so(
    tenant: httpx.Client, library: dict[str, str], network: FaultProxy, fault: Mode
) -> None:
    network.add(Fault(fault))
    answer = calls.search(tenant, "interest rates", mode="hybrid")
    assert answer["degraded"] is True
    assert [result["document_id"] for result in answer["results"]] == [library["money"]]
    network.heal()
    assert calls.search(tenant, "interest rates", mode="hybrid")["degraded"] is False


def test_without_the_provider_a_semantic_search_says_when_to_come_again(
    tenant: httpx.Client, library: dict[str, str], network: FaultProxy
) -> None:
    network.add(Fault(Mode.RESET))
    answer = tenant.post("/search", json={"query": "a cat is napping", "mode": "semantic"})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "service_unavailable"
    assert int(answer.headers["Retry-After"]) >= 1
    assert calls.found(tenant, "kitten") == [library["cats"]], "keywords need no provider"


def test_uploads_are_taken_while_the_provider_is_down_and_become_ready_after(
    tenant: httpx.Client, library: dict[str, str], network: FaultProxy
) -> None:
    # With the library a worker is up: what follows are attempts of a job, not of a worker that starts.
    down = network.add(Fault(Mode.RESET))
    answer = calls.put(tenant, "patient", "A text that has to wait for its vector.")
    assert answer.status_code == 201
    document_id = answer.json()["document_id"]
    give_up_at = time.monotonic() + START_SECONDS_MAX
    # Each attempt of the job asks twice: far more than the attempts that an error of its own would get.
    while down.hits < 12:
        assert calls.detail(tenant, document_id)["status"] == "processing"
        assert time.monotonic() < give_up_at, f"asked only {down.hits} times"
        time.sleep(0.05)
    network.heal()
    assert calls.wait(tenant, document_id)["status"] == "ready"
    assert calls.found(tenant, "vector") == [document_id]


@pytest.fixture
def throttled() -> Iterator[CountingProvider]:
    with counting_provider() as provider:
        yield provider


async def test_a_short_retry_after_is_waited_for(tmp_path: Path, throttled: CountingProvider) -> None:
    async with open_house(tmp_path, **throttled.flags) as house:
        acme = await house.tenant()
        document = await house.put(acme, "k", "text")
        throttled.throttle(times=1, retry_after_seconds=2)
        await house.work()
        assert (await house.get(acme, document.document_id)).status is DocumentStatus.READY
        refused, taken = throttled.asked_at
        assert taken - refused >= 2


async def test_a_long_retry_after_sends_the_job_to_bed_for_so_long(tmp_path: Path, throttled: CountingProvider) -> None:
    async with open_house(tmp_path, **throttled.flags) as house:
        acme = await house.tenant()
        document = await house.put(acme, "k", "text")
        throttled.throttle(times=1, retry_after_seconds=600)
        await house.work()
        assert len(throttled.asked_at) == 1
        assert (await house.get(acme, document.document_id)).status is DocumentStatus.PROCESSING
        async with house.core.database.read() as connection:
            (job,) = (await connection.execute(sa.select(jobs).where(jobs.c.subject == document.document_id))).all()
        assert job.state == "ready"
        assert job.run_at - datetime.now(UTC) > timedelta(seconds=500)
