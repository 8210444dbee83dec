"""Log lines: their shape, their secrets, their harmlessness."""

import io
import json
import logging
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from s4.kernel.clock import parse_rfc3339
from s4.kernel.settings import LogFormat
from s4.platform.security import credentials
from s4.platform.telemetry.logs import configure, redact, trace_id_of


class Lines(io.StringIO):
    def one(self) -> dict[str, Any]:
        (line,) = self.all()
        return line

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    before, level, config = root.handlers, root.level, structlog.get_config()
    yield
    root.handlers, root.level = before, level
    logging.captureWarnings(False)
    structlog.configure(**config)
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def lines(logging_restored: None) -> Lines:
    stream = Lines()
    configure(level="info", service="api", stream=stream)
    return stream


def test_an_event_has_the_documented_shape(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(tenant_id="ten_a", request_id="req_1", trace_id="0af7")

    structlog.get_logger().info("documents.uploaded", size_bytes=3, filename="ü.txt")

    line = lines.one()
    assert parse_rfc3339(line.pop("timestamp")) <= datetime.now(UTC)
    assert line == {
        "event_type": "documents.uploaded",
        "level": "info",
        "service": "api",
        "tenant_id": "ten_a",
        "request_id": "req_1",
        "trace_id": "0af7",
        "details": {"size_bytes": 3, "filename": "ü.txt"},
    }


def test_what_libraries_log_takes_the_same_shape_and_context(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(request_id="req_1")

    logging.getLogger("uvicorn.error").warning("%d connections", 7)

    line = lines.one()
    assert (line["event_type"], line["level"], line["request_id"]) == ("uvicorn.error", "warning", "req_1")
    assert line["details"] == {"message": "7 connections"}


def test_statements_of_the_database_stay_out_even_at_debug(lines: Lines) -> None:
    configure(level="debug", service="api", stream=lines)

    logging.getLogger("sqlalchemy.engine").info("SELECT hash FROM keys")
    logging.getLogger("httpx").info("GET http://bucket")
    structlog.get_logger().debug("jobs.claimed")

    assert [line["event_type"] for line in lines.all()] == ["jobs.claimed"]


def test_events_below_the_level_are_dropped(lines: Lines) -> None:
    structlog.get_logger().debug("jobs.claimed")

    assert lines.all() == []


def test_a_traceback_is_a_detail(lines: Lines) -> None:
    try:
        raise ValueError("bad s4_" + "a" * 12 + "_" + "b" * 49)
    except ValueError:
        structlog.get_logger().exception("jobs.failed", job="index")
        logging.getLogger("lance").exception("broken")

    own, foreign = lines.all()
    assert own["level"] == "error"
    assert own["details"]["exception"].endswith("ValueError: bad [redacted]")
    assert own["details"]["job"] == "index"
    assert "Traceback" in foreign["details"]["exception"]


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Authorization",
        "X-Tenant-Key",
        "x-admin-key",
        "api_key",
        "secret",
        "client_secret_value",
        "token",
        "accessToken",
        "password",
        "cookie",
        "Set-Cookie",
        "store_secret_access_key",
        "database_url",
    ],
)
def test_values_under_a_secret_name_are_blotted_out(lines: Lines, name: str) -> None:
    structlog.get_logger().info("x", **{name: "value-one", "headers": {name: ["value-two"]}, "list": [{name: "v3"}]})

    assert "value-" not in lines.getvalue()
    assert "v3" not in lines.getvalue()
    assert lines.one()["details"][name] == "[redacted]"


def test_counts_and_object_keys_are_no_secrets(lines: Lines) -> None:
    structlog.get_logger().info("x", tokens=12, token_count=3, object_key="tenants/a/b", key_id="k")

    assert lines.one()["details"] == {
        "tokens": 12,
        "token_count": 3,
        "object_key": "tenants/a/b",
        "key_id": "k",
    }


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("GET /?x=AKIAIOSFODNN7EXAMPLE done", "IOSFODNN7EXAMPLE"),
        ("postgresql://s4:hunter2@db/s4", "hunter2"),
        ("Authorization: Bearer abcdefghijkl", "abcdefghijkl"),
        ("https://b/o?X-Amz-Signature=deadbeef&x=1", "deadbeef"),
        ("key sk-proj-abcdefghijklmnopqrstuv", "abcdefghijklmnopqrstuv"),
        ("secret_access_key='wJalrXUtnFEMI/K7MDENG'", "wJalrXUtnFEMI"),
        ("-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----", "MIIabc"),
    ],
)
def test_what_looks_like_a_secret_is_blotted_out_of_any_text(lines: Lines, text: str, secret: str) -> None:
    structlog.get_logger().info("x", note=text, error=ValueError(text))
    logging.getLogger("lance").error("said %s", text)

    assert secret not in lines.getvalue()
    assert "[redacted]" in redact(text)


