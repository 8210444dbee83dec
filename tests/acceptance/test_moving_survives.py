"""What a move leaves behind when workers are killed, catalogs lost and backups restored; and its commands."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from s4.domains.search.models import logged_queries
from s4.domains.tenants import Role
from s4.engine.ranking import Mode
from s4.entrypoints.bootstrap import make_backups
from s4.kernel.context import SYSTEM_ACTOR
from s4.platform.database import Connection
from tests.acceptance.test_backup import restored, settings_of
from tests.factories.command_line import document_of, new_tenant, s4
from tests.factories.deployment import ADMIN_KEY, FAST, running
from tests.factories.house import House, Tenant, open_house
from tests.factories.pages import REPOSITORY, executed_blocks, page, run_blocks
from tests.factories.provider import CountingProvider, counting_provider
from tests.faults.test_processes import until, worker_of

pytestmark = pytest.mark.processes

MODELS = {"index_models": {"wide": {"dimension": 512}}}
SOON = timedelta(seconds=60)  # it takes milliseconds
UPLOADS = ["s4 upload samples/documents/travel-policy.docx", "s4 upload samples/documents/employee-handbook.md"]


async def moved(house: House) -> tuple[Tenant, int]:
    """A tenant that is served from the other model and keeps the deployment's own, and how many documents it has."""
    acme = await house.tenant()
    for n in range(5):
        await house.put(acme, f"report{n}", f"common word{n}")
    await house.work()
    tenant_id = acme.context.tenant_id
    holding = await house.core.moves.rebuild(SYSTEM_ACTOR, tenant_id, "wide", budget_tokens=None)
    await house.work()
    await house.core.moves.switch(SYSTEM_ACTOR, tenant_id, holding.generation, patience=SOON)
    return await house.known(acme.key), 5


async def require_served_as_before(house: House, before: Tenant, count: int) -> None:
    acme = await house.known(before.key)
    assert acme.context.generation == before.context.generation
    assert len(await house.found(acme, "common", Mode.SEMANTIC)) == count
    roles = {each.holding.role: each for each in await house.core.moves.standings(acme.context.tenant_id)}
    assert roles.keys() == {Role.SERVED, Role.KEPT}
    assert [each.lacking for each in roles.values()] == [0, 0]
    await house.core.moves.rollback(SYSTEM_ACTOR, acme.context.tenant_id, patience=SOON)
    assert len(await house.found(await house.known(acme.key), "common", Mode.SEMANTIC)) == count


async def test_a_catalog_from_the_bucket_serves_from_the_same_generation(tmp_path: Path) -> None:
    async with open_house(tmp_path, **MODELS) as house:
        acme, count = await moved(house)
    async with open_house(tmp_path, database_url=f"sqlite:///{tmp_path}/new.sqlite", **MODELS) as anew:
        await anew.work()
        await require_served_as_before(anew, acme, count)


async def test_a_catalog_from_the_bucket_takes_nothing_over_that_was_released(tmp_path: Path) -> None:
    """The head is the last word, whatever still lies in the bucket."""
    async with open_house(tmp_path, **MODELS) as house:
        acme, count = await moved(house)
        old = house.core.generation.id
        await house.core.moves.release(SYSTEM_ACTOR, acme.context.tenant_id, old)  # and no worker removes its bytes
    async with open_house(tmp_path, database_url=f"sqlite:///{tmp_path}/new.sqlite", **MODELS) as anew:
        await anew.work()
        await anew.parts.maintenance.collect()
        await anew.work()
        assert len(await anew.found(acme, "common")) == count
        assert [each.holding.role for each in await anew.core.moves.standings(acme.context.tenant_id)] == [Role.SERVED]
        assert not list((tmp_path / "objects" / "indices").glob(f"*/{old}*/**/*.lance")), "nor does it stay there"


async def test_a_restored_backup_serves_from_the_same_generation(tmp_path: Path) -> None:
    async with open_house(tmp_path / "data", **MODELS) as house:
        acme, count = await moved(house)
        await make_backups(house.core).create()
        settings = settings_of(tmp_path, "fresh", house, **MODELS)
    assert (await restored(settings)).ok
    async with open_house(tmp_path / "fresh", **MODELS) as fresh:
        await fresh.work()
        await require_served_as_before(fresh, acme, count)


