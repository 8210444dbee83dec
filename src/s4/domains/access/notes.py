"""What authentication remembers to write down later, so that no request waits for it: when a key was last used, who
was refused, and from where administrators came. Once a minute, and when the process ends in good order, all go to the
catalog; the refusals also to the log, one line for each reason and address with their number. What `kill -9` takes is
at most a minute of it.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

import structlog

from s4.domains import audit
from s4.domains.access import queries
from s4.domains.access.whereabouts import Whereabouts
from s4.kernel.context import Actor, Origin
from s4.kernel.errors import S4Error
from s4.platform.background import in_background
from s4.platform.database import Connection, Database

log = structlog.get_logger()

FLUSH_SECONDS = 60.0  # how exact `last_used` is, and how old a line on refusals may be
_REFUSALS_MAX = 1_000  # kinds of refusals in a minute; those beyond are counted together, without their address
_USES_MAX = 100_000  # keys whose last use is not written down yet, while the catalog does not answer
_NO_EVENT = frozenset({"missing"})  # somebody without a key tries no door


@dataclass(frozen=True, slots=True)
class Refusal:
    """`prefix` and `tenant_id` are those of a key that exists, else empty: guesses are counted, not listed."""

    reason: str
    address: str | None
    prefix: str = ""
    tenant_id: str = ""


class Notes:
    """Lives in one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.whereabouts = Whereabouts()
        self._uses: dict[str, datetime] = {}
        self._refusals: Counter[Refusal] = Counter()
        self._unwritten: Counter[Refusal] = Counter()
        """Told to the log already."""

    def used(self, prefix: str, at: datetime) -> None:
        if prefix in self._uses or len(self._uses) < _USES_MAX:
            self._uses[prefix] = at

    def refused(self, refusal: Refusal) -> None:
        if refusal not in self._refusals and len(self._refusals) >= _REFUSALS_MAX:
            refusal = Refusal(refusal.reason, None)
        self._refusals[refusal] += 1

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Writes them down every minute from here to the end of the block, and at its end."""
        try:
            async with in_background(self._keep()):
                yield
        finally:
            await self.flush()

    async def flush(self) -> None:
        """What cannot be written now stays for the next time."""
        uses, self._uses = self._uses, {}
        refusals, self._refusals = self._refusals, Counter()
        self._unwritten.update({refusal: n for refusal, n in refusals.items() if refusal.reason not in _NO_EVENT})
        events, self._unwritten = self._unwritten, Counter()
        for refusal, attempts in refusals.items():
            log.warning(
                "access.refused",
                reason=refusal.reason,
                client_address=refusal.address,
                key_prefix=refusal.prefix,
                tenant_id=refusal.tenant_id or None,
                attempts=attempts,
            )
        await self._judge()
        if not uses and not events:
            return

        async def write(connection: Connection) -> None:
            await queries.note_uses(connection, uses)
            for refusal, attempts in events.items():
                await _record(connection, refusal, attempts)

        try:
            await self._database.transact(write)
        except S4Error as error:
            log.warning("access.notes_kept_back", error=error.message, uses=len(uses), refusals=len(events))
            self._uses = uses | self._uses
            self._unwritten.update(dict(events.most_common(_REFUSALS_MAX)))

    async def _judge(self) -> None:
        try:
            await self.whereabouts.judge(self._database)
        except S4Error as error:
            log.warning("access.whereabouts_unknown", error=error.message)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()


async def _record(connection: Connection, refusal: Refusal, attempts: int) -> None:
    await audit.record(
        connection,
        Actor("stranger", refusal.address or "", Origin(refusal.address)),
        "access.refused",
        f"key/{refusal.prefix}" if refusal.prefix else "key",
        tenant_id=refusal.tenant_id,
        after={"reason": refusal.reason, "attempts": attempts},
    )
