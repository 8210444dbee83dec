"""One POST to an address that a tenant named.

The name is resolved at the moment of connecting, by the connection's own code; every address is checked, and one of
exactly those is connected to. So a name that answers differently the second time has no second time. `Host`, SNI and
the certificate stay with the name. Below httpx, since its clients follow proxies of the environment unless told not
to and take no network backend: httpcore knows neither redirects nor proxies nor cookies.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpcore

from s4.platform.outbound.addresses import Address, AddressRefused, Allowance

ANSWER_BYTES_MAX = 64 * 1024  # of an answer that nobody reads: enough to end it politely
_RESOLVER_THREADS = 8  # of their own: a name server that stalls must not take the threads that read documents

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class Undelivered(Exception):
    """No answer; `reason` is a short sentence for the tenant."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answer:
    status: int


@dataclass(frozen=True, slots=True)
class OutboundTimings:
    """`connect` bounds resolving and connecting, `total` everything."""

    connect: timedelta
    total: timedelta


class Outbound:
    """One per process. Connections are not kept: each is checked anew."""

    def __init__(
        self,
        allowance: Allowance,
        timings: OutboundTimings,
        *,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls` is for tests: the system's certificates otherwise."""
        self._timings = timings
        self._tls = tls
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="s4-resolve")
        self._backend = _CheckedBackend(allowance, resolve or self._resolve)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Answers with the status, whatever it is. Raises `Undelivered`."""
        try:
            async with asyncio.timeout(self._timings.total.total_seconds()):
                return await self._post(url, body, headers)
        except AddressRefused as error:
            raise Undelivered(str(error)) from error
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise Undelivered("The endpoint did not answer in time.") from error
        except (httpcore.ConnectError, socket.gaierror, ssl.SSLError) as error:
            raise Undelivered(_why_not_connected(error)) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise Undelivered("The connection broke before the endpoint had answered.") from error

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)  # reads the system's certificates: slow
        seconds = self._timings.total.total_seconds()
        waits = {"connect": self._timings.connect.total_seconds(), "read": seconds, "write": seconds}
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._tls, network_backend=self._backend, max_keepalive_connections=0, retries=0
            ) as pool,
            pool.stream(
                "POST", url, headers=list(headers.items()), content=body, extensions={"timeout": waits}
            ) as response,
        ):
            seen = 0
            async for part in response.aiter_stream():
                seen += len(part)
                if seen > ANSWER_BYTES_MAX:
                    break
            return Answer(response.status)

    async def _resolve(self, host: str, port: int) -> Sequence[Address]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, resolve, host, port)

    async def aclose(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def resolve(host: str, port: int) -> list[Address]:
    """By the system's resolver. Raises `socket.gaierror`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(where[0])) for *_, where in found]


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, allowance: Allowance, resolve: Resolve) -> None:
        self._allowance = allowance
        self._resolve = resolve
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        async with asyncio.timeout(timeout):
            addresses = await self._resolve(host, port)
            self._allowance.check_addresses(addresses)
            for number, address in enumerate(addresses, 1):
                try:
                    return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
                except httpcore.ConnectError:
                    if number == len(addresses):
                        raise
        raise AssertionError("unreachable: there is an address, and the last attempt returns or raises")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _why_not_connected(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:  # ends: a chain of causes is finite
        if isinstance(cause, ssl.SSLError):
            return "The endpoint's certificate or TLS was not acceptable."
        if isinstance(cause, socket.gaierror):
            return "The host name could not be resolved."
        cause = cause.__cause__ or cause.__context__
    return "The endpoint refused the connection or could not be reached."
