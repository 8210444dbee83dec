"""Lines of the log: one of every event in the catalogue, and what a process's output must be made of."""

import io
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from s4.kernel.settings import LogFormat
from s4.platform.telemetry.events import CONTEXT, EVENTS, FIELDS, Event
from s4.platform.telemetry.logs import configure

LOGGING = Path(__file__).parents[2] / "deploy" / "logging"
TENANT = "ten_aaaaaaaaaaaaaaaaaaaaaaaaaa"
TRACE = "0af7651916cd43dd8448eb211c80319c"
GUIDES_KEYS = {"event_type", "timestamp", "tenant_id", "details"}
KEYS = GUIDES_KEYS | {"level", "service", "request_id", "trace_id"}
_METHODS = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}


@contextmanager
def written(log_format: LogFormat, **how: Any) -> Iterator[io.StringIO]:
    """The log of this process, in the block; afterwards it is as it was."""
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    try:
        configure(**{"level": "debug", "service": "api", "log_format": log_format, "stream": stream} | how)
        yield stream
    finally:
        configure(level="warning", service="tests", stream=io.StringIO())  # forgets secrets that it was told
        root.handlers, root.level = handlers, level
        logging.captureWarnings(False)
        structlog.configure(**config)
        structlog.contextvars.clear_contextvars()


def details(event: Event) -> dict[str, Any]:
    """An example of every field that it may have."""
    return {name: FIELDS[name].example for name in event.fields}


def every_event(log_format: LogFormat, **how: Any) -> dict[str, str]:
    """Name of the event to its line, written as S4 writes it."""
    with written(log_format, **how) as stream:
        log = structlog.get_logger()
        structlog.contextvars.bind_contextvars(tenant_id=TENANT, request_id="req_1", trace_id=TRACE)
        for event in EVENTS.values():
            level = logging.getLevelNamesMapping()[event.levels[-1].upper()]
            log.log(level, event.name, **details(event))
        lines = stream.getvalue().splitlines()
    if log_format is LogFormat.CONSOLE:
        lines = [line for line in lines if not line.startswith(" ")]  # rows of tracebacks
    assert len(lines) == len(EVENTS)
    return dict(zip(EVENTS, lines, strict=True))


def assert_lines(lines: Iterable[str], *, services: set[str]) -> list[dict[str, Any]]:
    """Each is JSON with the guide's keys and ours, and is in the catalogue or a library's. Answers with them."""
    found = []
    for line in lines:
        assert line.endswith("\n"), f"a line without an end: {line!r}"
        event = json.loads(line)
        assert set(event) == KEYS, line
        assert event["service"] in services, line
        if (known := EVENTS.get(event["event_type"])) is None:
            assert set(event["details"]) <= {"message", "exception", *CONTEXT}, f"no event of the catalogue: {line}"
        else:
            assert_is(known, event)
        found.append(event)
    return found


def assert_is(known: Event, event: dict[str, Any]) -> None:
    """By level, names and types."""
    assert event["level"] in known.levels, event
    assert set(event["details"]) <= {*known.fields, *CONTEXT}, event
    for name, value in event["details"].items():
        example = (FIELDS | CONTEXT)[name].example
        kinds = (int, float) if isinstance(example, float) else type(example)
        assert isinstance(value, kinds), f"{name} is {type(example).__name__} in the catalogue: {event}"
