"""Tenants: who they are, their plan, their status, the hashes of their keys. The truth is the tenant's head chain."""

from s4.domains.tenants.chain import TenantChain
from s4.domains.tenants.service import NewTenant, Tenant, TenantService, TenantStatus

__all__ = ["NewTenant", "Tenant", "TenantChain", "TenantService", "TenantStatus"]
