"""Routes of the process: name, health, metrics, the OpenAPI document."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

import s4
from tests.api.calls import assert_refused, upload, upload_ready
from tests.factories.deployment import FAST, Deployment, running


@pytest.fixture
def anybody(deployment: Deployment) -> httpx.Client:
    """Without a key, at the root."""
    return httpx.Client(base_url=deployment.url, timeout=60)


def test_the_root_tells_name_and_version(anybody: httpx.Client) -> None:
    answer = anybody.get("/")
    assert answer.status_code == 200
    assert (answer.json()["name"], answer.json()["version"]) == ("S4", s4.__version__)


@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_liveness_needs_no_key(anybody: httpx.Client, path: str) -> None:
    answer = anybody.get(path)
    assert (answer.status_code, answer.json()["status"]) == (200, "alive")
    assert answer.headers["X-Request-Id"]


def test_readiness_names_each_dependency(anybody: httpx.Client) -> None:
    while (answer := anybody.get("/health/ready")).json()["dependencies"]["worker"] == "starting":
        assert answer.status_code == 200, "requests are served meanwhile"
    assert answer.json()["status"] == "ready"
    named = ("database", "object_store", "worker", "embedding", "disk")
    assert answer.json()["dependencies"] == dict.fromkeys(named, "ok")


def test_metrics_are_prometheus_text_of_api_and_worker(anybody: httpx.Client, tenant: httpx.Client) -> None:
    upload_ready(tenant, "some text")
    answer = anybody.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    processes = {sample.labels.get("process") for family in families.values() for sample in family.samples}
    assert processes == {"api", "worker"}
    requests = families["s4_http_requests"].samples
    assert any(sample.labels["route"] == "/api/v1/documents" for sample in requests)


def test_metrics_label_routes_by_template_and_never_by_what_a_caller_chose(
    anybody: httpx.Client, tenant: httpx.Client
) -> None:
    tenant.get("/documents/by-key/chosen-by-the-caller")
    tenant.get("/chosen-by-the-caller")
    tenant.request("PROPFIND", "/documents")
    text = anybody.get("/metrics").text
    assert "chosen-by-the-caller" not in text
    assert "PROPFIND" not in text
    assert 'route="unmatched"' in text


def test_the_openapi_document_describes_the_tenant_and_admin_routes(anybody: httpx.Client) -> None:
    answer = anybody.get("/openapi.json")
    assert answer.status_code == 200
    paths = answer.json()["paths"]
    assert {"/api/v1/documents", "/api/v1/search", "/api/v1/documents/by-key/{key}", "/api/v1/admin/tenants"} <= {
        path.replace("{key:path}", "{key}") for path in paths
    }
    assert anybody.get("/docs").status_code == 200


def test_a_draining_process_is_not_ready_and_then_ends(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("draining")
    with running(folder, "--no-worker", **FAST, S4_DRAIN_SECONDS="5", S4_METRICS_TOKEN="for-the-scraper") as deployment:
        with httpx.Client(base_url=deployment.url, timeout=30) as anybody:
            assert_refused(anybody.get("/metrics"), 401, "unauthorized")
            wrong = anybody.get("/metrics", headers={"Authorization": "Bearer for-the-scrapes"})
            assert_refused(wrong, 401, "unauthorized")
            right = anybody.get("/metrics", headers={"Authorization": "Bearer for-the-scraper"})
            assert right.status_code == 200
            assert anybody.get("/health/ready").json()["dependencies"] == {
                "database": "ok",
                "object_store": "ok",
                "embedding": "ok",
                "disk": "ok",
            }
            assert "Connection" not in anybody.get("/health/live").headers
            deployment._process.terminate()  # type: ignore[union-attr]
            while (answer := anybody.get("/health/ready")).status_code == 200:
                pass
            assert (answer.status_code, answer.json()["status"]) == (503, "draining")
            assert int(answer.headers["Retry-After"]) > 0
            last = anybody.get("/health/live")
            assert (last.status_code, last.headers["Connection"]) == (200, "close"), "served, and sent elsewhere"
        assert deployment.stop() == 0


def test_whoever_waits_for_a_document_is_answered_when_the_process_goes(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Not cut off at the end of its patience: the caller asks another replica."""
    folder = tmp_path_factory.mktemp("leaving")
    with (
        running(folder, "--no-worker", **FAST, S4_SHUTDOWN_SECONDS="60") as deployment,
        deployment.new_tenant() as waiting,
        ThreadPoolExecutor(1) as pool,
    ):
        document_id = upload(waiting, "nobody indexes this")["document_id"]
        answer = pool.submit(waiting.get, f"/documents/{document_id}", params={"wait": 60})
        with httpx.Client(base_url=deployment.url, timeout=30) as anybody:
            while in_flight(anybody) < 2:  # it, and this question
                pass
        assert deployment.stop() == 0  # in less time than either of the two minutes
        assert (answer.result().status_code, answer.result().json()["status"]) == (200, "processing")


def in_flight(anybody: httpx.Client) -> float:
    families = text_string_to_metric_families(anybody.get("/metrics").text)
    (family,) = [family for family in families if family.name == "s4_http_requests_in_flight"]
    return sum(sample.value for sample in family.samples)
