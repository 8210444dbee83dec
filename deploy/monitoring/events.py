"""Events of the log that somebody is told of, where a cloud reads the log: what no metric says."""

from dataclasses import dataclass

from deploy.monitoring.alerts.model import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    name: str
    """Of the alarm, in lower case with dashes."""
    event_type: str
    """As S4 logs it."""
    severity: Severity
    about: str
    """What is so, and what to do."""


EVENTS = (
    LoggedEvent(
        name="secrets-unreadable",
        event_type="secrets.unreadable",
        severity=Severity.PAGE,
        about="S4_SECRET_KEY does not open what was sealed: another key is set than before. See `s4 secrets status`.",
    ),
    LoggedEvent(
        name="worker-died",
        event_type="worker.died",
        severity=Severity.TICKET,
        about="The worker beside an API process ended by itself and was started again. The lines before say why; "
        "without any it was killed: look at its memory.",
    ),
    LoggedEvent(
        name="clock-set-back",
        event_type="clock.set_back",
        severity=Severity.TICKET,
        about="The database's clock went back: what was leased by a clock that was ahead is given up. Look at the time "
        "service of its machine.",
    ),
)
