"""The monthly reviews say what was put into the catalog, on both databases."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from s4.domains.documents.models import documents
from s4.domains.events import Events
from s4.domains.reports import Line, MachinePrices, ReportService, as_html
from s4.domains.reports.billing import Part
from s4.domains.service_levels import ServiceLevels
from s4.domains.tenants import NewTenant
from s4.domains.tenants.models import tenants
from s4.domains.usage import Holding, Prices, StorageClass, storage
from s4.domains.usage.ledger import NOBODY, Call
from s4.domains.usage.models import usage_balances
from s4.domains.usage.queries import writing
from s4.kernel.errors import InvalidRequest
from s4.kernel.settings import Settings
from s4.kernel.units import GIB
from s4.platform.database import Connection, Database
from s4.platform.objects import open_store
from tests.factories.process import OWNER, MiniProcess

JANUARY, FEBRUARY = datetime(2026, 1, 10, 12, tzinfo=UTC), datetime(2026, 2, 10, 12, tzinfo=UTC)
MONTH = datetime(2026, 2, 1, tzinfo=UTC)
HOURS = 730  # in which a GiB costs what it costs a month
PRICES = Prices("EUR", 0.02, 0.005, 0.0004, 0.1, 0.09)
MACHINES = MachinePrices(api=100.0, workers=60.0, database=30.0, archived_gib=0.005)


class Deployment:
    """Two tenants: acme, who works, and globex, who only stores."""

    def __init__(self, catalog: Database, acme: str, globex: str, reports: ReportService) -> None:
        self.catalog, self.acme, self.globex, self.reports = catalog, acme, globex, reports

    async def used(self, at: datetime, tenant_id: str, **amounts: int) -> None:
        await self.catalog.transact(lambda c: writing.add(c, tenant_id, at, amounts))

    async def stores(self, at: datetime, **gib: int) -> None:
        """Sampled at that time, ten documents a GiB."""

        async def sample(connection: Connection) -> None:
            for name, size in gib.items():
                held = {"stored_bytes": size * GIB, "documents": size * 10}
                of = usage_balances.c.tenant_id == getattr(self, name)
                await connection.execute(sa.update(usage_balances).where(of).values(held))
            assert await writing.sample_balances(connection, at.replace(minute=0))

        await self.catalog.transact(sample)

    async def document(self, number: int, at: datetime, took: timedelta | None, **more: Any) -> None:
        row = {
            "tenant_id": self.acme, "document_id": f"doc_{number}", "revision": 1, "state": "live",
            "searchable_floor": 0, "content_revision": 1, "filename": "a.txt", "content_type": "text/plain",
            "size_bytes": GIB, "sha256": f"{number:064}", "metadata": {}, "uploaded_at": at, "updated_at": at,
            "status": "ready" if took is not None else "processing",
            "indexed_at": at + took if took is not None else None,
        }  # fmt: skip
        await self.catalog.transact(lambda c: c.execute(sa.insert(documents).values(row | more)))


@pytest.fixture
async def deployment(catalog: Database) -> Deployment:
    process = MiniProcess(catalog, open_store(Settings(store_url="memory://")))
    acme, _ = await process.tenants.create(OWNER, NewTenant("Acme | <b>", None, None, "free"))
    globex, _ = await process.tenants.create(OWNER, NewTenant("Globex", None, None, "local"))
    levels = ServiceLevels(catalog, process.plans, Events(catalog, secrets.token_bytes))
    return Deployment(catalog, acme.tenant_id, globex.tenant_id, ReportService(catalog, levels, PRICES, MACHINES))


async def test_performance_is_what_happened_in_the_month_beside_the_month_before(deployment: Deployment) -> None:
    await deployment.used(JANUARY, deployment.acme, calls=500, requests=500, failures=10)
    await deployment.stores(JANUARY, acme=4, globex=0)
    await deployment.used(FEBRUARY, deployment.acme, calls=900, requests=900, failures=9, searches_le_05=100)
    await deployment.used(FEBRUARY, deployment.globex, calls=100, requests=100)
    await deployment.stores(FEBRUARY, acme=5, globex=1)
    call = Call(NOBODY, FEBRUARY, "POST", "/search")
    counted = {"requests": 1, "refusals": 0, "failures": 1, "microseconds": 5, "bytes_in": 0, "bytes_out": 0}
    await deployment.catalog.transact(lambda c: writing.add_endpoints(c, {call: counted}))
    for number, took in enumerate([timedelta(seconds=5), timedelta(seconds=59.5), timedelta(hours=2), None]):
        await deployment.document(number, FEBRUARY, took)
    await deployment.document(9, JANUARY, timedelta(seconds=1))

    found = await deployment.reports.measured(MONTH)
    assert (found.now["requests"], found.now["failures"], found.levels.unattributed) == (1000, 9, 1)
    assert found.availability == pytest.approx(1 - 10 / 1001)
    assert found.before is not None
    assert (found.before["requests"], found.before["stored_bytes"], found.now["stored_bytes"]) == (
        500,
        4 * GIB,
        6 * GIB,
    )
    assert (found.before["documents"], found.now["documents"]) == (40, 60)
    assert [(each.name, each.amount) for each in found.busiest] == [("Acme | <b>", 900), ("Globex", 100)]
    assert (found.fresh.ready, found.fresh.processing, found.fresh.within) == (3, 1, (1, 2, 2, 2))
    assert len(found.days) == 28
    assert [day.day for day, amounts in found.days if amounts is not None] == [10]

    page = await deployment.reports.performance(MONTH)
    said = page.markdown()
    assert said.startswith("# Performance of February 2026\n\n**99.001 % of 1,001 requests did not fail (10 failed);")
    assert "| requests | 1,000 | 500 |" in said
    assert "| stored bytes | 4.0 GiB | 6.0 GiB | +2.0 GiB (+50.0%) |" in said
    assert "| Acme \\| \\<b\\> |" in said
    html = as_html(page)
    assert html.count("<svg") == 4
    assert "<script" not in html
    assert "Acme | &lt;b&gt;" in html


async def test_each_tenants_cost_is_its_use_by_the_prices_and_its_part_of_the_machines(deployment: Deployment) -> None:
    used: Mapping[str, int] = {
        "requests": 300, "stored_byte_hours": 50 * GIB * HOURS, "store_writes": 2000, "store_reads": 10_000,
        "embedding_tokens_paid": 3_000_000, "bytes_out": 2 * GIB,
    }  # fmt: skip
    await deployment.used(FEBRUARY, deployment.acme, **used)
    await deployment.used(FEBRUARY, deployment.globex, requests=100, embedding_tokens_paid=1_000_000)

    found = await deployment.reports.costs(MONTH)
    acme, globex = found.tenants
    assert acme.parts == pytest.approx({
        Part.STORAGE: 1.0, Part.REQUESTS: 0.014, Part.TRAFFIC: 0.18, Part.EMBEDDING: 0.3,
        Part.COMPUTE: 100 * 0.75 + 60 * 0.75, Part.DATABASE: 0.0,
    })  # fmt: skip
    assert globex.parts[Part.COMPUTE] == pytest.approx(100 * 0.25 + 60 * 0.25)
    assert found.unborne == {Part.COMPUTE: 0.0, Part.DATABASE: 30.0}, "nobody has a document"
    assert found.total == pytest.approx(1.0 + 0.014 + 0.18 + 0.3 + 0.1 + 160 + 30)
    said = (await deployment.reports.cost(MONTH)).markdown()
    assert "| Globex | " in said
    assert "30.00 EUR of it is of machines that nobody loaded; no tenant bears it." in said
    assert "no bill was laid beside it" in said


def billed(service: str, usage: str, amount: float, *, at: datetime = FEBRUARY, currency: str = "EUR") -> Line:
    return Line(at, service, usage, amount, currency)


async def test_a_bill_is_laid_beside_the_model_and_the_three_largest_savings_are_ranked(deployment: Deployment) -> None:
    await deployment.used(FEBRUARY, deployment.acme, requests=1, stored_byte_hours=100 * GIB * HOURS)
    await deployment.stores(FEBRUARY, acme=1, globex=3)
    await deployment.document(1, JANUARY, timedelta(seconds=1), size_bytes=200 * GIB)
    await deployment.document(2, datetime.now(UTC), timedelta(seconds=1), sha256=f"{1:064}", size_bytes=200 * GIB)
    holding = [("", StorageClass.OLD_VERSIONS, Holding(10 * GIB, 4))]
    await deployment.catalog.transact(lambda c: storage.put(c, holding, listed_at=FEBRUARY))
    bill = [
        billed("AmazonS3", "EUC1-TimedStorage-ByteHrs", 9.5),
        billed("AmazonS3", "EUC1-Requests-Tier1", 0.4),
        billed("AmazonEC2", "EUC1-BoxUsage:m7g.large", 95.0),
        billed("AmazonEC2", "NatGateway-Bytes", 2.5),
        billed("AmazonRDS", "EUC1-InstanceUsage:db.t4g", 31.0),
        billed("AmazonCloudWatch", "EUC1-GMD-Metrics", 6.0),
        billed("AmazonS3", "EUC1-TimedStorage-ByteHrs", 77.0, at=JANUARY),
    ]

    found = await deployment.reports.costs(MONTH, bill)
    assert found.bill is not None
    assert (found.bill.lines, found.bill.elsewhen, found.bill.total) == (6, 1, pytest.approx(144.4))
    sampled = 4 * 0.02 / HOURS  # of the one hour in which somebody looked
    assert found.parts[Part.STORAGE] == pytest.approx(2.0 + sampled, abs=1e-5)
    idle = 30 * 0.75  # of the database, by its documents
    assert [(round(each.amount, 2), each.what.split(":")[0]) for each in found.savings] == [
        (round(idle, 2), "1 tenants asked for nothing in the month"),
        (round(9.5 - 2.0 - sampled, 2), "Billed for storage beyond the model"),
        (6.0, "AmazonCloudWatch is billed and no part of S4's model"),
    ]
    assert found.waste.unread == (1, 200 * GIB), "3.00 EUR to archive: not among the three"
    assert found.waste.repeated == (1, 200 * GIB)
    said = (await deployment.reports.cost(MONTH, bill)).markdown()
    assert "| 3 | 6.00 EUR | AmazonCloudWatch is billed" in said
    assert "| storage | 2.00 EUR | 9.50 EUR | 7.50 EUR | 475 % |" in said
    assert "6 lines of the month, 1 of other months left out" in said


async def test_a_bill_in_another_currency_and_a_month_to_come_are_refused(deployment: Deployment) -> None:
    with pytest.raises(InvalidRequest, match="The bill is in USD, S4's prices are in EUR"):
        await deployment.reports.costs(MONTH, [billed("AmazonS3", "TimedStorage", 1.0, currency="USD")])
    with pytest.raises(InvalidRequest, match="2999-01 has not begun"):
        await deployment.reports.performance(datetime(2999, 1, 1, tzinfo=UTC))


async def test_a_tenant_that_left_is_told_as_such_and_nobody_is_sent_to_talk_to_it(deployment: Deployment) -> None:
    """Nothing is kept of whom it was."""
    await deployment.used(FEBRUARY, deployment.acme, calls=7, requests=7, stored_byte_hours=GIB * HOURS)
    await deployment.used(FEBRUARY, deployment.globex, calls=9, stored_byte_hours=900 * GIB * HOURS)
    left = sa.update(tenants).where(tenants.c.tenant_id == deployment.globex).values(state="tombstone", name="")
    await deployment.catalog.transact(lambda c: c.execute(left))

    found = await deployment.reports.costs(MONTH)
    names = {each.tenant_id: each.name for each in found.tenants}
    assert names == {deployment.acme: "Acme | <b>", deployment.globex: "deleted since"}
    assert [each.what for each in found.savings if "asked for nothing" in each.what] == []
    said = (await deployment.reports.performance(MONTH)).markdown()
    assert f"| deleted since | {deployment.globex.replace('_', chr(92) + '_')} | 9 |" in said
