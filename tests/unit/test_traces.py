"""Spans of requests, and what is sent of them: through an application without a server, to a collector that is one."""

import builtins
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace import TracerProvider
from pydantic import ValidationError
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from s4.entrypoints.bootstrap import traced
from s4.kernel.errors import InvalidRequest, NotFound, Unavailable
from s4.kernel.settings import Settings
from s4.platform.http.errors import install_error_handlers
from s4.platform.http.middleware import HttpLimits, HttpMiddleware
from s4.platform.telemetry import traces
from s4.platform.telemetry.otlp import Sender
from s4.platform.trust import trusting
from tests.factories.collector import Collector, Seen, collecting
from tests.factories.tls import Authority, tls_door

CALLER = "0af7651916cd43dd8448eb211c80319c"
SAMPLED, UNSAMPLED = (f"00-{CALLER}-b7ad6b7169203331-{flags}" for flags in ("01", "00"))
HOW: dict[str, Exception | None] = {
    "well": None,
    "missing": NotFound("There is no walrus."),
    "away": Unavailable("The walrus does not answer."),
    "bug": KeyError("walrus"),
}


def make_app() -> FastAPI:
    app = FastAPI()

    @app.get("/api/v1/things/{how}")
    async def thing(how: str, q: str = "") -> dict[str, str | None]:
        with traces.span("part", {"s4.texts": 1}):
            traces.current().happened("step")
            if (error := HOW[how]) is not None:
                raise error
        return dict(traces.carried())

    @app.get("/health")
    async def health() -> None:
        return None

    install_error_handlers(app)
    limits = HttpLimits(1000, 5, "1", quiet_routes=frozenset({"/health"}))
    app.add_middleware(HttpMiddleware, limits=limits, random=random.Random(1).randbytes)
    return app


