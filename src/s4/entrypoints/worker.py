"""The worker process: runs jobs, takes part in scheduling, answers health and metrics on a port of its own.

As a child of `s4 serve` it gets a listening socket and a pipe from its parent. The pipe brings the parent's settings;
when it closes, the parent is gone and the worker ends, so that no orphan survives.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from s4.entrypoints.bootstrap import Core, WorkerParts, make_backups, open_core, open_worker
from s4.kernel.errors import Unavailable
from s4.kernel.settings import Settings
from s4.platform import memory
from s4.platform.background import in_background
from s4.platform.jobs import Scheduler
from s4.platform.telemetry import exposition, metrics

log = structlog.get_logger()

_SCHEDULER_SECONDS = 1.0  # between looks at what is due; one small transaction each


@dataclass(frozen=True, slots=True)
class WorkerListener:
    """Where health and metrics are answered: an open socket, or None for nowhere."""

    listening: socket.socket | None
    parent_pipe: int | None = None


async def run_worker(settings: Settings, listener: WorkerListener) -> None:
    """Runs until SIGTERM, SIGINT or the end of the parent; then hands back what is not done."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if listener.parent_pipe is not None:
        loop.add_reader(listener.parent_pipe, _on_parent_pipe, listener.parent_pipe, stop)
    async with open_core(settings) as core, _answering(listener):
        memory.started()
        if not await _generation_known(core, stop):
            return
        async with open_worker(core, backups=make_backups(core)) as parts:
            await parts.maintenance.ensure_adopted()
            async with core.terms.running(stop.set):
                await _run(core, parts, stop)


async def _generation_known(core: Core, stop: asyncio.Event) -> bool:
    """Waits until the provider has answered once, where nobody knows its dimension yet. False: told to stop first."""
    while not stop.is_set():
        with contextlib.suppress(Unavailable):
            await core.embedder.prepare()
        try:
            _ = core.generation
            return True
        except Unavailable as unknown:
            pause_seconds = core.settings.embedding_probe_seconds_max / 4  # looks more often than the watch asks
            log.warning("worker.waiting", error=unknown.message, pause_seconds=round(pause_seconds, 1))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_seconds)
    return False


async def _run(core: Core, parts: WorkerParts, stop: asyncio.Event) -> None:
    parts.heartbeat.start()
    running = asyncio.create_task(parts.worker.run())
    scheduling = asyncio.create_task(_schedule(parts.scheduler))
    delivering = asyncio.create_task(parts.pump.run())
    metrics.READY.set(1)
    log.info("worker.started", generation=core.generation.id)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({stopping, running, scheduling, delivering}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        metrics.READY.set(0)
        log.info("worker.stopping")
        stopping.cancel()
        within = timedelta(seconds=core.settings.shutdown_seconds)
        await asyncio.gather(parts.worker.stop(within=within), parts.pump.stop(within=within))
        scheduling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await scheduling
        await asyncio.to_thread(parts.heartbeat.stop)
        await running  # raises what ended it, if that was not a stop
        await delivering
    log.info("worker.stopped")


async def _schedule(scheduler: Scheduler) -> None:
    while True:
        try:
            for kind in await scheduler.tick():
                log.debug("schedule.fired", kind=kind)
        except Unavailable as error:
            log.warning("schedule.deferred", error=error.message)
        await asyncio.sleep(_SCHEDULER_SECONDS)


@contextlib.asynccontextmanager
async def _answering(listener: WorkerListener) -> AsyncIterator[None]:
    """Health and metrics, from before the first job to after the last."""
    if listener.listening is None:
        yield
        return
    async with in_background(_answer(listener.listening)):
        yield


async def _answer(listening: socket.socket) -> None:
    async def live(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def scrape(_: Request) -> Response:
        return Response(exposition.own(), media_type=exposition.CONTENT_TYPE)

    app = Starlette(routes=[Route("/health/live", live), Route("/metrics", scrape)])
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
    server = _QuietServer(config)
    await server.serve(sockets=[listening])


class _QuietServer(uvicorn.Server):
    """Leaves signals to the worker."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _on_parent_pipe(pipe: int, stop: asyncio.Event) -> None:
    if not os.read(pipe, 1024):
        asyncio.get_running_loop().remove_reader(pipe)
        stop.set()
