"""`s4 logs top-errors`: what a log complains about most, whatever format it is in."""

import gzip
import io
import json
import logging
import sys
import time
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from s4.entrypoints.cli.app import run
from s4.kernel.settings import LogFormat
from s4.platform.telemetry.events import EVENTS
from s4.platform.telemetry.log_patterns import LINE_CHARS_MAX, PATTERNS_MAX, Patterns, fold, read
from tests.factories.events import TENANT, every_event, written

OTHER = "ten_" + "b" * 26


def some_log(log_format: LogFormat = LogFormat.JSON) -> str:
    """Three failures of two tenants that are one pattern, a defect, a request that failed, and what is no complaint."""
    with written(log_format) as stream:
        log = structlog.get_logger()
        for number, tenant in enumerate((TENANT, OTHER, TENANT)):
            log.warning(
                "job.failed", kind="documents.index", subject=f"doc_{number}", attempts=number, tenant_id=tenant,
                error=f"Page {number} of '{number}.pdf' in /tmp/s4-{number}/x cannot be read after {number}.5 s.",
            )  # fmt: skip
            log.info("documents.indexed", document_id="doc", chunks=number)
        try:
            raise KeyError("x")
        except KeyError:
            log.exception("webhooks.attempt_broke", delivery_id="dlv")
        log.warning("http.request_finished", method="GET", route="/api/v1/search", status=503, error="It is down.")
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        return stream.getvalue()


