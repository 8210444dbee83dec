"""Kinds of background work that documents ask for. `indexing` does the work."""

from s4.platform.jobs import JobRequest

INDEX = "documents.index"
"""Make the document's current content searchable, or end it `failed`."""

UNINDEX = "documents.unindex"
"""Remove a deleted document's rows from the index."""


def index(tenant_id: str, document_id: str) -> JobRequest:
    return JobRequest(INDEX, tenant_id, document_id, {})


def unindex(tenant_id: str, document_id: str, *, revision: int) -> JobRequest:
    return JobRequest(UNINDEX, tenant_id, document_id, {"revision": revision})
