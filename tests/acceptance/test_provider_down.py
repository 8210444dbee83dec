"""S4 without its provider: it starts, takes uploads, leaves the provider alone, and goes on where it was."""

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from s4.domains.documents import DocumentStatus
from s4.platform.jobs.models import jobs
from tests.acceptance.test_provider_misbehaves import SENTENCES, SETTINGS, TEXT
from tests.factories import calls
from tests.factories.deployment import ADMIN_KEY, Deployment
from tests.factories.house import open_house
from tests.factories.provider import CountingProvider, asked_for, counting_provider, paid, proxy_in_thread, spoilt
from tests.fault_proxy import Fault, FaultProxy, Mode, fault_proxy
from tests.servers import S3Server

pytestmark = pytest.mark.processes

WAIT_MAX = timedelta(seconds=60)


@pytest.fixture
def provider() -> Iterator[CountingProvider]:
    with counting_provider() as started:
        yield started


@pytest.fixture
def network(provider: CountingProvider) -> Iterator[FaultProxy]:
    with proxy_in_thread(provider.base_url.removesuffix("/v1"), remembered={}) as proxy:
        yield proxy


@contextlib.contextmanager
def deployed(data_dir: Path, network: FaultProxy) -> Iterator[Deployment]:
    """Not started yet. The provider's dimension is nowhere configured."""
    environment = {
        "S4_ADMIN_API_KEY": ADMIN_KEY,
        "S4_EMBEDDING_PROVIDER": "openai",
        "S4_EMBEDDING_MODEL": "hashed-words",
        "S4_EMBEDDING_BASE_URL": f"{network.endpoint}/v1",
        "S4_EMBEDDING_PROBE_SECONDS_MAX": "0.5",
        "S4_CHUNK_TOKENS_MAX": "16",
        "S4_CHUNK_OVERLAP_TOKENS": "0",
        "S4_JOB_POLL_SECONDS": "0.05",
        "S4_JOB_LEASE_SECONDS": "2",
    }
    deployment = Deployment(data_dir, environment)
    try:
        yield deployment
    finally:
        deployment.kill()


