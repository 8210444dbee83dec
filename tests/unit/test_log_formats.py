"""The formats of a line, held against the names that each service publishes."""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

import pytest
import structlog

from s4 import __version__
from s4.kernel.clock import parse_rfc3339
from s4.kernel.settings import LogFormat
from s4.platform.telemetry.events import EVENTS
from tests.factories.events import GUIDES_KEYS, KEYS, TENANT, TRACE, details, every_event, written

# Google: "Structured logging", special fields in the JSON payload, and google.logging.type.HttpRequest as JSON.
GOOGLE_SEVERITIES = {"DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY"}
GOOGLE_HTTP_REQUEST = {
    "requestMethod": r"[A-Z]+", "requestUrl": r"\S+", "requestSize": r"\d+", "status": int, "responseSize": r"\d+",
    "userAgent": r".*", "remoteIp": r"[0-9a-f.:]+", "serverIp": r"[0-9a-f.:]+", "referer": r".*",
    "latency": r"\d+(\.\d{1,9})?s", "cacheLookup": bool, "cacheHit": bool, "protocol": r".*",
}  # fmt: skip
GOOGLE_SPECIAL = {
    "severity", "message", "httpRequest", "time", "logging.googleapis.com/insertId", "logging.googleapis.com/labels",
    "logging.googleapis.com/operation", "logging.googleapis.com/sourceLocation", "logging.googleapis.com/spanId",
    "logging.googleapis.com/trace", "logging.googleapis.com/trace_sampled", "stack_trace", "serviceContext",
}  # fmt: skip
# The Elastic Common Schema 8.11, those of its fields that a line of ours may have: name to Elasticsearch's type.
ECS_FIELDS = {
    "@timestamp": "date", "message": "match_only_text", "log.level": "keyword", "ecs.version": "keyword",
    "service.name": "keyword", "service.version": "keyword", "event.action": "keyword", "event.kind": "keyword",
    "event.dataset": "keyword", "event.duration": "long", "event.outcome": "keyword", "organization.id": "keyword",
    "http.request.id": "keyword", "http.request.method": "keyword", "http.request.body.bytes": "long",
    "http.response.status_code": "long", "http.response.body.bytes": "long", "client.address": "keyword",
    "trace.id": "keyword", "error.message": "match_only_text", "error.code": "keyword", "error.stack_trace": "wildcard",
}  # fmt: skip
# Datadog: reserved attributes, and its default standard attributes.
DATADOG_RESERVED = {"host", "ddsource", "status", "service", "trace_id", "message", "timestamp", "ddtags"}
DATADOG_STANDARD = {
    "http.method": str, "http.status_code": int, "http.request_id": str, "http.url_details.path": str,
    "network.client.ip": str, "network.bytes_read": int, "network.bytes_written": int, "duration": int,
    "error.message": str, "error.kind": str, "error.stack": str, "logger.name": str, "evt.name": str,
    "dd.trace_id": str, "dd.version": str, "otel.trace_id": str,
}  # fmt: skip
REQUEST = "http.request_finished"


def lines(log_format: LogFormat, **how: Any) -> Mapping[str, dict[str, Any]]:
    return {name: json.loads(line) for name, line in every_event(log_format, **how).items()}


def flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= flat(inner, f"{path}.{name}" if path else name)
    return found


def test_our_own_has_the_guides_keys_in_every_event() -> None:
    for name, line in lines(LogFormat.JSON).items():
        assert set(line) >= GUIDES_KEYS
        assert set(line) == KEYS
        assert (line["event_type"], line["tenant_id"], line["trace_id"]) == (name, TENANT, TRACE)
        assert parse_rfc3339(line["timestamp"]).tzinfo is not None


