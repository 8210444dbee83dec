"""What the operator configured: plans, administrators, webhooks, notices. Each is a chain under `system/{collection}/`,
and one row of one table in the catalog, whose `body` is what the newest head says.

A record that never had a head has revision 0: it came with the schema (the default plans).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.kernel import keys
from s4.kernel.keys import Collection, ObjectKey, ObjectPrefix
from s4.platform.chains.head import ABANDONED, Draft, Head, Subject
from s4.platform.chains.writer import Chains
from s4.platform.database import Connection, Database, JsonValue, UtcDateTime, metadata, upsert
from s4.platform.objects import ObjectStore

LIVE = "live"
TOMBSTONE = "tombstone"
_VOID = "void"

records = sa.Table(
    "records",
    metadata,
    sa.Column("collection", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("tenant_id", sa.String(40), nullable=False, comment="Whose it is; empty for the operator's."),
    sa.Column("revision", sa.BigInteger, nullable=False, comment="Of the head chain; 0 came with the schema."),
    sa.Column("state", sa.String(16), nullable=False, comment="live, tombstone, void"),
    sa.Column("body", JsonValue, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index("ix_records_tenant_id", "collection", "tenant_id", "name"),
)


@dataclass(frozen=True, slots=True)
class Record:
    """A live record."""

    name: str
    tenant_id: str
    revision: int
    body: Mapping[str, Any]
    updated_at: datetime


Decide = Callable[[Connection, datetime, Record | None], Awaitable[Mapping[str, Any] | None]]
"""Sees the record as it is, refuses by raising, or answers with the next body; None deletes it."""
Noted = Callable[[Connection, Record | None, Record | None], Awaitable[None]]
"""Runs in the transaction that makes the change visible, with the record before and after."""


class RecordChain:
    """A `ChainKind` for one collection."""

    steps = "record"

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    @property
    def name(self) -> str:
        return self._collection.value

    def head_key(self, subject: Subject, revision: int) -> ObjectKey:
        return keys.system_head(self._collection, subject.subject_id, revision)

    def heads_prefix(self, subject: Subject) -> ObjectPrefix:
        return keys.system_heads(self._collection, subject.subject_id)

    async def revision(self, connection: Connection, subject: Subject) -> int:
        found = await connection.execute(
            sa.select(records.c.revision).where(*self._is(subject.subject_id)).with_for_update()
        )
        return found.scalar_one_or_none() or 0

    async def apply(self, connection: Connection, head: Head) -> None:
        name = head.subject.subject_id
        row = (await connection.execute(sa.select(records).where(*self._is(name)).with_for_update())).one_or_none()
        if row is not None and row.revision >= head.revision:
            return
        values: dict[str, Any] = {"revision": head.revision}
        if head.state != ABANDONED:
            values |= {"state": head.state, "tenant_id": head.body["tenant_id"], "body": head.body["is"],
                       "updated_at": head.committed_at}  # fmt: skip
        void = {"state": _VOID, "tenant_id": "", "body": {}, "updated_at": head.committed_at}
        identity = {"collection": self._collection.value, "name": name}
        await connection.execute(
            upsert(connection, records, void | identity | values, conflict=list(identity), update=values)
        )

    def _is(self, name: str) -> tuple[sa.ColumnElement[bool], ...]:
        return records.c.collection == self._collection.value, records.c.name == name


class Records:
    """One collection: read in the caller's transaction, changed through its chains."""

    def __init__(self, collection: Collection, database: Database, chains: Chains) -> None:
        self._collection = collection
        self._database = database
        self._chains = chains

    async def get(self, connection: Connection, name: str) -> Record | None:
        """The live record of that name."""
        row = (await connection.execute(self._live().where(records.c.name == name))).one_or_none()
        return _record(row) if row is not None else None

    async def all(self, connection: Connection, *, tenant_id: str | None = None) -> list[Record]:
        """The live records in order of their names, of one tenant or of all."""
        wanted = self._live().order_by(records.c.name)
        if tenant_id is not None:
            wanted = wanted.where(records.c.tenant_id == tenant_id)
        return [_record(row) for row in await connection.execute(wanted)]

    async def change(self, name: str, decide: Decide, *, noted: Noted, tenant_id: str = "") -> Record | None:
        """Commits what `decide` answers with. The record as it is then; None when it is gone. Raises as
        `Chains.commit`, and what `decide` raises."""
        before: Record | None = None

        async def seal(connection: Connection, now: datetime) -> Draft:
            nonlocal before
            before = await self.get(connection, name)
            body = await decide(connection, now, before)
            said = {"tenant_id": tenant_id, "is": dict(body) if body is not None else {}}
            return Draft(LIVE if body is not None else TOMBSTONE, said)

        async def settled(connection: Connection, _: Head) -> Record | None:
            after = await self.get(connection, name)
            await noted(connection, before, after)
            return after

        return await self._chains.commit(self._subject(name), seal=seal, settled=settled)

    async def adopt_all(self, store: ObjectStore) -> int:
        """Follows every chain of the collection in the bucket. Answers with their number."""
        adopted = 0
        prefix = keys.collection(self._collection)
        for child in await store.list_children(prefix):
            name = child.removeprefix(prefix).rstrip("/")
            if keys.is_system_name(name):
                await self._chains.adopt(self._subject(name))
                adopted += 1
        return adopted

    def _live(self) -> sa.Select[Any]:
        return sa.select(records).where(records.c.collection == self._collection.value, records.c.state == LIVE)

    def _subject(self, name: str) -> Subject:
        return Subject(self._collection.value, "", name)


def _record(row: sa.Row[Any]) -> Record:
    return Record(row.name, row.tenant_id, row.revision, row.body, row.updated_at)
