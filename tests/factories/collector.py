"""A small real collector of OpenTelemetry's: takes OTLP over HTTP, reads it with the protocol's own types, keeps it."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

_SECONDS_MAX = 120  # a bound for what hangs, on a machine that is busy with other tests


@dataclass(frozen=True)
class Seen:
    """A span as it came."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str | int | float]
    events: list[str]
    failed: bool
    whole: str
    """All that was said, as text: for what must not be in it."""


@dataclass
class Collector:
    """`answer` decides by the number of spans."""

    port: int = 0
    answer: Callable[[int], int] = lambda _: 200
    spans: list[Seen] = field(default_factory=list)
    requests: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    def take(self, body: bytes) -> int:
        request = ExportTraceServiceRequest.FromString(body)
        found = []
        for group in request.resource_spans:
            about = _values(group.resource.attributes)
            for scope in group.scope_spans:
                found += [
                    Seen(
                        str(about["service.name"]),
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        _values(span.attributes),
                        [event.name for event in span.events],
                        span.status.code == Status.STATUS_CODE_ERROR,
                        str(span),
                    )
                    for span in scope.spans
                ]
        with self.changed:
            self.requests += 1
            status = self.answer(len(found))
            if status == 200:
                self.spans += found
            self.changed.notify_all()
        return status

    def until(self, enough: Callable[[list[Seen]], bool]) -> list[Seen]:
        """As soon as what came is enough."""
        with self.changed:
            assert self.changed.wait_for(lambda: enough(self.spans), _SECONDS_MAX), [each.name for each in self.spans]
            return list(self.spans)

    def trace_of(self, name: str) -> list[Seen]:
        """The whole trace with a span of this name, once that is there; a parent comes after its children."""
        came = self.until(lambda spans: any(span.name == name for span in spans))
        trace_id = next(span.trace_id for span in came if span.name == name)
        return [span for span in came if span.trace_id == trace_id]


def _values(attributes: list[KeyValue]) -> dict[str, str | int | float]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextlib.contextmanager
def collecting(answer: Callable[[int], int] = lambda _: 200) -> Iterator[Collector]:
    collector = Collector(answer=answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            known = self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
            self.send_response(collector.take(body) if known else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
