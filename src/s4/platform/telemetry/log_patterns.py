"""Finds out what a log complains about: lines that differ only in ids, numbers and names are one pattern.

    patterns = Patterns(level="warning")
    for line in lines: patterns.add(line)
    patterns.top(10)

Reads every format that S4 writes (`log_formats.py`), also with what collectors put before a line or around it. Memory
is bounded whatever is read: so many patterns, so many tenants of each; what is beyond is counted together.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PATTERNS_MAX = 2_000
TENANTS_MAX = 1_000
LINE_CHARS_MAX = 1 << 20  # S4's own are shorter by far: a value has 16,384 characters at most
_EXAMPLE_CHARS_MAX = 2_000
_PATTERN_CHARS_MAX = 300
_FOLDED_CHARS_MAX = 2_000  # what is shown fits into less; some forms look at each character for each
_WRAPPERS_MAX = 4  # a line in a line in a line: Docker's in an agent's

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_LEVEL_NAMES = {"warn": "warning", "notice": "info", "ok": "info", "fatal": "critical", "default": "info"}
_WRAPPERS = ("log", "jsonPayload", "_source", "MESSAGE", "event", "line", "message", "result", "_raw")
"""Of Docker, Google's export, Elasticsearch's, journald, what is sent to Splunk, Loki, CloudWatch and Logstash, and
Splunk's export with its field."""
_OBJECT = re.compile(r'\{\s*"')
_SAYING = ("error", "message", "problem", "text", "reason", "fault")
_CONSOLE = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+Z) (debug|info|warning|error|critical) +(\S+) ?(.*)")
_CONSOLE_FIELD = re.compile(r"(?:^| )([a-z_]+)=(.*?)(?= [a-z_]+=|$)")

