"""`s4 doctor`: each thing that is made to go wrong is named, with the tenant or dependency that it comes from, and with
what to do next; what is well raises no alarm; what is down takes nothing with it but what needs it."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from s4.domains.audit.models import audit_checks
from s4.domains.backup.models import backup_runs
from s4.domains.documents.models import documents
from s4.domains.maintenance.model import SERVING, Deployment
from s4.domains.maintenance.queries import write_deployment
from s4.domains.maintenance.service import COLLECT
from s4.domains.tenants.models import tenants
from s4.domains.usage import open_balance
from s4.domains.usage.ledger import Call, Grain
from s4.domains.usage.models import usage_balances
from s4.domains.usage.queries import writing
from s4.entrypoints.configuration import Configuration, read_configuration
from s4.entrypoints.doctor import Check, Report, Verdict
from s4.entrypoints.doctor.whole import PARTS, Bedside, Patience, examine, machine, processes, work
from s4.entrypoints.doctor.whole.processes import Process, isolation, judged
from s4.kernel.ids import new_document_id, new_tenant_id
from s4.kernel.units import KIB
from s4.platform.database import Connection, Database
from s4.platform.jobs import JobRequest, Leases, Queue, RegularTask, Scheduler, somebody_schedules
from s4.platform.jobs.models import jobs, schedule
from tests.acceptance.conftest import Command
from tests.factories.catalog import BACKENDS, open_catalog, sqlite_url
from tests.factories.house import open_house
from tests.factories.store_actions import take_away
from tests.fault_proxy import Fault, FaultProxy, Mode, fault_proxy
from tests.servers import S3Server, free_ports

HOUR = timedelta(hours=1)
DOCUMENT = new_document_id(secrets.token_bytes)
AT_ONCE = Patience(worker=0.0)
FROM_CATALOG = ("queue", "index", "quotas", "contents", "tenants", "schedule", "audit", "backups", "degradation")


@dataclass
class Patient:
    """A deployment that a test makes ill."""

    catalog: Database
    configuration: Configuration
    now: datetime
    acme: str = ""
    others: tuple[str, ...] = ()

    async def does(self, *statements: Any) -> None:
        async def work(connection: Connection) -> None:
            for statement in statements:
                await connection.execute(statement)

        await self.catalog.transact(work)

    async def enqueue(self, tenant: str, *subjects: str) -> None:
        queue = Queue(self.catalog, secrets.token_bytes)

        async def work(connection: Connection) -> None:
            for subject in subjects:
                await queue.enqueue(connection, JobRequest("documents.index", tenant, subject, {}))

        await self.catalog.transact(work)

    async def examined(self, *only: str, **changes: Any) -> Report:
        return await examine(Bedside(self.configuration, **{"patience": AT_ONCE} | changes), only=only)


async def settled(catalog: Database, configuration: Configuration) -> Patient:
    """Three tenants, a scheduler that lives, and nothing wrong."""
    async with catalog.read() as connection:
        now = await catalog.now(connection)
    patient = Patient(catalog, configuration, now)
    await catalog.transact(lambda c: write_deployment(c, Deployment("epo_1", SERVING, 1), now=now))
    names = {"Acme": new_tenant_id(secrets.token_bytes)} | {
        name: new_tenant_id(secrets.token_bytes) for name in ("Borel", "Cantor", "Dirac")
    }
    for name, tenant in names.items():
        await patient.does(
            sa.insert(tenants).values(
                tenant_id=tenant, revision=1, state="live", name=name, plan_id="free", status="active", settings={},
                created_at=now, updated_at=now,
            )
        )  # fmt: skip
        await catalog.transact(partial(open_balance, tenant_id=tenant))
    patient.acme, *rest = names.values()
    patient.others = tuple(rest)
    leases = Leases(catalog, owner="scheduler", duration=HOUR)
    await Scheduler(catalog, Queue(catalog, secrets.token_bytes), leases, [RegularTask("test.sweep", HOUR)]).tick()
    await patient.does(sa.delete(jobs), sa.update(schedule).values(last_finished_at=now, last_outcome="ok"))
    return patient


@pytest.fixture
async def patient(catalog_url: str, catalog: Database, tmp_path: Path) -> Patient:
    loaded = read_configuration(
        data_dir=tmp_path, database_url=catalog_url, embedding_provider="deterministic", backup_every_hours=1
    )
    return await settled(catalog, loaded)


@pytest.fixture
async def lone(tmp_path: Path) -> AsyncIterator[Patient]:
    """The same on SQLite alone, for what does not depend on the database."""
    url = sqlite_url(tmp_path)
    catalog = open_catalog(url)
    loaded = read_configuration(data_dir=tmp_path, database_url=url, embedding_provider="deterministic")
    yield await settled(catalog, loaded)
    await catalog.aclose()


def of(report: Report, name: str) -> list[Check]:
    return [check for check in report.checks if check.name == name]


def trouble(report: Report) -> dict[str, str]:
    """By name what was found wrong, in full."""
    wrong = (Verdict.FAILED, Verdict.WARNING)
    return {
        check.name: f"{check.message} | {check.cause} | {check.advice}"
        for check in report.checks
        if check.verdict in wrong
    }


# -- what goes wrong in the catalog


async def a_stuck_job(patient: Patient) -> None:
    await patient.enqueue(patient.acme, DOCUMENT)
    long_ago = patient.now - 3 * HOUR
    gone = {"state": "running", "lease_owner": "w", "lease_until": long_ago, "claimed_at": long_ago}
    await patient.does(sa.update(jobs).values(**gone))


async def a_job_that_never_ends(patient: Patient) -> None:
    await patient.enqueue(patient.acme, DOCUMENT)
    held = {"lease_owner": "wrk_1", "lease_until": patient.now + HOUR, "claimed_at": patient.now - 3 * HOUR}
    await patient.does(sa.update(jobs).values(state="running", **held))


async def a_poison_document(patient: Patient) -> None:
    await patient.enqueue(patient.acme, DOCUMENT)
    await patient.does(sa.update(jobs).values(state="failed", crashes=3, last_error="resource_limit"))


async def a_job_of_our_own_that_fails(patient: Patient) -> None:
    await patient.enqueue("", "usage.rollup")
    await patient.does(sa.update(jobs).values(kind="usage.rollup", state="failed", last_error="ValueError: no"))


async def a_queue_that_one_holds(patient: Patient) -> None:
    await patient.enqueue(patient.acme, *(f"doc_{number}" for number in range(60)))
    await patient.enqueue(patient.others[0], DOCUMENT)
    await patient.does(sa.update(jobs).values(run_at=patient.now - timedelta(minutes=5)))


async def no_worker(patient: Patient) -> None:
    await Leases(patient.catalog, owner="scheduler", duration=HOUR).release_all()


async def a_drifted_quota(patient: Patient) -> None:
    await patient.does(
        sa.update(usage_balances).where(usage_balances.c.tenant_id == patient.acme).values(stored_bytes=1234)
    )


async def bytes_that_went_behind_its_back(patient: Patient) -> None:
    at = patient.now - HOUR
    found = {"task": COLLECT, "next_at": patient.now + HOUR, "last_finished_at": at, "drift_bytes": 5 * KIB}
    await patient.does(sa.insert(schedule).values(**found))


async def a_document_that_hangs(patient: Patient) -> None:
    then = patient.now - 5 * HOUR
    await patient.does(
        sa.insert(documents).values(
            tenant_id=patient.acme, document_id=DOCUMENT, revision=1, state="live", content_revision=1,
            searchable_floor=0, filename="a", content_type="text/plain", size_bytes=0, sha256="", metadata={},
            uploaded_at=then, updated_at=then, status="processing",
        ),
        sa.update(usage_balances).where(usage_balances.c.tenant_id == patient.acme).values(documents=1),
    )  # fmt: skip


async def a_noisy_tenant(patient: Patient) -> None:
    shares = {patient.acme: 5000} | dict.fromkeys(patient.others, 20)
    entries = [(tenant, patient.now, {"calls": count, "requests": count}) for tenant, count in shares.items()]
    await patient.catalog.transact(lambda c: writing.add_all(c, entries))


async def a_tenant_that_is_refused(patient: Patient) -> None:
    errors = {(patient.acme, Grain.HOUR.floor(patient.now)): {"rate_limited": 400}}
    await patient.catalog.transact(lambda c: writing.add_errors(c, errors))


async def a_task_that_is_overdue(patient: Patient) -> None:
    then = patient.now - 9 * HOUR
    await patient.does(sa.update(schedule).values(last_finished_at=then, first_at=then))


async def a_broken_audit_trail(patient: Patient) -> None:
    await patient.does(
        sa.insert(audit_checks).values(singleton=1, at=patient.now, batches=7, problem="entry 3 differs")
    )


def run(patient: Patient, kind: str, ago: timedelta, **said: Any) -> Any:
    at = patient.now - ago
    values = {"run_id": secrets.token_hex(8), "kind": kind, "backup_id": "bkp_1", "outcome": "ok", "said": {}}
    return sa.insert(backup_runs).values(**values | {"started_at": at, "ended_at": at, "point": at} | said)


async def an_old_backup(patient: Patient) -> None:
    failure = {"outcome": "failed", "said": {"error": "The store is full."}}
    await patient.does(run(patient, "backup", 9 * HOUR), run(patient, "backup", HOUR, **failure))


async def a_drill_that_failed(patient: Patient) -> None:
    await patient.does(
        run(patient, "backup", timedelta()),
        run(patient, "drill", HOUR, outcome="failed", said={"problems": ["A hash differs."]}),
    )


async def searches_that_are_slow(patient: Patient) -> None:
    """For three hours, by one tenant; for a week before they were quick."""
    hour = Grain.HOUR.floor(patient.now)
    calls: dict[Any, dict[str, int]] = {}
    for back in range(24 * 8 + 2):
        for tenant in (patient.acme, patient.others[0]):
            slow = tenant == patient.acme and back < 3
            amounts = {"requests": 50, "microseconds": 50 * (900_000 if slow else 40_000)}
            amounts |= dict.fromkeys(("refusals", "failures", "bytes_in", "bytes_out"), 0)
            calls[Call(tenant, hour - back * HOUR, "POST", "/search")] = amounts
    await patient.catalog.transact(lambda c: writing.add_endpoints(c, calls))


SCENARIOS: tuple[tuple[Callable[[Patient], Awaitable[None]], str, tuple[str, ...]], ...] = (
    (a_stuck_job, "queue.stuck", ("{acme}", DOCUMENT, "silent", "3.0 h")),
    (a_job_that_never_ends, "queue.stuck", ("{acme}", DOCUMENT, "wrk_1")),
    (a_poison_document, "queue.poison", ("{acme}", DOCUMENT, "died 3 times")),
    (a_job_of_our_own_that_fails, "queue.failed", ("usage.rollup", "ValueError: no")),
    (a_queue_that_one_holds, "queue.unfair", ("{acme}", "60 of the 61")),
    (no_worker, "queue.workers", ("No worker runs", "s4 worker")),
    (a_drifted_quota, "quotas", ("{acme}", "+1234 bytes", "maintenance.recount")),
    (bytes_that_went_behind_its_back, "contents", ("5.0 KiB", "maintenance.content_differs")),
    (a_document_that_hangs, "index.behind", ("{acme}", "5.0 h")),
    (a_noisy_tenant, "tenants.noisy", ("{acme}", "99% of the calls", "s4 usage endpoints")),
    (a_tenant_that_is_refused, "tenants.limited", ("{acme}", "400 times")),
    (a_task_that_is_overdue, "schedule", ("test.sweep", "s4 schedule run test.sweep")),
    (a_broken_audit_trail, "audit", ("entry 3 differs", "s4 audit verify")),
    (an_old_backup, "backups.age", ("9.0 h old", "The store is full.", "backup.create")),
    (a_drill_that_failed, "backups.drill", ("A hash differs.", "s4 backup drill")),
    (searches_that_are_slow, "degradation.latency", ("{acme}", "POST /search takes 470 ms instead of 40 ms")),
)


ON_POSTGRESQL = (a_stuck_job, a_noisy_tenant, searches_that_are_slow)
"""Every examination sends all statements; these look at what comes back where the two databases differ."""
CASES = [
    pytest.param(backend, *scenario, id=f"{scenario[0].__name__}-{backend}")
    for backend in BACKENDS
    for scenario in SCENARIOS
    if backend == "sqlite" or scenario[0] in ON_POSTGRESQL
]


@pytest.mark.parametrize(("catalog_url", "makes_ill", "name", "words"), CASES, indirect=["catalog_url"])
async def test_it_names_the_culprit_and_nothing_else(
    patient: Patient, makes_ill: Callable[[Patient], Awaitable[None]], name: str, words: tuple[str, ...]
) -> None:
    await makes_ill(patient)

    report = await patient.examined(*FROM_CATALOG)

    found = trouble(report)
    assert list(found) == [name]
    for word in words:
        assert word.format(acme=f"tenant {patient.acme} (Acme)") in found[name]
    assert all(check.cause and check.advice for check in of(report, name))


async def test_what_is_well_raises_no_alarm(patient: Patient) -> None:
    report = await patient.examined(*FROM_CATALOG)

    assert trouble(report) == {}
    assert report.exit_code == 0
    assert {check.name for check in report.checks if check.verdict is Verdict.UNKNOWN} == {"degradation"}, "no baseline"


async def test_a_worker_that_takes_up_its_work_while_it_is_looked_for_is_there(
    lone: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[datetime] = []

    async def seen_at_the_second_look(connection: Connection, now: datetime) -> bool:
        looks.append(now)
        return len(looks) > 1 and await somebody_schedules(connection, now)

    monkeypatch.setattr(work, "somebody_schedules", seen_at_the_second_look)

    report = await lone.examined("queue", patience=Patience(worker=60.0))

    assert trouble(report) == {}
    assert len(looks) == 2


async def test_a_worker_that_starts_is_told_from_one_that_is_not_there(
    lone: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def api(address: str, _: Any) -> Process:
        return Process(address, health={"status": "ready", "dependencies": {"worker": "starting"}})

    monkeypatch.setattr(processes, "ask", api)
    await no_worker(lone)

    report = await lone.examined("queue", addresses=("http://10.0.0.1:8000",))

    assert trouble(report)["queue.workers"].startswith("The worker of http://10.0.0.1:8000 is starting")
    assert report.exit_code == 0


async def test_a_slow_hour_is_dated(patient: Patient) -> None:
    await searches_that_are_slow(patient)
    began = Grain.HOUR.floor(patient.now) - 2 * HOUR
    assert f"since {began:%Y-%m-%d %H}:00 UTC" in trouble(await patient.examined("degradation"))["degradation.latency"]


# -- what is down


async def test_a_damaged_catalog_is_told_with_the_way_back(tmp_path: Path) -> None:
    loaded = read_configuration(data_dir=tmp_path, embedding_provider="deterministic")
    (tmp_path / "catalog.sqlite").write_bytes(b"no database\n" * 1000)
    report = await examine(Bedside(loaded), only=("database", "queue"))
    (found,) = [check for check in report.checks if check.verdict is Verdict.FAILED]
    assert (found.name, "s4 rebuild" in found.advice) == ("database", True)
    assert "damaged" in found.message


async def test_a_dead_database_is_one_line_and_the_others_are_looked_at(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    loaded = read_configuration(
        data_dir=tmp_path, database_url=f"postgresql://u:p@127.0.0.1:{port}/s4", embedding_provider="deterministic"
    )

    parts = (
        "versions",
        "database",
        "schema",
        "clock",
        "queue",
        "quotas",
        "index",
        "schedule",
        "embedding",
        "machine.disk",
    )

    report = await examine(Bedside(loaded), only=parts)

    failures = [check.name for check in report.checks if check.verdict is Verdict.FAILED]
    assert failures == ["database"]
    (untold,) = of(report, "untold.database")
    assert set(untold.message.removesuffix(".").partition(": ")[2].split(", ")) >= {
        "queue",
        "quotas",
        "index",
        "schedule",
    }
    assert {check.verdict for name in ("versions", "embedding", "machine.disk") for check in of(report, name)} == {
        Verdict.OK
    }
    assert report.exit_code == 1


async def test_a_dead_store_is_one_line(lone: Patient, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    loaded = read_configuration(
        data_dir=tmp_path, store_url="s3://bucket/s4", store_endpoint=f"http://127.0.0.1:{port}", store_retries_max=0,
        store_access_key_id="a", store_secret_access_key="b" * 8, embedding_provider="deterministic",
    )  # fmt: skip

    report = await examine(Bedside(loaded), only=("store", "index.files", "isolation", "quotas"))

    assert [check.name for check in report.checks if check.verdict is Verdict.FAILED] == ["object_store"]
    assert "isolation" in of(report, "untold.object_store")[0].message
    assert of(report, "quotas")[0].verdict is Verdict.OK


async def test_a_dead_provider_is_named(lone: Patient) -> None:
    (port,) = free_ports(1)
    loaded = read_configuration(
        data_dir=lone.configuration.settings.data_dir, embedding_provider="openai", embedding_dimension=8,
        embedding_base_url=f"http://127.0.0.1:{port}/v1", embedding_api_key="x", embedding_retries_max=0,
    )  # fmt: skip

    report = await examine(Bedside(loaded), only=("embedding",))

    (check,) = report.checks
    assert (check.verdict, check.cause) == (Verdict.FAILED, "embedding provider openai")
    assert "S4_EMBEDDING_BASE_URL" in (check.advice or "")


async def test_redis_that_is_away_is_a_warning(lone: Patient) -> None:
    (port,) = free_ports(1)
    loaded = read_configuration(data_dir=lone.configuration.settings.data_dir, redis_url=f"redis://127.0.0.1:{port}/0")
    assert trouble(await examine(Bedside(loaded), only=("redis",)))["redis"].startswith("Redis does not answer")


async def test_a_part_that_hangs_is_cut_off_and_the_others_are_told(lone: Patient) -> None:
    async with lone.catalog.read():
        report = await lone.examined("queue", "machine.disk", patience=Patience(part=0.0))
    assert of(report, "queue")[0].verdict is Verdict.UNKNOWN


async def test_settings_that_cannot_be_read_are_the_report(here: Command) -> None:
    done = here("doctor", "--json", S4_PORT="none")
    assert done.code == 1
    assert '"name": "configuration"' in done.out
    assert "S4_PORT" in done.out


# -- the store


@pytest.fixture
async def proxy(s3_server: S3Server) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(s3_server.endpoint) as opened:
        yield opened


@pytest.fixture
def through_proxy(proxy: FaultProxy, s3_server: S3Server, s3_shared_bucket: str, tmp_path: Path) -> Configuration:
    return read_configuration(
        data_dir=tmp_path, store_url=f"s3://{s3_shared_bucket}/{secrets.token_hex(8)}", store_endpoint=proxy.endpoint,
        store_access_key_id=s3_server.access_key, store_secret_access_key=s3_server.secret_key, store_retries_max=0,
    )  # fmt: skip


async def test_a_denied_permission_is_named(
    proxy: FaultProxy, through_proxy: Configuration, s3_shared_bucket: str
) -> None:
    take_away(proxy, "s3:AbortMultipartUpload", s3_shared_bucket)

    found = trouble(await examine(Bedside(through_proxy), only=("store",)))

    assert "s3:AbortMultipartUpload is missing" in found["store.s3:AbortMultipartUpload"]
    assert "object store" in found["store.s3:AbortMultipartUpload"]


async def test_a_slow_store_is_told_from_one_that_is_down(proxy: FaultProxy, through_proxy: Configuration) -> None:
    proxy.add(Fault(Mode.SLOW, delay_seconds=0.3))

    report = await examine(Bedside(through_proxy, patience=Patience(store=0.1)), only=("store",))

    found = trouble(report)
    assert list(found) == ["store.latency"]
    assert "The store is slow." in found["store.latency"]
    assert of(report, "store")[0].verdict is Verdict.UNKNOWN
    assert report.exit_code == 0


# -- the machine, and processes


async def test_a_full_disk_is_named(lone: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure is replaced: mounting a small file system takes rights that tests may not have."""
    monkeypatch.setattr(machine, "read_disk", lambda _: (100 << 30, 100 << 20))

    report = await lone.examined("machine.disk")

    found = of(report, "machine.disk")
    assert {check.verdict for check in found} == {Verdict.FAILED}
    data_dir = str(lone.configuration.settings.data_dir)
    assert any(check.cause == f"disk of {data_dir}" and "100.0 MiB of 100.0 GiB" in check.message for check in found)


