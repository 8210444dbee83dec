"""The manifests for Kubernetes, run: the arguments, settings, secrets, folders, probes and grace of the overlay
`cluster`, as processes of this machine, beside a real PostgreSQL, Redis and SeaweedFS, and a real Prometheus behind the
autoscalers' signals. What a kubelet, a Service and the autoscaler do, tests/factories/workloads.py does.

Needs root, and Debian's `prometheus`."""

import contextlib
import math
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from s4client import S4AdminClient
from tests.factories import calls
from tests.factories.kubernetes import FOLDER, of_kind, rendered, workload
from tests.factories.pod_scrapes import await_values, scraping
from tests.factories.prometheus import Prometheus
from tests.factories.steady_load import steady_load
from tests.factories.workloads import Replicas, Running, Service, addresses, service
from tests.servers import PostgresServer, RedisServer, S3Server

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

OBJECTS = rendered(FOLDER / "overlays" / "cluster")
HERE = {
    "S4_EMBEDDING_PROVIDER": "deterministic",
    "S4_JOB_POLL_SECONDS": "0.1",
    "S4_DRAIN_SECONDS": "3",
}
"""Other values than the manifests': words instead of a model, and a drain that is shorter, as `LATE_SECONDS` is."""
LATE_SECONDS = 1.0
NAMESPACE = "s4"


@dataclass
class Cluster:
    secrets: dict[str, str]
    api: Replicas
    worker: Replicas
    service: Service
    begin: Callable[[str], Running]
    """A process of any workload, by its name."""

    def new_tenant(self, name: str) -> str:
        with S4AdminClient(self.service.url, api_key=self.secrets["admin-api-key"]) as admin:
            return admin.create_tenant(name).api_key