def answers(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[Any, str]:
    assert run(["logs", "top-errors", *arguments, "--json"]) == code
    said = capsys.readouterr()
    return json.loads(said.out) if code == 0 else None, said.err


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_a_line_of_every_event_is_read_in_every_format(log_format: LogFormat) -> None:
    for name, line in every_event(log_format).items():
        seen = read(line)
        assert seen is not None, line
        assert (seen.event_type, seen.level, seen.tenant_id) == (name, EVENTS[name].levels[-1], TENANT)
        assert seen.timestamp.endswith("Z")


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_what_differs_in_ids_numbers_and_names_is_one_pattern(
    log_format: LogFormat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "s4.log"
    file.write_text(some_log(log_format))

    found, notes = answers(capsys, str(file))

    assert notes == ""
    assert found["unreadable"] == 0
    first, *rest = found["patterns"]
    assert (first["count"], first["event_type"], first["level"]) == (3, "job.failed", "warning")
    assert first["pattern"] == "Page <n> of <text> in <path> cannot be read after <n> s."
    assert first["tenants"] == [{"tenant_id": TENANT, "count": 2}, {"tenant_id": OTHER, "count": 1}]
    assert first["first"] <= first["last"]
    assert "0.pdf" in first["example"]
    assert first["do"] == EVENTS["job.failed"].do
    by_name = {each["event_type"]: each for each in rest}
    assert set(by_name) == {"webhooks.attempt_broke", "http.request_finished", "uvicorn.error"}
    assert by_name["http.request_finished"]["count"] == 1
    if log_format is not LogFormat.CONSOLE:
        assert "KeyError" in by_name["webhooks.attempt_broke"]["pattern"]
        assert "503" in by_name["http.request_finished"]["pattern"]


def test_a_level_leaves_out_what_is_below(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s4.log"
    file.write_text(some_log())

    found, _ = answers(capsys, str(file), "--level", "error")

    assert [each["event_type"] for each in found["patterns"]] == ["webhooks.attempt_broke"]
    assert run(["logs", "top-errors", str(file), "--level", "loud"]) == 2


def test_compressed_logs_stdin_and_several_files_are_one_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s4.log").write_text(some_log())
    (tmp_path / "s4.log.1.gz").write_bytes(gzip.compress(some_log(LogFormat.ECS).encode()))
    piped = io.TextIOWrapper(io.BufferedReader(io.BytesIO(gzip.compress(some_log(LogFormat.GOOGLE).encode()))))  # type: ignore[type-var]
    monkeypatch.setattr(sys, "stdin", piped)

    found, _ = answers(capsys, str(tmp_path / "s4.log"), str(tmp_path / "s4.log.1.gz"), "-")

    assert found["patterns"][0]["count"] == 9


def wrapped(line: str) -> Mapping[str, str]:
    """As collectors write it."""
    return {
        "docker": json.dumps({"log": line + "\n", "stream": "stderr", "time": "2026-01-02T03:04:05Z"}),
        "kubernetes": f"2026-01-02T03:04:05.6789Z stderr F {line}",
        "compose": f"s4-1  | {line}",
        "journald": json.dumps({"MESSAGE": line, "_SYSTEMD_UNIT": "s4.service", "PRIORITY": "6"}),
        "google": json.dumps({"insertId": "x", "severity": "WARNING", "jsonPayload": json.loads(line)}),
        "elasticsearch": json.dumps({"_index": "logs-s4", "_source": json.loads(line)}),
        "splunk": json.dumps({"time": 1.5, "host": "a", "event": json.loads(line)}),
        "splunk's export": json.dumps({"preview": False, "result": {"_raw": line, "host": "a"}}),
        "cloudwatch": json.dumps({"timestamp": 1, "message": line, "ingestionTime": 2}),
        "logcli": f'2026-01-02T03:04:05Z {{app="s4", pod="s4-api-1"}} {line}',
    }


def test_what_collectors_put_around_a_line_is_looked_through() -> None:
    for log_format in (LogFormat.JSON, LogFormat.GOOGLE, LogFormat.ECS, LogFormat.DATADOG):
        for name, line in wrapped(every_event(log_format)["job.failed"]).items():
            seen = read(line)
            assert seen is not None, (name, line)
            assert (seen.event_type, seen.tenant_id) == ("job.failed", TENANT), name


def test_lines_that_cannot_be_read_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = ["panic: no", '{"half": ', "[" * 50_000, '{"a":' * 3000 + "1" + "}" * 3000, "null", "\x00\x1b[31m", "{}"]
    file = tmp_path / "s4.log"
    file.write_text(some_log() + "\n".join(hostile) + "\n" + "x" * (2 * LINE_CHARS_MAX + 5) + "\n" + some_log())

    found, notes = answers(capsys, str(file))

    assert found["unreadable"] == len(hostile) + 1
    assert found["first_unreadable_line"] == 10
    assert found["patterns"][0]["count"] == 6, "what stands behind them is read"
    assert f"{len(hostile) + 1} of {found['lines']} lines could not be read, the first is number 10" in notes


def test_what_is_no_log_of_s4_is_no_clean_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, content in enumerate((b"# Read me\n\n    $ s4 serve\n", "{}\n".encode("utf-16"))):
        file = tmp_path / f"{number}.log"
        file.write_bytes(content)
        assert run(["logs", "top-errors", str(file)]) == 1
        assert "no lines of S4's log" in capsys.readouterr().err
    file.write_bytes(b"")
    assert run(["logs", "top-errors", str(file)]) == 0, "nothing was said, so nothing went wrong"


def test_a_compressed_log_that_was_cut_off_is_read_as_far_as_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s4.log.gz").write_bytes(gzip.compress((some_log() * 50).encode())[:-20])

    found, notes = answers(capsys, str(tmp_path / "s4.log.gz"))

    assert found["patterns"][0]["count"] > 0
    assert "was cut off" in notes
    answers(capsys, str(tmp_path / "absent.log"), code=1)


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"{}")[:10] + b"\xff" * 99, gzip.compress(b"{}")[:12], b"\x1f\x8b"],
    ids=["damaged", "cut off", "hardly begun"],
)
def test_a_compressed_log_of_which_nothing_can_be_read_is_no_clean_one(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s4.log.gz").write_bytes(content)

    assert run(["logs", "top-errors", str(tmp_path / "s4.log.gz")]) == 1

    assert "s4.log.gz is damaged, or was cut off" in capsys.readouterr().err


@pytest.mark.parametrize("piece", ["-.", "a/", "“", "1,2."])
def test_a_long_line_is_folded_in_no_time(piece: str) -> None:
    """In no more than a tenth of it takes, whatever it says: a form that looked at every rest of it would take a
    hundred times as much."""

    def seconds(text: str) -> float:
        started = time.process_time()
        assert fold(text)
        return time.process_time() - started

    tenth, whole = (min(seconds(piece * times) for _ in range(5)) for times in (2_000, 20_000))
    assert whole < 5 * tenth


def test_for_people_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s4.log"
    file.write_text(some_log())

    assert run(["logs", "top-errors", str(file), "--limit", "1"]) == 0

    first, times, advice, example = capsys.readouterr().out.splitlines()
    assert first.split()[:3] == ["3", "warning", "job.failed"]
    assert f"tenants: {TENANT} (2), {OTHER} (1)" in times
    assert advice.strip() == f"do: {EVENTS['job.failed'].do}"
    assert example.strip().startswith("for example: {")
    quiet = tmp_path / "quiet.log"
    quiet.write_text(every_event(LogFormat.JSON)["api.stopped"] + "\n")
    assert run(["logs", "top-errors", str(quiet)]) == 0
    assert capsys.readouterr().out == "No line of level warning or above among 1.\n"


def test_memory_is_bounded_whatever_is_read() -> None:
    line = json.loads(every_event(LogFormat.JSON)["job.failed"])
    patterns = Patterns("warning")

    def tell(number: int) -> None:
        word = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        line["details"]["error"] = f"no {word} " + "x" * 200
        line["tenant_id"] = f"ten_{number}"
        patterns.add(json.dumps(line))

    for number in range(PATTERNS_MAX):
        tell(number)
    tracemalloc.start()
    for number in range(PATTERNS_MAX, PATTERNS_MAX + 1000):
        tell(number)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(patterns) == PATTERNS_MAX
    assert patterns.others == 1000
    assert grown < 50_000


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("object tenants/ten_x/documents/y is gone", "object <path> is gone"),
        ("ten_" + "a" * 26 + " has 12,345.6 bytes", "<id> has <n> bytes"),
        ("https://b.example/x?y=1 answered 503 in 1.5s", "<url> answered <n> in <n>s"),
        ("10.0.0.1:8000 refused at 2026-01-02T03:04:05Z", "<address>:<n> refused at <time>"),
        ("deadbeef01 differs from 123e4567-e89b-12d3-a456-426614174000", "<id> differs from <id>"),
        ("He said 'no' and \"yes\"", "He said <text> and <text>"),
        ("decade", "decade"),
        ("one line\nand another", "one line"),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded
