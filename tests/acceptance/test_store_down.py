"""S4 without its bucket: nothing is promised that cannot be kept, and the caller is told when to come again."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.factories import calls
from tests.factories.deployment import FAST, running
from tests.factories.provider import proxy_in_thread
from tests.fault_proxy import Fault, FaultProxy, Mode
from tests.servers import S3Server

pytestmark = pytest.mark.processes


@pytest.fixture
def network(s3_server: S3Server) -> Iterator[FaultProxy]:
    with proxy_in_thread(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def tenant(tmp_path: Path, s3_server: S3Server, s3_shared_bucket: str, network: FaultProxy) -> Iterator[httpx.Client]:
    environment = FAST | {
        "S4_STORE_URL": f"s3://{s3_shared_bucket}/{secrets.token_hex(8)}",
        "S4_STORE_ENDPOINT": network.endpoint,
        "S4_STORE_ACCESS_KEY_ID": s3_server.access_key,
        "S4_STORE_SECRET_ACCESS_KEY": s3_server.secret_key,
        "S4_STORE_RETRIES_MAX": "1",
    }
    with running(tmp_path, **environment) as deployment, deployment.new_tenant() as tenant:
        yield tenant


def assert_told_to_come_again(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable"), answer.text
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.slow
def test_while_the_store_is_down_changes_are_refused_with_503_and_nothing_of_them_remains(
    tenant: httpx.Client, network: FaultProxy
) -> None:
    kept = calls.stored(calls.put(tenant, "kept", "the first wording"))["document_id"]
    calls.wait(tenant, kept)
    assert calls.found(tenant, "first") == [kept]
    network.add(Fault(Mode.UNAVAILABLE))
    ready = httpx.get(tenant.base_url.copy_with(path="/health/ready"), timeout=30)
    assert ready.status_code == 200, "no balancer takes all replicas out"
    assert (ready.json()["status"], ready.json()["dependencies"]["database"]) == ("degraded", "ok")
    assert calls.found(tenant, "first") == [kept], "what is on local disk is searched on"
    assert_told_to_come_again(calls.put(tenant, "kept", "the second wording"))
    assert_told_to_come_again(calls.put(tenant, "new", "a new document"))
    assert_told_to_come_again(calls.post(tenant, "new.txt", b"a new document"))
    assert_told_to_come_again(tenant.get(f"/documents/{kept}/download"))
    assert list(calls.everything(tenant)) == [kept], "the catalog goes on answering"
    network.heal()
    assert tenant.get(f"/documents/{kept}/download").text == "the first wording"
    assert calls.stored(calls.put(tenant, "kept", "the second wording"))["document_id"] == kept
    calls.wait(tenant, kept)
    assert calls.found(tenant, "second") == [kept]
