"""`s4 serve`: the API, and with it a worker as a child process that is restarted when it dies."""

import asyncio
import contextlib
import io
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, cast

import httpx
import structlog
import uvicorn

from s4.entrypoints.api import create_app
from s4.entrypoints.bootstrap import migrate_database, open_core, traced
from s4.entrypoints.configuration import handed_on
from s4.entrypoints.listening import listen, url_of
from s4.entrypoints.operations import ProcessState
from s4.entrypoints.protocol import S4Protocol
from s4.kernel.errors import InvalidRequest
from s4.kernel.settings import Environment, Settings
from s4.platform import memory
from s4.platform.background import in_background
from s4.platform.telemetry import logs, metrics
from s4.platform.trust import check_listener, expires_at

log = structlog.get_logger()

_RESTART_SECONDS = 1.0  # first pause before a dead worker is started anew; doubles up to the next bound
_RESTART_SECONDS_MAX = 30.0
_CHILD_SECONDS_MAX = 2.0  # for the worker to answer, which does not while it starts
_CHILD_LOOK_SECONDS = 0.2  # between looks at whether it is ready
_KEEP_ALIVE_SECONDS = 75  # longer than common balancers keep idle connections, so that they close first
_RELAY_SECONDS_MAX = 2.0  # for the last lines of a worker that has ended
_LINE_BYTES_MAX = 1 << 20  # of a child's log: a longer one comes in pieces
_UNWIND_SECONDS_MAX = 2.0  # for requests that ran out of patience, to answer and to give back what they hold


async def serve(settings: Settings, *, with_worker: bool) -> None:
    """Runs until SIGTERM or SIGINT: readiness flips, the listener closes, requests finish while the worker ends."""
    if with_worker and settings.store_url == "memory://":
        raise InvalidRequest(
            "memory:// lives in one process: the API and its worker would not see each other's objects."
        )
    if settings.environment is Environment.EMBEDDED:
        for step in await asyncio.to_thread(migrate_database, settings):
            log.info("catalog.migrated", step=step)
    check_listener(settings.tls_cert, settings.tls_key)
    if settings.tls_cert is not None:
        metrics.CERTIFICATE_EXPIRES.set(expires_at(settings.tls_cert).timestamp())
    state = ProcessState()
    listening = listen(settings.host, settings.port)
    async with traced(settings, service="api"), open_core(settings) as core:
        config = uvicorn.Config(
            create_app(core, state),
            http=S4Protocol,
            log_config=None,
            access_log=False,
            server_header=False,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
            proxy_headers=False,  # uvicorn would believe whoever connects from this machine; HttpMiddleware asks first
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(settings.shutdown_seconds),
            lifespan="off",
        )
        server = S4Server(config)
        worker = _WorkerChild(settings, state) if with_worker else None
        stop = _stop_on_signals(server, worker, state, settings.drain_seconds)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(core.terms.running(stop))
            await stack.enter_async_context(core.calls.running())
            await stack.enter_async_context(core.access.notes_kept())
            await stack.enter_async_context(core.vectors.copies_kept())
            await stack.enter_async_context(core.generations.in_use(works=False))
            if worker is not None:
                await stack.enter_async_context(worker)
            await stack.enter_async_context(core.admin_calls.running())
            await stack.enter_async_context(core.board.running())
            memory.started()
            log.info("api.started", url=url_of(listening, "http" if settings.tls_cert is None else "https"))
            await server.serve(sockets=[listening])
    log.info("api.stopped")


