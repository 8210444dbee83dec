"""Bucket and catalog belong together: both bear the epoch that was drawn when the bucket was first used.

`system/deployment.json` is created once. A new catalog that meets it takes its epoch and begins to rebuild; a catalog
with another epoch is the wrong one, and the process refuses to start instead of collecting "garbage" that is
somebody's data.

A copy of the bucket bears the same epoch. Which of the two serves is decided by the *term*: promoting the copy creates
`system/terms/{term}.json` in it, one higher than before. Whoever meets a higher term than his own, in his bucket or in
the other one, has been superseded and stops. A copy that was not promoted says so (`system/replica.json`), and nothing
but a standby opens it.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from s4.domains.maintenance import queries
from s4.domains.maintenance.model import FIRST_TERM, REBUILDING, SERVING, Deployment
from s4.kernel import keys
from s4.kernel.clock import Clock, parse_moment, rfc3339
from s4.kernel.errors import Conflict, DataCorrupt
from s4.kernel.ids import RandomBytes, base32
from s4.kernel.keys import ObjectKey
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.objects import CreateOutcome, ObjectMissing, ObjectStore

FORMAT = 1
_HAS_SERVED = "This catalog has served, and may know what the copy does not: start with an empty database."


@dataclass(frozen=True, slots=True)
class Mark:
    """What a bucket says of itself. `copied_in` is the term of the deployment that copies into it; None of a bucket
    that is nobody's copy."""

    epoch: str
    term: int
    copied_in: int | None

    @property
    def is_copy(self) -> bool:
        """It was not promoted since it was last copied into."""
        return self.copied_in is not None and self.copied_in >= self.term


class Superseded(Conflict):
    """Another region was promoted."""

    def __init__(self, own: int, other: int) -> None:
        super().__init__(
            f"Another region was promoted (term {other}; this one has {own}): it serves now, and this one must not. "
            "What was accepted here meanwhile lists `s4 stranded`, run there.",
            details={"term": own, "promoted_term": other},
        )


async def open_deployment(
    database: Database, store: ObjectStore, *, clock: Clock, random: RandomBytes, standby: bool = False
) -> Deployment:
    """Makes or finds the pair; `standby` opens a copy, too. Raises `Conflict` when catalog and bucket are strangers, or
    the bucket is not to be served from, `Superseded` when another region does."""
    async with database.read() as connection:
        known = await queries.read_deployment(connection)
    mark = await mark_of(store)
    fresh_bucket = mark is None
    if mark is None:
        if known is not None:
            raise _strange_bucket()
        if standby:
            raise Conflict("This bucket has no system/deployment.json: nothing was copied into it to its end yet.")
        mark = Mark(await _draw_epoch(store, clock, random), FIRST_TERM, None)
    if mark.is_copy and not standby:
        raise Conflict(
            "This bucket is a copy of another, which serves: `s4 promote` makes it serve instead, `s4 rebuild "
            "--follow` keeps a catalog ready for that."
        )
    if known is not None:
        return await _reopened(database, known, mark, standby=standby)
    failpoint("deployment.drawn")
    made = Deployment(mark.epoch, SERVING if fresh_bucket else REBUILDING, mark.term)
    await write(database, made)
    failpoint("deployment.written")
    return made


async def require_pair(database: Database, store: ObjectStore) -> None:
    """Raises what a process that started now would refuse with. Changes nothing; of a new catalog there is nothing to
    say."""
    async with database.read() as connection:
        known = await queries.read_deployment(connection)
    if known is None:
        return
    mark = await mark_of(store)
    if mark is None:
        raise _strange_bucket()
    _paired(known, mark, standby=known.state != SERVING)


def _strange_bucket() -> Conflict:
    return Conflict(
        "The catalog belongs to another bucket: this one has no system/deployment.json. Check the store's URL, or "
        "start with an empty database."
    )


async def _reopened(database: Database, known: Deployment, mark: Mark, *, standby: bool) -> Deployment:
    found = _paired(known, mark, standby=standby)
    if found != known:
        await write(database, found)
    return found


def _paired(known: Deployment, mark: Mark, *, standby: bool) -> Deployment:
    """What the catalog is to say from now on. Raises `Conflict`, `Superseded`."""
    if known.epoch != mark.epoch:
        raise Conflict(
            "The catalog belongs to another bucket: their epochs differ. Check the store's and the database's "
            "URLs, or start with an empty database to rebuild it from this bucket."
        )
    if known.term == mark.term:
        if standby and mark.is_copy and known.state == SERVING:
            raise Conflict(_HAS_SERVED)
        return known
    if known.term > mark.term:
        raise Conflict(
            f"The catalog is of term {known.term}, the bucket of term {mark.term}: it is that of a former region."
        )
    if known.state == SERVING and standby:
        raise Conflict(_HAS_SERVED)
    if known.state == SERVING:
        raise Superseded(known.term, mark.term)
    return replace(known, term=mark.term)  # it follows a copy whose first region was promoted itself


