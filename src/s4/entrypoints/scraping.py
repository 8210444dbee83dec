"""Health and metrics of a process that serves nothing else: a worker, the exporter."""

import contextlib
import hmac
import socket
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from s4.kernel.errors import Unavailable
from s4.platform.telemetry.exposition import CONTENT_TYPE

Exposed = Callable[[], Awaitable[bytes]]
Ready = Callable[[], bool]


def may_scrape(token: SecretStr | None, authorization: str) -> bool:
    """Whether a header shows the token of metrics, if there is one."""
    if token is None:
        return True
    presented = authorization.removeprefix("Bearer ")
    return hmac.compare_digest(presented.encode(), token.get_secret_value().encode())


async def answer_scrapes(listening: socket.socket, *, token: SecretStr | None, exposed: Exposed, ready: Ready) -> None:
    """Until cancelled: `/health/live`, `/health/ready`, and `/metrics` for who shows the token."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readiness(_: Request) -> Response:
        return (
            JSONResponse({"status": "ready"}) if ready() else JSONResponse({"status": "unavailable"}, status_code=503)
        )

    async def scrape(request: Request) -> Response:
        if not may_scrape(token, request.headers.get("authorization", "")):
            challenge = {"WWW-Authenticate": 'Bearer realm="s4"'}
            return PlainTextResponse("Metrics need their token as Authorization: Bearer.\n", 401, headers=challenge)
        try:
            return Response(await exposed(), media_type=CONTENT_TYPE)
        except Unavailable as error:
            return PlainTextResponse(f"{error.message}\n", 503)

    routes = [Route("/health/live", live), Route("/health/ready", readiness), Route("/metrics", scrape)]
    config = uvicorn.Config(
        Starlette(routes=routes), log_config=None, access_log=False, server_header=False, lifespan="off"
    )
    await _QuietServer(config).serve(sockets=[listening])


class _QuietServer(uvicorn.Server):
    """Leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
