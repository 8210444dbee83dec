"""A month's report as Markdown: what a customer gets, so names of the tenant are made harmless for a page."""

import re
from datetime import datetime

from s4.domains.service_levels.model import Level, State
from s4.domains.service_levels.service import Report

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&])")
_VERDICTS = {
    State.NO_OBJECTIVE: "The plan promises no service level.",
    State.MET: "The service level was kept.",
    State.AT_RISK: "The service level is kept so far, and at risk.",
    State.BREACHED: "The service level was not kept.",
}


def markdown(report: Report) -> str:
    level, objective = report.tenant.level, report.tenant.level.objective
    so_far = "" if level.closed else f", as of {report.made_at:%Y-%m-%d %H:%M} UTC"
    lines = [
        f"# Service level of {report.month:%B %Y}{so_far}",
        "",
        f"{_plain(report.tenant.name)} (`{report.tenant.tenant_id}`), plan `{report.tenant.plan_id}`.",
        "",
        f"**{_verdict(level)}**",
        "",
        "| | promised | measured |",
        "|---|---|---|",
        "| availability | "
        f"{_percent(objective.availability if objective else None)} | {_percent(level.availability)} |",
        "| 95 of 100 searches answered within | "
        f"{_ms(objective.latency_p95_ms if objective else None)} | {_ms(level.search_p95_ms)} |",
        f"| failed requests | {_allowed(level)} | {level.failures:,} of {level.requests:,} |",
        f"| error budget spent | 100 % | {_share(level.budget_spent)} |",
        "",
        "## Day by day",
        "",
    ]
    if report.days:
        lines += ["| day | requests | failed | availability | searches | p95 |", "|---|---|---|---|---|---|"]
        lines += [_day(day, each) for day, each in report.days]
    else:
        lines.append("There were no requests.")
    lines += [
        "",
        "Months and days are those of UTC. A request failed when S4 answered it with 5xx; what a stopping process "
        "could not answer is left out. The time of a search ends with the last byte of its answer; it is known to the "
        f"precision of the buckets that S4 counts in. {report.unattributed:,} requests of all tenants together failed "
        "before S4 knew whose they were; they are in no tenant's figures.",
    ]
    return "\n".join(lines) + "\n"


def _verdict(level: Level) -> str:
    if level.state is State.MET and not level.closed:
        return "The service level is kept so far."
    if level.state is State.BREACHED and not level.closed:
        return "The service level is broken: more requests failed than the month so far allows."
    return _VERDICTS[level.state]


def _day(day: datetime, level: Level) -> str:
    return (
        f"| {day:%Y-%m-%d} | {level.requests:,} | {level.failures:,} | {_percent(level.availability)} | "
        f"{level.searches:,} | {_ms(level.search_p95_ms)} |"
    )


def _plain(text: str) -> str:
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _percent(share: float | None) -> str:
    return f"{share * 100:.3f} %" if share is not None else "–"


def _share(share: float | None) -> str:
    return f"{share * 100:,.0f} %" if share is not None else "–"


def _ms(milliseconds: float | None) -> str:
    return f"{milliseconds:,.0f} ms" if milliseconds is not None else "–"


def _allowed(level: Level) -> str:
    return f"at most {level.failures_allowed:,.1f}" if level.failures_allowed is not None else "–"
