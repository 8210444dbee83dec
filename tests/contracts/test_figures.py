"""What metrics say of all tenants, of the catalog's connections, of jobs and of the store, on real ones."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from s4.domains.analytics.census import OTHER, everyone, take_census
from s4.domains.indexing.queries.sizes import index_sizes
from s4.domains.usage.models import usage_marks
from s4.entrypoints.exporter import tenants_text
from s4.entrypoints.figures import CatalogFigures
from s4.kernel.errors import DocumentRejected, Unavailable
from s4.platform.database import Connection, Database
from s4.platform.jobs import JobHandler, JobRequest, JobRun, Queue, Worker, WorkerLimits
from s4.platform.objects.base import known_code
from tests.factories.catalog import seeded
from tests.factories.house import open_house
from tests.factories.tenantry import delete, settle, tenant_id

KIND = "figures.test"  # of jobs; no other test counts it
HOUR, TICK = timedelta(hours=1), timedelta(milliseconds=1)


def sample(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


# -- tenants


async def test_the_busiest_are_named_and_the_rest_are_one(catalog: Database) -> None:
    await settle(catalog, 50)
    census = await take_census(catalog, named_max=3)
    first = [tenant_id(n) for n in (50, 49, 48)]
    total = sum(range(2, 51))
    assert census.calls == {first[0]: 50, first[1]: 49, first[2]: 48, OTHER: total - 147}
    assert list(census.stored_bytes) == [*first, OTHER]
    assert census.stored_bytes[OTHER] == 1000 * (sum(range(1, 51)) - 147)
    assert list(census.utilisation) == [*first, OTHER]
    assert census.utilisation[first[0]] == pytest.approx(50 / 10_000), "of the plan's calls, which it is nearer to"
    assert census.utilisation[OTHER] == pytest.approx(47 / 10_000), "the greatest of the rest"
    assert census.statuses == {"active": 50, "suspended": 0, "deleting": 0}
    assert census.seen == {"24h": 49, "30d": 49}, "one was never seen"

    unnamed = await take_census(catalog, named_max=0)
    assert set(unnamed.calls) == set(unnamed.stored_bytes) == set(unnamed.utilisation) == {OTHER}
    assert (unnamed.calls[OTHER], unnamed.utilisation[OTHER]) == (total, pytest.approx(50 / 10_000))

    reset = sa.update(usage_marks).where(usage_marks.c.tenant_id == first[1]).values(calls_before=48)
    await catalog.transact(lambda c: c.execute(reset))
    await delete(catalog, 50)
    census = await take_census(catalog, named_max=1)
    assert census.calls == {first[2]: 48, OTHER: total - 50 - 48 - 48}, "without who is gone, and what was reset"
    assert set(census.stored_bytes) == {first[1], OTHER}
    assert first[0] not in {row.tenant_id for row in (await everyone(catalog))[1]}


async def test_the_exporter_tells_eight_figures_of_each_tenant(catalog: Database) -> None:
    await settle(catalog, 100)
    quoted = sa.text("UPDATE tenants SET name = :name WHERE tenant_id = :tenant_id")
    await catalog.transact(lambda c: c.execute(quoted, {"name": 'A "b" \\ c\nd', "tenant_id": tenant_id(1)}))
    now, rows = await everyone(catalog)
    families = {each.name: each for each in text_string_to_metric_families(tenants_text(rows).decode())}
    assert len(families) == 8
    assert {len(family.samples) for family in families.values()} == {100}

    def of(number: int) -> dict[str, Any]:
        return {
            name: each.value
            for name, family in families.items()
            for each in family.samples
            if each.labels["tenant_id"] == tenant_id(number)
        }

    busiest = of(100)
    assert busiest.pop("s4_tenant_last_activity_timestamp_seconds") == pytest.approx(now.timestamp() - 6000, abs=5)
    assert busiest == {
        "s4_tenant_info": 1,
        "s4_tenant_calls": 100,
        "s4_tenant_requests": 101,
        "s4_tenant_failures": 1,
        "s4_tenant_stored_bytes": 100_000,
        "s4_tenant_documents": 100,
        "s4_tenant_utilisation_ratio": pytest.approx(0.01),
    }
    idle = of(1)
    assert len(idle) == 8, "the one that never asked anything has data for every panel"
    assert (idle["s4_tenant_calls"], idle["s4_tenant_last_activity_timestamp_seconds"]) == (0, 0)
    (info,) = [each.labels for each in families["s4_tenant_info"].samples if each.labels["tenant_id"] == tenant_id(1)]
    assert info == {"tenant_id": tenant_id(1), "name": 'A "b" \\ c\nd', "plan_id": "premium", "status": "active"}


async def test_the_catalog_is_read_once_however_many_scrape_and_its_absence_leaves_the_old_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(tmp_path, metrics_token="t" * 32, metrics_catalog_seconds=1000) as house:
        acme = await house.tenant()
        await house.put(acme, "k", "some text " * 100)
        await house.work()
        figures, before = CatalogFigures(house.core), sample("s4_database_statements_total")
        assert list(figures()) == [], "nothing is told before it was read"
        await asyncio.gather(*(figures.refresh() for _ in range(20)))
        assert sample("s4_database_statements_total") - before < 15
        told = {family.name: family.samples for family in figures()}
        assert told["s4_index_tables"][0].value == 1
        assert told["s4_index_bytes"][0].value > 1000
        assert told["s4_index_fragments"][0].value >= 1
        assert [each.labels["tenant_id"] for each in told["s4_top_tenant_stored_bytes"]] == [
            acme.context.tenant_id,
            OTHER,
        ]

        open_to_all = house.core.settings.model_copy(update={"metrics_token": None})
        unnamed = CatalogFigures(replace(house.core, settings=open_to_all))
        await unnamed.refresh()
        labels = [each.labels for family in unnamed() for each in family.samples]
        assert {each["tenant_id"] for each in labels if "tenant_id" in each} == {OTHER}, "without a token"

        async def away(_: object) -> None:
            raise Unavailable("the database restarts")

        monkeypatch.setattr(house.core.database, "now", away)
        figures._due = 0.0
        await figures.refresh()
        assert {family.name for family in figures()} == set(told)


async def test_the_sizes_of_all_tables_are_added_up_over_pages(catalog: Database) -> None:
    insert = sa.text(
        "INSERT INTO index_tables (tenant_id, generation_id, lance_version, commits_since_optimize, updated_at, files)"
        " VALUES (:tenant_id, 'gen_a', 1, :commits, :at, :files)"
    )
    files = '{"data/a.lance": [10, null], "data/b.lance": [20, null], "_versions/1.manifest": [3, null]}'
    rows = [
        {"tenant_id": tenant_id(n), "commits": n % 7, "at": "2026-01-01 00:00:00+00:00", "files": files}
        for n in range(1201)
    ]

    async def fill(connection: Connection) -> None:
        await connection.execute(insert, rows)

    await catalog.transact(fill)
    async with catalog.read() as connection:
        sizes = await index_sizes(connection)
    assert (sizes.tables, sizes.size_bytes, sizes.fragments, sizes.fragments_most) == (1201, 1201 * 33, 2402, 2)
    assert (sizes.commits, sizes.commits_most) == (sum(n % 7 for n in range(1201)), 6)


# -- the catalog's connections


def pools(catalog: Database) -> tuple[str, str]:
    """Of readers and of writers."""
    return ("both", "both") if catalog.dialect == "postgresql" else ("read", "write")


async def test_connections_are_counted_while_held_and_waited_for_and_statements_by_what_they_do(
    catalog: Database,
) -> None:
    reading, writing = pools(catalog)
    size = sample("s4_database_pool_connections", pool=reading)
    assert size == 8
    enough, leave = asyncio.Event(), asyncio.Event()
    held = 0

    async def hold() -> None:
        nonlocal held
        async with catalog.read() as connection:
            await connection.execute(sa.text("SELECT 1"))
            held += 1
            if held == size:
                enough.set()
            await leave.wait()

    holders = [asyncio.create_task(hold()) for _ in range(10)]
    await enough.wait()
    while sample("s4_database_pool_waiting", pool=reading) < 2:  # noqa: ASYNC110 (a gauge tells nobody)
        await asyncio.sleep(0)
    assert sample("s4_database_pool_in_use", pool=reading) == 8
    leave.set()
    await asyncio.gather(*holders)
    cancelled = asyncio.create_task(catalog.transact(lambda _: asyncio.Event().wait()))
    while sample("s4_database_pool_in_use", pool=writing) < 1:  # noqa: ASYNC110 (as above)
        await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    for pool in {reading, writing}:
        assert sample("s4_database_pool_in_use", pool=pool) == 0, "who is cancelled holds nothing"
        assert sample("s4_database_pool_waiting", pool=pool) == 0

    name = "s4_database_statement_duration_seconds_count"
    before = {verb: sample(name, operation=verb) for verb in ("select", "delete", "other")}
    await catalog.transact(lambda c: c.execute(sa.text("DELETE FROM usage_marks WHERE tenant_id = 'nobody'")))
    async with catalog.read() as connection:
        await connection.execute(sa.text("SELECT 1"))
        await connection.execute(sa.text("WITH one AS (SELECT 1) SELECT * FROM one"))
    after = {verb: sample(name, operation=verb) - before[verb] for verb in before}
    assert after["delete"] == 1
    assert after["select"] >= 1
    assert after["other"] >= 1


# -- jobs


async def test_a_job_ends_once_with_its_reason_and_the_attempts_that_it_took(catalog: Database) -> None:
    queue = Queue(catalog, seeded(1))
    errors: dict[str, Exception | None] = {
        "fine": None,
        "rejected": DocumentRejected("hopeless", code="corrupt"),
        "bug": ValueError("a bug"),
    }

    async def run(run: JobRun) -> bool:
        if (error := errors[run.job.subject]) is not None:
            raise error
        return False

    async def enqueue(connection: Connection) -> None:
        for subject in errors:
            await queue.enqueue(connection, JobRequest(KIND, "t", subject, {}))

    def ended(outcome: str, reason: str) -> float:
        return sample("s4_jobs_ended_total", kind=KIND, outcome=outcome, reason=reason)

    ends = [("ok", ""), ("failed", "corrupt"), ("failed", "internal")]
    before = [ended(*end) for end in ends]
    attempts = sample("s4_job_attempts_sum", outcome="failed")
    await catalog.transact(enqueue)
    limits = WorkerLimits(
        concurrency=1, lease=HOUR, poll=TICK, attempts_max=3, backoff=TICK, backoff_max=TICK, patience=HOUR
    )
    worker = Worker(catalog, queue, {KIND: JobHandler(run)}, owner="worker", limits=limits)
    while [ended(*end) for end in ends] != [count + 1 for count in before]:
        await worker.run_until_idle()
    assert sample("s4_job_attempts_sum", outcome="failed") - attempts == 1 + 3


# -- the store


def test_what_a_store_says_makes_no_labels() -> None:
    said = ["SlowDown", "AccessDenied", "503", None, "<script>", "x" * 64]
    assert [known_code(code) for code in said] == ["SlowDown", "AccessDenied", "503", "none", "other", "other"]