def test_a_tenants_key_is_blotted_out_even_where_a_long_text_is_cut(lines: Lines) -> None:
    key = credentials.mint(secrets.token_bytes).plaintext

    for offset in range(8140, 8200, 7):
        structlog.get_logger().info("x", text="-" * offset + key + "-" * 20_000, key_in_url=f"https://h/{key}?a=b")

    assert key[16:40] not in lines.getvalue()
    assert key[3:15] not in lines.getvalue()


def test_names_of_metrics_and_settings_are_no_keys() -> None:
    text = "s4_http_request_duration_seconds s4_reconciled_total s4_embedding_request_duration_seconds_bucket"

    assert redact(text) == text


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_no_value_can_forge_a_line_or_colour_a_terminal(lines: Lines, log_format: LogFormat) -> None:
    configure(service="api", stream=lines, log_format=log_format)
    hostile = 'a\n{"event_type": "forged"}\r\x1b[31m\x9b0m\u2028\u202e\x00'

    structlog.get_logger().info("x" + hostile, value=hostile, **{hostile: 1})
    logging.getLogger("lance").warning(hostile)

    output = lines.getvalue()
    assert output.count("\n") == 2
    assert all(c.isprintable() or c == "\n" for c in output)


def test_the_console_shows_a_traceback_on_lines_of_its_own(logging_restored: None) -> None:
    stream = io.StringIO()
    configure(service="api", stream=stream, log_format=LogFormat.CONSOLE)

    try:
        raise ValueError("a\nb\x1b[31m")
    except ValueError:
        structlog.get_logger().exception("jobs.failed", attempt=2)

    first, *rest = stream.getvalue().splitlines()
    assert " error " in first
    assert first.endswith("jobs.failed attempt=2")
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in stream.getvalue()


class Hostile(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise RuntimeError

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no iteration")

    def __len__(self) -> int:
        raise RuntimeError

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_nothing_that_is_logged_can_raise(lines: Lines) -> None:
    circle: list[Any] = []
    circle.append(circle)
    values = [
        "\ud800",
        float("nan"),
        float("inf"),
        10**5000,
        Hostile(),
        Unprintable(),
        circle,
        {1: {2: 3}, None: 4, "\udc00": 5},
        b"\xff" * 10,
        object(),
        SecretStr("hidden-one"),
        timedelta(1),
        datetime(2026, 1, 2, tzinfo=UTC),
        {"a", "b"},
        "x" * 10**6,
    ]

    for value in values:
        structlog.get_logger().info("x", value=value)
    structlog.get_logger().info(Unprintable())

    written = lines.all()
    assert len(written) == len(values) + 1
    assert "hidden-one" not in lines.getvalue()
    assert all(len(json.dumps(line)) < 40_000 for line in written)


def test_a_broken_call_of_a_library_leaves_a_trace_without_its_arguments(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers[:1])  # pytest's own would raise

    logging.getLogger("lance").warning("%d and %d", "hidden-one")

    assert lines.one()["event_type"] == "logs.record_lost"
    assert "hidden" not in lines.getvalue()


json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(alphabet=st.characters()) | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet=st.characters()), inner),
    max_leaves=20,
)


@given(value=json_like)
def test_any_value_makes_one_valid_line(value: Any) -> None:
    root, config = logging.getLogger(), structlog.get_config()
    before, level = root.handlers, root.level
    stream = Lines()
    try:
        configure(service="api", stream=stream)
        structlog.get_logger().info("x", value=value)
    finally:
        root.handlers, root.level = before, level
        structlog.configure(**config)

    assert stream.one()["event_type"] == "x"
    assert stream.getvalue().isascii()


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "0af7651916cd43dd8448eb211c80319c"),
        ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", "0af7651916cd43dd8448eb211c80319c"),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
        ("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
        ("nonsense", None),
        ("", None),
        (None, None),
    ],
)
def test_the_trace_id_is_taken_from_a_well_formed_traceparent(header: str | None, trace_id: str | None) -> None:
    assert trace_id_of(header) == trace_id


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(KeyError):
        configure(level="loud", service="api", stream=io.StringIO())
