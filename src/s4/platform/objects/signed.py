"""Requests that obstore has no method for: what a bucket says of itself, and the store's answer to one exact operation.

obstore finds credentials and keeps them to itself, but it signs URLs. A store that is opened with a whole URL as its
endpoint, query and all, signs exactly that; its path then lands in a parameter of ours, and S3 passes over parameters
that begin with `x-`. So the same code as for every other request finds the credentials, and S4 never holds them.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from xml.etree import ElementTree

import httpx
import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from s4.kernel.keys import ObjectKey
from s4.platform.objects.base import NO_CREDENTIALS, StoreFault, StoreUnavailable

if TYPE_CHECKING:  # obstore's types exist for type checkers only
    from obstore import HTTP_METHOD
    from obstore.store import S3Config

_ATTEMPTS_MAX = 3  # of a request that was not answered, or answered with a server's error
_VALID = timedelta(minutes=15)  # as long as S3 takes a signature in a header, so that both refuse the same clocks
_OURS = "x-s4"
_SIGNED_NAME = "s4"  # of an object that is never asked for: its signed URL tells where the bucket is
_NAMED_ACTION = re.compile(r"not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)")
_NAMED_USER = re.compile(r"User: (arn:\S+)")
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What the store said to one request. `code` and `message` are those of an error."""

    status: int
    code: str | None
    message: str | None
    date: datetime | None
    """The store's clock, in whole seconds."""
    asked_at: datetime
    answered_at: datetime
    etag: str | None
    storage_class: str | None
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def denied(self) -> bool:
        """The identity is known and may not do this."""
        return self.status == 403 and self.code in (None, "AccessDenied", "Forbidden")

    @property
    def named_action(self) -> str | None:
        """The action that is missing, where the store says it."""
        found = _NAMED_ACTION.search(self.message or "")
        return found[1] if found else None

    @property
    def named_user(self) -> str | None:
        """Whom the store took us for, where it says so."""
        found = _NAMED_USER.search(self.message or "")
        return found[1] if found else None

    def document(self) -> ElementTree.Element | None:
        """The body as XML."""
        try:
            return ElementTree.fromstring(self.body)  # noqa: S314 - the operator's own store; expat bounds expansion
        except ElementTree.ParseError:
            return None


@dataclass(frozen=True, slots=True)
class Signature:
    """As whom obstore signs."""

    access_key_id: str
    temporary: bool
    """With a session token."""


class SignedRequests:
    """One bucket, asked request by request. Raises `StoreUnavailable` when nothing answers or nothing can be signed."""

    def __init__(self, store: S3Store, *, prefix: str, timeout_seconds: float) -> None:
        self._store = store
        self._prefix = prefix
        self._timeout_seconds = timeout_seconds
        self._tls = ssl.create_default_context()

    def path(self, key: str) -> str:
        """A key as the bucket knows it."""
        return f"{self._prefix}{key}"

    async def signature(self) -> Signature:
        query = parse_qs(urlsplit(await self._signed(self._store, "GET", _SIGNED_NAME)).query)
        credential = query.get("X-Amz-Credential", [""])[0]
        return Signature(credential.partition("/")[0], temporary="X-Amz-Security-Token" in query)

    async def ask(
        self,
        method: "HTTP_METHOD",
        key: ObjectKey | None,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> StoreAnswer:
        """One request about an object, or about the bucket. `headers` are sent unsigned: none that begins with
        `x-amz-`."""
        plain = urlsplit(await self._signed(self._store, "GET", _SIGNED_NAME))
        base = f"{plain.scheme}://{plain.netloc}{plain.path.removesuffix('/' + _SIGNED_NAME)}"
        path = "/" if key is None else f"/{quote(self.path(key))}"
        # Last, because obstore puts a slash and the name of the object behind it.
        target = f"{base}{path}?{urlencode({**(query or {}), _OURS: ''}, quote_via=quote)}"
        url = await self._signed(self._at(target), method, "")
        return await _sent(method, url, body, headers, timeout_seconds=self._timeout_seconds, tls=self._tls)

    def _at(self, url: str) -> S3Store:
        # Both, because a variable of the environment may name the second, which wins.
        address = {"endpoint": url, "aws_endpoint_url_s3": url, "virtual_hosted_style_request": True}
        config = cast("S3Config", {**self._store.config, **address})
        return S3Store(
            config=config, client_options=self._store.client_options, retry_config=self._store.retry_config
        )  # the bucket is in the configuration

    async def _signed(self, store: S3Store, method: "HTTP_METHOD", path: str) -> str:
        try:
            return await obstore.sign_async(store, method, path, _VALID)
        except BaseError as error:  # no keys are set, and neither container nor instance has any
            raise StoreUnavailable(StoreFault.DENIED, code=NO_CREDENTIALS, operation="sign") from error


async def ask_unsigned(url: str, *, timeout_seconds: float) -> StoreAnswer:
    """What a store says to whoever it does not know: no more than an error, and what time it has."""
    return await _sent("GET", url, b"", None, timeout_seconds=timeout_seconds, tls=ssl.create_default_context())


async def _sent(
    method: str,
    url: str,
    body: bytes,
    headers: Mapping[str, str] | None,
    *,
    timeout_seconds: float,
    tls: ssl.SSLContext,
) -> StoreAnswer:
    failure: Exception | None = None
    async with httpx.AsyncClient(timeout=timeout_seconds, verify=tls) as client:
        for _ in range(_ATTEMPTS_MAX):
            asked_at = datetime.now(UTC)
            try:
                response = await client.request(method, url, content=body, headers=dict(headers or {}))
            except httpx.HTTPError as error:
                failure = error
                continue
            answer = _answer(response, asked_at)
            if answer.status < _SERVER_ERROR or answer.code == "NotImplemented":
                return answer
            failure = None
    if failure is not None:
        fault = StoreFault.TIMEOUT if isinstance(failure, httpx.TimeoutException) else StoreFault.ERROR
        raise StoreUnavailable(fault, code=type(failure).__name__, operation=method) from failure
    return answer


def _answer(response: httpx.Response, asked_at: datetime) -> StoreAnswer:
    answered_at = datetime.now(UTC)
    said = {} if response.is_success else _error_fields(response.content)
    try:
        date = parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        date = None
    return StoreAnswer(
        status=response.status_code,
        # Of a signed URL S3 calls that a denial.
        code="RequestTimeTooSkewed" if "Request has expired" in said.get("Message", "") else said.get("Code"),
        message=said.get("Message"),
        date=date if date is None or date.tzinfo is not None else date.replace(tzinfo=UTC),
        asked_at=asked_at,
        answered_at=answered_at,
        etag=response.headers.get("ETag"),
        storage_class=response.headers.get("x-amz-storage-class"),
        body=response.content,
    )


def _error_fields(body: bytes) -> dict[str, str]:
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - as above
    except ElementTree.ParseError:
        return {}
    return {child.tag.rpartition("}")[2]: child.text or "" for child in root}
