"""What the operator configured: plans, administrators, webhooks, notices. Each is a chain under `system/{collection}/`,
and one row of one table in the catalog, whose `body` is what the newest head says.

Of a chain whose end cannot be read the catalog notes how far it goes: a record of that name can be made anew behind it,
and what it said counts again once it can be read.

A record that never had a head has revision 0: it came with the schema (the default plans).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.kernel import keys
from s4.kernel.errors import DataCorrupt
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
Damaged = Callable[[Subject, DataCorrupt], None]
"""Is told of a chain whose end cannot be read."""


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
            sa.select(records.c.revision).where(*_is(self._collection, subject.subject_id)).with_for_update()
        )
        return found.scalar_one_or_none() or 0

    async def apply_new(self, connection: Connection, chains: Sequence[Sequence[Head]]) -> set[Subject]:  # noqa: ARG002
        return set()

    async def apply(self, connection: Connection, head: Head) -> None:
        name = head.subject.subject_id
        row = (
            await connection.execute(sa.select(records).where(*_is(self._collection, name)).with_for_update())
        ).one_or_none()
        if row is not None and _is_known(row, head):
            return
        values: dict[str, Any] = {"revision": head.revision}
        if head.state != ABANDONED:
            values |= {"state": head.state, "tenant_id": head.body["tenant_id"], "body": head.body["is"],
                       "updated_at": head.committed_at}  # fmt: skip
        void = _void(self._collection, name, at=head.committed_at)
        await connection.execute(upsert(connection, records, void | values, conflict=_IDENTITY, update=values))


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

    async def adopt_all(self, store: ObjectStore, damaged: Damaged) -> int:
        """Follows every chain of the collection in the bucket. Answers with the number of those that can be read."""
        adopted = 0
        prefix = keys.collection(self._collection)
        for child in await store.list_children(prefix):
            name = child.removeprefix(prefix).rstrip("/")
            if keys.is_system_name(name):
                try:
                    await self._chains.adopt(self._subject(name))
                    adopted += 1
                except DataCorrupt as error:  # one damaged head keeps nobody else from coming back
                    damaged(self._subject(name), error)
                    await self._set_aside(name)
        return adopted

    async def _set_aside(self, name: str) -> None:
        """Notes how far a chain goes that says nothing. What the catalog knows of the record stays; a default plan is
        as the schema has it."""
        revision = await self._chains.newest_revision(self._subject(name))

        async def note(connection: Connection) -> None:
            void = _void(self._collection, name, at=await self._database.now(connection))
            await connection.execute(upsert(connection, records, void | {"revision": revision}, conflict=_IDENTITY))
            default = sa.update(records).where(*_is(self._collection, name), records.c.revision == 0)
            await connection.execute(default.values(revision=revision))

        await self._database.transact(note)

    def _live(self) -> sa.Select[Any]:
        return sa.select(records).where(records.c.collection == self._collection.value, records.c.state == LIVE)

    def _subject(self, name: str) -> Subject:
        return Subject(self._collection.value, "", name)


def whose(key: str, data: bytes) -> str:
    """The tenant of which a record's head speaks; empty for the operator's, and for what is no such head. Raises
    `DataCorrupt`."""
    named = keys.parse_system_head(key)
    if named is None:
        return ""
    return str(Head.from_bytes(data, expected=Subject(named[0].value, "", named[1])).body.get("tenant_id", ""))


_IDENTITY = ("collection", "name")


def _is(collection: Collection, name: str) -> tuple[sa.ColumnElement[bool], ...]:
    return records.c.collection == collection.value, records.c.name == name


def _void(collection: Collection, name: str, *, at: datetime) -> dict[str, Any]:
    return {"collection": collection.value, "name": name, "state": _VOID, "tenant_id": "", "body": {}, "updated_at": at}


def _is_known(row: sa.Row[Any], head: Head) -> bool:
    """Not of a chain that was set aside, whatever revision was noted then."""
    if row.state == _VOID and head.state != ABANDONED:
        return False
    return bool(row.revision > head.revision or (row.revision, row.updated_at) == (head.revision, head.committed_at))


def _record(row: sa.Row[Any]) -> Record:
    return Record(row.name, row.tenant_id, row.revision, row.body, row.updated_at)
