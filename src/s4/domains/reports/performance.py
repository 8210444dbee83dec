"""The monthly review of performance: availability, latency, error budget, tenants, growth, queue and freshness."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from s4.domains.analytics.service import Share
from s4.domains.reports.page import NOTHING, Chart, Page, Section, Table, growth, milliseconds, percent
from s4.domains.reports.queries import FRESH_BOUNDS_SECONDS, Fresh, Queued
from s4.domains.service_levels.model import Level
from s4.domains.service_levels.service import Month
from s4.domains.usage.ledger import SEARCH_BUCKETS, Amounts, quantile_seconds
from s4.kernel.units import GIB, human_size


@dataclass(frozen=True, slots=True)
class Route:
    """What was asked of an endpoint; of the hours that the ledger still has."""

    method: str
    route: str
    requests: int
    failures: int
    average_seconds: float


@dataclass(frozen=True, slots=True)
class Performance:
    """What the catalog knows of a month. `before`: the month before, None without a row of it."""

    month: datetime
    made_at: datetime
    closed: bool
    now: Amounts
    before: Amounts | None
    days: Sequence[tuple[datetime, Amounts | None]]
    levels: Month
    busiest: Sequence[Share]
    routes: Sequence[Route]
    queued: Queued
    fresh: Fresh

    @property
    def availability(self) -> float | None:
        """Of all requests, those too that failed before S4 knew who asked."""
        nobodys = self.levels.unattributed
        requests = self.now["requests"] + nobodys
        return 1 - (self.now["failures"] + nobodys) / requests if requests else None


def page(found: Performance) -> Page:
    so_far = "" if found.closed else f", as of {found.made_at:%Y-%m-%d %H:%M} UTC"
    return Page(
        f"Performance of {found.month:%B %Y}{so_far}",
        _lead(found),
        [_month(found), _objectives(found.levels), _tenants(found), _routes(found), _growth(found), _freshness(found)],
    )


def _lead(found: Performance) -> str:
    requests = found.now["requests"] + found.levels.unattributed
    if not requests:
        return "Nobody asked for anything."
    failures = found.now["failures"] + found.levels.unattributed
    broken = sum(plan.level.state == "breached" for plan in found.levels.plans)
    kept = f"{broken} plans' promises were broken" if broken else "no plan's promise was broken"
    return f"{percent(found.availability)} of {requests:,} requests did not fail ({failures:,} failed); {kept}."


def _month(found: Performance) -> Section:
    rows = [
        _compared(found, "requests", lambda each: f"{each['requests']:,}"),
        _compared(found, "failed", lambda each: f"{each['failures']:,}"),
        _compared(found, "failed, of whom nobody knew who asked", None, f"{found.levels.unattributed:,}"),
        _compared(found, "availability", lambda each: percent(_kept(each)), percent(found.availability)),
        _compared(found, "searches", lambda each: f"{_searches(each):,}"),
        *(
            _compared(found, f"{share:.0%} of searches within", partial(_shown_within, share=share))
            for share in (0.5, 0.95, 0.99)
        ),
    ]
    named = [(f"{day:%d}", amounts) for day, amounts in found.days]
    return Section(
        "Availability and latency",
        [
            Table(("", f"{found.month:%Y-%m}", "month before"), rows),
            Chart("Requests by day", "requests", [(day, _of(each, "requests")) for day, each in named]),
            Chart("Failures by day", "requests", [(day, _of(each, "failures")) for day, each in named]),
            Chart("95 of 100 searches within, by day", "ms", [(day, _p95_ms(each)) for day, each in named]),
            "A request failed when S4 answered 5xx and its process was not stopping. Latency is that of searches, to "
            "the precision of the buckets that S4 counts in.",
        ],
    )


def _compared(
    found: Performance, name: str, say: Callable[[Amounts], str] | None, now: str = NOTHING
) -> tuple[str, str, str]:
    """`now` instead of what `say` makes of this month, where it is given."""
    before = say(found.before) if say is not None and found.before is not None else NOTHING
    return name, say(found.now) if say is not None and now == NOTHING else now, before


def _shown_within(amounts: Amounts, *, share: float) -> str:
    return milliseconds(_within(amounts, share))


def _objectives(levels: Month) -> Section:
    rows = [(plan.plan_id, f"{plan.tenants:,} tenants", *_level(plan.level)) for plan in levels.plans]
    rows += [
        (tenant.name, tenant.plan_id, *_level(tenant.level))
        for tenant in levels.tenants
        if tenant.level.budget_spent or tenant.level.latency_is_over
    ]
    headings = ("plan or tenant", "of", "promised", "measured", "budget spent", "p95 promised", "p95", "state")
    return Section("Error budgets", [Table(headings, rows), "Tenants are named that spent any of their budget."])


def _level(level: Level) -> tuple[str, str, str, str, str, str]:
    promised = level.objective
    return (
        percent(promised.availability if promised else None),
        percent(level.availability),
        percent(level.budget_spent, 0),
        f"{promised.latency_p95_ms:,.0f} ms" if promised else NOTHING,
        f"{level.search_p95_ms:,.0f} ms" if level.search_p95_ms is not None else NOTHING,
        level.state.value,
    )


def _tenants(found: Performance) -> Section:
    rows = [(each.name, each.tenant_id, f"{each.amount:,}", f"{each.percent_of_total:.1f} %") for each in found.busiest]
    return Section("Busiest tenants", [Table(("tenant", "id", "calls", "of all"), rows)])


def _routes(found: Performance) -> Section:
    rows = [
        (f"{each.method} {each.route}", f"{each.requests:,}", f"{each.failures:,}", milliseconds(each.average_seconds))
        for each in found.routes
    ]
    note = "Of the hours that the ledger still has (S4_USAGE_HOURS_DAYS)."
    return Section("Busiest routes", [Table(("route", "requests", "failed", "average"), rows), note])


def _growth(found: Performance) -> Section:
    rows = []
    for name, as_bytes in (("stored_bytes", True), ("documents", False)):
        now, before = found.now[name], found.before[name] if found.before is not None else 0
        shown = [human_size(each) if as_bytes else f"{each:,}" for each in (before, now)]
        rows.append((name.replace("_", " "), *shown, growth(now, before, as_bytes=as_bytes)))
    stored = [(f"{day:%d}", _of(each, "stored_bytes", GIB)) for day, each in found.days]
    return Section(
        "Growth",
        [
            Table(("", "end of the month before", "end of this one, or now", "change"), rows),
            Chart("Stored by day", "GiB", stored),
        ],
    )


def _freshness(found: Performance) -> Section:
    queue, fresh = found.queued, found.fresh
    waits = f"{(found.made_at - queue.oldest).total_seconds():,.0f} s" if queue.oldest is not None else NOTHING
    jobs = Table(
        ("jobs, now", "ready", "running", "failed", "the oldest has waited"),
        [("all kinds", f"{queue.ready:,}", f"{queue.running:,}", f"{queue.failed:,}", waits)],
    )
    rows = [
        (f"searchable within {bound:,} s", f"{count:,}", percent(count / fresh.ready if fresh.ready else None, 1))
        for bound, count in zip(FRESH_BOUNDS_SECONDS, fresh.within, strict=True)
    ]
    rows += [("searchable", f"{fresh.ready:,}", NOTHING), ("being processed", f"{fresh.processing:,}", NOTHING)]
    rows += [("failed", f"{fresh.failed:,}", NOTHING)]
    note = "From the upload to the last time that the document was indexed: one that was indexed again counts as late."
    return Section(
        "Queue and freshness", [jobs, Table(("uploaded in the month", "documents", "of those searchable"), rows), note]
    )


def _of(amounts: Mapping[str, int] | None, name: str, unit: int = 1) -> float | None:
    return amounts[name] / unit if amounts is not None else None


def _kept(amounts: Mapping[str, int]) -> float | None:
    return 1 - amounts["failures"] / amounts["requests"] if amounts["requests"] else None


def _searches(amounts: Mapping[str, int]) -> int:
    return sum(amounts[name] for name in SEARCH_BUCKETS)


def _within(amounts: Mapping[str, int], share: float) -> float | None:
    return quantile_seconds([amounts[name] for name in SEARCH_BUCKETS], share)


def _p95_ms(amounts: Mapping[str, int] | None) -> float | None:
    seconds = _within(amounts, 0.95) if amounts is not None else None
    return seconds * 1000 if seconds is not None else None
