"""What a call counts as: read from its method and its route's template. Whether it is one, `Finished.is_call` says.

A request of a tenant whose key was accepted is a call, whatever the answer (400, 403 for a missing scope, 404, 409,
412, 413 and 5xx too), except `GET /profile`, `GET /usage`, and what a quota or a rate refused (429, and 403 with the
code `quota_exceeded`). A key that is unknown, revoked, expired or of a suspended tenant is refused before it is known
whose call it would be: 401 and 403 `tenant_suspended` count nowhere.
"""

_PREFIXES = ("/api/v1", "/api")


def plain_route(template: str) -> str:
    """`/documents/{document_id}` of `/api/v1/documents/{document_id}`: the ledger knows one name for both prefixes."""
    for prefix in _PREFIXES:
        if template.startswith(prefix + "/"):
            return template.removeprefix(prefix)
    return template


def class_of(method: str, route: str) -> str:
    """One of `ledger.CLASSES`."""
    if not route.startswith(("/documents", "/search")):
        return "account"
    if route.startswith("/search") or route.endswith("/similar"):
        return "search"
    if route == "/documents/bulk-delete" or method == "DELETE":
        return "delete"
    if route.endswith("/download"):
        return "download"
    if method in ("GET", "HEAD"):
        return "read"
    if route.endswith(("/metadata", "/reprocess")):
        return "change"
    return "upload"