_FOLDS = (
    (re.compile(r"\b[a-z]+://[^\s'\"<>)]+"), "<url>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*"), "<time>"),
    (re.compile(r"\b[a-z]{3,4}_[a-z0-9]{20,}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{8,}\b"), "<id>"),
    (re.compile(r"'[^']*'|\"[^\"]*\"|“[^”]*”"), "<text>"),
    (re.compile(r"(?<![\w<])(?:/|[A-Za-z]:\\)?(?:[\w.@-]+[/\\])+[\w.@-]+|(?<!\w)/[\w.@-]+"), "<path>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), "<address>"),
    (re.compile(r"\d+(?:[.,]\d+)*"), "<n>"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a line says, whatever its format."""

    event_type: str
    level: str
    timestamp: str
    tenant_id: str | None
    details: Mapping[str, Any]


@dataclass(slots=True)
class Pattern:
    """`text` is what its lines say, folded; `tenants` counts those that have one; times are RFC 3339 as they stood."""

    event_type: str
    text: str
    level: str
    example: str
    first: str
    last: str
    count: int = 0
    tenants: Counter[str] = field(default_factory=Counter)


class Patterns:
    """All lines from a level on, by pattern."""

    def __init__(self, level: str) -> None:
        self._from = LEVELS[level]
        self._found: dict[tuple[str, str], Pattern] = {}
        self.lines = 0
        self.unreadable = 0
        self.understood = 0
        self.first_unreadable: int | None = None
        self.others = 0
        """Lines of patterns that were met when there were `PATTERNS_MAX` already."""

    def add(self, line: str) -> None:
        """One line, in order."""
        if not line.strip():
            return
        self.lines += 1
        seen = read(line)
        if seen is None:
            if line.startswith("    ") and self.lines > 1:
                return  # a row of a traceback, in the format for people
            self.unreadable += 1
            self.first_unreadable = self.first_unreadable or self.lines
            return
        self.understood += 1
        if LEVELS.get(seen.level, LEVELS["error"]) >= self._from:
            self._count(seen, line)

    def add_unreadable(self) -> None:
        """A line that is too long to be one of S4's."""
        self.lines += 1
        self.unreadable += 1
        self.first_unreadable = self.first_unreadable or self.lines

    def top(self, count: int) -> Sequence[Pattern]:
        """The most frequent first."""
        return sorted(self._found.values(), key=lambda each: (-each.count, each.event_type, each.text))[:count]

    def __len__(self) -> int:
        return len(self._found)

    def _count(self, seen: Seen, line: str) -> None:
        key = (seen.event_type, pattern_of(seen))
        if (pattern := self._found.get(key)) is None:
            if len(self._found) >= PATTERNS_MAX:
                self.others += 1
                return
            example = line.strip()[:_EXAMPLE_CHARS_MAX]
            pattern = Pattern(*key, seen.level, example, first=seen.timestamp, last=seen.timestamp)
            self._found[key] = pattern
        pattern.count += 1
        if LEVELS.get(seen.level, 0) > LEVELS.get(pattern.level, 0):
            pattern.level = seen.level
        if seen.timestamp:
            pattern.first = min(pattern.first or seen.timestamp, seen.timestamp)
            pattern.last = max(pattern.last, seen.timestamp)
        if seen.tenant_id and (seen.tenant_id in pattern.tenants or len(pattern.tenants) < TENANTS_MAX):
            pattern.tenants[seen.tenant_id] += 1


def pattern_of(seen: Seen) -> str:
    """What it says without what differs each time."""
    details = seen.details
    said = next((text for name in _SAYING if isinstance(text := details.get(name), str) and text), "")
    parts = [str(details["status"]) if "status" in details else "", str(details.get("route", "")), fold(said)]
    trace = details.get("exception")
    if isinstance(trace, str) and trace.strip():
        raised = trace.strip().splitlines()[-1].partition(":")[0].rpartition(".")[2]
        if raised and raised not in said:
            parts.append(f"({raised[:60]})")
    return " ".join(filter(None, parts))[:_PATTERN_CHARS_MAX]


def fold(text: str) -> str:
    """Ids, numbers, addresses, paths, times and what is quoted become their kind."""
    text = text[:_FOLDED_CHARS_MAX]
    for form, kind in _FOLDS:
        text = form.sub(kind, text)
    return text.splitlines()[0] if text else text


def read(line: str) -> Seen | None:
    """A line of any format, or None."""
    if (start := _OBJECT.search(line)) is not None:
        try:
            found = _unwrapped(json.loads(line[start.start() :]), _WRAPPERS_MAX)
        except (ValueError, RecursionError):
            found = None
        if found is not None:
            return found
    return _of_console(line)


def _unwrapped(value: Any, depth: int) -> Seen | None:
    if isinstance(value, str) and depth > 0:
        return read(value) if "{" in value or _CONSOLE.match(value) else None
    if not isinstance(value, dict):
        return None
    if (seen := _of_json(value)) is not None:
        return seen
    inner = next((value[name] for name in _WRAPPERS if isinstance(value.get(name), (dict, str))), None)
    return _unwrapped(inner, depth - 1) if inner is not None and depth > 0 else None


def _of_json(value: Mapping[str, Any]) -> Seen | None:
    if "log.level" in value and "event.action" in value:
        ours = value.get("s4") if isinstance(value.get("s4"), dict) else {}
        details = _details((ours or {}).get("details")) | {
            "error": value.get("error.message"), "exception": value.get("error.stack_trace"),
        }  # fmt: skip
        if (status := value.get("http.response.status_code")) is not None:
            details["status"] = status
        return _seen(value["event.action"], value["log.level"], value.get("@timestamp"), value.get("organization.id"),
                     details)  # fmt: skip
    details = _details(value.get("details"))
    if "status" in value and isinstance(event := value.get("evt"), dict):
        error, http = _details(value.get("error")), _details(value.get("http"))
        details |= {"error": error.get("message"), "exception": error.get("stack")}
        if "status_code" in http:
            details |= {"status": http["status_code"], "route": _details(http.get("url_details")).get("path", "")}
        return _seen(event.get("name"), value["status"], value.get("timestamp"), value.get("tenant_id"), details)
    if "severity" in value and "event_type" in value:
        if request := _details(value.get("httpRequest")):
            details |= {"status": request.get("status"), "route": request.get("requestUrl", "")}
        details["exception"] = value.get("stack_trace")
        when = value.get("time") or value.get("timestamp")
        return _seen(value["event_type"], value["severity"], when, value.get("tenant_id"), details)
    if "level" in value and "event_type" in value:
        return _seen(value["event_type"], value["level"], value.get("timestamp"), value.get("tenant_id"), details)
    return None


def _of_console(line: str) -> Seen | None:
    if (match := _CONSOLE.search(line)) is None:
        return None
    details = dict(_CONSOLE_FIELD.findall(match[4]))
    return _seen(match[3], match[2], match[1], details.get("tenant_id"), details)


def _seen(event: Any, level: Any, when: Any, tenant: Any, details: Mapping[str, Any]) -> Seen:
    name = str(level).lower()
    told = {key: value for key, value in details.items() if value is not None}
    return Seen(str(event), _LEVEL_NAMES.get(name, name), str(when or ""), str(tenant) if tenant else None, told)


def _details(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
