"""Spans by OpenTelemetry's SDK, sent by OTLP over HTTP. Imported only where a collector is named.

Nothing here is OpenTelemetry's global: libraries that look for a provider find none, so that they cannot add what they
think fit (of a request its query, of an error its text). Spans wait in a bounded queue, and a thread sends them. A
collector that does not take them is left alone for a while, meanwhile they are thrown away, and the log says once that
an outage began and once that it is over.
"""

import contextlib
import functools
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar

import httpx
import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from s4 import __version__
from s4.kernel.errors import S4Error
from s4.platform.telemetry.traces import NOTHING, UNTOLD, Attributes, Span, Tracer

log = structlog.get_logger(__name__)

_QUEUE_SPANS_MAX = 4096  # some MiB; a search is about ten spans
_BATCH_SPANS_MAX = 512
_SEND_EVERY_SECONDS = 1.0
_SEND_SECONDS_MAX = 2.0  # bounds what the end of the process waits for, too
_PAUSE_SECONDS = 5.0  # a queue that is emptied without asking does not fill up during an outage

_SPANS_MAX = 1000  # of one request or job: a backup reads a hundred thousand objects

_W3C = TraceContextTextMapPropagator()
_TRACEPARENT = "traceparent"


def open_tracer(endpoint: str, *, share: float, service: str) -> Tracer:
    """`close` it."""
    resource = Resource.create(
        {
            "service.namespace": "s4",
            "service.name": service,  # the log's word for it
            "service.version": __version__,
            "host.name": socket.gethostname(),
            "process.pid": os.getpid(),
        }
    )
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(share)), resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(
            Sender(endpoint),
            max_queue_size=_QUEUE_SPANS_MAX,
            schedule_delay_millis=_SEND_EVERY_SECONDS * 1000,
            max_export_batch_size=_BATCH_SPANS_MAX,
        )
    )
    return _Tracer(provider)


class _Told(Span):
    """A span of the SDK's; one that is not sampled has a trace id all the same."""

    def __init__(self, inner: trace.Span, root: "_Told | None", *, is_request: bool) -> None:
        """`root`: of the request or job that it is a part of; None for these themselves."""
        self.inner = inner
        self.root = root or self
        self.is_request = is_request
        self._left = _SPANS_MAX

    @property
    def trace_id(self) -> str:
        return trace.format_trace_id(self.inner.get_span_context().trace_id)

    def name(self, name: str) -> None:
        self.inner.update_name(name)

    def note(self, attributes: Attributes) -> None:
        self.inner.set_attributes(attributes)

    def happened(self, event: str, attributes: Attributes | None = None) -> None:
        self.inner.add_event(event, attributes)

    def takes_another(self) -> bool:
        """Whether a root may have a further part."""
        self._left -= 1
        if self._left == 0:
            self.inner.set_attribute("s4.truncated", True)
        return self._left > 0

    def failed(self, kind: str) -> None:
        self.inner.set_attribute("error.type", kind)
        self.inner.set_status(Status(StatusCode.ERROR))


_current: ContextVar[_Told | None] = ContextVar("span", default=None)


class _Tracer:
    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("s4", __version__)

    def request(self, method: str, traceparent: str | None) -> AbstractContextManager[Span]:
        return self._block(method, _parent(traceparent), SpanKind.SERVER)

    def job(self, name: str, traceparent: str | None) -> AbstractContextManager[Span]:
        return self._block(name, _parent(traceparent), SpanKind.CONSUMER)

    def span(self, name: str, attributes: Attributes | None) -> AbstractContextManager[Span]:
        above = _current.get()
        if above is None or not above.inner.is_recording():  # also where its request or job has ended meanwhile
            return NOTHING
        if not above.root.takes_another():
            return NOTHING
        return self._block(name, _within(above), SpanKind.INTERNAL, attributes, above.root)

    def current(self) -> Span:
        return _current.get() or UNTOLD

    def traceparent(self) -> str | None:
        """Of the request that is being answered."""
        above = _current.get()
        if above is None or not above.root.is_request:
            return None
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, _within(above.root))
        return carrier.get(_TRACEPARENT)

    def close(self) -> None:
        """Sends what waits, once."""
        self._provider.shutdown()

    @contextlib.contextmanager
    def _block(
        self,
        name: str,
        parent: Context,
        kind: SpanKind,
        attributes: Attributes | None = None,
        root: _Told | None = None,
    ) -> Iterator[Span]:
        told = _Told(self._tracer.start_span(name, parent, kind, attributes), root, is_request=kind is SpanKind.SERVER)
        token = _current.set(told)
        try:
            yield told
        except Exception as error:
            if not isinstance(error, S4Error):
                told.failed(type(error).__name__)
            elif error.status >= 500:  # else it is an answer
                told.failed(error.code)
            raise
        finally:
            with contextlib.suppress(ValueError):  # a generator that was left open is closed in another context
                _current.reset(token)
            told.inner.end()


def _within(told: _Told) -> Context:
    return trace.set_span_in_context(told.inner, Context())


def _parent(traceparent: str | None) -> Context:
    """The caller's trace. Its `tracestate` is not taken along: it may say anything, and nobody here reads it."""
    return _W3C.extract({_TRACEPARENT: traceparent} if traceparent else {}, Context())


class Sender(SpanExporter):
    """Runs in the queue's thread."""

    def __init__(self, endpoint: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._lost = 0
        self._silent_until = 0.0

    @functools.cached_property
    def _client(self) -> httpx.Client:
        """Made when it is first needed: by then the process trusts whom it was told to (`platform/trust.py`). It knows
        no proxy of the environment: it talks to whom the setting names."""
        return httpx.Client(verify=ssl.create_default_context(), timeout=_SEND_SECONDS_MAX, trust_env=False)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._lost and self._clock() < self._silent_until:
            self._lost += len(spans)
            return SpanExportResult.FAILURE
        failure = self._failure_of(encode_spans(spans).SerializeToString())
        if failure is None:
            if self._lost:
                log.info("traces.sent_again", count=self._lost)
            self._lost = 0
            return SpanExportResult.SUCCESS
        if not self._lost:
            log.warning("traces.unsent", error=failure)
        self._lost += len(spans)
        self._silent_until = self._clock() + _PAUSE_SECONDS
        return SpanExportResult.FAILURE

    def _failure_of(self, body: bytes) -> str | None:
        try:
            answer = self._client.post(self._endpoint, content=body, headers={"Content-Type": "application/x-protobuf"})
        except (httpx.HTTPError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        return None if answer.is_success else f"HTTP {answer.status_code}"

    def shutdown(self) -> None:
        self._client.close()
