"""What all operations need: how paths and parameters are written, and the operations that take no key."""

from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from s4client.errors import InvalidArgument
from s4client.flow import Connection, Flow, Reply, Request, operation
from s4client.models import Document, Health, PlanList, ServiceStatus

API = "/api/v1"
PAGE_LIMIT = 200
"""Items per request while iterating: enough that requests do not matter, few enough to begin at once."""

DocumentT = TypeVar("DocumentT", bound=Document)


def segment(text: str) -> str:
    return quote(text, safe="").replace(".", "%2E") if text.strip(".") == "" else quote(text, safe="")


def document_path(document_id: str) -> str:
    if not document_id:
        raise InvalidArgument("The id of the document is empty.")
    return f"{API}/documents/{segment(document_id)}"


def key_path(key: str) -> str:
    """Slashes stay. Segments of dots are written so that no one on the way takes them for directories."""
    if not key:
        raise InvalidArgument("The key is empty.")
    return f"{API}/documents/by-key/" + "/".join(segment(part) for part in key.split("/"))


def header_text(text: str) -> str:
    """UTF-8 in the octets of a header, which HTTP takes for Latin-1."""
    return text.encode("utf-8", errors="surrogateescape").decode("latin-1")


def given(**values: Any) -> dict[str, Any]:
    """Those that are not None; times as RFC 3339."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
        if value is not None
    }


class ServerOperations(Connection):
    """What needs no key."""

    @operation
    def health(self) -> Flow[Health]:
        """Whether the server would take a request now, with the state of each dependency."""
        reply = yield from self.send(
            Request(method="GET", path="/health/ready", repeatable=False, expected=frozenset({503}))
        )
        return reply.parse(Health, ready=reply.status == 200)

    @operation
    def service_status(self) -> Flow[ServiceStatus]:
        """The public status page: maintenance windows that concern everybody, incidents."""
        reply = yield from self.send(Request(method="GET", path="/status", repeatable=True))
        return reply.parse(ServiceStatus)

    @operation
    def plans(self) -> Flow[PlanList]:
        """The plans that are on offer."""
        reply = yield from self.send(Request(method="GET", path=f"{API}/plans", repeatable=True))
        return reply.parse(PlanList)


def revision(reply: Reply, model: type[DocumentT]) -> DocumentT:
    """A document together with the revision that the answer's `ETag` names."""
    return reply.parse(model, etag=reply.headers.get("etag"))
