"""Logs: one JSON line per event, on standard error, the same shape whoever wrote it.

    {"event_type": "documents.uploaded", "timestamp": "2026-01-02T03:04:05.678901Z", "level": "info",
     "service": "api", "tenant_id": "ten_…", "request_id": "req_…", "trace_id": null, "details": {…}}

S4's own events come through structlog; what libraries write through `logging` takes the same road and is
filed under its logger's name. On the way out every value is made harmless: secrets are blotted out by name
and by form, control characters cannot forge a line or colour a terminal, and nothing that a log call is given
can make it raise.
"""

import json
import logging
import math
import re
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from s4.kernel.clock import rfc3339
from s4.kernel.settings import LogFormat

REDACTED = "[redacted]"

_CONTEXT_KEYS = ("tenant_id", "request_id", "trace_id")
_META_KEYS = frozenset({"_record", "_from_structlog"})  # structlog's own, between its formatter's processors

_DEPTH_MAX = 6  # deeper structures are data, not a log line
_ITEMS_MAX = 100
_CHARS_MAX = 16_384  # a long traceback fits; a document's text does not

_SECRET_NAME = re.compile(
    r"authorization|cookie|passw(or)?d|passphrase|secret|token|credential|signature|api_?key|_key$|^key$|database_url",
    re.IGNORECASE,
)
_PUBLIC_NAMES = frozenset({"object_key"})  # built from ids; an operator needs it to find the object

_SECRET_FORMS = (
    (re.compile(r"s4_[a-z2-7]{12}_[A-Za-z0-9_-]{16,}"), REDACTED),  # our own keys
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), REDACTED),  # AWS access key ids
    (re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"), REDACTED),  # keys of embedding providers
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {REDACTED}"),
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), rf"\1:{REDACTED}@"),  # passwords in URLs
    (re.compile(r"(?i)((?:x-amz-)?(?:signature|credential|security-token)=)[^&\s\"']+"), rf"\1{REDACTED}"),
    (
        re.compile(r"(?i)((?:secret_access_key|password|admin_api_key|secret_key)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&)]+"),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL),
        REDACTED,
    ),
)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_NO_TRACE = "0" * 32  # the W3C's invalid trace id

# These speak of every statement and request at info or debug, values included: key hashes, names, metadata.
_QUIET_LOGGERS = (
    "alembic",
    "aiosqlite",
    "asyncio",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "openai",
    "python_multipart",
    "sqlalchemy",
    "uvicorn.access",
)
_OWN_HANDLERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "sqlalchemy", "alembic", "lance", "lancedb")


def configure(
    *, level: str = "info", log_format: LogFormat = LogFormat.JSON, service: str, stream: TextIO | None = None
) -> None:
    """Takes over structlog and the standard library's root logger. `stream` defaults to standard error."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    handler = _Handler(stream or sys.stderr)
    # Values are made harmless before `logging` sees them, so that other handlers receive no secrets either.
    enrich: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        _harmless,
    ]
    render = _render_json if log_format is LogFormat.JSON else _render_console
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=enrich, processors=[_Shape(service), render])
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(threshold)
    for name in _OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*enrich, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # so that tests, and a second call, can configure anew
    )


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace id of a W3C `traceparent` header, or None for a missing or malformed one."""
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return match[1] if match and match[1] != _NO_TRACE else None


def redact(text: str) -> str:
    """The text without whatever looks like a secret."""
    for pattern, replacement in _SECRET_FORMS:
        text = pattern.sub(replacement, text)
    return text


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the base class's name
        """The base class would print the call's arguments, secrets included."""
        line = {"event_type": "logs.record_lost", "level": "error", "details": {"logger": str(record.name)}}
        try:
            self.stream.write(json.dumps(line) + self.terminator)
        except (OSError, ValueError):
            return  # the stream is closed or full: there is nobody left to tell


class _Shape:
    """Brings an event into the shape of the module's docstring."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        record: logging.LogRecord = event.pop("_record")
        event_type = event.pop("event", "")
        if not event.pop("_from_structlog"):
            event["message"], event_type = event_type, _text(record.name)
        context = {name: event.pop(name, None) for name in _CONTEXT_KEYS}
        return {
            "event_type": event_type,
            "timestamp": rfc3339(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "service": self._service,
            **context,
            "details": event,
        }


def _harmless(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A processor: every value cleaned, every name printable."""
    return {
        name if name in _META_KEYS else _text(name): value if name in _META_KEYS else _clean(name, value)
        for name, value in event.items()
    }


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    # ASCII escapes keep line separators, direction marks and terminal codes of all of Unicode inside their
    # string.
    return json.dumps(event, ensure_ascii=True, allow_nan=False)


def _render_console(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    details = dict(event["details"])
    traceback = str(details.pop("exception", ""))
    context = {name: event[name] for name in _CONTEXT_KEYS if event[name] is not None}
    fields = " ".join(f"{_plain(name)}={_plain(value)}" for name, value in {**context, **details}.items())
    line = f"{event['timestamp']} {event['level']:<8} {_plain(event['event_type'])} {fields}".rstrip()
    return "\n    ".join([line, *(_plain(row) for row in traceback.splitlines())])


def _plain(value: Any) -> str:
    """Printable on a terminal as it is; everything else as in Python source."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text if text.isprintable() else ascii(text)


def _clean(name: str, value: Any, depth: int = 0) -> Any:
    """A value that JSON can carry, without secrets. Never raises."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else hex(value)[:_CHARS_MAX]  # beyond 64 bits parsers lose digits
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if _is_secret_name(name):
        return REDACTED
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return _clean_collection(name, value, depth)
    return _text(value)


def _clean_collection(name: str, value: Any, depth: int) -> Any:
    if depth >= _DEPTH_MAX:
        return "<nested too deep>"
    try:
        if isinstance(value, Mapping):
            pairs = list(value.items())[:_ITEMS_MAX]
            return {_text(key): _clean(_text(key), item, depth + 1) for key, item in pairs}
        return [_clean(name, item, depth + 1) for item in list(value)[:_ITEMS_MAX]]
    except Exception as error:  # whatever a foreign mapping does must not reach the code that logs
        return f"<unprintable {type(value).__name__}: {type(error).__name__}>"


def _text(value: Any) -> str:
    try:
        text = rfc3339(value) if isinstance(value, datetime) and value.tzinfo else _str(value)
    except Exception as error:  # a __str__ that raises must not reach the code that logs
        return f"<unprintable {type(value).__name__}: {type(error).__name__}>"
    text = redact(text.encode("utf-8", "replace").decode("utf-8"))  # lone surrogates become question marks
    if len(text) > _CHARS_MAX:
        # The end of a traceback says more than its middle.
        half, omitted = _CHARS_MAX // 2, len(text) - _CHARS_MAX
        text = f"{text[:half]} … {omitted} characters left out … {text[-half:]}"
    return text


def _str(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def _is_secret_name(name: str) -> bool:
    flat = name.replace("-", "_").replace(" ", "_")
    return flat.lower() not in _PUBLIC_NAMES and _SECRET_NAME.search(flat) is not None
