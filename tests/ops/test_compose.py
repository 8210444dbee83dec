"""compose.yaml, run without an engine: each service's own command, settings, secrets, health check and grace, as
processes of this machine; the servers under the names and passwords that it gives them, the shipped haproxy in front.
Images and networks are Docker's. Needs root, and Debian's `haproxy`.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import psycopg
import pytest

from s4client import S4AdminClient
from tests.factories import calls
from tests.factories.compose import (
    FILE,
    HOSTS,
    balancer,
    bucket,
    composed,
    forwarded_postgres,
    made_secrets,
    redis,
    seaweedfs,
    workload,
)
from tests.factories.prometheus import await_that
from tests.factories.steady_load import steady_load
from tests.factories.workloads import START_SECONDS_MAX, Replicas, Running, Workload, addresses
from tests.servers import PostgresServer

pytestmark = [pytest.mark.ops, pytest.mark.timeout(900)]  # a set starts in seconds, and in a minute on a busy machine

HERE = {"S4_EMBEDDING_PROVIDER": "deterministic", "S4_JOB_POLL_SECONDS": "0.1"}
"""Other values than compose.yaml's: words instead of a model."""


@dataclass
class Composed:
    secrets: dict[str, str]
    url: str
    api: Replicas
    begin: Callable[[Workload], Running]

    def new_tenant(self, name: str) -> str:
        with S4AdminClient(self.url, api_key=self.secrets["admin-api-key"]) as admin:
            return admin.create_tenant(name).api_key


@pytest.fixture(scope="module")
def running(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """In the order in which its services depend on each other."""
    folder, network = tmp_path_factory.mktemp("compose"), addresses()
    known = made_secrets(folder)
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE s4 LOGIN PASSWORD '{known['postgres-password']}'".encode())
        connection.execute(b"CREATE DATABASE s4 OWNER s4")

    with contextlib.ExitStack() as stack:

        def begin(one: Workload, address: str | None = None) -> Running:
            begun = Running(one, address or next(network), folder / one.name)
            stack.callback(begun.kill)
            return begun

        def replicas(name: str) -> Replicas:
            made = Replicas(workload(name, known).settings(**HERE), folder, network)
            stack.callback(made.stop)
            made.start(composed(FILE)["services"][name]["deploy"]["replicas"])
            return made

        stack.enter_context(forwarded_postgres(postgres_server.port, folder))
        begin(redis(), HOSTS["redis"])
        begin(seaweedfs(known), HOSTS["seaweedfs"]).await_ready()
        begin(bucket()).complete()
        assert "migrated" in begin(workload("migrate", known).settings(**HERE)).complete()
        api = replicas("s4-api")
        replicas("s4-worker")
        url = stack.enter_context(balancer(lambda: [each.address for each in api.running], folder))
        await_that(
            lambda: httpx.get(f"{url}/health/ready", timeout=30).is_success,
            START_SECONDS_MAX,
            "the balancer has found who is there",
        )
        yield Composed(known, url, api, begin)


def test_a_document_becomes_ready_and_nobody_outside_reads_metrics(running: Composed) -> None:
    key = running.new_tenant("Acme")
    with httpx.Client(base_url=f"{running.url}/api/v1", headers={"X-Tenant-Key": key}, timeout=60) as tenant:
        document = calls.stored(calls.put(tenant, "tides.txt", b"Tides rise twice a day."))
        assert calls.wait(tenant, document["document_id"])["status"] == "ready"
        found = tenant.post("/search", json={"query": "tides"}).json()["results"]
        assert [each["key"] for each in found] == ["tides.txt"]
    token = {"Authorization": f"Bearer {running.secrets['metrics-token']}"}
    assert httpx.get(f"{running.url}/metrics", headers=token, timeout=60).status_code == 404


def test_the_exporter_tells_who_has_the_token(running: Composed) -> None:
    exporter = running.begin(workload("s4-exporter", running.secrets).settings(**HERE))
    exporter.await_ready()
    url = f"http://{exporter.address}:{exporter.workload.readiness.port}/metrics"  # type: ignore[union-attr]
    assert httpx.get(url, timeout=60).status_code == 401
    token = {"Authorization": f"Bearer {running.secrets['metrics-token']}"}
    assert "s4_exporter_read_timestamp_seconds" in httpx.get(url, headers=token, timeout=60).text


def test_the_store_does_what_s4_needs(running: Composed) -> None:
    """As the README asks it, in a worker's container."""
    worker = workload("s4-worker", running.secrets).settings(**HERE)
    asked = Workload("doctor", ("doctor", "store"), worker.environment, files=worker.files)
    assert "nothing is in S4's way" in running.begin(asked).complete()


def test_a_release_comes_one_by_one_and_no_request_fails(running: Composed) -> None:
    """`--scale s4-api=4 --no-recreate`, then the old two are stopped, one by one."""
    old = list(running.api.running)
    with steady_load(running.url, running.new_tenant("Busy")) as load:
        load.await_answers("upload_slowly", more=2)
        running.api.start(len(old))
        for each in old:
            running.api.remove(each)
        load.await_answers("upload_slowly", more=2)
    print(len(load.answered), "requests")
    assert len(running.api.running) == len(old)
    assert [f"{each.kind}: {each.wrong}" for each in load.failed] == []
    load.check()