class S4Server(uvicorn.Server):
    """Leaves signals to `serve`, which drains first, and sees off whom it can keep no longer."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.server_state.tasks:  # cancelled, and not awaited by uvicorn
            await asyncio.wait(list(self.server_state.tasks), timeout=_UNWIND_SECONDS_MAX)


def _stop_on_signals(
    server: uvicorn.Server, worker: "_WorkerChild | None", state: ProcessState, drain_seconds: float
) -> Callable[[], None]:
    """Answers with what a signal does, for whoever else has a reason to stop."""
    loop = asyncio.get_running_loop()

    def close() -> None:
        state.closing = True
        server.should_exit = True
        if worker is not None:
            worker.tell_to_stop()

    def stop() -> None:
        if state.draining:  # the second signal does not wait
            server.force_exit = True
            close()
            return
        state.draining = True
        log.info("api.draining", seconds=drain_seconds)
        loop.call_later(drain_seconds, close)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stop


class _WorkerChild:
    """Starts the worker, restarts it when it dies, ends it with the API."""

    def __init__(self, settings: Settings, state: ProcessState) -> None:
        self._settings = settings
        self._state = state
        self._process: subprocess.Popen[bytes] | None = None
        self._relay: threading.Thread | None = None
        self._url = ""
        token = settings.metrics_token
        self._authorization = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    async def __aenter__(self) -> "_WorkerChild":
        self._state.child_metrics = self._metrics
        self._state.worker = "starting"
        self._keeper = asyncio.create_task(self._keep())
        return self

    def tell_to_stop(self) -> None:
        """It has the same time for its jobs as the API for its requests; the end of the block waits for it."""
        self._stopping = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    async def __aexit__(self, *_: object) -> None:
        assert self._keeper is not None
        told = self._stopping
        self._stopping = True
        self._keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._keeper
        if self._process is None:
            return
        if not told and self._process.poll() is None:
            self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, self._settings.shutdown_seconds + 5)
        except subprocess.TimeoutExpired:
            log.warning("worker.killed", reason="it did not stop in time")
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        if self._relay is not None:
            await asyncio.to_thread(self._relay.join, _RELAY_SECONDS_MAX)

    async def _keep(self) -> None:
        pause_seconds = _RESTART_SECONDS
        while True:
            started = time.monotonic()
            self._process = await asyncio.to_thread(self._start)
            if self._stopping:  # told while it was being started
                self._process.terminate()
            async with in_background(self._note_when_ready()):
                await asyncio.to_thread(self._process.wait)
            self._state.worker = "restarting"
            if self._stopping:
                return
            log.error("worker.died", exit_code=self._process.returncode)
            if time.monotonic() - started > _RESTART_SECONDS_MAX:
                pause_seconds = _RESTART_SECONDS
            await asyncio.sleep(pause_seconds)
            if self._stopping:
                return
            pause_seconds = min(pause_seconds * 2, _RESTART_SECONDS_MAX)

    def _start(self) -> subprocess.Popen[bytes]:
        """Not through the event loop: uvloop's fork would run LanceDB's hooks, which may deadlock."""
        with listen("127.0.0.1", 0) as listening:
            self._url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            process = subprocess.Popen(  # noqa: S603 (our own interpreter and arguments)
                [
                    *(sys.executable, "-m", "s4.entrypoints.cli", "worker"),
                    *("--listen-fd", str(listening.fileno()), "--exit-with-parent"),
                ],
                stdin=subprocess.PIPE,  # brings the settings; its end tells the child that this process is gone
                stderr=subprocess.PIPE,  # two processes that write long lines into one pipe would mix them
                pass_fds=[listening.fileno()],
                bufsize=0,
            )
        assert process.stdin is not None
        assert process.stderr is not None
        self._relay = threading.Thread(target=pass_on_lines, args=(process.stderr,), daemon=True)
        self._relay.start()
        with contextlib.suppress(BrokenPipeError):  # it died at once, and is started anew
            process.stdin.write(handed_on(self._settings))
        return process

    async def _note_when_ready(self) -> None:
        while await self._asked("/health/ready") is None:  # noqa: ASYNC110 (another process: nothing to wait on)
            await asyncio.sleep(_CHILD_LOOK_SECONDS)
        self._state.worker = "ok"

    async def _metrics(self) -> Mapping[str, bytes]:
        if self._state.worker == "restarting":
            return {}
        content = await self._asked("/metrics")
        return {} if content is None else {"worker": content}

    async def _asked(self, path: str) -> bytes | None:
        """None without a good answer."""
        try:
            async with httpx.AsyncClient(timeout=_CHILD_SECONDS_MAX, trust_env=False) as client:
                answer = await client.get(f"{self._url}{path}", headers=self._authorization)
                answer.raise_for_status()
        except httpx.HTTPError:
            return None
        return answer.content


def pass_on_lines(stderr: IO[bytes]) -> None:
    """Runs in a thread until the child, and whoever inherited its stderr, has ended."""
    with io.BufferedReader(cast(io.RawIOBase, stderr)) as lines:
        while line := lines.readline(_LINE_BYTES_MAX):
            logs.pass_on(line)
