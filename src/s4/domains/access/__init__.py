"""Who may do what: turns a credential into a context, and keeps the credentials. The only room that mints a context."""

from s4.domains.access.administrators import Administrator, AdministratorService
from s4.domains.access.keys import KeyService, Manager, NewKey
from s4.domains.access.service import AccessService

__all__ = ["AccessService", "Administrator", "AdministratorService", "KeyService", "Manager", "NewKey"]