async def write(database: Database, deployment: Deployment) -> None:
    """Notes it in the catalog."""

    async def note(connection: Connection) -> None:
        now = await database.now(connection)
        await queries.write_deployment(connection, deployment, now=now)

    await database.transact(note)


async def current_state(database: Database) -> str:
    """`rebuilding` or `serving`, as the catalog has it now."""
    async with database.read() as connection:
        return await _state(connection)


async def is_serving(connection: Connection) -> bool:
    """The same question, as part of a transaction."""
    return await _state(connection) == SERVING


async def serving_since(connection: Connection) -> datetime | None:
    """Since when this catalog notes what is read; None while it is being rebuilt."""
    return await queries.deployment_since(connection, SERVING)


async def _state(connection: Connection) -> str:
    known = await queries.read_deployment(connection)
    return known.state if known is not None else REBUILDING


# -- the bucket


async def mark_of(store: ObjectStore) -> Mark | None:
    """None of a bucket that was never used, or whose copying never came to an end."""
    drawn = await _document(store, keys.DEPLOYMENT)
    if drawn is None:
        return None
    replica = await _document(store, keys.REPLICA)
    epoch = str(drawn["epoch"])
    term = await newest_term(store, epoch, since=FIRST_TERM)
    return Mark(epoch, term, int(replica["term"]) if replica is not None else None)


async def is_unused(store: ObjectStore) -> bool:
    """Whether nothing of any deployment lies in the bucket."""
    for prefix in (keys.SYSTEM, keys.TENANTS, keys.INDICES):
        async for _ in store.list(prefix):
            return False
    return True


async def declare_copy(copy: ObjectStore, *, epoch: str, term: int, as_of: datetime | None) -> None:
    """Says in a bucket that it is a copy of that of this term: nothing but a standby opens it, and promoting it begins
    the next."""
    said = {"format": FORMAT, "epoch": epoch, "term": term, "as_of": rfc3339(as_of) if as_of is not None else None}
    await copy.put(keys.REPLICA, json.dumps(said).encode())


async def copied_as_of(copy: ObjectStore) -> datetime | None:
    """When a bucket was last a whole copy of another."""
    try:
        return parse_moment(json.loads(await copy.get(keys.REPLICA))["as_of"])
    except (ObjectMissing, ValueError, KeyError):
        return None


async def is_own_copy(replica: ObjectStore, deployment: Deployment) -> bool:
    """Whether `replica` is a copy of this deployment's bucket, or is becoming one; not while it is anything else:
    empty, a stranger's, or the former first bucket. Raises `Superseded` when it was promoted."""
    mark = await mark_of(replica)
    if mark is None:  # the first copying has not ended
        begun = await _document(replica, keys.REPLICA)
        return begun is not None and begun["epoch"] == deployment.epoch
    if mark.epoch != deployment.epoch:
        return False
    if mark.term > deployment.term:
        raise Superseded(deployment.term, mark.term)
    return mark.is_copy


async def newest_term(store: ObjectStore, epoch: str, *, since: int) -> int:
    """The highest term that the bucket bears of `epoch`, at least `since`: one small request when it is no other."""
    term = since
    while (document := await _document(store, keys.term(term + 1))) is not None and document["epoch"] == epoch:
        term += 1
    return term


async def create_term(store: ObjectStore, *, epoch: str, term: int, at: str, token: str) -> bool:
    """Marks a bucket. False when somebody else has begun this term, and not with `token`."""
    document = {"format": FORMAT, "epoch": epoch, "term": term, "promoted_at": at, "promotion": token}
    outcome = await store.create(keys.term(term), json.dumps(document).encode(), commit_id=None)
    if outcome is CreateOutcome.CREATED:
        return True
    found = await _document(store, keys.term(term))
    return found is not None and found.get("promotion") == token


async def promotion_of(store: ObjectStore, term: int) -> dict[str, Any] | None:
    """What the mark of a term says."""
    return await _document(store, keys.term(term))


async def _document(store: ObjectStore, key: ObjectKey) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(await store.get(key))
    except ObjectMissing:
        return None
    except ValueError as error:
        raise DataCorrupt(f"{key} cannot be read.") from error
    if document.get("format") != FORMAT:
        raise Conflict(
            f"The bucket has format {document.get('format')}; this release of S4 reads {FORMAT}. Use a newer one."
        )
    return document


async def _draw_epoch(store: ObjectStore, clock: Clock, random: RandomBytes) -> str:
    epoch = base32(random(16))
    document = {"format": FORMAT, "epoch": epoch, "created_at": rfc3339(clock.now())}
    await store.create(keys.DEPLOYMENT, json.dumps(document).encode(), commit_id=epoch)
    drawn = await _document(store, keys.DEPLOYMENT)  # another process may have been first
    assert drawn is not None, "it was created above"
    return str(drawn["epoch"])
