"""What the server answers. Fields that are not named here are kept, since a newer server may add some.

Sizes are bytes, times are aware, offsets count Unicode code points.
"""

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
from s4client.models.plans import Plan, PlanList, ServiceLevel
from s4client.models.search import Passage, SearchResult, SearchResults
from s4client.models.server import Health
from s4client.models.tenants import NewTenant, Profile, ProfileUsage, Tenant, TenantPage
from s4client.models.webhooks import Delivery, DeliveryPage, NewWebhook, Webhook, WebhookEvent, WebhookList

__all__ = [
    "END_STATES",
    "BulkDeletion",
    "ContentStat",
    "Delivery",
    "DeliveryPage",
    "Document",
    "DocumentDetail",
    "DocumentFailure",
    "DocumentPage",
    "DocumentStat",
    "DocumentText",
    "Health",
    "MetadataUpdate",
    "Model",
    "NewTenant",
    "NewWebhook",
    "Passage",
    "Plan",
    "PlanList",
    "Profile",
    "ProfileUsage",
    "SearchResult",
    "SearchResults",
    "ServiceLevel",
    "Tenant",
    "TenantPage",
    "TextPage",
    "Webhook",
    "WebhookEvent",
    "WebhookList",
]
