"""The line that tells of a request: one at most, always for what went wrong or took long, a share of all others."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import Response, StreamingResponse
from structlog.testing import capture_logs

from s4.kernel.errors import DataCorrupt, NotFound, Unavailable
from s4.platform.http.errors import install_error_handlers
from s4.platform.http.middleware import HttpLimits, HttpMiddleware
from s4.platform.telemetry.metrics import HTTP_REQUESTS

REQUESTS = 400


def served(**limits: Any) -> httpx.AsyncClient:
    app = FastAPI()

    @app.get("/quick")
    async def quick() -> str:
        return "done"

    @app.get("/slow")
    async def slow() -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"a"
            await asyncio.sleep(0.02)
            yield b"b"

        return StreamingResponse(pieces())

    @app.get("/fails/{how}")
    async def fails(how: str) -> None:
        raise {
            "missing": NotFound("No."), "down": Unavailable("The store does not answer."),
            "corrupt": DataCorrupt("Damaged."), "bug": KeyError("x"),
        }[how]  # fmt: skip

    @app.get("/breaks")
    async def breaks() -> Response:
        async def half() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("gone")

        return StreamingResponse(half())

    @app.get("/health/ready")
    async def probe() -> str:
        return "ready"

    install_error_handlers(app)
    bounds = HttpLimits(request_body_bytes_max=1000, request_body_seconds_max=5, api_version="1", **limits)
    app.add_middleware(HttpMiddleware, limits=bounds, random=random.Random(7).randbytes)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://s4")


async def lines_of(client: httpx.AsyncClient, path: str, times: int = 1) -> list[Any]:
    with capture_logs() as lines:
        for _ in range(times):
            await client.get(path)
    return lines


@pytest.mark.parametrize(
    ("path", "level", "status"),
    [
        ("/quick", "info", 200),
        ("/nowhere", "info", 404),
        ("/fails/missing", "info", 404),
        ("/fails/down", "warning", 503),
        ("/fails/corrupt", "error", 500),
        ("/fails/bug", "error", 500),
        ("/breaks", "error", 200),
    ],
)
async def test_a_request_has_one_line_whatever_becomes_of_it(path: str, level: str, status: int) -> None:
    async with served() as client:
        (line,) = await lines_of(client, path)

    assert (line["event"], line["log_level"], line["status"]) == ("http.request_finished", level, status)
    assert (line["exc_info"] is not None) == (level != "info")


@pytest.mark.parametrize(("path", "all_of_them"), [
    ("/quick", False), ("/slow", True), ("/nowhere", True), ("/fails/down", True), ("/fails/bug", True),
    ("/breaks", True),
])  # fmt: skip
async def test_a_share_of_zero_leaves_out_what_was_answered_well_and_soon_alone(path: str, all_of_them: bool) -> None:
    async with served(logged_share=0.0, slow_seconds=0.01 if path == "/slow" else 30.0) as client:
        lines = await lines_of(client, path, times=5)

    assert len(lines) == (5 if all_of_them else 0)


async def test_a_share_is_that_share_and_says_so_and_the_metric_counts_all() -> None:
    counted = HTTP_REQUESTS.labels("GET", "/quick", "200")
    before = counted._value.get()
    async with served(logged_share=0.25, slow_seconds=30.0) as client:
        lines = await lines_of(client, "/quick", times=REQUESTS)

    assert REQUESTS * 0.15 < len(lines) < REQUESTS * 0.35
    assert {line["logged_share"] for line in lines} == {0.25}
    assert counted._value.get() - before == REQUESTS


async def test_probes_have_none() -> None:
    async with served(quiet_routes=frozenset({"/health/ready"})) as client:
        assert await lines_of(client, "/health/ready") == []