@asynccontextmanager
async def asked(endpoint: str | None, share: float = 1.0) -> AsyncIterator[httpx.AsyncClient]:
    """What was asked within the block has been sent when it ends."""
    settings = Settings(traces_endpoint=endpoint, traces_share=share)
    async with traced(settings, service="api"):
        transport = httpx.ASGITransport(make_app(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://s4") as client:
            yield client


def by_name(collector: Collector) -> dict[str, Seen]:
    return {span.name: span for span in collector.spans}


async def test_a_request_is_a_span_by_its_template_with_its_parts_below_and_its_log_line_has_the_trace() -> None:
    with collecting() as collector, capture_logs(processors=[merge_contextvars]) as lines:
        async with asked(collector.url) as client:
            await client.get("/api/v1/things/well?q=walrus", headers={"X-Request-Id": "mine"})

    request, part = by_name(collector)["GET /api/v1/things/{how}"], by_name(collector)["part"]
    assert (request.service, request.parent_id, part.parent_id) == ("api", "", request.span_id)
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["http.route"] == "/api/v1/things/{how}"
    assert request.attributes["s4.request_id"] == "mine"
    assert (part.attributes, part.events) == ({"s4.texts": 1}, ["step"])
    (line,) = [line for line in lines if line["event"] == "http.request_finished"]
    assert line["trace_id"] == request.trace_id == part.trace_id
    assert "walrus" not in request.whole + part.whole


async def test_a_callers_trace_is_continued_and_handed_on_to_jobs() -> None:
    with collecting() as collector, capture_logs(processors=[merge_contextvars]) as lines:
        async with asked(collector.url, share=0) as client:
            answer = await client.get("/api/v1/things/well", headers={"traceparent": SAMPLED, "tracestate": "x=walrus"})
            with traces.job("job index", answer.json()):
                assert traces.carried() == {}, "jobs that ask for jobs would make a trace without end"

    request, job = by_name(collector)["GET /api/v1/things/{how}"], by_name(collector)["job index"]
    assert (request.trace_id, request.parent_id) == (CALLER, "b7ad6b7169203331")
    assert (job.trace_id, job.parent_id) == (CALLER, request.span_id)
    assert lines[-1]["trace_id"] == CALLER
    assert "walrus" not in request.whole


@pytest.mark.parametrize(("headers", "share"), [({}, 0.0), ({"traceparent": UNSAMPLED}, 1.0)])
async def test_what_is_not_sampled_is_not_sent_and_its_lines_belong_together_all_the_same(
    headers: dict[str, str], share: float
) -> None:
    with collecting() as collector, capture_logs(processors=[merge_contextvars]) as lines:
        async with asked(collector.url, share) as client:
            answer = await client.get("/api/v1/things/well", headers=headers)

    assert collector.requests == 0
    assert lines[-1]["trace_id"] == answer.json()["traceparent"].split("-")[1]


@pytest.mark.parametrize(
    ("how", "status", "error"),
    [("missing", 404, None), ("away", 503, "service_unavailable"), ("bug", 500, "server_error")],
)
async def test_a_failure_of_ours_is_one_in_the_trace_by_its_code_alone(how: str, status: int, error: str) -> None:
    with collecting() as collector, capture_logs():
        async with asked(collector.url) as client:
            assert (await client.get(f"/api/v1/things/{how}")).status_code == status

    request, part = by_name(collector)["GET /api/v1/things/{how}"], by_name(collector)["part"]
    assert request.failed == part.failed == (error is not None)
    assert request.attributes.get("error.type") == error
    assert "walrus" not in request.whole + part.whole, "what an error says may hold what a tenant said"


async def test_probes_and_what_belongs_to_no_request_are_not_traced() -> None:
    with collecting() as collector:
        async with asked(collector.url) as client:
            await client.get("/health", headers={"traceparent": SAMPLED})
            with traces.span("part"):
                pass

    assert collector.requests == 0


async def test_a_job_that_does_a_hundred_thousand_things_tells_of_the_first_thousand() -> None:
    with collecting() as collector:
        async with asked(collector.url):
            with traces.job("job backup", {}):
                for _ in range(1500):
                    with traces.span("store get"):
                        pass

    assert len(collector.spans) == 1000
    assert by_name(collector)["job backup"].attributes["s4.truncated"]


async def test_a_path_that_no_route_knows_is_no_name() -> None:
    with collecting() as collector, capture_logs():
        async with asked(collector.url) as client:
            await client.request("BREW", "/walrus")

    (span,) = collector.spans
    assert (span.name, span.attributes["http.request.method"]) == ("OTHER", "_OTHER")
    assert "walrus" not in span.whole


async def test_without_an_endpoint_there_is_no_trace_and_the_log_has_the_callers() -> None:
    with capture_logs(processors=[merge_contextvars]) as lines:
        async with asked(None) as client:
            answer = await client.get("/api/v1/things/well", headers={"traceparent": UNSAMPLED})
            assert traces.span("part") is traces.NOTHING

    assert answer.json() == {}
    assert lines[-1]["trace_id"] == CALLER


async def test_no_library_finds_a_provider_to_add_its_own_to() -> None:
    with collecting() as collector:
        async with asked(collector.url):
            with otel_trace.get_tracer("a library").start_as_current_span("its own") as span:
                assert not span.is_recording()

    assert collector.requests == 0


async def test_without_the_extra_an_endpoint_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(name: str, *arguments: Any, real: Any = builtins.__import__, **named: Any) -> Any:
        if name.startswith("opentelemetry.sdk"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments, **named)

    monkeypatch.delitem(sys.modules, "s4.platform.telemetry.otlp")
    monkeypatch.delattr("s4.platform.telemetry.otlp")
    monkeypatch.setattr(builtins, "__import__", lacks)

    with pytest.raises(InvalidRequest, match=r"S4_TRACES_ENDPOINT is set, .* install s4-store\[otel\]"):
        async with asked("http://127.0.0.1:4318/v1/traces"):
            pass


@pytest.mark.parametrize(
    "said", ["127.0.0.1:4318", "http://127.0.0.1:4318", "grpc://c/v1/traces", "http://a:b@c/v1/traces"]
)
def test_an_endpoint_that_cannot_be_one_is_refused(said: str) -> None:
    with pytest.raises(ValidationError, match="must"):
        Settings(traces_endpoint=said)


async def test_a_collector_that_is_away_disturbs_no_request() -> None:
    with collecting() as collector:
        pass  # from here on nobody listens there
    with capture_logs() as lines:
        async with asked(collector.url) as client:
            assert (await client.get("/api/v1/things/well")).status_code == 200

    (told,) = [line for line in lines if line["event"].startswith("traces.")]
    assert (told["event"], told["log_level"]) == ("traces.unsent", "warning")
    assert told["error"].startswith("ConnectError")


@pytest.mark.parametrize(("trusted", "event"), [(True, None), (False, "traces.unsent")])
async def test_a_collector_is_trusted_by_the_operators_authority_alone(
    trusted: bool, event: str | None, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    trust = trusting(authority.file if trusted else None)
    with collecting() as collector, tls_door(authority, collector.url) as address, capture_logs() as lines, trust:
        async with asked(f"https://{address}/v1/traces") as client:
            await client.get("/api/v1/things/well")

    assert [line["event"] for line in lines if line["event"].startswith("traces.")] == ([event] if event else [])
    assert bool(collector.spans) == trusted


def test_an_outage_is_told_once_and_its_end_with_what_was_lost() -> None:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span("one")
    now, status = [0.0], [503]
    with collecting(lambda _: status[0]) as collector, capture_logs() as lines:
        sender = Sender(collector.url, lambda: now[0])
        sender.export([span])
        sender.export([span])
        asked_at_once = collector.requests
        now[0] += 60
        sender.export([span])
        now[0] += 60
        status[0] = 200
        sender.export([span])
        sender.export([span])
        sender.shutdown()

    assert asked_at_once == 1, "a collector that is not well is left alone"
    assert [(line["event"], line.get("error"), line.get("count")) for line in lines] == [
        ("traces.unsent", "HTTP 503", None), ("traces.sent_again", None, 3),
    ]  # fmt: skip
    assert len(collector.spans) == 2
