"""A typed client of S4, blocking (`S4Client`) and asynchronous (`AsyncS4Client`).

    with S4Client("http://127.0.0.1:8000", api_key="s4_…") as s4:
        document = s4.wait(s4.upload("report.pdf", metadata={"year": 2024}).document_id)
        for result in s4.search("how did revenue develop?").results:
            print(result.score, result.filename, result.chunks[0].text)

`errors`, `models`: what comes back. `operations`: everything that can be done, written once without I/O.
`flow`: how such operations are written and repeated. `content`: streamed bodies. `transport`: the blocking
and the asynchronous driver. It stands alone: nothing of the server is imported.
"""

from s4client.clients import AsyncS4AdminClient, AsyncS4Client, S4AdminClient, S4Client
from s4client.errors import (
    Conflict,
    DownloadCorrupt,
    DownloadInterrupted,
    FileChanged,
    Forbidden,
    InvalidArgument,
    InvalidRequest,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
    QuotaExceeded,
    RangeNotSatisfiable,
    RateLimited,
    S4ApiError,
    S4ConnectionError,
    S4Error,
    S4WaitTimeout,
    ServerError,
    ServiceUnavailable,
    TenantSuspended,
    Unauthorized,
    UnexpectedAnswer,
    UnsupportedMediaType,
)
from s4client.flow import RetryPolicy
from s4client.models import (
    BulkDeletion,
    ContentStat,
    Document,
    DocumentDetail,
    DocumentFailure,
    DocumentPage,
    DocumentStat,
    DocumentText,
    Health,
    MetadataUpdate,
    NewTenant,
    Passage,
    Profile,
    SearchResult,
    SearchResults,
    Tenant,
    TenantPage,
    TextPage,
)

__all__ = [
    "AsyncS4AdminClient",
    "AsyncS4Client",
    "BulkDeletion",
    "Conflict",
    "ContentStat",
    "Document",
    "DocumentDetail",
    "DocumentFailure",
    "DocumentPage",
    "DocumentStat",
    "DocumentText",
    "DownloadCorrupt",
    "DownloadInterrupted",
    "FileChanged",
    "Forbidden",
    "Health",
    "InvalidArgument",
    "InvalidRequest",
    "MetadataUpdate",
    "NewTenant",
    "NotFound",
    "Passage",
    "PayloadTooLarge",
    "PreconditionFailed",
    "Profile",
    "QuotaExceeded",
    "RangeNotSatisfiable",
    "RateLimited",
    "RetryPolicy",
    "S4AdminClient",
    "S4ApiError",
    "S4Client",
    "S4ConnectionError",
    "S4Error",
    "S4WaitTimeout",
    "SearchResult",
    "SearchResults",
    "ServerError",
    "ServiceUnavailable",
    "Tenant",
    "TenantPage",
    "TenantSuspended",
    "TextPage",
    "Unauthorized",
    "UnexpectedAnswer",
    "UnsupportedMediaType",
]
