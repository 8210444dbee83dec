"""Logs: one JSON line per event, on standard error, the same shape whoever wrote it.

    {"event_type": "documents.uploaded", "timestamp": "2026-01-02T03:04:05.678901Z", "level": "info",
     "service": "api", "tenant_id": "ten_…", "request_id": "req_…", "trace_id": null, "details": {…}}

S4's own events come through structlog; what libraries write through `logging` takes the same road and is
filed under its logger's name. On the way out every value is made harmless: secrets are blotted out by name
and by form, control characters cannot forge a line or colour a terminal, and nothing that a log call is given
can make it raise.
"""

import contextlib
import json
import logging
import math
import re
import sys
import threading
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from typing import Any, TextIO
from urllib.parse import quote, unquote, urlsplit

import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from s4.kernel.clock import rfc3339
from s4.kernel.settings import LogFormat, Settings, secret_settings
from s4.platform.telemetry.log_formats import Render, renderer

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
    (re.compile(r"s4a?_[a-z2-7]{12}_[A-Za-z0-9_-]{16,}"), REDACTED),  # our own keys
    (re.compile(r"\bwhsec_[A-Za-z0-9_-]{8,}"), REDACTED),  # secrets of webhooks
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), REDACTED),  # AWS access key ids
    (re.compile(r"\bya29\.[A-Za-z0-9_-]{8,}"), REDACTED),  # Google's access tokens
    (re.compile(r"\bAIza[A-Za-z0-9_-]{35}"), REDACTED),  # Google's API keys
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), REDACTED),  # JSON Web Tokens
    (re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"), REDACTED),  # keys of embedding providers
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {REDACTED}"),
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), rf"\1:{REDACTED}@"),  # passwords in URLs
    (re.compile(r"(?i)([?&][^=&\s]*(?:key|token|secret|passw|credential|sig)[^=&\s]*=)[^&\s\"']+"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)((?:signature|credential)=)[^&\s\"']+"), rf"\1{REDACTED}"),
    (
        re.compile(
            r"(?i)((?:secret_access_key|secret_?key|password|passwd|api[_-]?key|(?:session|security|access)[_-]token|"
            r"x-(?:admin|tenant)-key)\\*[\"']?\s*[=:]\s*\\*[\"']?)[^\s\"',;&)}\\]+"
        ),
        rf"\1{REDACTED}",
    ),
    (  # what stands under a name that text uses of other things, too, is a secret if it is as long as one
        re.compile(
            r"(?i)((?:token|secret|passphrase|private_key|authorization|cookie)\\*[\"']?\s*[=:]\s*\\*[\"']?"
            r"(?:token\s+)?)[A-Za-z0-9._~+/=%-]{16,}"
        ),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(r"-----BEGIN[A-Z0-9 %+]*PRIVATE[ %20+]+KEY-----.*?(?:-----END[A-Z0-9 %+]*KEY-----|$)", re.DOTALL),
        REDACTED,
    ),
)
# One look that tells of most texts that none of these is in them.
_MAY_BE_SECRET = re.compile(
    r"(?i)s4a?_|whsec_|akia|asia|ya29|aiza|eyj|sk-|bearer|basic|://|key|token|secret|passw|passphrase|credential|sig|"
    r"authorization|cookie|-----begin"
)
_SECRET_CHARS_MIN = 8
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


class _Known:
    """The secrets of this process. Its log is one, too, so they are not an argument of each call."""

    forms: re.Pattern[str] | None = None


def _forms_of(secrets: Collection[str]) -> re.Pattern[str] | None:
    """As they are, and as they stand in a URL. Shorter ones are words, which would be blotted out of everything."""
    forms = {form for each in secrets if len(each) >= _SECRET_CHARS_MIN for form in (each, quote(each, safe=""))}
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None


