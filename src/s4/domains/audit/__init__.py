"""Who did what: every administrative act and every security event, append-only."""

from s4.domains.audit.queries import record

__all__ = ["record"]
