"""Which table a search reads, and reading it: a tenant's, of one generation, at the version that the catalog names."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar

from s4.domains.indexing import Generation, Model
from s4.domains.indexing.queries import tables as index_queries
from s4.domains.indexing.queries.tables import TableState
from s4.domains.search.stages import stage
from s4.engine.vectors import Sums, TableReader, VectorStore, VersionGone
from s4.kernel.errors import Unavailable
from s4.kernel.ids import TenantId
from s4.platform.database import Database

T = TypeVar("T")

_REMADE_AGAIN = timedelta(seconds=5)
_STEADY_MAX = 4_096  # tenants whose table is remembered


@dataclass(frozen=True, slots=True)
class Where:
    """Whose table of which generation is read."""

    tenant_id: TenantId
    model: Model

    @property
    def generation(self) -> Generation:
        """Raises `Unavailable` while nobody knows it yet: then nothing can have been indexed with it."""
        return self.model.generation


class TenantTables:
    """Opens tables, and remembers which one a tenant had."""

    def __init__(self, database: Database, vectors: VectorStore) -> None:
        self._database = database
        self._vectors = vectors
        self._steady: OrderedDict[Where, TableState] = OrderedDict()

    def likely(self, where: Where) -> TableState | None:
        """What the catalog said last, if the search before found it unchanged. Whether it still is, tells the verdict,
        which every search waits for; so nothing is asked that is as good as known."""
        return self._steady.get(where)

    def note(self, where: Where, table: TableState | None) -> None:
        """`table`: None when it moved; then the next search asks before it reads."""
        self._steady.pop(where, None)
        if table is not None:
            self._steady[where] = table
            if len(self._steady) > _STEADY_MAX:
                self._steady.popitem(last=False)

    async def read(self, where: Where, table: TableState, read: Callable[[TableReader], Awaitable[T]]) -> T | None:
        """None when this version of the table is no longer there."""
        try:
            with stage("open"):
                reader = await self.reader(where, table)
            if reader is None:
                return None
            with stage("fetch"):
                return await read(reader)
        except VersionGone:
            return None

    async def reader(self, where: Where, table: TableState) -> TableReader | None:
        prefix = where.generation.prefix(where.tenant_id, table.incarnation)
        return await self._vectors.reader(prefix, table.version, recorded=partial(self._recorded, where, table))

    async def _recorded(self, where: Where, table: TableState) -> Sums:
        """What the table's files are, if it is still this one."""
        async with self._database.read() as connection:
            known = await index_queries.table_record(connection, where.tenant_id, where.generation.id)
        return known.sums if known is not None and known.state.incarnation == table.incarnation else {}


def opened(state: TableState | None) -> TableState | None:
    """The table to search; None when there is nothing in it. Raises `Unavailable` while it is made anew."""
    if state is not None and not state.is_whole:
        raise Unavailable("The index is being made anew; try again.", retry_after=_REMADE_AGAIN)
    return state if state is not None and state.version > 0 else None


def replaced() -> VersionGone:
    return VersionGone("The index is being replaced; try again.")
