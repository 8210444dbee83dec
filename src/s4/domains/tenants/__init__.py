"""Tenants: who they are, their plan, their status, the hashes of their keys. The truth is the tenant's head chain.

`TenantService` makes and finds them; whoever changes one goes through its `change`. `TenantLifecycle` is what becomes
of them.
"""

from s4.domains.tenants.chain import TenantChain
from s4.domains.tenants.lifecycle import PlanChange, TenantLifecycle, audited
from s4.domains.tenants.model import Holding, Keeping, NewTenant, Role, Tenant, TenantStatus, logs_queries
from s4.domains.tenants.service import CreationMemory, TenantService

__all__ = [
    "CreationMemory",
    "Holding",
    "Keeping",
    "NewTenant",
    "PlanChange",
    "Role",
    "Tenant",
    "TenantChain",
    "TenantLifecycle",
    "TenantService",
    "TenantStatus",
    "audited",
    "logs_queries",
]
