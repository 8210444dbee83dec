"""Kinds of background work that documents ask for. `indexing` does the work."""

from s4.kernel.ids import GenerationId
from s4.platform.jobs import JobRequest, narrowed

INDEX = "documents.index"
"""Make the document's current content searchable, or end it `failed`."""

UNINDEX = "documents.unindex"
"""Remove a deleted document's rows from the index."""

MOVE = "documents.move"
"""Bring a document's bytes into the storage class that its state asks for."""


def index(tenant_id: str, document_id: str, *, into: GenerationId | None = None) -> JobRequest:
    """`into` one generation of the index, or into that of whoever comes first, who sees to the others."""
    return JobRequest(narrowed(INDEX, into) if into else INDEX, tenant_id, document_id, {})


def unindex(tenant_id: str, document_id: str, *, revision: int, out_of: GenerationId | None = None) -> JobRequest:
    """`out_of` one generation, or as above."""
    kind = narrowed(UNINDEX, out_of) if out_of else UNINDEX
    return JobRequest(kind, tenant_id, document_id, {"revision": revision})


def move(tenant_id: str, document_id: str) -> JobRequest:
    return JobRequest(MOVE, tenant_id, document_id, {})
