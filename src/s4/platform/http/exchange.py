"""What is known about the request in hand: made by the middleware, read by everything inside it."""

from dataclasses import dataclass, field
from typing import cast

from starlette.requests import HTTPConnection
from starlette.types import Scope

from s4.kernel.context import TenantContext
from s4.platform.http.places import Place

_STATE_KEY = "s4_exchange"


@dataclass(slots=True)
class Exchange:
    """One request and its answer. Whoever has a header for the answer puts it in `response_headers`."""

    request_id: str
    request_body_bytes_max: int
    request_body_seconds_max: float
    tenant_id: str | None = None
    plan_id: str | None = None
    administrator: str | None = None
    """Name of the administrator who asks, once proved."""
    counted: bool = True
    """Whether the call counts against the tenant's month."""
    calls: int = 1
    """As how many: a request may do the work of several."""
    debited: TenantContext | None = None
    """Whose month `debited_calls` were debited from."""
    debited_calls: int = 0
    excused: bool = False
    """A 503 that was announced: maintenance is no failure of the service."""
    place: Place | None = None
    """What the request holds while it is in work."""
    overloaded: bool = False
    """Refused because there was no place for it."""
    error_code: str | None = None
    """Of the answer, where it is an error of S4's."""
    failure: Exception | None = None
    """Why the answer is a 5xx, for the log."""
    response_headers: dict[str, str] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    status: int | None = None
    body_received: bool = False
    """The whole request body has arrived, or there was none."""
    answered_at: float | None = None
    """When the last byte of the answer was handed to the server, by the monotonic clock."""
    disconnected: bool = False
    """The caller went away before that."""

    def attach(self, scope: Scope) -> None:
        scope.setdefault("state", {})[_STATE_KEY] = self


def exchange_of(connection: HTTPConnection) -> Exchange:
    """The exchange that the middleware attached to this request."""
    return cast(Exchange, connection.scope["state"][_STATE_KEY])
