"""What the administrator's key opens, by subject."""

from s4client.operations.admin.plans import PlansOperations
from s4client.operations.admin.tenants import TenantsOperations
from s4client.operations.admin.webhooks import TenantWebhooksOperations


class AdminOperations(TenantsOperations, PlansOperations, TenantWebhooksOperations):
    """Everything that an administrator can do."""

    credential_header = "X-Admin-Key"


__all__ = ["AdminOperations"]