async def test_queries_are_kept_of_who_wishes_it_only_and_go_by_age(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        log = house.core.query_log
        tenants = {name: await house.tenant(name) for name in ("Acme", "Globex")}
        await log.set_days(SYSTEM_ACTOR, tenants["Acme"].context.tenant_id, 7)
        for tenant in tenants.values():
            asks = await house.known(tenant.key)
            for text in ("tides", "tides", "moon"):
                await house.found(asks, text)
        await log.note()
        kept = {name: await log.of(each.context.tenant_id, limit=10) for name, each in tenants.items()}
        assert kept == {"Acme": ["tides", "moon"], "Globex": []}

        async def age(connection: Connection) -> None:
            now = await house.core.database.now(connection)
            old = logged_queries.c.text == "moon"
            await connection.execute(sa.update(logged_queries).where(old).values(asked_at=now - timedelta(days=8)))

        await house.core.database.transact(age)
        await log.purge()
        assert await log.of(tenants["Acme"].context.tenant_id, limit=10) == ["tides"]
        await house.found(await house.known(tenants["Acme"].key), "stars")
        await log.set_days(SYSTEM_ACTOR, tenants["Acme"].context.tenant_id, 0)
        await log.note()  # as another process would, that was asked before
        assert await log.of(tenants["Acme"].context.tenant_id, limit=10) == []


@pytest.fixture
def provider() -> Iterator[CountingProvider]:
    with counting_provider() as provider:
        yield provider


def test_a_worker_that_is_killed_in_a_build_goes_on_and_pays_for_nothing_twice(
    tmp_path: Path, provider: CountingProvider
) -> None:
    model = {name.removeprefix("embedding_"): value for name, value in provider.flags.items()}
    environment = FAST | {
        "S4_INDEX_MODELS": json.dumps({"paid": model}),
        "S4_WORKER_CONCURRENCY": "2",
        "S4_JOB_LEASE_SECONDS": "3",
    }
    with running(tmp_path / "data", **environment) as deployment, deployment.new_tenant() as acme:
        ids = [
            acme.put(f"/documents/by-key/report{n}", content=f"common word{n}").json()["document_id"] for n in range(16)
        ]
        for name in ids:
            assert acme.get(f"/documents/{name}", params={"wait": 60}).json()["status"] == "ready"
        tenant_id = acme.get("/profile").json()["tenant_id"]
        settings = environment | {"S4_DATA_DIR": str(deployment.data_dir), "S4_ADMIN_API_KEY": ADMIN_KEY}
        rebuild = ("index", "rebuild", "--tenant", tenant_id, "--model", "paid")
        assert s4(*rebuild, "--no-wait", **settings).returncode == 0
        until(lambda: len(provider.texts) >= 5, "nothing is built")
        os.kill(worker_of(deployment), signal.SIGKILL)
        assert acme.post("/search", json={"query": "common", "limit": 50}).json()["total_results"] == 16
        (standing,) = document_of(s4(*rebuild, "--json", **settings))
        assert (standing["documents"], standing["documents_lacking"], standing["stopped"]) == (16, 0, False)
        times = Counter(provider.texts)
        assert len(times) == 16
        assert sum(times.values()) - 16 <= 2, "at most what was in flight: two documents"
        assert s4("index", "switch", "--tenant", tenant_id, **settings).returncode == 0
        asked = len(provider.texts)
        found = acme.post("/search", json={"query": "common", "mode": "semantic", "limit": 50}).json()
        assert found["total_results"] == 16
        assert provider.texts[asked:] == ["common"], "the new model was asked for the query's vector"


def test_the_guide_to_changing_models_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "samples").symlink_to(REPOSITORY / "samples")
    models = {"S4_INDEX_MODELS": '{"fine": {"chunk_tokens_max": 64, "chunk_overlap_tokens": 8}}'}
    with running(tmp_path / "s4-data", **FAST, **models) as deployment:
        tenant = new_tenant(deployment)
        run_blocks(
            UPLOADS,
            tmp_path,
            deployment.url,
            tenant,
        )
        environment = FAST | {"S4_DATA_DIR": "s4-data", "S4_URL": deployment.url, "S4_ADMIN_API_KEY": ADMIN_KEY}
        blocks = executed_blocks(page("docs/guide/changing-models.md"), "bash")
        held, built, compared, _, switched, released = run_blocks(blocks, tmp_path, deployment.url, environment)
    assert "\tdefault\tserved\t" in held
    assert "are to be paid" in built
    assert "\tfine\tbuilding\t" in built
    assert "overlap@10" in compared
    assert switched.count("is served from gen_") == 3
    assert "is released." in released
    assert "\tfine\t" in released
