"""The two drivers: they do what a flow asks, one blocking, one on an event loop (asyncio).

The asynchronous one reads and writes files in threads, so that a slow disk does not hold the loop.
"""

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import httpx

from s4client.content import Body
from s4client.errors import InvalidArgument, S4ConnectionError
from s4client.flow import Connection, Effect, Flow, Pages, Pause, Reply, Request, RetryPolicy

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"
CONNECT_SECONDS_MAX = 10.0
"""Whoever accepts no connection within this is not there, however patient the caller is with answers."""


class _Base(Connection):
    """What both drivers are made of. `timeout` bounds the silence of the server, in seconds.

    `ca_file` holds the certificates (PEM) of the authorities to trust, instead of those that the system trusts.
    """

    credential_header: ClassVar[str]

    def __init__(
        self, base_url: str = DEFAULT_URL, *, api_key: str | None = None, timeout: float = 60.0,
        retry: RetryPolicy | None = None, ca_file: str | os.PathLike[str] | None = None,
    ) -> None:  # fmt: skip
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        self.retry = retry or RetryPolicy()
        self._headers = {"User-Agent": "s4client", "Accept": "application/json"}
        if api_key is not None:
            if not (api_key.isascii() and api_key.isprintable() and api_key.strip() == api_key != ""):
                raise InvalidArgument("The key holds characters that no key of S4 has.")
            self._headers[self.credential_header] = api_key
        self._ca_file = ca_file

    def _options(self) -> dict[str, Any]:
        address = _address(self.base_url)
        is_loopback = address.host in ("localhost", "::1") or address.host.startswith("127.")
        verify: ssl.SSLContext | bool = True
        if self._ca_file is not None:
            verify = _trusting(self._ca_file)
        elif is_loopback and address.scheme == "http":
            verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and is ready at once: it is not needed
        return {
            "headers": self._headers,
            # A proxy from the environment cannot reach this machine's own loopback address.
            "trust_env": not is_loopback,
            "timeout": self._timeout(0.0),
            "verify": verify,
        }

    def _timeout(self, patience_seconds: float) -> httpx.Timeout:
        return httpx.Timeout(self.timeout + patience_seconds, connect=min(self.timeout, CONNECT_SECONDS_MAX))

    def _arguments(self, request: Request) -> dict[str, Any]:
        headers = dict(request.headers)
        if request.sink is not None:
            headers |= request.sink.headers()
        if request.body is not None:
            headers["Content-Type"] = request.body.content_type
            if request.body.length_bytes is not None:
                headers["Content-Length"] = str(request.body.length_bytes)
        return {
            "method": request.method,
            "url": self.base_url + request.path,
            "params": request.params or None,
            "headers": headers,
            "json": request.json,
            "timeout": self._timeout(request.patience_seconds),
        }

    def _failure(self, error: httpx.HTTPError) -> S4ConnectionError:
        if (cause := _tls_failure(error)) is not None:
            return S4ConnectionError(f"No secure connection to S4 at {self.base_url}: {cause}", sent=False)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            reason = str(error) or "no connection in time"
            return S4ConnectionError(f"Cannot reach S4 at {self.base_url}: is it running there? ({reason})", sent=False)
        if isinstance(error, httpx.PoolTimeout):
            return S4ConnectionError(f"Too many requests to {self.base_url} are under way.", sent=False)
        if isinstance(error, httpx.TimeoutException):
            return S4ConnectionError(f"S4 at {self.base_url} did not answer in time.", sent=True)
        reason = str(error) or type(error).__name__
        return S4ConnectionError(f"The connection to S4 at {self.base_url} broke: {reason}", sent=True)


