"""Keys on both databases: what replicas see of each other's changes, what a rebuild brings back, what is bounded."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from s4.domains.access import AccessService, AdministratorService, KeyService, Manager, NewKey
from s4.domains.access import keys as access_keys
from s4.domains.access.models import credential_uses
from s4.domains.audit.models import audit_entries
from s4.domains.tenants import NewTenant
from s4.domains.tenants.chain import subject
from s4.domains.tenants.models import tenant_keys, tenants
from s4.kernel.context import Origin, Restriction, TenantContext
from s4.kernel.errors import Conflict, Forbidden, LimitReached, Unauthenticated
from s4.kernel.ids import TenantId
from s4.kernel.keys import Collection
from s4.kernel.permissions import AdminRole, Permission
from s4.kernel.plans import UNLIMITED
from s4.kernel.settings import Settings
from s4.platform import faults
from s4.platform.chains import Records
from s4.platform.database import Database
from s4.platform.http.routing import Credentials
from s4.platform.objects import open_store
from s4.platform.security import credentials
from tests.factories.process import OWNER, MiniProcess, ProcessDied

ADMIN_KEY = "an-administrators-key-0123456789"
SEARCH = frozenset({Permission.SEARCH})
HERE = "192.0.2.7"


class Replica:
    """One process's gate and its keys."""

    def __init__(self, database: Database, store: Any, *, failures_per_minute: int = 1000, **options: Any) -> None:
        self.process = MiniProcess(database, store, **options)
        self.keys = KeyService(self.process.database, self.process.tenants, secrets.token_bytes)
        records = Records(Collection.ADMINS, self.process.database, self.process.chains)
        self.administrators = AdministratorService(self.process.database, records, secrets.token_bytes)
        self.access = AccessService(
            self.process.database,
            self.administrators,
            admin_api_key=ADMIN_KEY,
            failures_per_minute=failures_per_minute,
        )

    async def tenant(self) -> tuple[Manager, str]:
        """A new tenant's manager of keys, and its first key."""
        tenant, key = await self.process.tenants.create(OWNER, NewTenant("Acme", None, None, "local"))
        return Manager.of_admin(OWNER, tenant.tenant_id), key

    async def enter(self, key: str, address: str = HERE) -> TenantContext:
        return await self.access.tenant(Credentials(tenant_key=key, admin_key=None, origin=Origin(address)))


@pytest.fixture
async def store() -> AsyncIterator[Any]:
    opened = open_store(Settings(store_url="memory://"))
    yield opened
    await opened.aclose()


def guess() -> str:
    """A key that has the form of one and is nobody's."""
    return credentials.mint(secrets.token_bytes).plaintext


async def test_what_one_replica_revokes_the_next_request_at_another_is_refused(catalog: Database, store: Any) -> None:
    here, there = Replica(catalog, store), Replica(catalog, store)
    manager, _ = await here.tenant()
    key, plaintext = await here.keys.create(manager, NewKey("one", SEARCH))
    assert (await there.enter(plaintext)).permissions == SEARCH
    await here.keys.revoke(manager, key.prefix)
    with pytest.raises(Unauthenticated, match="revoked"):
        await there.enter(plaintext)


async def test_keys_made_at_once_by_two_replicas_are_all_there(catalog: Database, store: Any) -> None:
    here, there = Replica(catalog, store), Replica(catalog, store)
    manager, first = await here.tenant()
    made = await asyncio.gather(
        *(replica.keys.create(manager, NewKey("many", SEARCH)) for replica in (here, there) for _ in range(5))
    )
    for _, plaintext in made:
        await there.enter(plaintext)
    assert len(await here.keys.all(manager.tenant_id)) == 1 + len(made)
    await here.enter(first)


async def test_a_change_keeps_what_another_release_wrote_into_the_head(catalog: Database, store: Any) -> None:
    replica = Replica(catalog, store)
    manager, _ = await replica.tenant()

    async def noted(*_: Any) -> None:
        return None

    async def decide(_c: Any, _n: Any, body: Any) -> Any:
        return {**body, "of_tomorrow": [1]}

    await replica.process.tenants.change(manager.tenant_id, decide, noted=noted)
    await replica.keys.create(manager, NewKey("one", SEARCH))
    assert (await replica.process.chains.read(subject(manager.tenant_id), 3)).body["of_tomorrow"] == [1]


async def test_a_rebuild_brings_keys_back_as_they_were_and_lets_children_die(catalog: Database, store: Any) -> None:
    replica = Replica(catalog, store)
    manager, first = await replica.tenant()
    bound = Restriction.of("a/", {"team": "blue", "level": 3.0})
    _, plaintext = await replica.keys.create(manager, NewKey("bound", SEARCH, restriction=bound))
    gone, revoked = await replica.keys.create(manager, NewKey("gone", SEARCH))
    await replica.keys.revoke(manager, gone.prefix)
    context = await replica.enter(first)
    _, child = await replica.keys.mint_child(context, SEARCH, life=timedelta(minutes=5), within=Restriction())
    await replica.enter(child)

    async def lose(connection: Any) -> None:
        await connection.execute(tenant_keys.delete())
        await connection.execute(tenants.delete())

    await catalog.transact(lose)
    await replica.process.tenants.adopt(manager.tenant_id)

    assert (await replica.enter(plaintext)).restriction == bound
    assert (await replica.enter(first)).permissions == context.permissions
    for key in (revoked, child):
        with pytest.raises(Unauthenticated):
            await replica.enter(key)


