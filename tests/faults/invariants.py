"""What must hold after every crash, once everybody has come back and time has passed.

The letters are those of the invariants: everything acknowledged is present and hash-equal (1), what was deleted is gone
(2), balances are exact (3), every live document is indexed exactly once at its latest revision and nothing else is (4),
no orphan object is left after a sweep (5), no job or ticket is stuck (7), one effect (9), the audit chain holds (10),
each text paid for once (12).
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from s4.domains import usage
from s4.domains.audit import Verifier
from s4.domains.documents.models import documents, upload_reservations
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing.models import document_index
from s4.domains.indexing.queries import tables as index_queries
from s4.domains.leaving.queries.erasures import GOES_WITH_ITS_TENANT
from s4.kernel import keys
from s4.kernel.ids import TenantId
from s4.kernel.keys import KeyKind
from s4.platform.chains.models import commit_tickets
from s4.platform.jobs import SYSTEM
from s4.platform.jobs.models import jobs
from tests.factories import calls
from tests.factories.house import House
from tests.faults.scene import A_LONG_TIME, Scene

_ROUNDS = 6  # of waiting and working until nothing is left: more than a job has attempts


@dataclass(frozen=True)
class Expected:
    """The tenant's documents: content by key, whose metadata say 2026, and whose content has no text."""

    contents: dict[str | None, str | bytes]
    changed: frozenset[str | None] = frozenset()
    unreadable: frozenset[str | None] = frozenset()
    gone: tuple[str, ...] = ()
    """Words that no search may find."""
    alone: bool = False
    """There is no other tenant any more, and nothing of one in the catalog."""


@dataclass
class Inventory:
    """What catalog, table and bucket hold of a tenant."""

    live: dict[str, Any] = field(default_factory=dict)
    balance: usage.Balance = field(default_factory=usage.Balance)
    leftovers: dict[str, list[Any]] = field(default_factory=dict)
    searchable: dict[str, tuple[int, int]] = field(default_factory=dict)
    rows: dict[tuple[str, int], int] = field(default_factory=dict)
    versions: set[tuple[str, str]] = field(default_factory=set)
    revisions: dict[str, list[int]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)


def settle(scene: Scene) -> None:
    """Everybody is back: sweeps run, jobs run, until nothing waits."""
    for _ in range(_ROUNDS):
        scene.let_time_pass()
        scene.do(scene.house.core.queue.recover_lost())
        scene.do(scene.house.parts.maintenance.resolve())
        scene.do(scene.house.parts.maintenance.reconcile())
        scene.do(scene.house.parts.maintenance.depart())
        scene.work()
        if not scene.do(_waiting(scene.house)):
            break
    scene.enqueue(index_jobs.optimize(scene.tenant_id, scene.house.core.generation.id))
    scene.work()
    scene.do(scene.survivor.sweeper.parts.maintenance.collect())
    scene.work()


def check(scene: Scene, expected: Expected, *, step: str | None = None) -> None:
    """Raises `AssertionError` with the invariant that does not hold. `step` is where somebody was broken off."""
    settle(scene)
    held = scene.do(_inventory(scene.house, TenantId(scene.tenant_id)))
    ready = _check_answers(scene, expected)
    assert held.balance == usage.Balance(sum(row.size_bytes for row in held.live.values()), 0, len(held.live)), (
        "I3: the balance is not the sum of what is there"
    )
    indexed = {name: (held.live[name].content_revision, held.live[name].chunks) for name in ready}
    assert held.searchable == indexed, "I4: the catalog says something else is searchable"
    assert held.rows == {(name, revision): chunks for name, (revision, chunks) in indexed.items()}, (
        "I4: the table holds something else"
    )
    assert held.versions == {(name, row.version_id) for name, row in held.live.items()}, "I5: orphans or losses"
    assert held.strange == [], "I5: objects that nothing could have made"
    for name, revisions in held.revisions.items():
        assert revisions == list(range(1, len(revisions) + 1)), f"the chain of {name} has gaps"
    assert not any(held.leftovers.values()), f"I7: {held.leftovers}"
    if expected.alone:
        assert scene.do(_tenants_known(scene.house)) == {scene.tenant_id}, "I2: something of a deleted tenant is left"
    core = scene.house.core
    trail = scene.do(Verifier(core.database, core.store, every=A_LONG_TIME).verify())
    assert trail.problem is None, f"I10: {trail.problem}"
    paid = Counter(scene.provider.texts)
    # A group that was paid and not stored is paid again: the one step where that cannot be helped.
    times_max = 2 if step == "index.group_answered" else 1
    assert max(paid.values(), default=0) <= times_max, f"I12: {paid}"


