"""What the server answers. Fields that are not named here are kept, since a newer server may add some.

Sizes are bytes, times are aware, offsets count Unicode code points.
"""

from s4client.models.audit import AuditEntry, AuditPage, AuditProblem, AuditVerification
from s4client.models.base import Model
from s4client.models.documents import (
    END_STATES,
    BulkDeletion,
    ContentStat,
    Document,
    DocumentDetail,
    DocumentFailure,
    DocumentPage,
    DocumentStat,
    DocumentText,
    MetadataUpdate,
    TextPage,
)
from s4client.models.notices import (
    Contact,
    ContactList,
    Incident,
    IncidentList,
    IncidentUpdate,
    MailList,
    MaintenanceWindow,
    MaintenanceWindowList,
    SentMail,
    ServiceStatus,
)
from s4client.models.plans import Plan, PlanList, ServiceLevel
from s4client.models.search import Passage, SearchResult, SearchResults
from s4client.models.server import Health
from s4client.models.tenants import NewTenant, Profile, ProfileUsage, Tenant, TenantPage

__all__ = [
    "END_STATES",
    "AuditEntry",
    "AuditPage",
    "AuditProblem",
    "AuditVerification",
    "BulkDeletion",
    "Contact",
    "ContactList",
    "ContentStat",
    "Document",
    "DocumentDetail",
    "DocumentFailure",
    "DocumentPage",
    "DocumentStat",
    "DocumentText",
    "Health",
    "Incident",
    "IncidentList",
    "IncidentUpdate",
    "MailList",
    "MaintenanceWindow",
    "MaintenanceWindowList",
    "MetadataUpdate",
    "Model",
    "NewTenant",
    "Passage",
    "Plan",
    "PlanList",
    "Profile",
    "ProfileUsage",
    "SearchResult",
    "SearchResults",
    "SentMail",
    "ServiceLevel",
    "ServiceStatus",
    "Tenant",
    "TenantPage",
    "TextPage",
]
