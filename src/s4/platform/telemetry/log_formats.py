"""The formats of a log line: the same event, with the names that each service of logs knows.

A line comes in as `logs.py` shapes it, every value harmless, and goes out as text without a line break. Whatever a
service has no name of its own for stays where S4's own format has it, in `details`, so that no format says less.
Sources: Google's "Structured logging" and google.logging.type.HttpRequest; the Elastic Common Schema's fields;
Datadog's standard attributes.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from s4 import __version__
from s4.kernel.settings import LogFormat

Line = Mapping[str, Any]
Render = Callable[[Line], str]

ECS_VERSION = "8.11.0"
_GOOGLE_SEVERITIES = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR", "critical": "CRITICAL"}
_DATADOG_STATUSES = {"debug": "debug", "info": "info", "warning": "warn", "error": "error", "critical": "critical"}
_CONTEXT = ("tenant_id", "request_id", "trace_id")
_REQUEST = "http.request_finished"


def renderer(log_format: LogFormat, *, google_project: str = "") -> Render:
    """What makes text of a line."""
    shapes: Mapping[LogFormat, Callable[[Line], Line]] = {
        LogFormat.JSON: lambda line: line,
        LogFormat.GOOGLE: lambda line: _google(line, google_project),
        LogFormat.ECS: _ecs,
        LogFormat.DATADOG: _datadog,
    }
    if log_format is LogFormat.CONSOLE:
        return console
    shape = shapes[log_format]
    # ASCII escapes keep line separators, direction marks and terminal codes of all of Unicode inside their string.
    return lambda line: json.dumps(shape(line), ensure_ascii=True, allow_nan=False)


def _google(line: Line, project: str) -> Line:
    """A payload whose special fields Google's agents, and Cloud Run and GKE by themselves, move into the entry."""
    details = dict(line["details"])
    shaped = {
        "severity": _GOOGLE_SEVERITIES[line["level"]],
        "time": line["timestamp"],
        "message": _message(line),
        "event_type": line["event_type"],
        "tenant_id": line["tenant_id"],
        "request_id": line["request_id"],
        "serviceContext": {"service": f"s4-{line['service']}", "version": __version__},  # Error Reporting groups by it
    }
    if trace_id := line["trace_id"]:
        shaped["logging.googleapis.com/trace"] = f"projects/{project}/traces/{trace_id}" if project else trace_id
    if line["event_type"] == _REQUEST:
        shaped["httpRequest"] = _dropping_none(
            requestMethod=details.pop("method", None),
            requestUrl=details.pop("route", None),
            status=details.pop("status", None),
            requestSize=_text(details.pop("bytes_in", None)),  # 64 bits are text in Google's JSON
            responseSize=_text(details.pop("bytes_out", None)),
            remoteIp=details.pop("client_address", None),
            latency=f"{details.pop('duration_ms', 0) / 1000:.6f}s",
        )
    if (trace := details.pop("exception", None)) is not None:
        shaped["stack_trace"] = trace
    return {**shaped, "details": details}


def _ecs(line: Line) -> Line:
    """Fields of the Elastic Common Schema; the rest under `s4`, a name that it leaves to us."""
    details = dict(line["details"])
    level = line["level"]
    shaped = {
        "@timestamp": line["timestamp"],
        "log.level": level,
        "message": _message(line),
        "ecs.version": ECS_VERSION,
        "service.name": f"s4-{line['service']}",
        "service.version": __version__,
        "event.action": line["event_type"],
        "event.kind": "event",
        "event.dataset": f"s4.{line['service']}",
        "organization.id": line["tenant_id"],
        "http.request.id": line["request_id"],
        "trace.id": line["trace_id"],
        "error.message": details.pop("error", None),
        "error.code": details.pop("code", None),
        "error.stack_trace": details.pop("exception", None),
    }
    if line["event_type"] == _REQUEST:
        duration_ms = details.pop("duration_ms", 0)
        shaped |= {
            "event.duration": round(duration_ms * 1_000_000),  # nanoseconds
            "event.outcome": "failure" if details.get("status", 0) >= 500 else "success",
            "http.request.method": details.pop("method", None),
            "http.response.status_code": details.pop("status", None),
            "http.request.body.bytes": details.pop("bytes_in", None),
            "http.response.body.bytes": details.pop("bytes_out", None),
            "client.address": details.pop("client_address", None),
        }
    return _dropping_none(**shaped) | {"s4": {"details": details}}


def _datadog(line: Line) -> Line:
    """Reserved and standard attributes of Datadog."""
    details = dict(line["details"])
    shaped = {
        "timestamp": line["timestamp"],
        "status": _DATADOG_STATUSES[line["level"]],
        "message": _message(line),
        "service": f"s4-{line['service']}",
        "ddsource": "s4",
        "dd.version": __version__,
        "evt": {"name": line["event_type"]},
        "tenant_id": line["tenant_id"],
        "logger": {"name": "s4"},
    }
    if trace_id := line["trace_id"]:
        shaped["dd.trace_id"] = str(int(trace_id[-16:], 16))  # its own ids are the lower 64 bits, in decimal
        shaped["otel.trace_id"] = trace_id
    http: dict[str, Any] = {"request_id": line["request_id"]} if line["request_id"] else {}
    if line["event_type"] == _REQUEST:
        http |= {"method": details.pop("method", None), "status_code": details.pop("status", None)}
        http |= {"url_details": {"path": details.pop("route", None)}}
        shaped["duration"] = round(details.pop("duration_ms", 0) * 1_000_000)  # nanoseconds
        shaped["network"] = {
            "client": {"ip": details.pop("client_address", None)},
            "bytes_read": details.pop("bytes_in", None),
            "bytes_written": details.pop("bytes_out", None),
        }
    if http:
        shaped["http"] = http
    error = {"message": details.pop("error", None), "kind": details.pop("code", None)}
    if error := _dropping_none(**error, stack=details.pop("exception", None)):
        shaped["error"] = error
    return {**shaped, "details": details}


def console(line: Line) -> str:
    """For people."""
    details = dict(line["details"])
    traceback = str(details.pop("exception", ""))
    context = {name: line[name] for name in _CONTEXT if line[name] is not None}
    fields = " ".join(f"{_plain(name)}={_plain(value)}" for name, value in {**context, **details}.items())
    text = f"{line['timestamp']} {line['level']:<8} {_plain(line['event_type'])} {fields}".rstrip()
    return "\n    ".join([text, *(_plain(row) for row in traceback.splitlines())])


def _message(line: Line) -> str:
    """One sentence, for lists that show no more."""
    details = line["details"]
    if line["event_type"] == _REQUEST:
        named = (details.get(name, "") for name in ("method", "route", "status"))
        return " ".join(map(str, named))
    said = details.get("error") or details.get("message") or details.get("problem")
    return f"{line['event_type']}: {said}" if isinstance(said, str) else str(line["event_type"])


def _dropping_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def _plain(value: Any) -> str:
    """Printable on a terminal as it is; everything else as in Python source."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text if text.isprintable() else ascii(text)
