"""The way in: one `VectorStore` per process, for all tenants, with caches of bounded size.

LanceDB remembers something of every version that it saw, until the cache is full. A writer sees each version once, so
writers share a small cache of their own, and never push out what searches need.

A table lives at `{base}/{prefix}/chunks.lance`, where the prefix is that of one making of a generation
(`kernel/keys.py`).
"""

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from s4.engine.vectors.copies import Recorded, TableCopies
from s4.engine.vectors.errors import is_missing_table, reading, writing
from s4.engine.vectors.handles import HandlePool
from s4.engine.vectors.reader import TableReader
from s4.engine.vectors.schema import TABLE, LanceConnection, LanceTable
from s4.engine.vectors.writer import TableWriter

if TYPE_CHECKING:
    from lancedb import Session

CopiesOn = Callable[[Callable[[str], None]], TableCopies]
"""Makes the keeper of local copies; it is given what to call before a place goes."""

WRITERS_SHARE = 8
"""Writers get this part of the caches: the footers of some hundred files that the next batch reads again."""


class VectorStore:
    """Hands out readers and writers. Belongs to one event loop."""

    def __init__(
        self,
        base_uri: str,
        *,
        storage_options: Mapping[str, str],
        index_cache_bytes: int,
        metadata_cache_bytes: int,
        handles_max: int,
        read_timeout: timedelta,
        copies: CopiesOn | None = None,
        threads: int = 0,
    ) -> None:
        """`base_uri` is a local directory, `s3://bucket/prefix` or `gs://bucket/prefix`; `storage_options` are its.
        `copies` makes the keeper of tables on local disk; None where the base is a local disk itself. `threads` compute
        at once in LanceDB and in Arrow; 0 is what the libraries take to be right.

        The caches count as LanceDB does: entries of versions in the index cache take two to three times as much
        (measured with 0.40), those in the metadata cache a fifth more.
        """
        # LanceDB takes a relative path that begins with "db" for its cloud service, hence absolute.
        self._base = base_uri.rstrip("/") if "://" in base_uri else str(Path(base_uri).absolute())
        self._storage_options = dict(storage_options)
        self._index_cache_bytes = index_cache_bytes
        self._metadata_cache_bytes = metadata_cache_bytes
        self._read_timeout = read_timeout
        self._threads = threads
        self._pool = HandlePool(self._open, handles_max=handles_max)
        self._sessions: dict[bool, Session] = {}
        """By whether they write."""
        self._copies = copies(self._pool.forget) if copies is not None else None

    async def preload(self) -> None:
        """Imports LanceDB, which takes seconds, so that the first search does not."""
        os.environ.setdefault(
            "LANCEDB_LOG", "off"
        )  # it writes to stderr itself, and raises what matters; read at import
        # Arrow's own allocator, mimalloc, keeps a heap per thread. Rows are made in one thread and freed in LanceDB's,
        # so it came to hold 57 MiB of which nothing was in use. Read when Arrow first takes memory.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
        if self._threads:
            # Read by LanceDB's pool for computation, its runtime, and Arrow, each when it begins.
            for variable in ("LANCE_CPU_THREADS", "TOKIO_WORKER_THREADS", "OMP_NUM_THREADS"):
                os.environ.setdefault(variable, str(self._threads))
        await asyncio.to_thread(importlib.import_module, "lancedb")

    async def reader(self, prefix: str, version: int, *, recorded: Recorded | None = None) -> TableReader | None:
        """The table pinned at `version`, or None when it was never written.

        With `recorded`, for searches: from a copy on local disk, if there is one or it is soon made, held against what
        was recorded. Raises `VersionGone` when the version was cleaned up, `IndexDamaged` when files of it are not what
        they were, `Unavailable` when the store does not answer.
        """
        name = _name(prefix)
        place = None
        if self._copies is not None and recorded is not None:
            place = await self._copies.place(name, version, recorded)
        reader = TableReader(
            self._pool,
            str(place) if place is not None else self._in_store(name),
            version,
            read_timeout=self._read_timeout,
            on_damage=partial(self._distrust, name) if place is not None else None,
        )
        return reader if await reader.exists() else None

    @asynccontextmanager
    async def copies_kept(self) -> AsyncIterator[None]:
        """From here to the end of the block, what an earlier process left on local disk is taken over, and what nobody
        uses is removed. Without it, copies are made but never get old."""
        async with nullcontext() if self._copies is None else self._copies.kept():
            yield

    async def writer(self, prefix: str, dimension: int) -> TableWriter:
        """Writes to the table's latest version; makes the table at the first write. Close it after use."""
        with writing("connect"):
            return TableWriter(await self._connect(self._in_store(_name(prefix)), writes=True), dimension)

    async def forget(self, prefix: str) -> None:
        """Drops what is cached of a table, because it was removed or made anew."""
        self._pool.forget(self._in_store(_name(prefix)))
        if self._copies is not None:
            await self._copies.remove(_name(prefix))

    async def close(self) -> None:
        """Closes every open table. Searches that still run finish first."""
        if self._copies is not None:
            await self._copies.close()
        self._pool.close()
        self._sessions.clear()

    @property
    def open_tables(self) -> int:
        return len(self._pool)

    @property
    def cached_bytes(self) -> int:
        """As LanceDB counts them."""
        return sum(session.size_bytes for session in self._sessions.values())

    def _in_store(self, name: str) -> str:
        return f"{self._base}/{name}"

    async def _distrust(self, name: str) -> None:
        if self._copies is not None:
            await self._copies.distrust(name)
            self._sessions.pop(False, None)  # LanceDB remembers files by their paths, and may hold the damaged ones

    async def _open(self, place: str) -> LanceTable | None:
        with reading("open"):
            connection = await self._connect(place, writes=False)
            try:
                return await connection.open_table(TABLE)
            except ValueError as error:
                if is_missing_table(error):
                    return None
                raise
            finally:
                connection.close()

    async def _connect(self, place: str, *, writes: bool) -> LanceConnection:
        await self.preload()
        import lancedb

        if writes not in self._sessions:
            share = WRITERS_SHARE if writes else 1
            self._sessions[writes] = lancedb.Session(
                index_cache_size_bytes=self._index_cache_bytes // share,
                metadata_cache_size_bytes=self._metadata_cache_bytes // share,
            )
        options = self._storage_options if place.startswith(self._base) else None
        return await lancedb.connect_async(place, storage_options=options, session=self._sessions[writes])


def _name(prefix: str) -> str:
    return prefix.strip("/")
