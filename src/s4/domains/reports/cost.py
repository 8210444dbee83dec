"""The monthly review of costs: what each tenant cost by the model, what the cloud billed, and what would save the most.

The model: what is counted (bytes, requests, tokens) by the prices of the settings, as everywhere; and the machines, the
price of which is divided by what loads them: requests, embedded tokens, documents. Where nothing loaded them, nobody
bears it; a sentence says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from s4.domains.reports.billing import Bill, Part
from s4.domains.reports.page import NOTHING, Chart, Page, Section, Table, money, percent
from s4.domains.reports.queries import Use
from s4.domains.usage.costs import Prices, estimate
from s4.domains.usage.model import Holding, StorageClass
from s4.kernel.units import GIB, human_size

SAVINGS_MAX = 3
UNREAD_DAYS = 90  # the shortest time that S3's cheaper classes are paid for
_TENANTS_SHOWN = 50
_TOKENS = "embedding_tokens_paid"
_MODELLED = [part for part in Part if part is not Part.OTHER]
_ADVICE = {
    Part.STORAGE: "old versions, unfinished uploads or somebody else's objects: `s4 lifecycle`, and the table of what "
    "the bucket holds",
    Part.REQUESTS: "requests that are not counted by tenant, those of the index engine above all: local copies of the "
    "index (S4_INDEX_COPIES_BYTES)",
    Part.TRAFFIC: "traffic that did not go to callers, between zones or by a NAT gateway: an endpoint of the store in "
    "your own network",
    Part.EMBEDDING: "tokens that S4 did not count: look who else has the provider's key",
    Part.COMPUTE: "more machines than the settings say (S4_PRICE_API_MONTH, S4_PRICE_WORKERS_MONTH)",
    Part.DATABASE: "a larger database than the settings say (S4_PRICE_DATABASE_MONTH)",
}


@dataclass(frozen=True, slots=True)
class MachinePrices:
    """Of a month, the last of a GiB for a month; their meaning stands in `kernel/price_settings.py`."""

    api: float
    workers: float
    database: float
    archived_gib: float


@dataclass(frozen=True, slots=True)
class TenantCost:
    """By the model, in the currency of the prices."""

    tenant_id: str
    name: str
    parts: Mapping[Part, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class Saving:
    """Money of a month, and what to do for it."""

    amount: float
    what: str


@dataclass(frozen=True, slots=True)
class Waste:
    """What the catalog sees that could cost less: number and bytes of documents, and what the bucket holds."""

    unread: tuple[int, int]
    repeated: tuple[int, int]
    held: Mapping[StorageClass, Holding]


@dataclass(frozen=True, slots=True)
class Costs:
    month: datetime
    made_at: datetime
    closed: bool
    prices: Prices
    tenants: Sequence[TenantCost]
    """The dearest first."""
    unborne: Mapping[Part, float]
    """Of machines that nobody loaded."""
    savings: Sequence[Saving]
    waste: Waste
    bill: Bill | None

    @property
    def parts(self) -> dict[Part, float]:
        """Of all tenants, and what nobody bears."""
        return {
            part: sum(each.parts.get(part, 0.0) for each in self.tenants) + self.unborne.get(part, 0.0)
            for part in _MODELLED
        }

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def model(
    uses: Sequence[Use], prices: Prices, machines: MachinePrices, *, elapsed: float
) -> tuple[list[TenantCost], dict[Part, float]]:
    """The tenants, the dearest first, and what nobody bears. `elapsed`: the share of the month that is over."""
    shares = [
        (Part.COMPUTE, "requests", machines.api * elapsed),
        (Part.COMPUTE, _TOKENS, machines.workers * elapsed),
        (Part.DATABASE, "documents", machines.database * elapsed),
    ]
    loads = {name: sum(use.amounts[name] for use in uses) for _, name, _ in shares}
    unborne = dict.fromkeys((Part.COMPUTE, Part.DATABASE), 0.0)
    for part, name, price in shares:
        unborne[part] += 0.0 if loads[name] else price
    found = []
    for use in uses:
        counted = estimate(use.amounts, prices)
        parts = {
            Part.STORAGE: counted.storage,
            Part.REQUESTS: counted.store_requests,
            Part.TRAFFIC: counted.traffic,
            Part.EMBEDDING: counted.embedding,
            Part.COMPUTE: 0.0,
            Part.DATABASE: 0.0,
        }
        for part, name, price in shares:
            parts[part] += price * use.amounts[name] / loads[name] if loads[name] else 0.0
        found.append(TenantCost(use.tenant_id, use.name, parts))
    return sorted(found, key=lambda each: (-each.total, each.tenant_id)), unborne


def savings(costs: Costs, uses: Sequence[Use], machines: MachinePrices) -> list[Saving]:
    """The largest, at most `SAVINGS_MAX`; each is of a month, and two may be about the same bytes."""
    count, size_bytes = costs.waste.unread
    stored, waste = costs.prices.stored_gib_month, costs.waste
    found = [
        Saving(
            size_bytes / GIB * max(0.0, stored - machines.archived_gib),
            f"Archive the {count:,} documents ({human_size(size_bytes)}) that nobody read for {UNREAD_DAYS} days: "
            "`archive_after_days` of plan or tenant, S4_ARCHIVE_STORAGE_CLASS.",
        ),
        Saving(
            waste.repeated[1] / GIB * stored,
            f"{waste.repeated[0]:,} documents ({human_size(waste.repeated[1])}) repeat the bytes of another of the "
            "same tenant: upload under a key of one's own replaces instead.",
        ),
    ]
    old = waste.held.get(StorageClass.OLD_VERSIONS, Holding())
    found.append(
        Saving(
            old.size_bytes / GIB * stored,
            f"Old versions take {human_size(old.size_bytes)} in the bucket: a shorter time to keep them.",
        )
    )
    idle = {use.tenant_id for use in uses if use.is_there and not use.amounts["requests"]}
    resting = [each for each in costs.tenants if each.tenant_id in idle]
    found.append(
        Saving(
            sum(each.total for each in resting),
            f"{len(resting):,} tenants asked for nothing in the month: talk to them, archive or export what they have.",
        )
    )
    if costs.bill is not None:
        found += _billed_beyond(costs, costs.bill)
    worth = [each for each in found if round(each.amount, 2) > 0]
    return sorted(worth, key=lambda each: (-each.amount, each.what))[:SAVINGS_MAX]


def _billed_beyond(costs: Costs, bill: Bill) -> list[Saving]:
    """What the bill has beyond the model."""
    found = [
        Saving(bill.parts[part] - modelled, f"Billed for {part.value} beyond the model: {_ADVICE[part]}.")
        for part, modelled in costs.parts.items()
    ]
    found += [
        Saving(amount, f"{service or 'A service without a name'} is billed and no part of S4's model: is it needed?")
        for service, amount in bill.others.items()
    ]
    return found


def page(found: Costs) -> Page:
    so_far = "" if found.closed else f", as of {found.made_at:%Y-%m-%d %H:%M} UTC"
    sections = [_savings(found), _parts(found), _tenants(found), _bucket(found)]
    return Page(f"Costs of {found.month:%B %Y}{so_far}", _lead(found), sections)


def _lead(found: Costs) -> str:
    said = f"By the model {money(found.total, found.prices.currency)} for {len(found.tenants):,} tenants"
    if found.bill is None:
        return f"{said}; no bill was laid beside it."
    return f"{said}; billed were {money(found.bill.total, found.prices.currency)}."


def _savings(found: Costs) -> Section:
    rows = [
        (f"{place}", money(each.amount, found.prices.currency), each.what)
        for place, each in enumerate(found.savings, 1)
    ]
    if not rows:
        return Section("The largest savings", ["Nothing was found that would save a cent."])
    note = "A month's money. Two may be about the same bytes, so they do not add up."
    return Section("The largest savings", [Table(("", "saves", "by"), rows), note])


def _parts(found: Costs) -> Section:
    currency, bill = found.prices.currency, found.bill
    modelled = {**found.parts, Part.OTHER: 0.0}
    rows = []
    for part, amount in [*modelled.items(), ("total", found.total)]:
        billed = None if bill is None else bill.total if part == "total" else bill.parts[Part(part)]
        rows.append((str(part), money(amount, currency), *_beside(amount, billed, currency)))
    parts: list[str | Table | Chart] = [Table(("", "by the model", "billed", "difference", "billed of model"), rows)]
    if bill is not None:
        parts.append(
            f"The bill: {bill.lines:,} lines of the month, {bill.elsewhen:,} of other months left out. Its prices are "
            "those of the day without discounts that are booked elsewhere; the model's are S4_PRICE_…: where the last "
            "column is far from 100 %, set them by the bill."
        )
        if bill.others:
            others = sorted(bill.others.items(), key=lambda each: -each[1])
            parts.append(Table(("no part of the model", "billed"), [(name, money(a, currency)) for name, a in others]))
    if any(found.unborne.values()):
        nobodys = money(sum(found.unborne.values()), currency)
        parts.append(f"{nobodys} of it is of machines that nobody loaded; no tenant bears it.")
    return Section("By part", parts)


def _beside(modelled: float, billed: float | None, currency: str) -> tuple[str, str, str]:
    if billed is None:
        return NOTHING, NOTHING, NOTHING
    share = percent(billed / modelled, 0) if modelled else NOTHING
    return money(billed, currency), money(billed - modelled, currency), share


def _tenants(found: Costs) -> Section:
    currency, shown = found.prices.currency, found.tenants[:_TENANTS_SHOWN]
    rows = [
        (
            each.name,
            each.tenant_id,
            *(money(each.parts[part], currency) for part in _MODELLED),
            money(each.total, currency),
        )
        for each in shown
    ]
    rest = found.tenants[_TENANTS_SHOWN:]
    if rest:
        sums = [sum(each.parts[part] for each in rest) for part in _MODELLED]
        rows.append(
            (f"{len(rest):,} others", "", *(money(each, currency) for each in sums), money(sum(sums), currency))
        )
    headings = ("tenant", "id", *(part.value for part in _MODELLED), "total")
    chart = Chart("Cost by tenant, the dearest first", currency, [(each.name, each.total) for each in shown[:20]])
    return Section("By tenant", [Table(headings, rows), *([chart] if shown else [])])


def _bucket(found: Costs) -> Section:
    rows = [
        (kind.value, human_size(each.size_bytes), f"{each.objects:,}", money(cost, found.prices.currency))
        for kind, each in sorted(found.waste.held.items(), key=lambda each: -each[1].size_bytes)
        for cost in [each.size_bytes / GIB * found.prices.stored_gib_month]
    ]
    note = "By the last listing of the bucket. Tenants are charged by the model for their live documents' bytes alone."
    return Section("What the bucket holds", [Table(("", "bytes", "objects", "a month"), rows), note])