def test_googles_special_fields_are_those_that_it_publishes() -> None:
    for name, line in lines(LogFormat.GOOGLE, google_project="acme").items():
        assert line["severity"] in GOOGLE_SEVERITIES
        assert parse_rfc3339(line["time"])
        assert line["message"]
        assert line["logging.googleapis.com/trace"] == f"projects/acme/traces/{TRACE}"
        assert line["serviceContext"] == {"service": "s4-api", "version": __version__}
        assert set(line) - GOOGLE_SPECIAL == {"event_type", "tenant_id", "request_id", "details"}
        assert ("httpRequest" in line) == (name == REQUEST)
        assert ("stack_trace" in line) == ("exception" in EVENTS[name].fields)
        assert "timestamp" not in line, "which Google takes for an object of seconds and nanos"

    asked = lines(LogFormat.GOOGLE)[REQUEST]["httpRequest"]
    assert len(asked) == 7
    for field, value in asked.items():
        form = GOOGLE_HTTP_REQUEST[field]
        assert re.fullmatch(form, value) if isinstance(form, str) else isinstance(value, form), field
    assert asked["latency"] == "0.012500s"


def test_without_a_project_google_gets_the_trace_alone() -> None:
    assert lines(LogFormat.GOOGLE)["api.started"]["logging.googleapis.com/trace"] == TRACE


def test_elastics_fields_are_those_of_the_common_schema() -> None:
    kinds = {"long": int}
    for name, line in lines(LogFormat.ECS).items():
        ours = line.pop("s4")
        assert set(ours) == {"details"}
        assert list(line)[:3] == ["@timestamp", "log.level", "message"], "as its specification of logging orders them"
        for field, value in line.items():
            assert isinstance(value, kinds.get(ECS_FIELDS[field], str)), field
        assert (line["event.action"], line["organization.id"], line["trace.id"]) == (name, TENANT, TRACE)
        assert line["event.kind"] in {"alert", "asset", "enrichment", "event", "metric", "state"}

    asked = lines(LogFormat.ECS)[REQUEST]
    assert (asked["http.request.method"], asked["http.response.status_code"]) == ("POST", 200)
    assert (asked["event.duration"], asked["event.outcome"]) == (12_500_000, "success")


def test_datadogs_attributes_are_its_reserved_and_standard_ones() -> None:
    statuses = {"emergency", "alert", "critical", "error", "warn", "notice", "info", "debug", "ok"}
    for name, line in lines(LogFormat.DATADOG).items():
        line.pop("details")
        assert line.pop("tenant_id") == TENANT
        assert line["status"] in statuses
        assert (line["service"], line["evt"]["name"]) == ("s4-api", name)
        for field, value in flat(line).items():
            assert field in DATADOG_RESERVED or isinstance(value, DATADOG_STANDARD[field]), field
        assert int(line["dd.trace_id"]) == int(TRACE[16:], 16)

    asked = lines(LogFormat.DATADOG)[REQUEST]
    assert (asked["http"]["method"], asked["http"]["status_code"], asked["duration"]) == ("POST", 200, 12_500_000)


@pytest.mark.parametrize("log_format", [LogFormat.GOOGLE, LogFormat.ECS, LogFormat.DATADOG])
def test_no_format_says_less_than_our_own(log_format: LogFormat) -> None:
    for name, line in lines(log_format).items():
        said = json.dumps(line)
        for field, value in details(EVENTS[name]).items():
            known = {"duration_ms": "125" if log_format is LogFormat.GOOGLE else "12500000"}
            assert known.get(field, json.dumps(value).strip('"')) in said, (name, field)


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_a_line_without_context_and_one_of_a_library_fit_every_format(log_format: LogFormat) -> None:
    with written(log_format) as stream:
        structlog.get_logger().info("api.stopped")
        logging.getLogger("uvicorn.error").warning("%d left", 3)
        logging.getLogger("lance").critical("no")

    own, foreign, critical = stream.getvalue().splitlines()
    assert "api.stopped" in own
    assert "3 left" in foreign
    assert re.search("(?i)crit", critical)
