"""Traces of a whole deployment, as a collector gets them: an upload up to its index, a search, and an outage."""

from pathlib import Path

import pytest

from tests.factories.collector import Seen, collecting
from tests.factories.deployment import FAST, running
from tests.faults.test_processes import until

pytestmark = pytest.mark.processes

UPLOAD, SEARCH = "0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319c"
SECRETS = ("walrus", "tusks.txt", "postscript")


def sampled(trace_id: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}


def of(spans: list[Seen], trace_id: str) -> dict[str, Seen]:
    return {span.name: span for span in spans if span.trace_id == trace_id}


def test_an_upload_is_one_trace_up_to_its_index_and_a_search_another(tmp_path: Path) -> None:
    with (
        collecting() as collector,
        running(tmp_path, **FAST, S4_TRACES_ENDPOINT=collector.url) as deployment,
        deployment.new_tenant() as tenant,
    ):
        put = tenant.put("/documents/by-key/tusks.txt", content=b"A walrus has tusks.", headers=sampled(UPLOAD))
        assert put.status_code == 201
        collector.until(lambda spans: "job documents.index" in of(spans, UPLOAD))
        found = tenant.post("/search", json={"query": "walrus postscript"}, headers=sampled(SEARCH))
        assert found.json()["results"]
        spans = collector.until(lambda spans: "POST /api/v1/search" in of(spans, SEARCH))

    upload, job = of(spans, UPLOAD)["PUT /api/v1/documents/by-key/{key}"], of(spans, UPLOAD)["job documents.index"]
    assert (upload.service, job.service) == ("api", "worker")
    assert job.parent_id == upload.span_id
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


def test_while_the_collector_is_away_searches_go_on_and_the_log_says_it_once(tmp_path: Path) -> None:
    status = [503]
    with (
        collecting(lambda _: status[0]) as collector,
        running(tmp_path, "--no-worker", **FAST, S4_TRACES_ENDPOINT=collector.url) as deployment,
        deployment.new_tenant() as tenant,
    ):

        def asked() -> int:
            return tenant.post("/search", json={"query": "walrus"}).status_code

        assert [asked() for _ in range(20)] == 20 * [200]
        until(lambda: deployment.events("traces.unsent"), "no outage is told")
        status[0] = 200
        until(lambda: asked() == 200 and collector.spans, "no trace comes after the outage")
        until(lambda: deployment.events("traces.sent_again"), "its end is not told")

    assert len(deployment.events("traces.unsent")) == 1
    assert deployment.events("traces.sent_again")[0]["details"]["count"] >= 20
