"""Traces of a whole deployment, as a collector gets them: an upload up to its index, a search, and an outage."""

from collections.abc import Iterator

import httpx
import pytest

from tests.factories.collector import Collector, Seen, collecting
from tests.factories.deployment import FAST, Deployment, running
from tests.faults.test_processes import until

pytestmark = pytest.mark.processes

UPLOAD, SEARCH = "0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319c"
SECRETS = ("walrus", "tusks.txt", "postscript")


def sampled(trace_id: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running_collector:
        yield running_collector


@pytest.fixture(scope="module")
def deployment(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    traced = {"S4_TRACES_ENDPOINT": collector.url}
    with running(tmp_path_factory.mktemp("s4"), **FAST | traced) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def tenant(deployment: Deployment) -> Iterator[httpx.Client]:
    with deployment.new_tenant() as opened:
        yield opened


def of(spans: list[Seen], trace_id: str) -> dict[str, Seen]:
    return {span.name: span for span in spans if span.trace_id == trace_id}


def test_an_upload_is_one_trace_up_to_its_index_and_a_search_another(
    deployment: Deployment, tenant: httpx.Client, collector: Collector
) -> None:
    put = tenant.put("/documents/by-key/tusks.txt", content=b"A walrus has tusks.", headers=sampled(UPLOAD))
    assert put.status_code == 201
    spans = collector.until(lambda spans: "job documents.index" in of(spans, UPLOAD))
    found = tenant.post("/search", json={"query": "walrus postscript"}, headers=sampled(SEARCH))
    assert found.json()["results"]
    spans = collector.until(lambda spans: "POST /api/v1/search" in of(spans, SEARCH))

    upload, job = of(spans, UPLOAD)["PUT /api/v1/documents/by-key/{key}"], of(spans, UPLOAD)["job documents.index"]
    assert (upload.service, job.service) == ("api", "worker")
    assert job.parent_id in {span.span_id for span in spans if span.service == "api"}
    assert {"store put", "store create", "database write", "index chunk", "index write"} <= of(spans, UPLOAD).keys()
    assert job.attributes["s4.job.outcome"] == "ok"
    assert job.attributes["s4.tenant_id"] == upload.attributes["s4.tenant_id"]

    search = of(spans, SEARCH)["POST /api/v1/search"]
    assert search.attributes["http.response.status_code"] == 200
    for stage in ("search embed", "search open", "search fetch", "search verify"):
        assert of(spans, SEARCH)[stage].parent_id == search.span_id
    read = of(spans, SEARCH)["database read"]
    assert read.attributes == {"db.system.name": "sqlite"}
    assert read.events[:2] == ["connected", "select"]

    for trace_id, event in ((UPLOAD, "documents.indexed"), (SEARCH, "http.request_finished")):
        assert trace_id in {line["trace_id"] for line in deployment.events(event)}
    key = tenant.headers["X-Tenant-Key"]
    assert not [span.name for span in spans for secret in (*SECRETS, key) if secret in span.whole]


def test_while_the_collector_is_away_searches_go_on_and_the_log_says_it_once(
    deployment: Deployment, tenant: httpx.Client, collector: Collector
) -> None:
    collector.answer = lambda _: 503
    refused_before = collector.requests
    for _ in range(20):
        assert tenant.post("/search", json={"query": "walrus"}).status_code == 200
    until(lambda: collector.requests > refused_before and deployment.events("traces.unsent"), "no outage is told")
    collector.answer = lambda _: 200
    before = len(collector.spans)

    def asked_again() -> bool:
        assert tenant.post("/search", json={"query": "walrus"}).status_code == 200
        return bool(deployment.events("traces.sent_again")) and len(collector.spans) > before

    until(asked_again, "no trace comes after the outage")
    by_process = [line["service"] for line in deployment.events("traces.unsent")]
    assert len(by_process) == len(set(by_process)), "once by each process"
    assert any(line["details"]["count"] > 0 for line in deployment.events("traces.sent_again"))
