"""HTTP of documents: `uploads` receives, `reading` answers, `changes` alters, `keeping` holds and archives, `accounts`
is the operator's."""

from s4.domains.documents.routes.accounts import accounts_router
from s4.domains.documents.routes.changes import changes_router
from s4.domains.documents.routes.keeping import archive_router, holds_router, keeping_router
from s4.domains.documents.routes.reading import reading_router
from s4.domains.documents.routes.uploads import UploadRouteLimits, uploads_router

__all__ = [
    "UploadRouteLimits",
    "accounts_router",
    "archive_router",
    "changes_router",
    "holds_router",
    "keeping_router",
    "reading_router",
    "uploads_router",
]
