"""Statements on the trail. None changes what an entry says, none removes one: sealing adds its place to a row."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.audit.model import Batch, ChainHead, Entry
from s4.domains.audit.models import audit_batches, audit_checks, audit_entries
from s4.kernel.clock import parse_rfc3339, rfc3339
from s4.kernel.context import Actor
from s4.kernel.errors import InvalidRequest
from s4.kernel.ids import base32
from s4.kernel.pages import PageRequest, decode_cursor, encode_cursor
from s4.platform.database import Connection, upsert

_IDS_MAX = 500  # in one statement: SQLite's oldest bound for parameters is 999


async def record(
    connection: Connection,
    actor: Actor,
    action: str,
    subject: str,
    *,
    tenant_id: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Part of the transaction that makes the act visible: the one is there exactly when the other is. Never with a
    secret in `before` or `after`."""
    postgres = connection.dialect.name == "postgresql"
    await connection.execute(
        sa.insert(audit_entries).values(
            entry_id="aud_" + base32(secrets.token_bytes(16)),
            at=sa.func.clock_timestamp() if postgres else datetime.now(UTC),  # the database's clock, either way
            actor_kind=actor.kind,
            actor=actor.name,
            action=action,
            subject=subject,
            tenant_id=tenant_id,
            before=dict(before) if before is not None else sa.null(),
            after=dict(after) if after is not None else sa.null(),
            address=actor.origin.address,
            request_id=actor.origin.request_id,
        )
    )


async def add(connection: Connection, entries: Sequence[Entry]) -> None:
    """Those that are there already stay as they are: whoever does not know whether it was heard says it again."""
    for entry in entries:
        await connection.execute(upsert(connection, audit_entries, _values(entry), conflict=["entry_id"]))


# -- reading


@dataclass(frozen=True, slots=True)
class Been:
    """Whether somebody acted before: from an address, from any."""

    here: bool
    anywhere: bool


async def been(connection: Connection, administrator: str, address: str, *, before: datetime, told_as: str) -> Been:
    """As the trail has it. An entry of the action `told_as` counts whenever it was made: another process was first."""
    theirs = sa.and_(audit_entries.c.actor_kind == "admin", audit_entries.c.actor == administrator)
    earlier = audit_entries.c.at < before
    here = sa.and_(theirs, audit_entries.c.address == address, sa.or_(earlier, audit_entries.c.action == told_as))
    found = await connection.execute(
        sa.select(sa.exists().where(here), sa.exists().where(theirs, earlier, audit_entries.c.address.is_not(None)))
    )
    return Been(*found.one())


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries. `since` is included, `until` is not."""

    tenant_id: str | None = None
    actor: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry, and its place in the chain once it has one."""

    entry: Entry
    batch: int | None
    position: int | None
    digest: str | None


async def page(connection: Connection, wanted: Wanted, request: PageRequest) -> tuple[list[Listed], str | None]:
    """Newest first, and the cursor of what follows."""
    conditions = _conditions(wanted)
    if request.cursor is not None:
        stamp, entry_id = decode_cursor(request.cursor, parts=2)
        try:
            moment = parse_rfc3339(stamp)
        except ValueError as error:
            raise InvalidRequest("The cursor is not one that S4 returned.") from error
        if "\x00" in entry_id or len(entry_id) > 40:
            raise InvalidRequest("The cursor is not one that S4 returned.")
        older = sa.and_(audit_entries.c.at == moment, audit_entries.c.entry_id < entry_id)
        conditions.append(sa.or_(audit_entries.c.at < moment, older))
    rows = await connection.execute(
        sa.select(audit_entries)
        .where(*conditions)
        .order_by(audit_entries.c.at.desc(), audit_entries.c.entry_id.desc())
        .limit(request.limit + 1)
    )
    found = [_listed(row) for row in rows]
    last = found[request.limit - 1].entry if len(found) > request.limit else None
    return found[: request.limit], encode_cursor(rfc3339(last.at), last.entry_id) if last is not None else None