def _check_answers(scene: Scene, expected: Expected) -> set[str]:
    """By listing, detail, download, search and count. Answers with the documents that are searchable."""
    ready = set()
    with scene.tenant() as tenant, scene.admin() as admin:
        listed = calls.everything(tenant)
        assert sorted(str(document["key"]) for document in listed.values()) == sorted(map(str, expected.contents)), (
            "I1, I2, I9: other documents are listed"
        )
        for document_id in listed:
            document = calls.detail(tenant, document_id)
            content = expected.contents[document["key"]]
            downloaded = tenant.get(f"/documents/{document_id}/download").content
            assert downloaded == (content if isinstance(content, bytes) else content.encode()), "I1: other bytes"
            assert (document["metadata"] == {"year": 2026}) == (document["key"] in expected.changed), "I1: metadata"
            if document["key"] in expected.unreadable:
                assert document["status"] == "failed", document
                continue
            assert document["status"] == "ready", f"I4: {document}"
            assert isinstance(content, str)
            assert calls.found(tenant, content.split()[1]) == [document_id], "I4: not found, or others are"
            ready.add(document_id)
        for word in expected.gone:
            assert calls.found(tenant, word) == [], f"I2: {word!r} is found"
        counted = admin.get(f"/admin/tenants/{scene.tenant_id}").json()
    sizes = [len(content) for content in expected.contents.values()]
    assert (counted["document_count"], counted["storage_used"]) == (len(sizes), sum(sizes)), "I3: answered counts"
    return ready


async def _tenants_known(house: House) -> set[str]:
    """By every table whose rows go with their tenant."""
    known: set[str] = set()
    async with house.core.database.read() as connection:
        for table in GOES_WITH_ITS_TENANT:
            known |= set((await connection.execute(sa.select(table.c.tenant_id).distinct())).scalars())
    return known - {SYSTEM}


async def _waiting(house: House) -> list[Any]:
    async with house.core.database.read() as connection:
        waiting = sa.select(jobs.c.kind, jobs.c.state, jobs.c.last_error).where(jobs.c.state != "failed")
        return [tuple(row) for row in await connection.execute(waiting)]


async def _inventory(house: House, tenant_id: TenantId) -> Inventory:
    held = Inventory()
    generation = house.core.generation
    held.leftovers["jobs"] = await _waiting(house)
    async with house.core.database.read() as connection:
        of_tenant = sa.select(documents).where(documents.c.tenant_id == tenant_id, documents.c.state == "live")
        held.live = {row.document_id: row for row in await connection.execute(of_tenant)}
        held.balance = await usage.balance(connection, tenant_id)
        for table in (commit_tickets, upload_reservations):
            held.leftovers[table.name] = [tuple(row) for row in await connection.execute(sa.select(table))]
        indexed = sa.select(document_index).where(document_index.c.tenant_id == tenant_id)
        held.searchable = {
            row.document_id: (row.searchable_revision, row.chunks) for row in await connection.execute(indexed)
        }
        table = await index_queries.table_state(connection, tenant_id, generation.id)
    if table is not None and table.version > 0:
        reader = await house.core.vectors.reader(generation.prefix(tenant_id, table.incarnation), table.version)
        assert reader is not None
        held.rows = await reader.all_pairs()
    async for info in house.core.store.list(keys.tenant(tenant_id)):
        parsed = keys.parse(info.key)
        if parsed is None:
            held.strange.append(info.key)
        elif parsed.kind is KeyKind.DOCUMENT_HEAD:
            held.revisions.setdefault(str(parsed.document_id), []).append(parsed.revision or 0)
        elif parsed.version_id is not None:
            held.versions.add((str(parsed.document_id), parsed.version_id))
    return held
