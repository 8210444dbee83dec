"""What a credential may do. Every route declares exactly one permission; the application refuses to start otherwise."""

from enum import StrEnum


class Permission(StrEnum):
    """Tenant scopes bear the names of the HTTP contract. The last two are never granted to a tenant key."""

    DOCUMENTS_READ = "documents:read"
    DOCUMENTS_WRITE = "documents:write"
    SEARCH = "search"
    USAGE_READ = "usage:read"
    KEYS_MANAGE = "keys:manage"
    PUBLIC = "public"
    """No credential at all: health, version, metrics."""
    ADMIN = "admin"


TENANT_SCOPES = frozenset(
    {
        Permission.DOCUMENTS_READ,
        Permission.DOCUMENTS_WRITE,
        Permission.SEARCH,
        Permission.USAGE_READ,
        Permission.KEYS_MANAGE,
    }
)
