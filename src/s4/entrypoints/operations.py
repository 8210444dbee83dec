"""Routes about the process itself: health, metrics, name. None needs a credential; none says anything of a tenant."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from s4 import __version__
from s4.domains.audit import service as audit
from s4.domains.backup import service as backups
from s4.domains.maintenance.deployment import current_state
from s4.domains.maintenance.queries import deployment_made
from s4.domains.upkeep import schedule
from s4.domains.webhooks import queries as webhook_queries
from s4.entrypoints.bootstrap import Core
from s4.entrypoints.disks import without_room
from s4.entrypoints.figures import CatalogFigures, EngineFigures, make_resources
from s4.entrypoints.scraping import may_scrape
from s4.kernel.errors import Unauthenticated, Unavailable
from s4.kernel.permissions import Permission
from s4.kernel.settings import Settings
from s4.kernel.units import human_size
from s4.platform.http.routing import DomainRouter
from s4.platform.jobs import TaskState, states
from s4.platform.telemetry import exposition, metrics

_CHECK_SECONDS_MAX = 5.0  # a readiness check must answer before the balancer's patience ends
_NOT_READY_RETRY = timedelta(seconds=5)

ChildMetrics = Callable[[], Awaitable[Mapping[str, bytes]]]


@dataclass(slots=True)
class ProcessState:
    """What readiness looks at besides dependencies. `child_metrics` asks the children for theirs."""

    draining: bool = False
    """Told to stop: readiness says so, every request is still served."""
    closing: bool = False
    """The listener closes; what is under way may finish, and nobody waits for anything."""
    worker: Literal["starting", "ok", "restarting"] | None = None
    """None: this process has no worker of its own. `starting`: there is one, and it takes no jobs yet."""
    child_metrics: ChildMetrics | None = field(default=None)


def operations_router(core: Core, state: ProcessState) -> DomainRouter:
    """`/`, `/health…`, `/metrics`."""
    router = DomainRouter(tags=["operations"])
    public = Permission.PUBLIC
    catalog = CatalogFigures(core)
    sources = (make_resources(core.settings, core.embedder), EngineFigures(core), catalog)

    async def read_catalog() -> bool:
        answers = await refresh_gauges(core)
        if answers:
            await catalog.refresh()
        return answers

    reading = _Reading(read_catalog)

    @router.get("/", permission=public)
    async def about() -> dict[str, str]:
        """Name and version."""
        return {"name": "S4", "version": __version__, "api": "/api/v1", "docs": "/docs"}

    @router.get("/health", permission=public)
    @router.get("/health/live", permission=public)
    async def live() -> dict[str, str]:
        """The process answers. Looks at no dependency."""
        return {"status": "alive"}

    @router.get("/health/ready", permission=public, responses={503: {"description": "Not ready."}})
    async def ready() -> Response:
        """Whether to send requests here, and the state of each dependency."""
        if state.draining:  # said at once: a balancer that waits for it sends requests meanwhile
            metrics.READY.set(0)
            return _not_ready({"status": "draining", "dependencies": {}, "reasons": {}, "catalog": "unknown"})
        database, store = await asyncio.gather(_check(core.database.ping), _check(core.store.ping))
        dependencies = {"database": database, "object_store": store}
        if state.worker is not None:
            dependencies["worker"] = state.worker
        full = without_room(core.settings)
        dependencies["disk"] = "full" if full else "ok"
        # Without a worker or a provider documents wait, but every request can be served, searches by keywords at least.
        trouble = next(filter(None, (embedder.trouble for embedder in core.models.embedders())), None)
        dependencies["embedding"] = "ok" if trouble is None else "degraded"
        if store != "ok" and core.replica is not None and await _check(core.replica.ping) == "ok":
            dependencies["object_store"] = store = (
                "failed_over"  # searches and downloads go on; writes are answered 503
            )
        # All replicas share the store: without it each answers what it can, and 503 with Retry-After to the rest, as no
        # balancer without a server would. A disk is each one's own.
        serving = database == "ok" and not full
        metrics.READY.set(serving)
        state_of_catalog = await current_state(core.database) if database == "ok" else "unknown"
        reasons = {} if trouble is None else {"embedding": trouble}
        if full:
            reasons["disk"] = ", ".join(f"{human_size(free)} free for {what}" for what, free in full.items())
        body = {
            "status": _status(serving, store),
            "dependencies": dependencies,
            "reasons": reasons,
            "catalog": state_of_catalog,
        }
        return JSONResponse(body) if serving else _not_ready(body)

    @router.get("/metrics", permission=public, include_in_schema=False)
    async def scrape(request: Request) -> Response:
        """Prometheus text of this process and its worker."""
        if not may_scrape(core.settings.metrics_token, request.headers.get("authorization", "")):
            raise Unauthenticated("Metrics need their token as Authorization: Bearer.")
        answers = await reading.done()
        ready = answers and not state.draining and not without_room(core.settings)
        metrics.READY.set(ready)  # nobody may have asked for readiness
        children = await state.child_metrics() if state.child_metrics is not None else {}
        texts = {"api": exposition.own(sources), **children}
        return Response(exposition.combined(texts), media_type=exposition.CONTENT_TYPE)

    return router


class _Reading:
    """What a scrape wants of the catalog: by one reader at a time, and waited for no longer than readiness does.

    A database that hangs would otherwise hold every scrape until the scraper has gone, and a process that only misses
    its database would pass for dead.
    """

    def __init__(self, read: Callable[[], Awaitable[bool]]) -> None:
        self._read = read
        self._task: asyncio.Future[bool] | None = None

    async def done(self) -> bool:
        """Whether the catalog has answered. If not, the next scrape waits for the same answer."""
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._read())
        await asyncio.wait({self._task}, timeout=_CHECK_SECONDS_MAX)
        return self._task.done() and self._task.result()


def _status(serving: bool, store: str) -> str:
    if not serving:
        return "unavailable"
    return "ready" if store in ("ok", "failed_over") else "degraded"


def _not_ready(body: Mapping[str, Any]) -> Response:
    return JSONResponse(body, status_code=503, headers={"Retry-After": str(int(_NOT_READY_RETRY.total_seconds()))})


async def refresh_gauges(core: Core) -> bool:
    """Figures that are read from the catalog when asked for. An absent catalog leaves the old ones; whether it is
    there."""
    try:
        async with core.database.read() as connection:
            depth = await core.queue.depth(connection)
            oldest = await core.queue.oldest_ready(connection)
            undelivered = await webhook_queries.oldest_pending(connection)
            now = await core.database.now(connection)
            await audit.refresh_gauges(core.database, connection)
            tasks = await states(connection, now)
            schedule.set_gauges(tasks, now)
            made_at = await deployment_made(connection) or now
            age_max = _backup_age_max(core.settings, tasks)
            await backups.refresh_gauges(connection, now, made_at=made_at, age_max=age_max)
    except Unavailable:
        return False
    metrics.QUEUE_DEPTH.clear()
    for kind, job_state, count in depth:
        metrics.QUEUE_DEPTH.labels(kind, job_state).set(count)
    metrics.QUEUE_OLDEST_SECONDS.set((now - oldest).total_seconds() if oldest is not None else 0)
    metrics.WEBHOOK_OLDEST_SECONDS.set((now - undelivered).total_seconds() if undelivered is not None else 0)
    return True


def _backup_age_max(settings: Settings, tasks: Iterable[TaskState]) -> timedelta:
    """How often backups are made, the catalog knows: the setting may be the workers' alone."""
    every = next((task.every for task in tasks if task.task == backups.CREATE), None) or timedelta()
    return timedelta(seconds=settings.rpo_target_seconds) or 2 * every


async def _check(ping: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS_MAX):
            await ping()
    except (Unavailable, TimeoutError):
        return "unavailable"
    return "ok"
