"""SQL of upkeep."""

from s4.domains.upkeep.queries import checklist

__all__ = ["checklist"]