async def test_memory_near_its_limit_is_named(lone: Patient, tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    group = tmp_path / "group"
    group.mkdir()
    (proc / "meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable: 8000000 kB\n")
    (proc / "self" / "cgroup").write_text("0::/\n")
    (proc / "self" / "mountinfo").write_text(f"1 0 0:1 / {group} rw - cgroup2 cgroup2 rw\n")
    (group / "memory.max").write_text(f"{1 << 30}\n")
    (group / "memory.current").write_text(f"{1000 << 20}\n")
    (group / "memory.stat").write_text(f"inactive_file {50 << 20}\n")

    report = await lone.examined("machine.memory", proc=proc)

    assert trouble(report)["machine.memory"].startswith("950.0 MiB of 1.0 GiB")
    (group / "memory.current").write_text(f"{500 << 20}\n")
    assert trouble(await lone.examined("machine.memory", proc=proc)) == {}


async def test_a_wrong_clock_is_named(postgres_url: str, tmp_path: Path) -> None:
    catalog = open_catalog(postgres_url)

    class Ahead:
        def now(self) -> datetime:
            return datetime.now().astimezone() + timedelta(minutes=5)

    loaded = read_configuration(data_dir=tmp_path, database_url=postgres_url)
    try:
        assert trouble(await examine(Bedside(loaded), only=("clock",))) == {}
        found = trouble(await examine(Bedside(loaded, clock=Ahead()), only=("clock",)))
    finally:
        await catalog.aclose()
    assert "300 s ahead of the database" in found["clock.database"]


def test_a_process_near_its_limit_with_a_breaker_that_is_open_says_so() -> None:
    gib = float(1 << 30)
    process = Process("http://10.0.0.1:8000", health={"status": "ready"}, is_api=True)
    process.samples = [
        ("s4_memory_limit_bytes", {"process": "api"}, gib),
        ("s4_cgroup_memory_bytes", {"process": "api", "kind": "working_set"}, 0.95 * gib),
        ("s4_embedding_breaker_open", {"process": "worker", "provider": "openai"}, 1.0),
        ("s4_store_requests_total", {"operation": "put", "outcome": "ok"}, 80.0),
        ("s4_store_requests_total", {"operation": "put", "outcome": "throttled"}, 20.0),
        ("s4_build_info", {"version": "9.9.9"}, 1.0),
    ]
    causes = {check.name: check.cause for check in judged([process])}
    assert causes == {
        "processes.memory": "the process at http://10.0.0.1:8000",
        "processes.breaker": "embedding provider openai",
        "processes.store_errors": "object store",
        "processes.versions": None,
    }


def test_an_api_that_lets_anybody_in_is_named() -> None:
    door = Process("http://10.0.0.1:8000", is_api=True, refusals=[("/api/v1/documents", 401), ("/api/v1/usage", 200)])
    (check,) = isolation([door])
    assert check.verdict is Verdict.FAILED
    assert "/api/v1/usage answered 200" in check.message


# -- with an index and a bucket


async def test_a_damaged_index_and_a_stray_object_are_named(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        await house.put(acme, "tides.txt", "Tides follow the moon.")
        await house.work()
        loaded = read_configuration(data_dir=tmp_path, embedding_provider="deterministic")
        parts = ("index", "index.files", "isolation")
        await house.core.database.transact(lambda c: c.execute(sa.text("SELECT 1")))
        assert trouble(await examine(Bedside(loaded), only=parts)) == {}
        data = next(path for path in (tmp_path / "objects").rglob("*.lance") if path.is_file())
        data.unlink()
        stray = tmp_path / "objects" / "tenants" / acme.context.tenant_id / "stray.txt"
        stray.write_text("Who am I?")

        found = trouble(await examine(Bedside(loaded), only=parts))

    assert set(found) == {"index.files", "isolation.keys"}
    assert f"tenant {acme.context.tenant_id} (Acme)" in found["index.files"]
    assert data.name in found["index.files"]
    assert "stray.txt" in found["isolation.keys"]


def test_a_part_that_is_none_is_refused_with_those_that_are(here: Command, tmp_path: Path) -> None:
    done = here("doctor", "--only", "quoats", S4_DATA_DIR=str(tmp_path))
    assert done.code == 2
    assert all(name in done.err for name in PARTS)