class BlockingTransport(_Base):
    """Runs flows and returns their results. A context manager; else call `close`. Threads may share it."""

    def __init__(
        self, base_url: str = DEFAULT_URL, *, api_key: str | None = None, timeout: float = 60.0,
        retry: RetryPolicy | None = None, ca_file: str | os.PathLike[str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        super().__init__(base_url, api_key=api_key, timeout=timeout, retry=retry, ca_file=ca_file)
        self._http = httpx.Client(**self._options(), transport=transport)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, flow: Flow[T]) -> T:
        with contextlib.closing(flow):
            try:
                effect = next(flow)
                while True:
                    try:
                        reply = self._perform(effect)
                    except S4ConnectionError as error:
                        effect = flow.throw(error)
                    else:
                        effect = flow.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result

    def run_pages(self, pages: Pages[T]) -> Iterator[T]:
        cursor: str | None = None
        while True:
            items, cursor = self.run(pages(cursor))
            yield from items
            if cursor is None:
                return

    def run_stream(self, flow: Flow[None]) -> Iterator[bytes]:
        with contextlib.closing(flow):
            try:
                effect = next(flow)
                while True:
                    reply: Reply | None = None
                    try:
                        with contextlib.closing(self._parts(effect)) as parts:
                            for part in parts:
                                if isinstance(part, Reply):
                                    reply = part
                                else:
                                    yield part
                    except S4ConnectionError as error:
                        effect = flow.throw(error)
                    else:
                        effect = flow.send(reply)
            except StopIteration:
                return

    def _perform(self, effect: Effect) -> Reply | None:
        reply = None
        for part in self._parts(effect):
            if isinstance(part, Reply):
                reply = part
        return reply

    def _parts(self, effect: Effect) -> Generator[bytes | Reply, None, None]:
        """The pieces that the sink of a request took, if it has one, and last the reply."""
        if isinstance(effect, Pause):
            time.sleep(effect.seconds)
            return
        content = _pieces(effect.body) if effect.body is not None else None
        try:
            with self._http.stream(**self._arguments(effect), content=content) as response:
                sink = effect.sink
                if sink is None or not response.is_success:
                    yield Reply(response.status_code, response.headers, response.read())
                    return
                sink.begin(response.status_code, response.headers)
                for piece in response.iter_raw():
                    sink.write(piece)
                    sink.received(len(piece))
                    yield piece
                yield Reply(response.status_code, response.headers, b"")
        except httpx.HTTPError as error:
            raise self._failure(error) from error


class AsyncTransport(_Base):
    """Runs flows on the event loop. Use it as an asynchronous context manager, or await `aclose`."""

    def __init__(
        self, base_url: str = DEFAULT_URL, *, api_key: str | None = None, timeout: float = 60.0,
        retry: RetryPolicy | None = None, ca_file: str | os.PathLike[str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        super().__init__(base_url, api_key=api_key, timeout=timeout, retry=retry, ca_file=ca_file)
        self._http = httpx.AsyncClient(**self._options(), transport=transport)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def run(self, flow: Flow[T]) -> T:
        with contextlib.closing(flow):
            try:
                effect = next(flow)
                while True:
                    try:
                        reply = await self._perform(effect)
                    except S4ConnectionError as error:
                        effect = flow.throw(error)
                    else:
                        effect = flow.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result

    async def run_pages(self, pages: Pages[T]) -> AsyncIterator[T]:
        cursor: str | None = None
        while True:
            items, cursor = await self.run(pages(cursor))
            for item in items:
                yield item
            if cursor is None:
                return

    async def run_stream(self, flow: Flow[None]) -> AsyncIterator[bytes]:
        with contextlib.closing(flow):
            try:
                effect = next(flow)
                while True:
                    reply: Reply | None = None
                    try:
                        async with contextlib.aclosing(self._parts(effect)) as parts:
                            async for part in parts:
                                if isinstance(part, Reply):
                                    reply = part
                                else:
                                    yield part
                    except S4ConnectionError as error:
                        effect = flow.throw(error)
                    else:
                        effect = flow.send(reply)
            except StopIteration:
                return

    async def _perform(self, effect: Effect) -> Reply | None:
        reply = None
        async with contextlib.aclosing(self._parts(effect)) as parts:
            async for part in parts:
                if isinstance(part, Reply):
                    reply = part
        return reply

    async def _parts(self, effect: Effect) -> AsyncGenerator[bytes | Reply, None]:
        """The pieces that the sink of a request took, if it has one, and last the reply."""
        if isinstance(effect, Pause):
            await asyncio.sleep(effect.seconds)
            return
        content = _pieces_from_thread(effect.body) if effect.body is not None else None
        try:
            async with self._http.stream(**self._arguments(effect), content=content) as response:
                sink = effect.sink
                if sink is None or not response.is_success:
                    yield Reply(response.status_code, response.headers, await response.aread())
                    return
                sink.begin(response.status_code, response.headers)
                async for piece in response.aiter_raw():
                    await asyncio.to_thread(sink.write, piece)
                    sink.received(len(piece))
                    yield piece
                yield Reply(response.status_code, response.headers, b"")
        except httpx.HTTPError as error:
            raise self._failure(error) from error


def _address(base_url: str) -> httpx.URL:
    try:
        parts = httpx.URL(base_url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    if parts.scheme not in ("http", "https") or not parts.host:
        raise InvalidArgument(f"{base_url!r} is not an address such as {DEFAULT_URL}.")
    return parts


def _trusting(ca_file: str | os.PathLike[str]) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise InvalidArgument(f"{os.fspath(ca_file)} holds no certificate in PEM form.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidArgument(f"The certificates in {os.fspath(ca_file)} cannot be read: {reason}.") from error


def _tls_failure(error: BaseException | None) -> str | None:
    """What to do when TLS is what failed."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    if error is None:
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}). If an authority of your own signed it, "
            "give that authority's certificate as `ca_file` (command line: --ca-file or S4_CA_FILE)."
        )
    return f"is TLS spoken there, or is it an http:// address? ({error.reason or error})"


def _pieces(body: Body) -> Iterator[bytes]:
    for piece in body.pieces():
        yield piece
        body.sent(len(piece))
    body.sent_all()


async def _pieces_from_thread(body: Body) -> AsyncIterator[bytes]:
    pieces = body.pieces()
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
        body.sent(len(piece))
    body.sent_all()
