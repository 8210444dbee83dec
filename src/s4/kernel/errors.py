"""Errors, sorted by what the caller does next. Each carries the code of the HTTP contract.

`platform/http` turns them into answers; jobs turn them into end states. Raise the class, not a status.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any


class S4Error(Exception):
    """Base: `code` is stable and for programs, `message` is a sentence for a person."""

    code = "server_error"
    status = 500

    def __init__(self, message: str, *, code: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.details: dict[str, Any] = dict(details or {})


class InvalidRequest(S4Error):
    """The caller mends the request and sends it again."""

    code = "invalid_request"
    status = 400


class PayloadTooLarge(InvalidRequest):
    """The caller sends less."""

    code = "payload_too_large"
    status = 413


class UnsupportedMediaType(InvalidRequest):
    """The caller sends another format."""

    code = "unsupported_media_type"
    status = 415


class RangeNotSatisfiable(InvalidRequest):
    """The caller asks for bytes that exist; `details["size"]` says how many there are."""

    code = "range_not_satisfiable"
    status = 416


class Unauthenticated(S4Error):
    """The caller presents a valid credential."""

    code = "unauthorized"
    status = 401


class Forbidden(S4Error):
    """The credential is known and may not do this; asking again does not help."""

    code = "forbidden"
    status = 403


class NotFound(S4Error):
    """There is no such thing, or it is another's, which is the same."""

    code = "not_found"
    status = 404


class Conflict(S4Error):
    """The caller looks at the current state, then decides."""

    code = "conflict"
    status = 409


class PreconditionFailed(Conflict):
    """The state is not the one that the caller named in `If-Match` or `If-None-Match`."""

    code = "precondition_failed"
    status = 412


class LimitReached(S4Error):
    """A plan's limit or a rate: the caller waits (`retry_after`) or buys more."""

    code = "rate_limited"
    status = 429

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, code=code, details=details)
        self.status = status or type(self).status
        self.retry_after = retry_after


class Unavailable(S4Error):
    """A dependency does not answer, or the process drains: the caller waits `retry_after` and repeats.

    `untried`: the dependency is known to be down and was not even asked; a job loses no attempt by that.
    """

    code = "service_unavailable"
    status = 503

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after: timedelta = timedelta(seconds=2),
        untried: bool = False,
    ) -> None:
        super().__init__(message, details=details)
        self.retry_after = retry_after
        self.untried = untried


class DataCorrupt(S4Error):
    """Stored data is not what its checksum or format says: an operator looks."""

    code = "server_error"
    status = 500


class DocumentRejected(S4Error):
    """A document cannot become searchable, and trying again would not change that.

    The document ends `failed` with this `code` and `message`. Codes: `corrupt`, `encrypted`, `empty`,
    `unsupported_format`, `resource_limit`, `too_many_pages`, `text_too_long`, `provider_rejected`.
    """

    code = "corrupt"
    status = 422
