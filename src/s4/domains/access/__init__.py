"""Who may do what: turns a credential into a context. The only room that mints one."""

from s4.domains.access.service import AccessService

__all__ = ["AccessService"]
