"""What the ledger and the balances tell: quotas, who takes how much, and what is worse than it was."""

from datetime import timedelta

from s4.domains.documents.queries import recount
from s4.domains.documents.queries.recount import Count
from s4.domains.upkeep import degradation, queries
from s4.domains.upkeep.degradation import Change
from s4.domains.usage.ledger import Grain
from s4.domains.usage.queries import reading
from s4.entrypoints.doctor.report import Check, ok, unknown, warning
from s4.entrypoints.doctor.whole.bedside import Bedside

_SHOWN = 3  # culprits of each kind: the first say what is wrong
_PAGE = 100  # tenants that one statement recounts
_ACTIVE_MIN, _SHARE_NOISY, _TIMES_OTHERS = 3, 0.5, 10
_NOISY_MIN = {"calls": 1000, "documents_uploaded": 200, "bytes_in": 1 << 30, "bytes_out": 1 << 30}
_NAMED = {"calls": "calls", "documents_uploaded": "uploads", "bytes_in": "bytes received", "bytes_out": "bytes sent"}
_LIMITED_MIN = 100
_TENANTS_READ = 1000
_DAYS_MIN = 3


async def quotas(bedside: Bedside) -> list[Check]:
    """Every balance against a recount, by pages: each statement sees one state."""
    name, after, looked, wrong = "quotas", "", 0, []
    while True:
        async with bedside.catalog() as connection:
            page = await recount.page(connection, after=after, limit=_PAGE)
            if not page:
                break
            looked += len(page)
            after = page[-1].tenant_id
            wrong += [count for count in page if count.noted != count.counted]
    if not wrong:
        return [ok(name, f"The balances of {looked} tenants equal a recount.")]
    async with bedside.catalog() as connection:
        names = await bedside.names(connection, [count.tenant_id for count in wrong[:_SHOWN]])
    return [_drifted(count, names[count.tenant_id]) for count in wrong[:_SHOWN]]


def _drifted(count: Count, whose: str) -> Check:
    noted, counted = count.noted, count.counted
    off = (
        f"{noted.stored_bytes - counted.stored_bytes:+d} bytes, {noted.documents - counted.documents:+d} documents, "
        f"{noted.reserved_bytes - counted.reserved_bytes:+d} bytes of reservations"
    )
    return warning(
        "quotas",
        f"The balance of {whose} says {noted.stored_bytes} bytes in {noted.documents} documents, and there are "
        f"{counted.stored_bytes} in {counted.documents}: it is off by {off}.",
        "`s4 schedule run maintenance.recount` puts it right. It is a defect: report it with the log.",
        cause=whose,
    )


async def noisy(bedside: Bedside) -> list[Check]:
    """Of this hour and the last: who makes most of the calls, uploads and bytes, and who is refused by the rate."""
    name = "tenants"
    async with bedside.catalog() as connection:
        now = await bedside.database.now(connection)
        hours = [Grain.HOUR.floor(now) - timedelta(hours=1), Grain.HOUR.floor(now)]
        end = hours[-1] + timedelta(hours=1)
        tops = {
            by: await reading.top(connection, Grain.HOUR, hours[0], end, by=by, limit=_TENANTS_READ)
            for by in _NOISY_MIN
        }
        limited = await queries.hours.errors_of(connection, "rate_limited", hours)
        loud = {tenant: _shares(tops, tenant) for by in tops for tenant in _loudest(by, tops[by])}
        worst = sorted(limited, key=lambda each: -limited[each])
        refused = [each for each in worst if limited[each] >= _LIMITED_MIN]
        names = await bedside.names(connection, [*loud, *refused])
    checks = [
        *(_loud(tenant, names[tenant], said) for tenant, said in loud.items()),
        *(_limited(names[tenant], limited[tenant]) for tenant in refused[:_SHOWN]),
    ]
    return checks or [ok(name, f"{len(tops['calls'])} were active within the last hour, none at the others' cost.")]