@pytest.mark.parametrize("step", ["tenant.committed", "tenant.settled"])
async def test_a_revocation_that_crashed_once_committed_is_finished_by_the_next(
    catalog: Database, store: Any, step: str
) -> None:
    dying = Replica(catalog, store, lease=timedelta(0))
    manager, _ = await dying.tenant()
    key, plaintext = await dying.keys.create(manager, NewKey("one", SEARCH))
    faults.arm({step: lambda: dying.process.die()})
    try:
        with pytest.raises(ProcessDied):
            await dying.keys.revoke(manager, key.prefix)
    finally:
        faults.arm({})
    survivor = Replica(catalog, store, lease=timedelta(0))
    await survivor.process.chains.resolve_stale()
    with pytest.raises(Unauthenticated, match="revoked"):
        await survivor.enter(plaintext)


async def test_a_tenant_has_a_bounded_number_of_keys_and_of_ended_ones(
    catalog: Database, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_keys, "KEYS_MAX", 3)
    monkeypatch.setattr(access_keys, "ENDED_KEPT_MAX", 2)
    monkeypatch.setattr(access_keys, "CHILDREN_MAX", 2)
    replica = Replica(catalog, store)
    manager, first = await replica.tenant()
    made = [(await replica.keys.create(manager, NewKey(str(n), SEARCH)))[0] for n in range(2)]
    with pytest.raises(Conflict, match="at most 3 keys"):
        await replica.keys.create(manager, NewKey("fourth", SEARCH))
    for _ in range(3):
        await replica.keys.revoke(manager, made.pop().prefix)
        made.append((await replica.keys.create(manager, NewKey("next", SEARCH)))[0])
    statuses = [key.status for key in await replica.keys.all(manager.tenant_id)]
    assert sorted(statuses) == ["active"] * 3 + ["revoked"] * 2
    context = await replica.enter(first)
    for _ in range(2):
        await replica.keys.mint_child(context, SEARCH, life=timedelta(minutes=5), within=Restriction())
    with pytest.raises(Conflict, match="child keys"):
        await replica.keys.mint_child(context, SEARCH, life=timedelta(minutes=5), within=Restriction())


async def test_job_contexts_and_bound_keys_manage_no_keys(catalog: Database, store: Any) -> None:
    replica = Replica(catalog, store)
    manager, first = await replica.tenant()
    scopes = frozenset({Permission.KEYS_MANAGE, Permission.SEARCH})
    _, plaintext = await replica.keys.create(manager, NewKey("bound", scopes, restriction=Restriction("a/")))
    with pytest.raises(Forbidden):
        Manager.of_tenant(await replica.enter(plaintext))
    job = await replica.access.for_job(manager.tenant_id)
    with pytest.raises(Forbidden):
        await replica.keys.mint_child(job, SEARCH, life=timedelta(minutes=5), within=Restriction())
    Manager.of_tenant(await replica.enter(first))


# -- last used


async def uses(catalog: Database) -> dict[str, Any]:
    async with catalog.read() as connection:
        return {row.prefix: row.last_used_at for row in await connection.execute(credential_uses.select())}


async def test_the_last_use_is_written_at_the_end_not_with_each_request(catalog: Database, store: Any) -> None:
    replica = Replica(catalog, store)
    manager, first = await replica.tenant()
    async with replica.access.notes_kept():
        for _ in range(3):
            context = await replica.enter(first)
        _, child = await replica.keys.mint_child(context, SEARCH, life=timedelta(minutes=5), within=Restriction())
        await replica.enter(child)
        assert await uses(catalog) == {}
    (key,) = await replica.keys.all(manager.tenant_id)
    assert key.last_used == (await uses(catalog))[context.key_id or ""]
    assert set(await uses(catalog)) == {context.key_id}, "a child's use is its parent's"


async def test_the_later_of_two_replicas_uses_stands(catalog: Database, store: Any) -> None:
    early, late = Replica(catalog, store), Replica(catalog, store)
    manager, first = await early.tenant()
    await early.enter(first)
    await late.enter(first)
    await late.access.notes.flush()
    (after_late,) = (await uses(catalog)).values()
    await early.access.notes.flush()
    assert list((await uses(catalog)).values()) == [after_late]
    await early.enter(first)
    await early.access.notes.flush()
    (key,) = await early.keys.all(manager.tenant_id)
    assert key.last_used is not None
    assert key.last_used > after_late


# -- failures


async def refusals(catalog: Database) -> list[tuple[str, str, Any]]:
    async with catalog.read() as connection:
        rows = await connection.execute(audit_entries.select().where(audit_entries.c.action == "access.refused"))
        return sorted((row.address, row.subject, tuple(row.after.items())) for row in rows)