def _conditions(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    columns = audit_entries.c
    conditions = [
        column == value
        for column, value in (
            (columns.tenant_id, wanted.tenant_id),
            (columns.actor, wanted.actor),
            (columns.action, wanted.action),
        )
        if value is not None
    ]
    if wanted.since is not None:
        conditions.append(columns.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(columns.at < wanted.until)
    return conditions


# -- sealing


async def head(connection: Connection) -> ChainHead:
    """Where the chain ends, as far as the catalog knows."""
    newest = sa.select(audit_batches).order_by(audit_batches.c.sequence.desc()).limit(1)
    row = (await connection.execute(newest)).one_or_none()
    return ChainHead(row.sequence, row.last_position, row.hash) if row is not None else ChainHead()


async def unsealed(connection: Connection, *, limit: int) -> list[Entry]:
    """In the order in which they are sealed. Who commits late is found by the next look: what counts is the mark, not
    the moment."""
    rows = await connection.execute(
        sa.select(audit_entries)
        .where(audit_entries.c.batch.is_(None))
        .order_by(audit_entries.c.at, audit_entries.c.entry_id)
        .limit(limit)
    )
    return [_entry(row) for row in rows]


async def oldest_unsealed(connection: Connection) -> datetime | None:
    found = await connection.execute(sa.select(sa.func.min(audit_entries.c.at)).where(audit_entries.c.batch.is_(None)))
    moment: datetime | None = found.scalar_one()
    return moment


async def settle(connection: Connection, batch: Batch) -> None:
    """Gives the entries of a batch their places. Rows that are missing come back from the batch; one that is sealed
    already stays as it is."""
    known: set[str] = set()
    for some in _some([each.entry.entry_id for each in batch.entries]):
        found = await connection.execute(sa.select(audit_entries.c.entry_id).where(audit_entries.c.entry_id.in_(some)))
        known |= set(found.scalars())
    await add(connection, [each.entry for each in batch.entries if each.entry.entry_id not in known])
    await connection.execute(
        sa.update(audit_entries)
        .where(audit_entries.c.entry_id == sa.bindparam("sealed"), audit_entries.c.batch.is_(None))
        .values(batch=batch.sequence, position=sa.bindparam("place"), hash=sa.bindparam("digest")),
        [{"sealed": each.entry.entry_id, "place": each.position, "digest": each.digest} for each in batch.entries],
    )
    values = {
        "sequence": batch.sequence,
        "last_position": batch.head.position,
        "hash": batch.head.digest,
        "sealed_at": batch.sealed_at,
    }
    await connection.execute(upsert(connection, audit_batches, values, conflict=["sequence"]))


# -- verifying


async def digest_of(connection: Connection, sequence: int) -> str | None:
    """The hash with which the catalog says that a batch ends; None for a batch that it does not know."""
    found = await connection.execute(sa.select(audit_batches.c.hash).where(audit_batches.c.sequence == sequence))
    digest: str | None = found.scalar_one_or_none()
    return digest


async def is_pruned(connection: Connection, sequence: int) -> bool:
    """Whether the entries of a batch have left the catalog because of their age."""
    found = await connection.execute(sa.select(audit_batches.c.pruned_at).where(audit_batches.c.sequence == sequence))
    return found.scalar_one_or_none() is not None


async def rows_of(connection: Connection, batch: Batch) -> list[Listed]:
    """What the catalog holds of a batch: all that claim to belong to it, and all that it names."""
    rows = await connection.execute(
        sa.select(audit_entries)
        .where(audit_entries.c.batch == batch.sequence)
        .order_by(audit_entries.c.position, audit_entries.c.entry_id)
    )
    found = {row.entry_id: _listed(row) for row in rows}
    missing = [each.entry.entry_id for each in batch.entries if each.entry.entry_id not in found]
    for some in _some(missing):
        others = await connection.execute(sa.select(audit_entries).where(audit_entries.c.entry_id.in_(some)))
        found |= {row.entry_id: _listed(row) for row in others}
    return list(found.values())


async def stray(connection: Connection, *, beyond: int) -> Listed | None:
    """An entry that claims to be in a batch that there is not."""
    claims = sa.or_(audit_entries.c.batch > beyond, audit_entries.c.batch < 1)
    row = (await connection.execute(sa.select(audit_entries).where(claims).limit(1))).one_or_none()
    return _listed(row) if row is not None else None


async def note_check(connection: Connection, *, at: datetime, batches: int, problem: str | None) -> None:
    values = {"at": at, "batches": batches, "problem": problem}
    await connection.execute(
        upsert(connection, audit_checks, {"singleton": 1} | values, conflict=["singleton"], update=values)
    )


async def last_check(connection: Connection) -> sa.Row[Any] | None:
    """What the last regular verification found."""
    row: sa.Row[Any] | None = (await connection.execute(sa.select(audit_checks))).one_or_none()
    return row


def _some(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + _IDS_MAX] for start in range(0, len(ids), _IDS_MAX))


def _values(entry: Entry) -> dict[str, Any]:
    values = asdict(entry)
    for name in ("before", "after"):
        values[name] = sa.null() if values[name] is None else values[name]
    return values


def _entry(row: sa.Row[Any]) -> Entry:
    said = row._mapping  # `row.count` would be the method of a tuple
    return Entry(
        entry_id=row.entry_id, at=row.at, actor_kind=row.actor_kind, actor=row.actor, action=row.action,
        subject=row.subject, tenant_id=row.tenant_id, before=row.before, after=row.after, address=row.address,
        request_id=row.request_id, status=row.status, count=said["count"],
    )  # fmt: skip


def _listed(row: sa.Row[Any]) -> Listed:
    return Listed(_entry(row), row.batch, row.position, row.hash)
