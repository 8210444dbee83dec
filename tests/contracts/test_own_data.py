"""S4's own data goes when it is old, and not before; the audit trail is verified all the same."""

import secrets
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from s4.domains import audit
from s4.domains.announcements.models import mails, notices_told
from s4.domains.audit import Sealer, Verifier
from s4.domains.audit.models import audit_entries
from s4.domains.leaving import Kept, OwnData
from s4.domains.leaving.queries.own_data import OWN
from s4.kernel.context import SYSTEM_ACTOR
from s4.kernel.settings import Settings
from s4.platform.database import Connection, Database
from s4.platform.jobs.models import jobs
from s4.platform.objects import ObjectStore, open_store
from s4.platform.telemetry import metrics

DAY = timedelta(days=1)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    opened = open_store(Settings(store_url=f"file://{tmp_path}/bucket"))
    yield opened
    await opened.aclose()


def retention(catalog: Database, **kept: timedelta) -> OwnData:
    return OwnData(catalog, Kept(**{"failed_jobs": 90 * DAY, "mails": 90 * DAY, "audit": 400 * DAY} | kept))


async def now(catalog: Database) -> datetime:
    async with catalog.read() as connection:
        return await catalog.now(connection)


async def count(catalog: Database, table: sa.Table) -> int:
    async with catalog.read() as connection:
        return int((await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one())


def job(job_id: str, state: str, at: datetime) -> dict[str, object]:
    return {
        "job_id": job_id, "kind": "documents.index", "tenant_id": "t", "subject": job_id, "payload": {}, "state": state,
        "run_at": at, "attempts": 5, "crashes": 0, "again": False, "created_at": at,
    }  # fmt: skip


def mail(mail_id: str, state: str, at: datetime) -> dict[str, object]:
    return {
        "mail_id": mail_id, "tenant_id": "t", "recipient": "a@b.example", "template": "x", "subject": "x", "text": "x",
        "state": state, "attempts": 1, "created_at": at,
    }  # fmt: skip


async def test_what_is_old_goes_and_what_is_still_wanted_stays(catalog: Database) -> None:
    at = await now(catalog)
    old, young = at - 91 * DAY, at - 89 * DAY

    async def fill(connection: Connection) -> None:
        rows = [job("old-failed", "failed", old), job("young-failed", "failed", young), job("old-ready", "ready", old)]
        await connection.execute(sa.insert(jobs), rows)
        posted = [mail("old-sent", "sent", old), mail("old-waiting", "waiting", old), mail("young", "sent", young)]
        await connection.execute(sa.insert(mails), posted)
        told = [
            {"notice": "n", "occasion": "o", "tenant_id": name, "told_at": when}
            for name, when in (("a", old), ("b", young))
        ]
        await connection.execute(sa.insert(notices_told), told)

    await catalog.transact(fill)

    await retention(catalog).run()

    async with catalog.read() as connection:
        assert set((await connection.execute(sa.select(jobs.c.job_id))).scalars()) == {"young-failed", "old-ready"}
        assert set((await connection.execute(sa.select(mails.c.mail_id))).scalars()) == {"old-waiting", "young"}
        assert set((await connection.execute(sa.select(notices_told.c.tenant_id))).scalars()) == {"b"}


async def test_old_entries_of_the_trail_leave_the_catalog_and_the_trail_still_holds(
    catalog: Database, store: ObjectStore
) -> None:
    sealer = Sealer(catalog, store, secrets.token_bytes, every=DAY)
    verifier = Verifier(catalog, store, every=DAY)
    for number in range(2):
        await catalog.transact(lambda c, n=number: audit.record(c, SYSTEM_ACTOR, "plan.update", f"plan/{n}"))
        await sealer.seal()
    await catalog.transact(lambda c: audit.record(c, SYSTEM_ACTOR, "plan.update", "plan/unsealed"))
    await retention(catalog).run()
    assert await count(catalog, audit_entries) == 3, "they are young"

    await retention(catalog, audit=timedelta(0)).run()

    assert await count(catalog, audit_entries) == 1, "what is not sealed stays"
    found = await verifier.verify()
    assert (found.problem, found.batches, found.entries) == (None, 2, 2)
    await sealer.seal()
    assert (await verifier.verify()).problem is None
    await catalog.transact(lambda c: c.execute(sa.delete(audit_entries)))
    problem = (await verifier.verify()).problem
    assert problem is not None
    assert problem.batch == 3, "what was not pruned by age is missed"


async def test_the_metric_says_how_much_there_is(catalog: Database) -> None:
    await catalog.transact(lambda c: audit.record(c, SYSTEM_ACTOR, "plan.update", "plan/free"))
    await retention(catalog).run()
    told = {name: metrics.OWN_ROWS.labels(name)._value.get() for name in OWN}
    assert told["audit"] == 1
    assert told["mails"] == 0
