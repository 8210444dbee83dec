"""What can go wrong, typed by what the caller does next.

`S4ApiError` and its children are answers of the server, one class for each code of the HTTP contract.
`S4ConnectionError` means that there was no answer. Everything derives from `S4Error`.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any


class S4Error(Exception):
    """Base of everything that this package raises. `str(error)` is a sentence for a person."""


class InvalidArgument(S4Error, ValueError):
    """The call cannot be sent as it stands."""


class FileChanged(S4Error):
    """A file changed while it was being uploaded. Nothing of it was stored: upload it again."""


class S4ConnectionError(S4Error):
    """No answer: the server is not there, is too slow, or the connection broke.

    `sent` is False when it is certain that the server saw nothing of the request.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class DownloadInterrupted(S4Error):
    """A broken download cannot go on, because its output cannot be rewound."""


class DownloadCorrupt(S4Error):
    """What arrived is not what the server says that it has."""


class S4WaitTimeout(S4Error):
    """The document is still in work. It is not lost: wait again, or look later.

    Of several documents that were waited for together, it is the oldest.
    """

    def __init__(self, message: str, *, document_id: str, status: str) -> None:
        super().__init__(message)
        self.document_id = document_id
        self.status = status


class SignatureInvalid(S4Error):
    """A webhook's call does not come from S4, or long ago: do nothing with it."""


class UnexpectedAnswer(S4Error):
    """The server answered, but not as S4 does: is the address that of an S4 server?"""


class S4ApiError(S4Error):
    """The server refused. `code` is stable and for programs, `message` a sentence for a person.

    `retry_after` is in seconds. `repeated` tells that the answer to an earlier attempt was lost, so that this
    one may speak of what that attempt did.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int,
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.details: dict[str, Any] = dict(details or {})
        self.request_id = request_id
        self.retry_after = retry_after
        self.repeated = False


class InvalidRequest(S4ApiError):
    """Mend the request."""


class Unauthorized(S4ApiError):
    """Present a valid key."""


class Forbidden(S4ApiError):
    """The key is known and may not do this."""


class TenantSuspended(Forbidden):
    """The tenant is suspended: speak to the operator."""


class QuotaExceeded(Forbidden):
    """The plan's limit is reached: delete something or buy more."""


class NotFound(S4ApiError):
    """There is no such thing for this key."""


class Conflict(S4ApiError):
    """Look at the current state, then decide."""


class PreconditionFailed(Conflict):
    """The state is not the one that the request named."""


class PayloadTooLarge(S4ApiError):
    """Send less."""


class UnsupportedMediaType(S4ApiError):
    """Send another format."""


class RangeNotSatisfiable(S4ApiError):
    """Ask for bytes that exist."""


class RateLimited(S4ApiError):
    """Wait `retry_after` seconds."""


class ServerError(S4ApiError):
    """A defect or damage on the server: tell the operator the `request_id`."""


class ServiceUnavailable(S4ApiError):
    """The server cannot answer now: wait `retry_after` seconds and repeat."""


_BY_CODE: dict[str, type[S4ApiError]] = {
    "invalid_request": InvalidRequest,
    "unauthorized": Unauthorized,
    "forbidden": Forbidden,
    "tenant_suspended": TenantSuspended,
    "quota_exceeded": QuotaExceeded,
    "not_found": NotFound,
    "conflict": Conflict,
    "precondition_failed": PreconditionFailed,
    "payload_too_large": PayloadTooLarge,
    "unsupported_media_type": UnsupportedMediaType,
    "range_not_satisfiable": RangeNotSatisfiable,
    "rate_limited": RateLimited,
    "server_error": ServerError,
    "service_unavailable": ServiceUnavailable,
}

_CODE_BY_STATUS = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    412: "precondition_failed",
    413: "payload_too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "invalid_request",
    429: "rate_limited",
    502: "service_unavailable",
    503: "service_unavailable",
    504: "service_unavailable",
}
"""For answers that carry no code: those of a proxy in front of S4."""


def api_error(status: int, headers: Mapping[str, str], content: bytes, *, now: datetime) -> S4ApiError:
    """The exception for an answer that is not a success. `headers` looks names up without regard to case."""
    code, message, details = _read_envelope(content)
    if code is None:
        code = _CODE_BY_STATUS.get(status, "server_error")
        message = f"The server answered {status}{_phrase(status)} without saying why."
        if content and status in (404, 405):  # not to HEAD, which never says why
            message += " Is the address that of an S4 server?"
    return _BY_CODE.get(code, S4ApiError)(
        message,
        code=code,
        status=status,
        details=details,
        request_id=headers.get("x-request-id"),
        retry_after=_retry_after_seconds(headers.get("retry-after"), now=now),
    )


def _read_envelope(content: bytes) -> tuple[str | None, str, dict[str, Any]]:
    try:
        envelope = json.loads(content)
        error = envelope["error"]
        code, message = error["code"], error["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, "", {}
    details = error.get("details")
    return str(code), str(message), details if isinstance(details, dict) else {}


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _retry_after_seconds(value: str | None, *, now: datetime) -> float | None:
    """Seconds or an HTTP date, as RFC 9110 10.2.3 has it. Nonsense counts as absent."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    return max(0.0, seconds) if seconds < float("inf") else None
