"""Documents: bytes with a name, metadata and a state. The truth is each document's head chain.

Rooms: `chain` moves the catalog to a head; `uploads` is the write protocol for bytes; `service` everything else a
caller does; `accounts` counts what tenants hold; `queries` all SQL. What happens to a document in the
background is decided here by enqueuing a job (`jobs`), and done above, in `indexing`.
"""

from s4.domains.documents.accounts import Accounts
from s4.domains.documents.chain import DocumentChain
from s4.domains.documents.model import Document, DocumentStatus, ListFilter
from s4.domains.documents.service import DocumentService
from s4.domains.documents.uploads import UploadRequest, UploadResult, Uploads

__all__ = [
    "Accounts",
    "Document",
    "DocumentChain",
    "DocumentService",
    "DocumentStatus",
    "ListFilter",
    "UploadRequest",
    "UploadResult",
    "Uploads",
]
