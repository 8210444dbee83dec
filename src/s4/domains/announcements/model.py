"""Windows and incidents, and how they stand in their records."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from s4.kernel.clock import parse_rfc3339, rfc3339
from s4.platform.chains import Record

WINDOW = "win_"
INCIDENT = "inc_"
RESOLVED_SHOWN = timedelta(hours=24)
"""How long a resolved incident stays on the status page."""


class Mode(StrEnum):
    """`announce` only tells; `read_only` also refuses what tenants write."""

    ANNOUNCE = "announce"
    READ_ONLY = "read_only"


class WindowState(StrEnum):
    SCHEDULED = "scheduled"
    RUNNING = "running"
    OVER = "over"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPlan:
    """What the operator says. `tenants` None: all of them. `lead`: how long before its start it is announced."""

    starts_at: datetime
    ends_at: datetime
    mode: Mode = Mode.ANNOUNCE
    message: str = ""
    tenants: tuple[str, ...] | None = None
    lead: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Window:
    """`edition` counts the plans that it had: tenants are told of each. `edited_at`: when the last was made."""

    id: str
    plan: WindowPlan
    edition: int
    edited_at: datetime
    cancelled: bool = False

    def state(self, now: datetime) -> WindowState:
        if self.cancelled:
            return WindowState.CANCELLED
        if now < self.plan.starts_at:
            return WindowState.SCHEDULED
        return WindowState.RUNNING if now < self.plan.ends_at else WindowState.OVER

    def is_announced(self, now: datetime) -> bool:
        """From its lead time on until it ends."""
        return not self.cancelled and self.plan.starts_at - self.plan.lead <= now < self.plan.ends_at

    def concerns(self, tenant_id: str) -> bool:
        return self.plan.tenants is None or tenant_id in self.plan.tenants

    def body(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "starts_at": rfc3339(plan.starts_at),
            "ends_at": rfc3339(plan.ends_at),
            "mode": plan.mode.value,
            "message": plan.message,
            "tenants": list(plan.tenants) if plan.tenants is not None else None,
            "lead_seconds": plan.lead.total_seconds(),
            "edition": self.edition,
            "edited_at": rfc3339(self.edited_at),
            "cancelled": self.cancelled,
        }


def window_of(record: Record) -> Window:
    body = record.body
    plan = WindowPlan(
        starts_at=parse_rfc3339(body["starts_at"]),
        ends_at=parse_rfc3339(body["ends_at"]),
        mode=Mode(body["mode"]),
        message=body["message"],
        tenants=tuple(body["tenants"]) if body["tenants"] is not None else None,
        lead=timedelta(seconds=body["lead_seconds"]),
    )
    return Window(record.name, plan, body["edition"], parse_rfc3339(body["edited_at"]), body["cancelled"])


class IncidentState(StrEnum):
    INVESTIGATING = "investigating"
    IDENTIFIED = "identified"
    MONITORING = "monitoring"
    RESOLVED = "resolved"


class Impact(StrEnum):
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


TEMPLATES: Mapping[IncidentState, str] = {
    IncidentState.INVESTIGATING: "We are looking into a problem: {title}. We will say more as soon as we know more.",
    IncidentState.IDENTIFIED: "The cause is known ({title}), and we are mending it.",
    IncidentState.MONITORING: "It is mended ({title}). We are watching whether it stays so.",
    IncidentState.RESOLVED: "This is over: {title}. We are sorry for the trouble.",
}
"""What is said when the operator says nothing else."""


@dataclass(frozen=True, slots=True)
class IncidentUpdate:
    at: datetime
    state: IncidentState
    message: str


@dataclass(frozen=True, slots=True)
class Incident:
    """The last of its updates says how it stands."""

    id: str
    title: str
    impact: Impact
    updates: tuple[IncidentUpdate, ...]

    @property
    def state(self) -> IncidentState:
        return self.updates[-1].state

    def is_shown(self, now: datetime) -> bool:
        return self.state is not IncidentState.RESOLVED or now - self.updates[-1].at < RESOLVED_SHOWN

    def body(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "impact": self.impact.value,
            "updates": [
                {"at": rfc3339(each.at), "state": each.state.value, "message": each.message} for each in self.updates
            ],
        }


def incident_of(record: Record) -> Incident:
    body = record.body
    updates = tuple(
        IncidentUpdate(parse_rfc3339(each["at"]), IncidentState(each["state"]), each["message"])
        for each in body["updates"]
    )
    return Incident(record.name, body["title"], Impact(body["impact"]), updates)
