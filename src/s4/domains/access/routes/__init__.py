"""Routes of keys and administrators."""

from s4.domains.access.routes.administrators import administrators_router
from s4.domains.access.routes.keys import child_keys_router, keys_router, tenant_keys_router

__all__ = ["administrators_router", "child_keys_router", "keys_router", "tenant_keys_router"]
