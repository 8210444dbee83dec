"""Keys of tenants, and administrators."""

from datetime import datetime

from s4client.models.base import Model


class TenantKey(Model):
    """What may be told of a tenant's key. Bound to documents whose key begins with `key_prefix` and whose metadata have
    the values of `filter`, where these are given. `last_used` is exact to a minute."""

    prefix: str
    name: str
    scopes: tuple[str, ...]
    status: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used: datetime | None = None
    key_prefix: str | None = None
    filter: dict[str, bool | str | float] | None = None
    parent: str | None = None


class KeyList(Model):
    """A tenant's keys, oldest first."""

    keys: tuple[TenantKey, ...]


class NewKey(TenantKey):
    """A key just made. `api_key` is shown here only."""

    api_key: str


class Administrator(Model):
    """`role` is owner, operator or auditor. The one called environment has its key from `S4_ADMIN_API_KEY`."""

    name: str
    role: str
    prefix: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    last_used: datetime | None = None


class AdministratorList(Model):
    """The environment's first, then by name."""

    administrators: tuple[Administrator, ...]


class NewAdministrator(Administrator):
    """An administrator just made, or with a new key. `api_key` is shown here only."""

    api_key: str
