"""Traces: on what a request or a job spent its time, for whoever names a collector (`S4_TRACES_ENDPOINT`).

A request and a job begin a span each; what takes time within them begins one below (`span`). What a process does by
itself is in its metrics only, and so nothing is made here outside of a request or a job. A job goes on in the trace of
the request that asked for it: the job's row carries the trace (`carried`).

Names and attributes are words of S4's own, numbers, and ids that the log has, too. Text of documents and queries, SQL,
paths, keys and what errors say never become part of a span.

This module knows no library: where no collector is named, a call ends with one look at `_Process.tracer`, and
OpenTelemetry, which `platform/telemetry/otlp.py` speaks to, is not even imported.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from s4.kernel.errors import InvalidRequest

Attributes = Mapping[str, str | int | float]

_CARRIED = "traceparent"


class Span:
    """What a block of code may say of itself while it runs. This one tells nobody."""

    @property
    def trace_id(self) -> str | None:
        """As 32 hexadecimal digits; None where there are no traces."""
        return None

    def name(self, name: str) -> None:
        """Another than it began with."""

    def note(self, attributes: Attributes) -> None:
        """What is known of it by now."""

    def happened(self, event: str, attributes: Attributes | None = None) -> None:
        """At this moment, within the span."""

    def failed(self, kind: str) -> None:
        """It did not do what it was to do: `kind` is a code or a class, no sentence."""


class Tracer(Protocol):
    """What makes spans."""

    def request(self, method: str, traceparent: str | None) -> AbstractContextManager[Span]: ...

    def job(self, name: str, traceparent: str | None) -> AbstractContextManager[Span]: ...

    def span(self, name: str, attributes: Attributes | None) -> AbstractContextManager[Span]: ...

    def current(self) -> Span: ...

    def traceparent(self) -> str | None: ...

    def close(self) -> None: ...


class _Process:
    """What is traced is traced wherever it happens, as what is logged is: so the tracer is no argument of each call."""

    tracer: Tracer | None = None


UNTOLD = Span()
NOTHING: AbstractContextManager[Span] = contextlib.nullcontext(UNTOLD)
"""A block that is not told of."""


def request(method: str, traceparent: str | None) -> AbstractContextManager[Span]:
    """A request that came in, with the header that its caller sent."""
    tracer = _Process.tracer
    return NOTHING if tracer is None else tracer.request(method, traceparent)


def job(name: str, payload: Mapping[str, object]) -> AbstractContextManager[Span]:
    """An attempt at a job, in the trace that its payload carries."""
    tracer = _Process.tracer
    if tracer is None:
        return NOTHING
    carried = payload.get(_CARRIED)
    return tracer.job(name, carried if isinstance(carried, str) else None)


def span(name: str, attributes: Attributes | None = None) -> AbstractContextManager[Span]:
    """A part of what is being done."""
    tracer = _Process.tracer
    return NOTHING if tracer is None else tracer.span(name, attributes)


def current() -> Span:
    """The innermost block that runs."""
    tracer = _Process.tracer
    return UNTOLD if tracer is None else tracer.current()


def carried() -> Mapping[str, str]:
    """What a job's payload takes along of the request that asks for it. Of a job nothing: jobs that ask for jobs would
    make one trace without end."""
    tracer = _Process.tracer
    traceparent = None if tracer is None else tracer.traceparent()
    return {} if traceparent is None else {_CARRIED: traceparent}


@contextlib.asynccontextmanager
async def sent(endpoint: str | None, *, share: float, service: str) -> AsyncIterator[None]:
    """Requests and jobs of the block are traced, `share` of those that continue no caller's trace. Without an
    `endpoint` none are. Raises `InvalidRequest` where the library is missing."""
    if endpoint is None:
        yield
        return
    try:
        from s4.platform.telemetry import otlp  # here: an extra, and a tenth of a second
    except ModuleNotFoundError as error:
        raise InvalidRequest(
            f"S4_TRACES_ENDPOINT is set, and {error.name} is not installed: install s4-store[otel], or leave it unset."
        ) from error
    tracer = otlp.open_tracer(endpoint, share=share, service=service)
    _Process.tracer = tracer
    try:
        yield
    finally:
        _Process.tracer = None
        await asyncio.to_thread(tracer.close)
