"""Routes on tenants: the administrator's, and the tenant's own profile."""

from s4.domains.tenants.routes.administration import tenants_router
from s4.domains.tenants.routes.profile import profile_router

__all__ = ["profile_router", "tenants_router"]
