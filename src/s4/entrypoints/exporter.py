"""The tenant exporter: a process of its own that tells eight figures of every tenant, for who wants all of them.

It reads the catalog (the ledger's running month, balances, plans) when it is scraped and what it knows is older than
`S4_EXPORTER_SECONDS`, in one statement, and keeps the text until then: however many ask, the catalog is asked once.
It opens nothing but the catalog, needs no key, and one is enough. A tenant that is deleted is not in the next text.
"""

import asyncio
import ipaddress
import signal
import socket
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog
from prometheus_client import Metric

from s4.domains.analytics.census import everyone
from s4.entrypoints.bootstrap import database_url
from s4.entrypoints.listening import url_of
from s4.entrypoints.scraping import answer_scrapes
from s4.kernel.errors import InvalidRequest, Unavailable
from s4.kernel.settings import Settings
from s4.platform.background import in_background
from s4.platform.database import Database, is_there, migrate, open_database
from s4.platform.telemetry import exposition, metrics
from s4.platform.telemetry.metrics.buckets import Read
from s4.platform.telemetry.resources import Resources
from s4.platform.trust import trusting

log = structlog.get_logger()

_CONNECTIONS = 1  # one statement at a time
_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


async def run_exporter(settings: Settings, listening: socket.socket) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with trusting(settings.ca_file):
        if not is_there(database_url(settings)) or migrate.pending(database_url(settings)):
            raise Unavailable("There is no catalog of this release: run `s4 migrate` first.")
        database = open_database(
            database_url(settings), pool_size=_CONNECTIONS, timeout_seconds=settings.database_timeout_seconds
        )
        exporter = TenantExporter(
            database, every_seconds=settings.exporter_seconds, resources=Resources(folders={"data": settings.data_dir})
        )
        answers = answer_scrapes(
            listening, token=settings.metrics_token, exposed=exporter.exposed, ready=lambda: not stop.is_set()
        )
        try:
            async with in_background(answers):
                log.info("exporter.started", url=url_of(listening))
                await stop.wait()
        finally:
            await database.aclose()
    log.info("exporter.stopped")


def check_exposure(settings: Settings) -> None:
    """Raises `InvalidRequest` where strangers could read who the tenants are."""
    if settings.metrics_token is not None or _is_loopback(settings.host):
        return
    raise InvalidRequest(
        f"The exporter names every tenant: set S4_METRICS_TOKEN before it answers on {settings.host}, or keep S4_HOST "
        "on loopback."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class TenantExporter:
    """The text, and when it was read."""

    def __init__(self, database: Database, *, every_seconds: float, resources: Resources) -> None:
        self._database = database
        self._every_seconds = every_seconds
        self._resources = resources
        self._turn = asyncio.Lock()
        self._due = 0.0
        self._text: bytes | None = None
        self._read_at = 0.0
        self._took_seconds = 0.0

    async def exposed(self) -> bytes:
        """Raises `Unavailable` until the catalog has answered once; while it is away later, the old text stands."""
        async with self._turn:
            if time.monotonic() >= self._due:
                try:
                    await self._read()
                except Unavailable as error:
                    if self._text is None:
                        raise
                    log.warning("exporter.catalog_unavailable", error=error.message)
            assert self._text is not None, "it was read, or that raised"
            return exposition.only(self._own()) + self._text

    async def _read(self) -> None:
        started = time.perf_counter()
        now, rows = await everyone(self._database)
        self._text = await asyncio.to_thread(tenants_text, rows)
        self._took_seconds = time.perf_counter() - started
        self._read_at = now.timestamp()
        self._due = time.monotonic() + self._every_seconds

    def _own(self) -> list[Metric]:
        return [
            *metrics.BUILD_INFO.collect(),
            *self._resources(),
            metrics.EXPORTER_READ.of(self._read_at),
            metrics.EXPORTER_SECONDS.of(self._took_seconds),
        ]


def tenants_text(rows: Sequence[Any]) -> bytes:
    """Of rows as `census.everyone` gives them. Written by hand: the client library takes five times as long for it."""
    labels = [f'{{tenant_id="{row.tenant_id}"}}' for row in rows]
    lines = _head(metrics.TENANT_INFO)
    lines += [
        f'{metrics.TENANT_INFO.name}{{tenant_id="{row.tenant_id}",name="{_escaped(row.name)}",'
        f'plan_id="{_escaped(row.plan)}",status="{row.status}"}} 1'
        for row in rows
    ]
    for metric, column in (
        (metrics.TENANT_CALLS, "calls"),
        (metrics.TENANT_REQUESTS, "requests"),
        (metrics.TENANT_FAILURES, "failures"),
        (metrics.TENANT_STORED_BYTES, "stored_bytes"),
        (metrics.TENANT_DOCUMENTS, "documents"),
        (metrics.TENANT_UTILISATION, "utilisation"),
    ):
        lines += _head(metric)
        lines += [f"{metric.name}{label} {getattr(row, column)}" for label, row in zip(labels, rows, strict=True)]
    lines += _head(metrics.TENANT_LAST_SEEN)
    lines += [
        f"{metrics.TENANT_LAST_SEEN.name}{label} {_timestamp(row.last_activity_at)}"
        for label, row in zip(labels, rows, strict=True)
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _head(metric: Read) -> list[str]:
    documentation = metric.documentation.replace("\\", r"\\").replace("\n", r"\n")
    return [f"# HELP {metric.name} {documentation}", f"# TYPE {metric.name} {metric.type}"]


def _escaped(value: str) -> str:
    return value.translate(_ESCAPED)


def _timestamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else 0.0