def until(what: str, true: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + WAIT_MAX.total_seconds()
    while not true():
        assert time.monotonic() < give_up_at, what
        time.sleep(0.02)


def health(deployment: Deployment) -> tuple[int, str]:
    answer = httpx.get(f"{deployment.url}/health/ready", timeout=30)
    return answer.status_code, answer.json()["dependencies"]["embedding"]


@pytest.mark.slow
def test_s4_starts_and_serves_while_its_provider_is_down(tmp_path: Path, network: FaultProxy) -> None:
    with deployed(tmp_path, network) as deployment:
        down = network.add(Fault(Mode.RESET))
        deployment.start()
        assert health(deployment) == (200, "degraded"), "the first start ever: nobody knows the model's dimension"
        with deployment.new_tenant() as tenant:
            key = tenant.headers["X-Tenant-Key"]
            first = calls.stored(calls.put(tenant, "first", "the first word of all"))["document_id"]
            assert calls.search(tenant, "word")["results"] == []
            assert calls.search(tenant, "word", mode="hybrid")["degraded"] is True
            assert tenant.post("/search", json={"query": "word", "mode": "semantic"}).status_code == 503
            nonsense = {"query": "word", "mode": "semantic", "filters": {"field": "year", "op": "like", "value": 1}}
            assert tenant.post("/search", json=nonsense).status_code == 400, "no provider is asked for that"
            until("the worker waits and says so", lambda: deployment.events("worker.waiting"))
            assert deployment.events("worker.died") == []
            assert calls.detail(tenant, first)["status"] == "processing"
            network.heal()
            assert calls.wait(tenant, first)["status"] == "ready"
            until("the API notices too", lambda: health(deployment) == (200, "ok"))
            assert calls.search(tenant, "word", mode="hybrid")["degraded"] is False
        assert deployment.stop() == 0

        down = network.add(Fault(Mode.RESET))
        deployment.start()
        assert health(deployment) == (200, "degraded")
        with deployment.tenant(key) as tenant:
            assert calls.found(tenant, "word") == [first], "the dimension is remembered, so the index is known"
            assert calls.search(tenant, "word", mode="hybrid")["degraded"] is True
            second = calls.stored(calls.put(tenant, "second", "a second word"))["document_id"]
            asked = down.hits
            until("the provider is asked again by itself", lambda: down.hits > asked)
            network.heal()
            assert calls.wait(tenant, second)["status"] == "ready"
        assert deployment.stop() == 0


@pytest.mark.slow
def test_s4_starts_and_uses_no_other_model_under_the_same_name_until_the_known_one_is_back(
    tmp_path: Path, provider: CountingProvider, network: FaultProxy
) -> None:
    with deployed(tmp_path, network) as deployment:
        deployment.start()
        with deployment.new_tenant() as tenant:
            key = tenant.headers["X-Tenant-Key"]
            first = calls.stored(calls.put(tenant, "first", "the first word of all"))["document_id"]
            assert calls.wait(tenant, first)["status"] == "ready"
        assert deployment.stop() == 0
        provider.dimension //= 2
        assert network.remembered is not None
        network.remembered.clear()
        deployment.start()
        assert health(deployment) == (200, "degraded")
        said = httpx.get(f"{deployment.url}/health/ready", timeout=30).json()
        assert said["reasons"] == {"embedding": "embedding_model_changed"}
        (told,) = [each for each in deployment.events("embedding.unavailable_at_start") if each["service"] == "api"]
        assert "it is another model" in told["details"]["error"]
        until("the worker is there", lambda: deployment.events("worker.started"))
        with deployment.tenant(key) as tenant:
            second = calls.stored(calls.put(tenant, "second", "a second word"))["document_id"]
            assert calls.found(tenant, "word") == [first]
            until("both have asked again", lambda: len(deployment.events("embedding.provider_not_well")) >= 4)
            assert calls.detail(tenant, second)["status"] == "processing"
            provider.dimension *= 2
            network.remembered.clear()
            assert calls.wait(tenant, second)["status"] == "ready"
        until("the API notices too", lambda: health(deployment) == (200, "ok"))
        assert deployment.events("worker.died") == []
        assert deployment.stop() == 0


@pytest.mark.long
def test_after_kill_9_work_resumes_from_the_last_group_that_was_stored(tmp_path: Path, network: FaultProxy) -> None:
    with deployed(tmp_path, network) as deployment:
        deployment.start()
        with deployment.new_tenant() as tenant:
            key = tenant.headers["X-Tenant-Key"]
            calls.wait(tenant, calls.stored(calls.put(tenant, "warm", "a worker is up"))["document_id"])
            network.requests.clear()
            # Two groups are answered. Of the other four each is asked for, answered, and the answer never comes.
            hung = network.add(Fault(Mode.HANG_REPLY, path="/embeddings", skip=2))
            document_id = calls.stored(calls.put(tenant, "report", TEXT))["document_id"]
            until("four groups are in flight", lambda: hung.hits == 4)
            deployment.kill()
        network.heal()
        in_flight = spoilt(network.requests)
        deployment.start()
        with deployment.tenant(key) as tenant:
            assert calls.wait(tenant, document_id)["status"] == "ready"
            assert calls.detail(tenant, document_id)["chunks"] == len(SENTENCES)
        assert paid(network.requests) == Counter(SENTENCES) + in_flight
        assert 0 < len(in_flight) < len(SENTENCES)


async def test_what_was_answered_and_could_not_be_stored_is_not_paid_again(
    tmp_path: Path, provider: CountingProvider, s3_server: S3Server, s3_shared_bucket: str
) -> None:
    async with fault_proxy(s3_server.endpoint) as network:
        settings = SETTINGS | {
            "store_url": f"s3://{s3_shared_bucket}/{secrets.token_hex(8)}",
            "store_endpoint": network.endpoint,
            "store_access_key_id": s3_server.access_key,
            "store_secret_access_key": s3_server.secret_key,
            "store_retries_max": 0,
        }
        async with open_house(tmp_path, **settings | provider.flags) as house:
            acme = await house.tenant()
            document = await house.put(acme, "report", TEXT)
            full = network.add(Fault(Mode.UNAVAILABLE, method="PUT", path="/embeddings/"))
            await house.work()
            assert full.hits > 0
            assert (await house.get(acme, document.document_id)).status is DocumentStatus.PROCESSING
            answered = list(provider.texts)
            assert answered
            network.heal()
            async with asyncio.timeout(WAIT_MAX.total_seconds()):
                while (await house.get(acme, document.document_id)).status is DocumentStatus.PROCESSING:
                    await house.work()
                    await asyncio.sleep(0.02)
            assert (await house.get(acme, document.document_id)).status is DocumentStatus.READY
            assert Counter(provider.texts) == Counter(SENTENCES)


async def test_a_provider_that_is_down_is_not_hammered_and_all_resume_when_it_is_back(
    tmp_path: Path, provider: CountingProvider
) -> None:
    async with fault_proxy(provider.base_url.removesuffix("/v1"), remembered={}) as network:
        settings = SETTINGS | provider.flags | {"embedding_base_url": f"{network.endpoint}/v1"}
        async with open_house(tmp_path, **settings) as house:
            acme = await house.tenant()
            down = network.add(Fault(Mode.RESET))
            stored = [await house.put(acme, f"{n}", f"number{n} of forty") for n in range(40)]
            running = asyncio.create_task(house.parts.worker.run())
            await asyncio.to_thread(until, "the watch has asked several times", lambda: down.hits >= 20)
            asked = asked_for(network.requests)
            assert asked.total() <= 16, "those in work when it went down, twice at most; forty documents wait"
            async with house.core.database.read() as connection:
                attempts = list((await connection.execute(sa.select(jobs.c.attempts))).scalars())
            assert sum(attempts) <= 16, "who waits loses no attempt"

            network.heal()
            for document in stored:
                ended = await house.core.documents.wait(acme.context, document.document_id, at_most=WAIT_MAX)
                assert ended.status is DocumentStatus.READY
            assert len(await house.found(acme, "forty")) == len(stored)
            await house.parts.worker.stop(within=timedelta(seconds=5))
            await running
