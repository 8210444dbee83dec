"""What is worse than it was: the last hour against the same hour of the seven days before.

The baseline is the ledger itself, which keeps hours and endpoints for S4_USAGE_HOURS_DAYS and errors as long: nothing
has to be remembered beside it, and so nothing can lag behind. Everything is a rate, an amount over a count (`Measure`),
so that an hour that has just begun compares with a whole one.

A measure has changed when it is beyond its factor of the median of those days, beyond each single one of them, and by
enough to matter. Then hours are walked back to where that began, and the tenant is named that brought more than half of
the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from s4.domains.upkeep.queries import hours as queries
from s4.domains.upkeep.queries.hours import Measure, Sample
from s4.domains.usage.ledger import NOBODY, Grain
from s4.platform.database import Connection

DAYS = 7
_DAYS_MIN = 3  # with a figure: of less nobody knows what is usual
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_BACK_MAX = 24  # hours that are walked back
_MOST = 0.5  # of a difference: who brought more is its cause


@dataclass(frozen=True, slots=True)
class Rule:
    """`factor` of the median, and at least `more` beyond it, with at least so many counted and amounting."""

    factor: float
    more: float
    count_min: int
    amount_min: int = 0


RULES = {
    "latency": Rule(2.0, 50_000.0, 20),  # microseconds: nobody notices less than 50 ms
    "slow": Rule(2.0, 0.05, 20),
    "mix": Rule(1.5, 0.25, 100),
    "store_reads": Rule(3.0, 5.0, 20),
    "store_writes": Rule(3.0, 5.0, 20),
    "errors": Rule(3.0, 0.02, 20, amount_min=10),
}
"""By kind of measure."""


@dataclass(frozen=True, slots=True)
class Change:
    """`since`: the beginning of the first hour in which it was so. `tenant_id` is None where nobody stands out, and
    `share` is what the one that does brought of the difference."""

    measure: Measure
    usual: float
    now: float
    since: datetime
    tenant_id: str | None
    share: float


async def changes(connection: Connection, now: datetime) -> tuple[list[Change], int]:
    """What has changed, the greatest first; and of how many days there is something to compare with."""
    this = Grain.HOUR.floor(now)
    last = this - _HOUR
    found = await queries.of_everybody(connection, last - DAYS * _DAY - _BACK_MAX * _HOUR, this + _HOUR)
    days = {(last - hour).days for each in found.values() for hour in each if hour.hour == last.hour and hour < last}
    changed = []
    for measure, hours in found.items():
        verdict = _judged(measure, hours, (last, this))
        if verdict is None:
            continue
        usual, value = verdict
        since = _since(measure, hours, last)
        tenant_id, share = _culprit(await queries.by_tenant(connection, measure, (last, this)), measure, usual)
        changed.append(Change(measure, usual, value, since, tenant_id, share))
    changed.sort(key=lambda each: -each.now / (each.usual or each.now / 100))
    return changed, len(days)


def _judged(
    measure: Measure, hours: dict[datetime, Sample], looked_at: Sequence[datetime]
) -> tuple[float, float] | None:
    """What is usual and what is, if it has changed for the worse."""
    rule = RULES[measure.kind]
    now = _together(hours, looked_at)
    if now.count < rule.count_min or now.amount < rule.amount_min:
        return None
    before = [_together(hours, [hour - day * _DAY for hour in looked_at]) for day in range(1, DAYS + 1)]
    usual = [sample.amount / sample.count for sample in before if sample.count]
    if len(usual) < _DAYS_MIN:
        return None
    value, middle = now.amount / now.count, median(usual)
    if value <= max(rule.factor * middle, middle + rule.more, max(usual)):
        return None
    return middle, value


def _since(measure: Measure, hours: dict[datetime, Sample], last: datetime) -> datetime:
    """When it began. An hour in which too little happened to tell is passed over."""
    rule = RULES[measure.kind]
    began = last if _judged(measure, hours, (last,)) is not None else last + _HOUR
    for back in range(1, _BACK_MAX):
        hour = last - back * _HOUR
        sample = hours.get(hour, Sample(0, 0))
        if sample.count < rule.count_min or sample.amount < rule.amount_min:
            continue
        if _judged(measure, hours, (hour,)) is None:
            break
        began = hour
    return began


def _culprit(tenants: dict[str, Sample], measure: Measure, usual: float) -> tuple[str | None, float]:
    """Who brought more than half of what is more than usual."""
    beyond = {
        tenant: sample.amount - (0 if measure.kind == "errors" else usual * sample.count)
        for tenant, sample in tenants.items()
    }
    total = sum(each for each in beyond.values() if each > 0)
    if not total:
        return None, 0.0
    tenant = max(beyond, key=lambda each: beyond[each])
    share = beyond[tenant] / total
    if share <= _MOST or tenant == NOBODY:
        return None, share
    return tenant, share


def _together(hours: dict[datetime, Sample], wanted: Sequence[datetime]) -> Sample:
    return sum((hours[hour] for hour in wanted if hour in hours), start=Sample(0, 0))
