"""What the administrator's key opens, by subject."""

from s4client.operations.admin.analytics import AnalyticsOperations
from s4client.operations.admin.audit import AuditOperations
from s4client.operations.admin.backups import BackupsOperations
from s4client.operations.admin.exports import ExportsOperations
from s4client.operations.admin.keeping import KeepingOperations
from s4client.operations.admin.keys import AdministratorsOperations, TenantKeysOperations
from s4client.operations.admin.notices import NoticesOperations
from s4client.operations.admin.plans import PlansOperations
from s4client.operations.admin.storage import StorageOperations
from s4client.operations.admin.tenants import TenantsOperations
from s4client.operations.admin.upkeep import UpkeepOperations
from s4client.operations.admin.webhooks import TenantWebhooksOperations


class AdminOperations(
    TenantsOperations,
    ExportsOperations,
    TenantKeysOperations,
    AdministratorsOperations,
    PlansOperations,
    StorageOperations,
    KeepingOperations,
    AnalyticsOperations,
    AuditOperations,
    BackupsOperations,
    UpkeepOperations,
    NoticesOperations,
    TenantWebhooksOperations,
):
    """Everything that an administrator can do."""

    credential_header = "X-Admin-Key"


__all__ = ["AdminOperations"]
