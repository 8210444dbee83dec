"""How to call each route well-formed: the one table that a new route must be written into.

One line each: `"POST /api/v1/things/{thing_id}": Call(json={"name": "{word}"})`. In a body or query, `{word}` becomes a
word of the asker's own, and the name of a path parameter, `{document_id}`, the id that is asked about. A parameter that
is new also needs a line in `NEVER`, and, where tenants own such things, one in `SEEDS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from s4.kernel.permissions import Permission

FILE = "file"
"""In `Call.content`: a form with one small file."""


@dataclass(frozen=True, slots=True)
class Call:
    """A well-formed request of a route.

    `creates`: another's `key` in the path names something new of one's own. `echoes`: the answer repeats the id that
    was asked about, and is not a 404.
    """

    json: Any = None
    content: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    creates: bool = False
    echoes: bool = False


@dataclass(frozen=True, slots=True)
class Seed:
    """How a tenant comes by a thing of its own: the route that makes or lists it, and where in the answer its id is."""

    parameter: str
    route: str
    found_at: str


PUBLIC = frozenset(
    {"GET /", "GET /health", "GET /health/live", "GET /health/ready", "GET /status", "GET /api/v1/plans"}
)
"""The only routes that need no credential."""

NEVER: Mapping[str, str] = {
    "document_id": "doc_" + "a" * 26,
    "key": "never/existed.txt",
    "tenant_id": "ten_" + "a" * 26,
    "plan_id": "s4-verify-never",
    "prefix": "a" * 12,
    "name": "s4-verify-never",
    "window_id": "win_" + "a" * 26,
    "incident_id": "inc_" + "a" * 26,
    "webhook_id": "whk_" + "a" * 26,
    "delivery_id": "dlv_" + "a" * 26,
    "job_id": "job_" + "a" * 26,
    "space": "s4-verify-never",
    "part": "00",
    "kind": "usage",
    "task": "s4.verify.never",
    "item": "s4-verify-never",
}
"""Of every path parameter: an id of the right form that nothing ever had."""

SEEDS = (
    Seed("prefix", "POST /api/v1/keys", "prefix"),
    Seed("webhook_id", "POST /api/v1/webhooks", "id"),
    Seed("delivery_id", "POST /api/v1/webhooks/{webhook_id}/test", "id"),
)
"""Beside a document and its key, which every tenant of the verifier has. In this order."""

_FAR = {"starts_at": "2099-01-01T00:00:00Z", "ends_at": "2099-01-01T01:00:00Z"}
"""So far off that a window that should have been refused harms nobody."""
_KEY = {"name": "{word}", "scopes": [Permission.SEARCH.value]}
_HOOK = {
    "url": "https://hooks.invalid/{word}", "events": ["document.failed"], "description": "{word}",
    "secret": "{word}-0123456789abcdef",
}  # fmt: skip
"""To a host that no resolver knows: nothing is ever sent."""

_OPERATIONS = {
    "GET /": Call(),
    "GET /health": Call(),
    "GET /health/live": Call(),
    "GET /health/ready": Call(),
    "GET /status": Call(),
}
_DOCUMENTS = {
    "POST /api/v1/documents": Call(content=FILE),
    "GET /api/v1/documents": Call(),
    "PUT /api/v1/documents/by-key/{key}": Call(content="mine", creates=True),
    "GET /api/v1/documents/by-key/{key}": Call(),
    "HEAD /api/v1/documents/by-key/{key}": Call(),
    "DELETE /api/v1/documents/by-key/{key}": Call(),
    "GET /api/v1/documents/{document_id}": Call(),
    "HEAD /api/v1/documents/{document_id}": Call(),
    "DELETE /api/v1/documents/{document_id}": Call(),
    "GET /api/v1/documents/{document_id}/download": Call(),
    "HEAD /api/v1/documents/{document_id}/download": Call(),
    "GET /api/v1/documents/{document_id}/text": Call(),
    "PATCH /api/v1/documents/{document_id}/metadata": Call(json={"changed": True}),
    "POST /api/v1/documents/{document_id}/reprocess": Call(),
    "POST /api/v1/documents/{document_id}/archive": Call(),
    "POST /api/v1/documents/{document_id}/restore": Call(),
    "PUT /api/v1/documents/{document_id}/legal-hold": Call(json={"reason": "{word}"}),
    "DELETE /api/v1/documents/{document_id}/legal-hold": Call(),
    "POST /api/v1/documents/bulk-delete": Call(json={"document_ids": ["{document_id}"]}, echoes=True),
    "POST /api/v1/documents/{document_id}/similar": Call(json={}),
    "POST /api/v1/search": Call(json={"query": "tides"}),
    "POST /api/v1/search/batch": Call(json={"queries": [{"query": "tides"}, {"query": "moon", "mode": "keyword"}]}),
}
_KEYS = {
    "GET /api/v1/keys": Call(),
    "POST /api/v1/keys": Call(json=_KEY),
    "POST /api/v1/keys/child": Call(json={"scopes": [Permission.SEARCH.value]}),
    "POST /api/v1/keys/{prefix}/rotate": Call(),
    "DELETE /api/v1/keys/{prefix}": Call(),
    "GET /api/v1/admin/tenants/{tenant_id}/keys": Call(),
    "POST /api/v1/admin/tenants/{tenant_id}/keys": Call(json=_KEY),
    "POST /api/v1/admin/tenants/{tenant_id}/keys/{prefix}/rotate": Call(),
    "DELETE /api/v1/admin/tenants/{tenant_id}/keys/{prefix}": Call(),
    "POST /api/v1/admin/tenants/{tenant_id}/regenerate-key": Call(),
    "GET /api/v1/admin/administrators": Call(),
    "POST /api/v1/admin/administrators": Call(json={"name": "{word}", "role": "auditor"}),
    "POST /api/v1/admin/administrators/{name}/rotate": Call(),
    "DELETE /api/v1/admin/administrators/{name}": Call(),
}
_PLANS_AND_TENANTS = {
    "GET /api/v1/plans": Call(),
    "GET /api/v1/admin/plans": Call(),
    "POST /api/v1/admin/plans": Call(json={"id": "s4-verify-intruder", "name": "{word}"}),
    "GET /api/v1/admin/plans/{plan_id}": Call(),
    "PUT /api/v1/admin/plans/{plan_id}": Call(json={"name": "{word}"}),
    "DELETE /api/v1/admin/plans/{plan_id}": Call(),
    "POST /api/v1/admin/tenants": Call(json={"name": "{word}"}),
    "GET /api/v1/admin/tenants": Call(),
    "GET /api/v1/admin/tenants/{tenant_id}": Call(),
    "PUT /api/v1/admin/tenants/{tenant_id}": Call(json={"name": "{word}"}),
    "DELETE /api/v1/admin/tenants/{tenant_id}": Call(),
    "PUT /api/v1/admin/tenants/{tenant_id}/plan": Call(json={"plan_id": "free"}),
    "POST /api/v1/admin/tenants/{tenant_id}/suspend": Call(),
    "POST /api/v1/admin/tenants/{tenant_id}/activate": Call(),
    "POST /api/v1/admin/tenants/{tenant_id}/reset-usage": Call(),
    "PUT /api/v1/admin/tenants/{tenant_id}/legal-hold": Call(json={"reason": "{word}"}),
    "DELETE /api/v1/admin/tenants/{tenant_id}/legal-hold": Call(),
    "PUT /api/v1/admin/tenants/{tenant_id}/keeping": Call(json={}),
    "PUT /api/v1/admin/tenants/{tenant_id}/documents/{document_id}/legal-hold": Call(json={"reason": "{word}"}),
    "DELETE /api/v1/admin/tenants/{tenant_id}/documents/{document_id}/legal-hold": Call(),
    "GET /api/v1/admin/legal-holds": Call(),
    "GET /api/v1/admin/retention": Call(),
    "POST /api/v1/admin/retention/run": Call(json={"tenant_id": "{tenant_id}"}),
    "GET /api/v1/profile": Call(),
}
_LINE = {
    "document_id": "{document_id}", "filename": "{word}", "content_type": "text/plain", "size": 1,
    "sha256": "0" * 64, "uploaded_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
_EXPORTS = {
    "POST /api/v1/admin/tenants/{tenant_id}/export": Call(),
    "GET /api/v1/admin/tenants/{tenant_id}/export": Call(),
    "GET /api/v1/admin/tenants/{tenant_id}/export/documents": Call(),
    "GET /api/v1/admin/tenants/{tenant_id}/export/documents/{document_id}/content": Call(
        params={"version_id": "ver_" + "a" * 26}
    ),
    "GET /api/v1/admin/tenants/{tenant_id}/export/documents/{document_id}/text": Call(
        params={"version_id": "ver_" + "a" * 26, "content_revision": "1"}
    ),
    "POST /api/v1/admin/tenants/{tenant_id}/export/chunks": Call(
        json={"generation": "gen_" + "a" * 26, "documents": {"{document_id}": 1}}
    ),
    "GET /api/v1/admin/tenants/{tenant_id}/export/embeddings/{space}/{part}": Call(),
    "GET /api/v1/admin/tenants/{tenant_id}/export/records/{kind}": Call(),
    "POST /api/v1/admin/tenants/{tenant_id}/import": Call(json={"source_tenant_id": "{tenant_id}"}),
    "POST /api/v1/admin/tenants/{tenant_id}/import/missing": Call(json={"documents": [_LINE]}),
    "POST /api/v1/admin/tenants/{tenant_id}/import/documents": Call(content=FILE),
    "POST /api/v1/admin/tenants/{tenant_id}/import/embeddings": Call(content="mine"),
    "GET /api/v1/admin/erasures": Call(),
    "GET /api/v1/admin/erasures/{tenant_id}": Call(),
}
_USAGE = {
    "GET /api/v1/usage": Call(),
    "GET /api/v1/admin/tenants/{tenant_id}/usage": Call(),
    "GET /api/v1/admin/analytics/system": Call(),
    "GET /api/v1/admin/analytics/tenants": Call(),
    "GET /api/v1/admin/analytics/endpoints": Call(),
    "GET /api/v1/admin/sla": Call(),
    "GET /api/v1/admin/sla/report": Call(params={"tenant_id": "{tenant_id}"}),
    "GET /api/v1/admin/tenants/{tenant_id}/storage": Call(),
    "POST /api/v1/admin/tenants/{tenant_id}/recount": Call(),
    "GET /api/v1/admin/storage": Call(),
    "GET /api/v1/admin/backups": Call(),
    "POST /api/v1/admin/backups": Call(),
    "GET /api/v1/admin/schedule": Call(),
    "GET /api/v1/admin/schedule/{task}": Call(),
    "POST /api/v1/admin/schedule/{task}/run": Call(),
    "GET /api/v1/admin/checklist": Call(),
    "POST /api/v1/admin/checklist/{item}/done": Call(json={}),
}
_NOTICES = {
    "GET /api/v1/admin/audit": Call(),
    "GET /api/v1/admin/audit/verify": Call(),
    "GET /api/v1/admin/maintenance-windows": Call(),
    "POST /api/v1/admin/maintenance-windows": Call(json=_FAR),
    "PUT /api/v1/admin/maintenance-windows/{window_id}": Call(json=_FAR),
    "DELETE /api/v1/admin/maintenance-windows/{window_id}": Call(),
    "GET /api/v1/admin/incidents": Call(),
    "POST /api/v1/admin/incidents": Call(json={"title": "{word}"}),
    "POST /api/v1/admin/incidents/{incident_id}/updates": Call(json={"state": "resolved"}),
    "GET /api/v1/admin/tenants/{tenant_id}/contacts": Call(),
    "PUT /api/v1/admin/tenants/{tenant_id}/contacts": Call(json={"contacts": []}),
    "GET /api/v1/admin/mails": Call(),
}
_WEBHOOKS = {
    "GET /api/v1/webhooks": Call(),
    "POST /api/v1/webhooks": Call(json=_HOOK),
    "GET /api/v1/webhooks/{webhook_id}": Call(),
    "PUT /api/v1/webhooks/{webhook_id}": Call(json={"url": "https://hooks.invalid/{word}", "events": ["*"]}),
    "DELETE /api/v1/webhooks/{webhook_id}": Call(),
    "POST /api/v1/webhooks/{webhook_id}/rotate-secret": Call(json={}),
    "POST /api/v1/webhooks/{webhook_id}/test": Call(),
    "GET /api/v1/webhooks/{webhook_id}/deliveries": Call(),
    "POST /api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay": Call(),
    "GET /api/v1/admin/tenants/{tenant_id}/webhooks": Call(),
    "POST /api/v1/admin/tenants/{tenant_id}/webhooks": Call(json=_HOOK),
}

DECLARED: Mapping[str, Call] = {
    **_OPERATIONS,
    **_DOCUMENTS,
    **_KEYS,
    **_PLANS_AND_TENANTS,
    **_EXPORTS,
    **_USAGE,
    **_NOTICES,
    **_WEBHOOKS,
}
"""By method and path of the OpenAPI document."""
