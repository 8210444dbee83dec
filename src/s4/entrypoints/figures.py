"""Sources of metrics that are read when a process is scraped, each made of the parts that it looks at."""

import asyncio
import time
from collections.abc import Iterator, Mapping

from prometheus_client import Metric

from s4.domains.analytics.census import Census, take_census
from s4.domains.indexing.queries.sizes import IndexSizes, index_sizes
from s4.engine.embedding.base import Embedder
from s4.entrypoints.bootstrap import Core
from s4.entrypoints.disks import watched
from s4.kernel.errors import Unavailable
from s4.kernel.settings import Settings
from s4.platform.telemetry import metrics
from s4.platform.telemetry.resources import Resources

_INDEX_TIMES = 10  # less often than tenants: each table's list of files is read
_OF_ONES_OWN = ("local", "deterministic")  # providers that bill nothing
_MILLION = 1_000_000


def make_resources(settings: Settings, embedder: Embedder) -> Resources:
    """What this process uses. A worker adds its extraction children."""
    threads = getattr(embedder, "threads_used", None)
    return Resources(
        folders=watched(settings), embedding_threads=(lambda: set(threads)) if threads is not None else None
    )


class EngineFigures:
    """What embedding cost, and what the engine keeps in memory."""

    def __init__(self, core: Core) -> None:
        self._vectors = core.vectors
        self._currency = core.settings.price_currency
        self._price_million = core.settings.price_embedding_million_tokens

    def __call__(self) -> Iterator[Metric]:
        yield metrics.INDEX_CACHE_BYTES.of(self._vectors.cached_bytes)
        yield metrics.INDEX_HANDLES.of(self._vectors.open_tables)
        tokens = [each for family in metrics.EMBEDDING_TOKENS.collect() for each in family.samples]
        yield metrics.EMBEDDING_COST.of(
            ((provider, self._currency), sample.value / _MILLION * self._price_of(provider))
            for sample in tokens
            for provider in (sample.labels["provider"],)
        )

    def _price_of(self, provider: str) -> float:
        return 0.0 if provider in _OF_ONES_OWN else self._price_million


class CatalogFigures:
    """What the catalog knows of tenants and index tables, read now and then, as long as somebody asks.

    Tenants are named only behind a token: whoever reaches the port may be one of them.
    """

    def __init__(self, core: Core) -> None:
        settings = core.settings
        self._database = core.database
        self._generations = core.generations
        self._named_max = settings.metrics_tenants_top if settings.metrics_token is not None else 0
        self._every_seconds = settings.metrics_catalog_seconds
        self._turn = asyncio.Lock()
        self._due = self._index_due = 0.0
        self._read_at = 0.0
        self._census: Census | None = None
        self._sizes = IndexSizes()
        self._done: Mapping[str, float] = {}

    async def refresh(self) -> None:
        """If it is time. While the catalog is away the old figures stay."""
        async with self._turn:
            now = time.monotonic()
            if now < self._due:
                return
            try:
                self._census = await take_census(self._database, named_max=self._named_max)
                if now >= self._index_due:
                    async with self._database.read() as connection:
                        self._sizes = await index_sizes(connection)
                    self._done = await self._generations.done()
                    self._index_due = now + _INDEX_TIMES * self._every_seconds
            except Unavailable:
                return
            self._due = now + self._every_seconds
            self._read_at = time.time()

    def __call__(self) -> Iterator[Metric]:
        if (census := self._census) is None:
            return
        yield metrics.CATALOG_READ.of(self._read_at)
        yield metrics.TENANTS.of(census.statuses)
        yield metrics.TENANTS_SEEN.of(census.seen)
        yield metrics.TOP_CALLS.of(census.calls)
        yield metrics.TOP_STORED_BYTES.of(census.stored_bytes)
        yield metrics.TOP_UTILISATION.of(census.utilisation)
        yield metrics.INDEX_TABLES.of(self._sizes.tables)
        yield metrics.INDEX_GENERATION_DONE.of(self._done)
        yield metrics.INDEX_BYTES.of(self._sizes.size_bytes)
        yield metrics.INDEX_FRAGMENTS.of({"all": self._sizes.fragments, "most": self._sizes.fragments_most})
        yield metrics.INDEX_UNOPTIMIZED.of({"all": self._sizes.commits, "most": self._sizes.commits_most})
