"""What a credential may do. Every route declares exactly one permission; the application refuses to start otherwise."""

from enum import StrEnum


class Permission(StrEnum):
    """Tenant scopes bear the names of the HTTP contract. The others are never granted to a tenant key."""

    DOCUMENTS_READ = "documents:read"
    DOCUMENTS_WRITE = "documents:write"
    SEARCH = "search"
    USAGE_READ = "usage:read"
    KEYS_MANAGE = "keys:manage"
    PUBLIC = "public"
    """No credential at all: health, version, metrics."""
    ADMIN_READ = "admin:read"
    ADMIN_WRITE = "admin:write"
    ADMIN_MANAGE = "admin:manage"
    """Make, change and revoke administrators."""


TENANT_SCOPES = frozenset(
    {
        Permission.DOCUMENTS_READ,
        Permission.DOCUMENTS_WRITE,
        Permission.SEARCH,
        Permission.USAGE_READ,
        Permission.KEYS_MANAGE,
    }
)
ADMIN_PERMISSIONS = frozenset({Permission.ADMIN_READ, Permission.ADMIN_WRITE, Permission.ADMIN_MANAGE})


class AdminRole(StrEnum):
    """`owner` does everything, `operator` everything but manage administrators, `auditor` looks."""

    OWNER = "owner"
    OPERATOR = "operator"
    AUDITOR = "auditor"

    @property
    def permissions(self) -> frozenset[Permission]:
        return _OF_ROLE[self]


_OF_ROLE = {
    AdminRole.OWNER: ADMIN_PERMISSIONS,
    AdminRole.OPERATOR: frozenset({Permission.ADMIN_READ, Permission.ADMIN_WRITE}),
    AdminRole.AUDITOR: frozenset({Permission.ADMIN_READ}),
}
