"""What has to be done again and again by a person, or seen by one: the checklist of the guide.

An item was done when the catalog has it (a verification, a drill, the audit trail's check), or when somebody said so:
`mark_done`, which leaves an entry in the audit trail. The later of the two counts.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from s4.domains import audit
from s4.domains.audit import queries as audit_queries
from s4.domains.backup import queries as backup_queries
from s4.domains.maintenance.queries import deployment_made
from s4.domains.upkeep import queries
from s4.kernel.context import Actor, AdminContext
from s4.kernel.errors import InvalidRequest, NotFound
from s4.kernel.permissions import Permission
from s4.platform.database import Connection, Database

_NOTE_CHARS_MAX = 2000


@dataclass(frozen=True, slots=True)
class Item:
    """`every`: how long it may lie back. `how`: what to do, for a person."""

    name: str
    title: str
    every: timedelta
    how: str


ITEMS: tuple[Item, ...] = (
    Item(
        "dependency-updates",
        "Dependencies are updated",
        timedelta(days=30),
        "Take the newest release of S4, or relock and test one's own build; then roll it out.",
    ),
    Item(
        "security-patches",
        "Known vulnerabilities are looked at and patched",
        timedelta(days=7),
        "Read the audit of the dependencies and the distribution's advisories; patch what concerns you.",
    ),
    Item(
        "performance-review",
        "Latency, errors and capacity of the month are reviewed",
        timedelta(days=31),
        "Read the month's performance report, `s4 sla show`, and what `s4 doctor` says of degradation.",
    ),
    Item(
        "cost-review",
        "Costs of the month are reviewed, by tenant",
        timedelta(days=31),
        "Read the month's cost report and compare it with the bill; `s4 usage top` names the tenants.",
    ),
    Item(
        "backup-verification",
        "The latest backup is read and compared with its sums",
        timedelta(days=7),
        "Set S4_BACKUP_VERIFY_HOURS, or ask for it: s4 schedule run backup.verify",
    ),
    Item(
        "restore-test",
        "The latest backup is restored and verified",
        timedelta(days=90),
        "Set S4_BACKUP_DRILL_HOURS, or run: s4 backup drill",
    ),
    Item(
        "key-rotation",
        "Administrators' keys, S4_SECRET_KEY and the store's credentials are rotated",
        timedelta(days=180),
        "s4 admin rotate, S4_PREVIOUS_SECRET_KEY and `s4 secrets status`, new credentials of the store.",
    ),
    Item(
        "isolation-proof",
        "The isolation of tenants is proved on the live deployment",
        timedelta(days=90),
        "Run `s4 verify-isolation` and keep its report.",
    ),
    Item(
        "audit-verification",
        "The audit trail is compared with its sealed batches",
        timedelta(days=7),
        "A worker does it every S4_AUDIT_VERIFY_HOURS; at once: s4 schedule run audit.verify",
    ),
)
"""In the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """That something was done."""

    at: datetime
    by: str
    note: str


@dataclass(frozen=True, slots=True)
class ItemState:
    """`last` is None for what was never done: that is due an interval after the deployment was made."""

    item: Item
    last: Evidence | None
    due_at: datetime
    is_overdue: bool


class Checklist:
    """For administrators."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def items(self, context: AdminContext) -> list[ItemState]:
        """All of them, in the order of `ITEMS`."""
        context.require(Permission.ADMIN_READ)
        async with self._database.read() as connection:
            return await states(connection, await self._database.now(connection))

    async def done(self, context: AdminContext, item: str, note: str) -> ItemState:
        """Raises `NotFound`, and `InvalidRequest` for a note that is too long."""
        context.require(Permission.ADMIN_WRITE)

        async def mark(connection: Connection) -> ItemState:
            now = await self._database.now(connection)
            await mark_done(connection, context.actor, item, note=note, now=now)
            return next(state for state in await states(connection, now) if state.item.name == item)

        return await self._database.transact(mark)


async def mark_done(connection: Connection, actor: Actor, item: str, *, note: str, now: datetime) -> None:
    """Notes that `item`, the name of one of `ITEMS`, was done just now, and who says so; part of the caller's
    transaction. `note` is what shows it. Raises `NotFound`, `InvalidRequest`."""
    if item not in {each.name for each in ITEMS}:
        raise NotFound(f"The checklist has no {item!r}; its items are {', '.join(each.name for each in ITEMS)}.")
    if len(note) > _NOTE_CHARS_MAX or "\x00" in note:
        raise InvalidRequest(f"A note has at most {_NOTE_CHARS_MAX} characters, and none that is no text.")
    await queries.checklist.note_done(connection, item, by=f"{actor.kind}/{actor.name}", note=note, now=now)
    await audit.record(connection, actor, "checklist.done", f"checklist/{item}", after={"note": note})


async def states(connection: Connection, now: datetime) -> list[ItemState]:
    """The whole checklist as it stands at `now`."""
    said = {
        row.item: Evidence(row.done_at, row.done_by, row.note) for row in await queries.checklist.all_done(connection)
    }
    seen = await _seen(connection)
    since = await deployment_made(connection) or now
    found = []
    for item in ITEMS:
        last = max(filter(None, (said.get(item.name), seen.get(item.name))), key=lambda each: each.at, default=None)
        due_at = (last.at if last is not None else since) + item.every
        found.append(ItemState(item, last, due_at, due_at < now))
    return found


async def _seen(connection: Connection) -> dict[str, Evidence]:
    """By item, what the catalog itself has."""
    found = {}
    for item, kind, did in (
        ("backup-verification", "verify", "was read and is sound"),
        ("restore-test", "drill", "was restored and is sound"),
    ):
        for run in await backup_queries.last_runs(connection, kind, outcome="ok", limit=1):
            found[item] = Evidence(run.ended_at, "s4", f"Backup {run.backup_id} {did}.")
    check = await audit_queries.last_check(connection)
    if check is not None and check.problem is None:
        found["audit-verification"] = Evidence(check.at, "s4", f"{check.batches} batches hold.")
    return found