async def test_refusals_reach_the_audit_trail_once_a_minute_by_address_key_and_reason(
    catalog: Database, store: Any
) -> None:
    replica = Replica(catalog, store)
    manager, _ = await replica.tenant()
    key, revoked = await replica.keys.create(manager, NewKey("one", SEARCH))
    await replica.keys.revoke(manager, key.prefix)
    for attempt in [guess(), guess(), guess(), revoked, revoked, "s4_nonsense", None]:
        with pytest.raises(Unauthenticated):
            await replica.enter(attempt)  # type: ignore[arg-type]
    assert await refusals(catalog) == []
    await replica.access.notes.flush()
    assert await refusals(catalog) == [
        (HERE, "key", (("reason", "malformed"), ("attempts", 1))),
        (HERE, "key", (("reason", "unknown"), ("attempts", 3))),
        (HERE, f"key/{key.prefix}", (("reason", "revoked"), ("attempts", 2))),
    ]
    await replica.access.notes.flush()
    assert len(await refusals(catalog)) == 3


async def test_a_flood_of_guesses_costs_hardly_a_statement_and_locks_no_valid_key_out(
    catalog: Database, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = Replica(catalog, store, failures_per_minute=10)
    _, known = await replica.tenant()
    _, newcomer = await replica.tenant()
    await replica.enter(known)
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await replica.enter(guess())

    read, statements = replica.process.database.read, 0

    def counted() -> Any:
        nonlocal statements
        statements += 1
        return read()

    monkeypatch.setattr(replica.process.database, "read", counted)
    guesses = [replica.enter(guess()) for _ in range(300)]
    outcomes = await asyncio.gather(*guesses, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {LimitReached}
    assert all(outcome.retry_after >= timedelta(seconds=1) for outcome in outcomes)  # type: ignore[union-attr]
    assert statements <= 5
    for key in (known, newcomer):
        assert (await replica.enter(key)).key_id == key.split("_")[1]
    with pytest.raises(Unauthenticated):
        await replica.enter(guess(), address="198.51.100.1")


async def test_whoever_tries_secrets_for_a_known_prefix_is_slowed_from_wherever_and_its_holder_is_not(
    catalog: Database, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = Replica(catalog, store, failures_per_minute=10)
    _, key = await replica.tenant()
    prefix = key.split("_")[1]

    def forged() -> str:
        while True:
            body = f"s4_{prefix}_{guess().split('_', 2)[2][:43]}"
            return body + credentials._check(body)

    addresses = (f"198.51.100.{number}" for number in range(1, 250))
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await replica.enter(forged(), address=next(addresses))
    read, statements = replica.process.database.read, 0

    def counted() -> Any:
        nonlocal statements
        statements += 1
        return read()

    monkeypatch.setattr(replica.process.database, "read", counted)
    guesses = [replica.enter(forged(), address=next(addresses)) for _ in range(100)]
    outcomes = await asyncio.gather(*guesses, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {LimitReached}
    assert statements <= 5
    assert (await replica.enter(key)).key_id == prefix


# -- administrators


async def test_an_administrator_revoked_at_one_replica_is_refused_at_another(catalog: Database, store: Any) -> None:
    here, there = Replica(catalog, store), Replica(catalog, store)
    made, key = await here.administrators.create(OWNER, "ada", AdminRole.AUDITOR, expires_at=None)
    presented = Credentials(tenant_key=None, admin_key=key, origin=Origin(HERE))
    context = await there.access.admin(presented)
    assert (context.name, context.role) == ("ada", AdminRole.AUDITOR)
    await there.access.notes.flush()
    assert [one.last_used is not None for one in await here.administrators.all()] == [False, True]
    await here.administrators.revoke(OWNER, "ada")
    with pytest.raises(Unauthenticated):
        await there.access.admin(presented)
    assert await uses(catalog) == {}
    assert made.prefix is not None


async def test_guesses_at_administrators_keys_are_throttled_too_and_the_true_ones_pass(
    catalog: Database, store: Any
) -> None:
    replica = Replica(catalog, store, failures_per_minute=5)
    _, key = await replica.administrators.create(OWNER, "ada", AdminRole.OPERATOR, expires_at=None)

    async def enter(presented: str) -> str:
        return (await replica.access.admin(Credentials(None, presented, Origin(HERE)))).name

    def guessed() -> str:
        return credentials.mint_admin(secrets.token_bytes).plaintext

    outcomes = [await asyncio.gather(enter(guessed()), return_exceptions=True) for _ in range(8)]
    assert [type(one) for (one,) in outcomes] == [Unauthenticated] * 5 + [LimitReached] * 3
    with pytest.raises(LimitReached):
        await enter("wrong-key-of-the-environment")
    assert [await enter(key), await enter(ADMIN_KEY)] == ["ada", "environment"]


def test_ids_of_tenants_are_not_taken_from_requests() -> None:
    """R75: `Manager` of a tenant takes its id from the context, which the key's row gave."""
    context = TenantContext(TenantId("ten_" + "a" * 26), None, frozenset({Permission.KEYS_MANAGE}), UNLIMITED)
    assert Manager.of_tenant(context).tenant_id == context.tenant_id
