"""A tenant moves from one generation of the index to another, at noon, while it searches and uploads.

    rebuild: the new one is BUILDING beside the SERVED one ──► switch: it is SERVED, the old one is KEPT
                                    ▲                                        │
                                    └── rollback: a switch to the kept one ◄─┤
                                                                             ▼
                                                     release: rows and bytes of the kept one go

What a tenant holds stands in its head in the bucket, and a change of it is a commit of that chain (`tenants`): so a
catalog that is made anew serves from the same generation. A tenant that holds something is *moved*: workers index its
documents into what it holds, wherever its neighbours are. Where it is served a document must be before it is ready;
elsewhere it comes soon after.

A switch must not lose sight of a document that became ready meanwhile. It has the new generation *awaited*, so that no
document is ready before it is there, and what is on its way ends. Then it seals the change in a transaction that nobody
publishes beside, in which nothing lacks and the generation is awaited once more: a key made meanwhile, or another
switch that gave up, may have ended that. While a change is sealed and not settled, nobody ends it. So what comes
afterwards finds the new generation awaited, or served.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from s4.domains.documents import jobs as document_jobs
from s4.domains.indexing import jobs
from s4.domains.indexing.generations import BUILD_JOBS_MAX, ask_for_absent
from s4.domains.indexing.model import Models
from s4.domains.indexing.queries import held as queries
from s4.domains.indexing.queries import tables, uses
from s4.domains.indexing.queries.held import Held
from s4.domains.indexing.queries.sizes import sizes_of
from s4.domains.tenants import Holding, Role, TenantService, audited
from s4.domains.tenants.model import Body, holdings
from s4.kernel.clock import parse_rfc3339
from s4.kernel.context import Actor
from s4.kernel.errors import Conflict, NotFound
from s4.kernel.ids import GenerationId, TenantId
from s4.platform.database import Connection, Database
from s4.platform.jobs import Queue

log = structlog.get_logger()

_IN_FLIGHT_MAX = 200  # documents that a switch waits for; more are a build that is not done
_POLL_SECONDS = 0.1
_ENDING_TRIES_MAX = 100  # ten seconds: a change is sealed for milliseconds, unless the store hangs or its writer died
_ASKED_AT_ONCE = 500


Decide = Callable[[datetime, dict[GenerationId, Holding]], dict[GenerationId, Holding] | None]
"""Sees what the tenant holds, and answers with what it is to hold; None leaves it as it is."""


class _Lacks(Conflict):
    """Documents are missing where searches are to look."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a generation is for a tenant. `lacking`: documents that the tenant has and this one not; `failed` of them
    were tried in vain. `has_workers`: one that lives knows its model."""

    holding: Holding
    documents: int
    chunks: int
    size_bytes: int
    lacking: int
    failed: int
    tokens_spent: int
    is_stopped: bool
    has_workers: bool


class Moves:
    """The operator's acts. Each can be repeated: what is done already changes nothing."""

    def __init__(self, database: Database, queue: Queue, tenants: TenantService, models: Models) -> None:
        self._database = database
        self._queue = queue
        self._tenants = tenants
        self._models = models

    async def standings(self, tenant_id: TenantId) -> list[Standing]:
        """What the tenant holds, the served one first; of one that was never moved, the deployment's own. Raises
        `NotFound`."""
        tenant = await self._tenants.get(tenant_id)
        async with self._database.read() as connection:
            held = await queries.of(connection, tenant_id)
            own = self._own(tenant.created_at)
            found = held or {own.generation: Held(own, 0, is_stopped=False, is_awaited=True)}
            used = await uses.at_work(connection, await self._database.now(connection))
            sizes = await sizes_of(connection, tenant_id)
            standings = [
                Standing(
                    each.holding,
                    *await queries.contents(connection, tenant_id, generation),
                    sizes.get(generation, 0),
                    await tables.lacking(connection, generation, tenant_id),
                    await queries.jobs_into(connection, generation, "failed", tenant_id),
                    each.tokens_spent,
                    each.is_stopped,
                    generation in used,
                )
                for generation, each in found.items()
            ]
        return sorted(standings, key=lambda each: (each.holding.role is not Role.SERVED, each.holding.generation))

    async def moved(self) -> list[tuple[TenantId, Holding]]:
        """From what each moved tenant is served."""
        async with self._database.read() as connection:
            return await queries.served(connection)

    async def rebuild(self, actor: Actor, tenant_id: TenantId, name: str, *, budget_tokens: int | None) -> Holding:
        """Begins to build what the model `name` makes of the tenant's texts, or goes on with another budget. Raises
        `NotFound`, `InvalidRequest` for a name that is none, `Conflict` when the tenant is there already."""
        generation = self._models.by_name(name).generation.id

        def decide(now: datetime, held: dict[GenerationId, Holding]) -> dict[GenerationId, Holding]:
            known = held.get(generation)
            if known is not None and known.role is Role.SERVED:
                raise Conflict(f"The tenant is served from {generation}, which is what the model {name!r} makes.")
            if known is not None and known.role is Role.KEPT:
                raise Conflict(f"The tenant keeps {generation} of the model {name!r}: roll back to it, or release it.")
            since = known.since if known is not None else now
            return held | {generation: Holding(generation, name, Role.BUILDING, since, budget_tokens)}

        async def begun(connection: Connection) -> None:
            await ask_for_absent(
                connection, self._queue, generation, limit=BUILD_JOBS_MAX, with_failed=True, tenant_id=tenant_id
            )

        held = await self._change(actor, "index.rebuild", tenant_id, decide, and_then=begun)
        return held[generation]

    async def switch(self, actor: Actor, tenant_id: TenantId, to: GenerationId, *, patience: timedelta) -> None:
        """Searches read `to` from now on. Waits so long for documents that are on their way. Raises `Conflict` while
        any that is served is not there, or nobody indexes there."""
        await self._require_ready(tenant_id, to)

        def decide(now: datetime, held: dict[GenerationId, Holding]) -> dict[GenerationId, Holding] | None:
            if _held(held, to).role is Role.SERVED:
                return None
            return {
                generation: replace(
                    each,
                    role=Role.SERVED if generation == to else Role.KEPT if each.role is Role.SERVED else each.role,
                    since=now if generation == to or each.role is Role.SERVED else each.since,
                )
                for generation, each in held.items()
            }

        give_up_at = time.monotonic() + patience.total_seconds()
        try:
            while True:
                await self._await(tenant_id, to)
                try:
                    await self._change(actor, "index.switch", tenant_id, decide, complete=to)
                    return
                except _Lacks:
                    if time.monotonic() >= give_up_at:
                        raise
                    await asyncio.sleep(_POLL_SECONDS)
        finally:
            await self._end_awaiting(tenant_id, to)

    async def rollback(self, actor: Actor, tenant_id: TenantId, *, patience: timedelta) -> GenerationId:
        """Switches to what was served last and is kept. Raises as `switch`, and `Conflict` when nothing is."""
        async with self._database.read() as connection:
            held = await queries.of(connection, tenant_id)
        kept = [each.holding for each in held.values() if each.holding.role is Role.KEPT]
        if not kept:
            raise Conflict("The tenant keeps no other generation: what was released is built anew with a rebuild.")
        to = max(kept, key=lambda holding: holding.since).generation
        await self.switch(actor, tenant_id, to, patience=patience)
        return to

    async def release(self, actor: Actor, tenant_id: TenantId, generation: GenerationId) -> None:
        """Gives up what is kept, or is being built: its rows are gone, its bytes go by a job. A tenant that is left
        with what the deployment makes by itself is as if it had never been moved. Raises `Conflict` for the served
        one."""

        def decide(_: datetime, held: dict[GenerationId, Holding]) -> dict[GenerationId, Holding] | None:
            if generation not in held:
                return None
            if held[generation].role is Role.SERVED:
                raise Conflict("The tenant is served from it: switch to another one first.")
            left = {each: holding for each, holding in held.items() if each != generation}
            return {} if set(left) == {self._models.own_id} else left

        async def released(connection: Connection) -> None:
            await queries.forget(connection, tenant_id, generation)
            await self._queue.enqueue(connection, jobs.discard(tenant_id, generation))

        await self._change(actor, "index.release", tenant_id, decide, and_then=released)

    async def is_discarded(self, tenant_id: TenantId, generation: GenerationId) -> bool:
        """Whether nothing is left in the bucket of what was released."""
        async with self._database.read() as connection:
            return not await queries.discards(connection, tenant_id, generation)

    # -- inside

    def _own(self, since: datetime) -> Holding:
        own = self._models.own
        return Holding(own.generation.id, own.name, Role.SERVED, since)

    async def _require_ready(self, tenant_id: TenantId, to: GenerationId) -> None:
        """What is missing is asked for, so that the next try finds it."""

        async def look(connection: Connection) -> None:
            held = (await queries.of(connection, tenant_id)).get(to)
            if held is None:
                raise NotFound(f"The tenant holds no generation {to}: begin a rebuild.")
            if held.is_stopped:
                raise Conflict("Its budget is spent before every document is there: go on with a larger one.")
            if to not in await uses.at_work(connection, await self._database.now(connection)):
                raise Conflict(f"No worker indexes into {to}: none has a model of S4_INDEX_MODELS that makes it.")

        async def ask(connection: Connection) -> int:
            failed = await queries.jobs_into(connection, to, "failed", tenant_id)
            await ask_for_absent(
                connection, self._queue, to, limit=_ASKED_AT_ONCE, with_failed=True, tenant_id=tenant_id
            )
            return failed

        async with self._database.read() as connection:
            await look(connection)
            lacking = await tables.lacking(connection, to, tenant_id)
        failed = await self._database.transact(ask) if lacking else 0
        if failed or lacking > _IN_FLIGHT_MAX:
            raise _lacks(lacking, failed)

    async def _await(self, tenant_id: TenantId, to: GenerationId) -> None:
        await self._database.transact(lambda connection: queries.await_in(connection, tenant_id, to, True))

    async def _end_awaiting(self, tenant_id: TenantId, to: GenerationId) -> None:
        """What waited for it, and need not any more, goes on. Not while a change of the tenant is sealed: it may be
        another switch to the same generation, which relies on that. Where that takes long it stays awaited until the
        tenant's next change: what is uploaded is ready later, and not lost."""

        async def end(connection: Connection) -> bool:
            held = await queries.kept_still(connection, tenant_id, alone=True)
            if await self._tenants.is_changing(connection, tenant_id):
                return False
            await queries.await_in(connection, tenant_id, to, False)
            served = [generation for generation, each in held.items() if each.holding.role is Role.SERVED]
            for document_id in await queries.unfinished(connection, tenant_id, served[0]) if served else []:
                await self._queue.enqueue(connection, document_jobs.index(tenant_id, document_id))
            return True

        for _ in range(_ENDING_TRIES_MAX):
            if await self._database.transact(end):
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _change(
        self,
        actor: Actor,
        action: str,
        tenant_id: TenantId,
        decide: Decide,
        *,
        complete: GenerationId | None = None,
        and_then: Callable[[Connection], Awaitable[object]] | None = None,
    ) -> dict[GenerationId, Holding]:
        """Commits what the tenant holds. Raises `_Lacks` unless `complete` has every document that is served."""
        after: dict[GenerationId, Holding] = {}

        async def decide_body(connection: Connection, now: datetime, body: Body) -> Body | None:
            nonlocal after
            own = self._own(parse_rfc3339(body["created_at"]))
            after = holdings(body) or {own.generation: own}
            decided = decide(now, after)
            if decided is None:
                return None
            after = decided
            if complete is not None:
                await queries.kept_still(connection, tenant_id, alone=True)
                if lacking := await tables.lacking(connection, complete, tenant_id):
                    raise _lacks(lacking, 0)
                await queries.await_in(connection, tenant_id, complete, True)
            said = {name: value for name, value in body.items() if name != "index"}
            if after:
                said["index"] = [after[generation].said() for generation in sorted(after)]
            return None if said == body else said

        note = audited(actor, action, tenant_id)

        async def noted(connection: Connection, before: Body, now: Body) -> None:
            await note(connection, before, now)
            if and_then is not None:
                await and_then(connection)

        await self._tenants.change(tenant_id, decide_body, noted=noted)
        served = next((each.generation for each in after.values() if each.role is Role.SERVED), None)
        log.info("generation.moved", tenant_id=tenant_id, action=action, generation=served)
        return after


def _held(held: Mapping[GenerationId, Holding], generation: GenerationId) -> Holding:
    if generation not in held:
        raise NotFound(f"The tenant holds no generation {generation}: begin a rebuild.")
    return held[generation]


def _lacks(lacking: int, failed: int) -> "_Lacks":
    tried = f", of which {failed} failed there and are tried again" if failed else ""
    return _Lacks(f"{lacking} documents that are served are not there yet{tried}: see `s4 index generations`.")
