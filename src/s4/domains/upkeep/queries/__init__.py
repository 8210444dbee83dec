"""SQL of upkeep."""

from s4.domains.upkeep.queries import checklist, hours, index, queue

__all__ = ["checklist", "hours", "index", "queue"]