def configure(
    *,
    level: str = "info",
    log_format: LogFormat = LogFormat.JSON,
    service: str,
    google_project: str = "",
    secrets: Collection[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Takes over structlog and the standard library's root logger. `stream` defaults to standard error. `secrets` are
    blotted out of any text, whatever it looks like."""
    _Known.forms = _forms_of(secrets)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    handler = _Handler(stream or sys.stderr)
    handler.is_json = log_format is not LogFormat.CONSOLE
    # Values are made harmless before `logging` sees them, so that other handlers receive no secrets either.
    enrich: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        _harmless,
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=enrich,
            processors=[_Shape(service), _Render(renderer(log_format, google_project=google_project))],
        )
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


def known_secrets(settings: Settings) -> list[str]:
    """The values of all that are set; of a URL its password, too."""
    found: list[str] = []
    for name in secret_settings():
        value = getattr(settings, name)
        if text := value.get_secret_value() if isinstance(value, SecretStr) else value:
            found.append(text)
            if "://" in text and (password := urlsplit(text).password):
                found += [password, unquote(password)]
    keys = (model.api_key for model in settings.index_models.values())
    return found + [key.get_secret_value() for key in keys if key is not None]


def catch_unhandled() -> None:
    """From here on what Python would print by itself, of an exception that nobody caught, is a line like all others."""
    log = structlog.get_logger()

    def say(where: str, kind: type[BaseException], raised: tuple[Any, ...]) -> None:
        log.error("process.exception_unhandled", where=where, error=kind.__name__, exc_info=raised)

    sys.excepthook = lambda kind, error, trace: say("main", kind, (kind, error, trace))

    def in_thread(told: threading.ExceptHookArgs) -> None:
        if told.exc_type is not SystemExit:
            error = told.exc_value or told.exc_type()
            say("thread", told.exc_type, (told.exc_type, error, told.exc_traceback))

    threading.excepthook = in_thread
    sys.unraisablehook = lambda told: say(
        "destructor", told.exc_type, (told.exc_type, told.exc_value or told.exc_type(), told.exc_traceback)
    )


def pass_on(line: bytes) -> None:
    """A line that a child wrote: one of its log as it is; anything else, as native code says it when it dies, or half a
    line of one that was killed, as the `text` of an event."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Handler) and handler.takes(line):
            handler.write_line(line.decode("utf-8").rstrip("\n"))
            return
    log = structlog.get_logger()
    if text := line.decode("utf-8", "replace").strip():
        log.warning("process.said", text=text)


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace id of a W3C `traceparent` header, or None for a missing or malformed one."""
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return match[1] if match and match[1] != _NO_TRACE else None


def redact(text: str) -> str:
    """The text without whatever looks like a secret, or is known as one to this process."""
    if _Known.forms is not None:
        text = _Known.forms.sub(REDACTED, text)
    if _MAY_BE_SECRET.search(text):
        for pattern, replacement in _SECRET_FORMS:
            text = pattern.sub(replacement, text)
    return text


class _Handler(logging.StreamHandler[TextIO]):
    """Writes each line at once, whole."""

    is_json = True

    def takes(self, line: bytes) -> bool:
        """Whether it is a line that a handler like this one has written."""
        try:
            return not self.is_json or isinstance(json.loads(line), dict)
        except ValueError:
            return False

    def write_line(self, line: str) -> None:
        # A stream that is closed or full: there is nobody left to tell.
        with self.lock or contextlib.nullcontext(), contextlib.suppress(OSError, ValueError):
            self.stream.write(line + self.terminator)
            self.flush()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the base class's name
        """The base class would print the call's arguments, secrets included."""
        self.write_line(self.format(logging.makeLogRecord(
            {"name": "logs.record_lost", "levelno": logging.ERROR, "levelname": "ERROR", "msg": str(record.name)}
        )))  # fmt: skip


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
            "details": {name: value for name, value in event.items() if value is not None},
        }


class _Render:
    """The last processor."""

    def __init__(self, render: Render) -> None:
        self._render = render

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        return self._render(event)


def _harmless(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A processor: every value cleaned, every name printable."""
    return {
        name if name in _META_KEYS else _text(name): value if name in _META_KEYS else _clean(name, value)
        for name, value in event.items()
    }


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
