"""Events of the log that somebody is told of, where a cloud reads the log: what no metric says, or says too late."""

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
        name="audit-chain-broken",
        event_type="audit.chain_broken",
        severity=Severity.PAGE,
        about="The audit trail is not as it was sealed: somebody changed it. `s4 audit verify` names the first bad "
        "entry.",
    ),
    LoggedEvent(
        name="superseded",
        event_type="deployment.superseded",
        severity=Severity.PAGE,
        about="Another region was promoted, and this one stops. What it accepted meanwhile lists `s4 stranded`.",
    ),
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
        name="content-differs",
        event_type="maintenance.content_differs",
        severity=Severity.TICKET,
        about="The bucket lacks bytes of live documents, or has others: somebody deletes behind S4's back. The log "
        "names the documents.",
    ),
)