def _loud(tenant: str, whose: str, said: str) -> Check:
    return warning(
        "tenants.noisy",
        f"{whose} makes {said} of the last hour.",
        f"See what it does: `s4 usage endpoints --tenant {tenant}`; the rate of its plan limits it.",
        cause=whose,
    )


def _limited(whose: str, count: int) -> Check:
    return warning(
        "tenants.limited",
        f"{whose} was refused {count} times within the last hour for asking faster than its plan allows.",
        "Talk to it, or move it to a plan with a higher rate; others are not held up by it.",
        cause=whose,
    )


def _loudest(by: str, top: list[tuple[str, int]]) -> list[str]:
    total = sum(amount for _, amount in top)
    if len(top) < _ACTIVE_MIN or total < _NOISY_MIN[by]:
        return []
    tenant, amount = top[0]
    others = (total - amount) / (len(top) - 1)
    return [tenant] if amount > _SHARE_NOISY * total and amount > _TIMES_OTHERS * others else []


def _shares(tops: dict[str, list[tuple[str, int]]], tenant: str) -> str:
    said = []
    for by, words in _NAMED.items():
        total = sum(amount for _, amount in tops[by])
        amount = dict(tops[by]).get(tenant, 0)
        if total and amount > _SHARE_NOISY * total:
            said.append(f"{amount / total:.0%} of the {words}")
    return ", ".join(said)


async def degradations(bedside: Bedside) -> list[Check]:
    name = "degradation"
    async with bedside.catalog() as connection:
        found, days = await degradation.changes(connection, await bedside.database.now(connection))
        names = await bedside.names(connection, [each.tenant_id for each in found if each.tenant_id is not None])
    if found:
        return [_changed(each, names) for each in found]
    if days < _DAYS_MIN:
        return [
            unknown(name, f"There is a baseline of {days} days yet, and {_DAYS_MIN} are needed.",
                    "The ledger gathers it by itself.", needed=False)
        ]  # fmt: skip
    return [ok(name, f"The last hour is as the same hour of {days} days before was.")]


def _milliseconds(microseconds: float) -> str:
    return f"{microseconds / 1000:.0f} ms"


def _share(value: float) -> str:
    return f"{value:.1%}"


def _number(value: float) -> str:
    return f"{value:.1f}"


_WORDS = {
    "latency": ("{of} takes {now} instead of {usual} on average", _milliseconds),
    "slow": ("{now} of the searches take more than a second, instead of {usual}", _share),
    "mix": ("{now} of the calls are of the class {of}, instead of {usual}", _share),
    "store_reads": ("A search costs {now} reads of the store instead of {usual}", _number),
    "store_writes": ("An upload costs {now} writes to the store instead of {usual}", _number),
    "errors": ("{now} of the requests end with {of}, instead of {usual}", _share),
}
_NEXT = {
    "latency": "Compare `s4_search_stage_duration_seconds`, the store's and the database's durations.",
    "slow": "Compare the stages in `s4_search_stage_duration_seconds`; the one that grew is the one to look at.",
    "mix": "`s4 usage endpoints` shows what is asked, by tenant with --tenant.",
    "store_reads": "See `index.fragments`, and whether S4_INDEX_COPIES_BYTES is large enough.",
    "store_writes": "See the log for jobs that are repeated.",
    "errors": "The log has their request ids; docs/reference/errors.md says what each code means.",
}


def _changed(change: Change, names: dict[str, str]) -> Check:
    words, unit = _WORDS[change.measure.kind]
    said = words.format(of=change.measure.of, now=unit(change.now), usual=unit(change.usual))
    who = names[change.tenant_id] if change.tenant_id is not None else None
    whose = f" {change.share:.0%} of the difference is {who}'s." if who is not None else " No tenant stands out."
    return warning(
        f"degradation.{change.measure.kind}",
        f"{said}, since {change.since:%Y-%m-%d %H:%M} UTC.{whose}",
        _NEXT[change.measure.kind],
        cause=who or "all tenants",
    )
