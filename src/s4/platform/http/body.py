"""Request bodies as streams: bounded in size, in silence and in total time.

Nothing here collects a body but `read_small_body`, which is for JSON. Sizes are checked against
`Content-Length` before the first byte is read, and against what arrives while it arrives.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request

from s4.kernel.errors import InvalidRequest, PayloadTooLarge
from s4.kernel.units import human_size


@dataclass(frozen=True, slots=True)
class RawBody:
    """A body that is the file. `size_bytes` is what the caller declared, None if nothing."""

    size_bytes: int | None
    chunks: AsyncIterator[bytes]


def declared_length(request: Request) -> int | None:
    """`Content-Length`, or None for a body of unknown length. Raises `InvalidRequest` for a malformed one."""
    header = request.headers.get("content-length")
    if header is None:
        return None
    if not (header.isascii() and header.isdigit() and len(header) <= 18):  # 10^18 bytes exceed any object
        raise InvalidRequest("Content-Length is not a number of bytes.")
    return int(header)


async def timed_chunks(request: Request, *, idle_seconds_max: float, seconds_max: float) -> AsyncGenerator[bytes, None]:
    """The body as it arrives.

    Raises `InvalidRequest` when nothing came for `idle_seconds_max`, or when `seconds_max` have passed since
    the first wait; `ClientDisconnect` when the caller went away. Time that the consumer spends is no silence.
    """
    deadline = time.monotonic() + seconds_max
    async with aclosing(request.stream()) as stream:
        while True:
            left = deadline - time.monotonic()
            try:
                async with asyncio.timeout(min(idle_seconds_max, left)):
                    chunk = await anext(stream, None)
            except TimeoutError as error:
                raise _too_slow(idle_seconds_max, seconds_max, silent=left > idle_seconds_max) from error
            if chunk is None:
                return
            if chunk:
                yield chunk


Refusal = Callable[[], PayloadTooLarge]


def raw_body(
    request: Request,
    *,
    bytes_max: int,
    idle_seconds_max: float,
    seconds_max: float,
    refusal: Refusal | None = None,
) -> RawBody:
    """The body of a `PUT` whose content is the file.

    Raises `PayloadTooLarge`, or what `refusal` makes, at once when the declared length exceeds `bytes_max`, and from
    `chunks` when more than that arrives; `InvalidRequest` from `chunks` when the body ends before or after its declared
    length.
    """
    refusal = refusal or partial(too_large, bytes_max)
    declared = declared_length(request)
    if declared is not None and declared > bytes_max:
        raise refusal()
    stream = timed_chunks(request, idle_seconds_max=idle_seconds_max, seconds_max=seconds_max)
    return RawBody(declared, _counted(stream, declared=declared, bytes_max=bytes_max, refusal=refusal))


async def read_small_body(request: Request, *, bytes_max: int, seconds_max: float) -> bytes:
    """The whole body in memory. Raises `PayloadTooLarge` and `InvalidRequest` as `raw_body` does."""
    body = raw_body(request, bytes_max=bytes_max, idle_seconds_max=seconds_max, seconds_max=seconds_max)
    return b"".join([chunk async for chunk in body.chunks])


def too_large(bytes_max: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The body is larger than {human_size(bytes_max)}, the most that is allowed here.",
        details={"bytes_max": bytes_max},
    )


async def _counted(
    stream: AsyncGenerator[bytes, None], *, declared: int | None, bytes_max: int, refusal: Refusal
) -> AsyncGenerator[bytes, None]:
    received = 0
    async with aclosing(stream):
        async for chunk in stream:
            received += len(chunk)
            if received > bytes_max:
                raise refusal()
            yield chunk
    if declared is not None and received != declared:
        raise InvalidRequest(
            f"The body has {received} bytes, but Content-Length announced {declared}.",
            details={"bytes_declared": declared, "bytes_received": received},
        )


def _too_slow(idle_seconds_max: float, seconds_max: float, *, silent: bool) -> InvalidRequest:
    if silent:
        return InvalidRequest(f"The body fell silent for {idle_seconds_max:g} seconds; send it again.")
    return InvalidRequest(f"The body took longer than {seconds_max:g} seconds; send it again, or in less.")