@pytest.fixture(scope="module")
def cluster(
    s3_server: S3Server, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    redis = RedisServer()
    known = {
        "admin-api-key": secrets.token_hex(32),
        "secret-key": secrets.token_hex(32),
        "database-url": postgres_server.new_database(),
        "redis-url": redis.wait(),
        "metrics-token": secrets.token_hex(16),
        "store-access-key-id": s3_server.access_key,
        "store-secret-access-key": s3_server.secret_key,
    }
    here = HERE | {"S4_STORE_URL": f"s3://{s3_server.new_bucket()}/s4", "S4_STORE_ENDPOINT": s3_server.endpoint}
    folder, network = tmp_path_factory.mktemp("pods"), addresses()

    def begin(name: str) -> Running:
        return Running(workload(OBJECTS, name, known).settings(**here), next(network), folder / name)

    assert "migrated" in begin("s4-migrate").complete()
    api, worker = (
        Replicas(workload(OBJECTS, name, known).settings(**here), folder, network) for name in ("s4-api", "s4-worker")
    )
    with contextlib.ExitStack() as stack:
        stack.callback(redis.stop)
        for replicas in (api, worker):
            stack.callback(replicas.stop)
            replicas.start(least(replicas.workload.name))
        yield Cluster(known, api, worker, stack.enter_context(service(api, 8000, late_seconds=LATE_SECONDS)), begin)


def least(name: str) -> int:
    """Replicas that the autoscaler keeps."""
    return int(of_kind(OBJECTS, "HorizontalPodAutoscaler")[name]["spec"]["minReplicas"])


def test_pods_are_replaced_one_by_one_and_no_request_fails(cluster: Cluster) -> None:
    with steady_load(cluster.service.url, cluster.new_tenant("Acme")) as load:
        load.await_answers("upload_slowly", more=2)
        before = [each.process.pid for each in cluster.api.running + cluster.worker.running]
        cluster.api.roll()
        cluster.worker.roll()
        load.await_answers("upload_slowly", more=2)
    print(len(load.answered), "requests")
    after = [each.process.pid for each in cluster.api.running + cluster.worker.running]
    assert (len(after), set(after) & set(before)) == (4, set())
    assert [f"{each.kind}: {each.wrong}" for each in load.failed] == []
    load.check()  # every upload became ready


def test_a_pod_writes_where_it_may_and_nowhere_else(cluster: Cluster) -> None:
    pod = cluster.worker.running[0]
    mounts = Path(f"/proc/{pod.process.pid}/mounts").read_text().splitlines()
    options = {line.split()[1]: line.split()[3].split(",") for line in mounts}
    assert "ro" in options["/"]
    assert {path for path in options if "rw" in options[path]} >= {"/var/lib/s4", "/tmp"}


def test_the_exporter_tells_every_tenant_to_who_has_the_token(cluster: Cluster) -> None:
    cluster.new_tenant("Shown")
    exporter = cluster.begin("s4-exporter")
    try:
        exporter.await_ready()
        url = f"http://{exporter.address}:{exporter.workload.readiness.port}/metrics"  # type: ignore[union-attr]
        assert httpx.get(url, timeout=60).status_code == 401
        told = httpx.get(url, headers={"Authorization": f"Bearer {cluster.secrets['metrics-token']}"}, timeout=60).text
        assert "s4_tenant_" in told
    finally:
        exporter.leave()
        assert exporter.ended_in_time()


@pytest.fixture
def watched(cluster: Cluster, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the API's pods, with the labels that its operator gives them."""
    targets = [
        {
            "targets": [f"{each.address}:8000"],
            "labels": {"namespace": NAMESPACE, "pod": f"s4-api-{number}", "service": "s4-api"},
        }
        for number, each in enumerate(cluster.api.running)
    ]
    with scraping(tmp_path, targets, token=cluster.secrets["metrics-token"]) as running:
        yield running


def adapted(kind: str, name: str) -> str:
    """The adapter's query, filled in as it does for the pods of the namespace."""
    rules = yaml.safe_load((FOLDER / "prometheus-adapter" / "rules.yaml").read_text())["rules"][kind]
    query: str = next(rule["metricsQuery"] for rule in rules if rule["name"]["as"] == name)
    pods = ',pod=~"s4-api-.*"' if kind == "custom" else ""
    return query.replace("<<.LabelMatchers>>", f'namespace="{NAMESPACE}"{pods}').replace("<<.GroupBy>>", "pod")


def desired(name: str, values: list[float], current: int) -> int:
    """What the autoscaler would have of its first metric: its own formula and its own bounds."""
    spec = of_kind(OBJECTS, "HorizontalPodAutoscaler")[name]["spec"]
    metric: dict[str, Any] = spec["metrics"][0]
    target = metric[metric["type"].lower()]["target"]
    if target["type"] == "AverageValue":
        wanted = math.ceil(sum(values) / (float(target["averageValue"].removesuffix("m")) / 1000))
    else:
        wanted = math.ceil(current * values[0] / float(target["value"]))
    return int(min(max(wanted, spec["minReplicas"]), spec["maxReplicas"]))


def test_the_apis_signal_rises_under_load_and_asks_for_pods(cluster: Cluster, watched: Prometheus) -> None:
    query = adapted("custom", "s4_api_load")
    idle = await_values(watched, query, lambda values: len(values) == least("s4-api"))
    assert desired("s4-api", idle, current=2) == 2
    key, ended = cluster.new_tenant("Busy"), threading.Event()

    def upload(number: int) -> None:
        def trickle() -> Iterator[bytes]:
            while not ended.wait(0.2):
                yield b"tide "

        url = f"{cluster.service.url}/api/v1/documents/by-key/slow-{number}"
        httpx.put(url, content=trickle(), headers={"X-Tenant-Key": key, "Content-Type": "text/plain"}, timeout=120)

    uploads = [threading.Thread(target=upload, args=(number,)) for number in range(40)]
    for each in uploads:
        each.start()
    try:
        busy = await_values(watched, query, lambda values: desired("s4-api", values, current=2) > 2)
    finally:
        ended.set()
        for each in uploads:
            each.join()
    print("load of each pod", [round(value, 2) for value in (*idle, *busy)])
    assert max(busy) > max(idle)


def test_the_workers_signal_is_the_age_of_what_waits(cluster: Cluster, watched: Prometheus) -> None:
    """Nobody works for a moment."""
    query = adapted("external", "s4_queue_oldest_ready_seconds")
    await_values(watched, query, lambda values: values == [0])
    assert desired("s4-worker", [0], current=2) == 2
    for each in list(cluster.worker.running):
        cluster.worker.remove(each)
    with httpx.Client(
        base_url=f"{cluster.service.url}/api/v1", headers={"X-Tenant-Key": cluster.new_tenant("Waits")}, timeout=60
    ) as tenant:
        document = calls.stored(calls.put(tenant, "tides.txt", b"Tides rise."))
        first = await_values(watched, query, lambda values: bool(values) and values[0] > 0)
        later = await_values(watched, query, lambda values: values[0] > first[0])
        assert desired("s4-worker", [61.0], current=2) == 5
        cluster.worker.start(least("s4-worker"))
        assert calls.wait(tenant, document["document_id"])["status"] == "ready"
    await_values(watched, query, lambda values: values[0] < later[0])
