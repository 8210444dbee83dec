"""The worker process: runs jobs, takes part in scheduling, answers health and metrics on a port of its own.

As a child of `s4 serve` it gets a listening socket and a pipe from its parent. The pipe brings the parent's settings;
when it closes, the parent is gone and the worker ends, so that no orphan survives.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from s4.entrypoints.bootstrap import Core, WorkerParts, make_backups, open_core, open_worker, traced
from s4.entrypoints.figures import EngineFigures, make_resources
from s4.entrypoints.listening import url_of
from s4.entrypoints.scraping import answer_scrapes
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
    """Where health and metrics are answered."""

    listening: socket.socket
    parent_pipe: int | None = None


@dataclass(slots=True)
class WorkerState:
    """What the worker's own port answers with."""

    ready: bool = False
    sources: list[exposition.Source] = field(default_factory=list)

    async def exposed(self) -> bytes:
        return exposition.own(self.sources)

    def set_ready(self, ready: bool) -> None:
        self.ready = ready
        metrics.READY.set(ready)


async def run_worker(settings: Settings, listener: WorkerListener) -> None:
    """Runs until SIGTERM, SIGINT or the end of the parent; then hands back what is not done."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if listener.parent_pipe is not None:
        loop.add_reader(listener.parent_pipe, _on_parent_pipe, listener.parent_pipe, stop)
    state = WorkerState()
    async with (
        traced(settings, service="worker"),
        open_core(settings) as core,
        _answering(settings, listener.listening, state),
    ):
        resources = make_resources(settings, core.embedder)
        state.sources += [resources, EngineFigures(core)]
        memory.started()
        if not await _generation_known(core, stop):
            return
        async with open_worker(core, backups=make_backups(core)) as parts:
            resources.children = lambda: parts.extraction.pids
            await parts.maintenance.ensure_adopted()
            async with core.terms.running(stop.set):
                await _run(core, parts, stop, state)


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


async def _run(core: Core, parts: WorkerParts, stop: asyncio.Event, state: WorkerState) -> None:
    parts.heartbeat.start()
    running = asyncio.create_task(parts.worker.run())
    scheduling = asyncio.create_task(_schedule(parts.scheduler))
    delivering = asyncio.create_task(parts.pump.run())
    state.set_ready(True)
    log.info("worker.started", generation=core.generation.id)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({stopping, running, scheduling, delivering}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        state.set_ready(False)
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
async def _answering(settings: Settings, listening: socket.socket, state: WorkerState) -> AsyncIterator[None]:
    """Health and metrics, from before the first job to after the last."""
    log.info("worker.listening", url=url_of(listening))
    answers = answer_scrapes(listening, token=settings.metrics_token, exposed=state.exposed, ready=lambda: state.ready)
    async with in_background(answers):
        yield


def _on_parent_pipe(pipe: int, stop: asyncio.Event) -> None:
    if not os.read(pipe, 1024):
        asyncio.get_running_loop().remove_reader(pipe)
        stop.set()
