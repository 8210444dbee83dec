"""The client half of the command line, against a server on a real socket."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s4.entrypoints.cli.app import run
from s4.entrypoints.cli.search_command import parse_condition
from tests.factories.fake_s4 import FakeS4, answering, document, fake_s4, refusing, serving


@pytest.fixture(scope="module")
def running() -> Iterator[FakeS4]:
    with fake_s4() as fake:
        yield fake


@pytest.fixture
def server(running: FakeS4, monkeypatch: pytest.MonkeyPatch) -> FakeS4:
    running.forget()
    monkeypatch.delenv("S4_ADMIN_API_KEY", raising=False)
    monkeypatch.setenv("S4_TENANT_KEY", "s4_key")
    monkeypatch.setenv("S4_URL", running.url)
    return running


@pytest.mark.parametrize(
    ("arguments", "code", "error_code"),
    [
        (["get", "doc_missing"], 1, "not_found"),
        (["ls", "--url", "http://127.0.0.1:9"], 1, "connection_failed"),
        (["ls", "--no-such-option"], 2, "usage"),
        (["ls", "--tenant-key", ""], 2, "usage"),
        (["search", "x", "--filter", "nonsense"], 2, "usage"),
        (["search", ""], 2, "usage"),
        (["search", " \t"], 2, "usage"),
        (["ls", "--status", "foo"], 2, "usage"),
    ],
)
def test_a_failure_in_json_is_json_on_stderr_alone(
    server: FakeS4, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, error_code: str
) -> None:
    assert run([*arguments, "--json"]) == code

    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["code"] == error_code


def test_a_failure_is_one_sentence(server: FakeS4, capsys: pytest.CaptureFixture[str]) -> None:
    server.on("GET", "/api/v1/documents", refusing(403, "tenant_suspended", "Acme is suspended."))

    assert run(["ls"]) == 1

    assert capsys.readouterr() == ("", "Error: Acme is suspended.\n")


@pytest.mark.parametrize("arguments", [["ls"], ["get", "doc_a", "-o", "-"]])
def test_a_closed_stdout_is_an_error_of_one_sentence(server: FakeS4, arguments: list[str]) -> None:
    server.on("GET", "/api/v1/documents", answering({"documents": [document("doc_a")], "next_cursor": None}))
    server.on("GET", "/api/v1/documents/doc_a", answering(document("doc_a")))

    done = with_closed(">&-", arguments)

    assert (done.returncode, done.stderr) == (1, "Error: stdout: it is closed, so nothing can be written\n")


def test_a_closed_stderr_takes_nothing_from_the_answer(server: FakeS4) -> None:
    server.on("GET", "/api/v1/documents", answering({"documents": [document("doc_a")] * 2, "next_cursor": None}))

    done = with_closed("2>&-", ["ls", "--limit", "1"])

    assert (done.returncode, done.stdout.split("\t")[0]) == (0, "doc_a")


def test_a_closed_stdin_is_an_error_of_one_sentence() -> None:
    done = with_closed("<&-", ["logs", "top-errors", "-"])

    assert (done.returncode, done.stderr) == (1, "Error: stdin: it is closed, so nothing can be read\n")


def test_what_the_terminals_encoding_lacks_takes_nothing_from_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"event_type": "job.failed", "level": "error", "details": {"error": "no – \ud800"}}
    (tmp_path / "s4.log").write_text(json.dumps(said))
    for encoding in ("ascii", "utf-8"):
        monkeypatch.setenv("PYTHONIOENCODING", encoding)
        shown, told = (
            with_closed("<&-", ["logs", "top-errors", str(tmp_path / "s4.log"), *more]) for more in ([], ["--json"])
        )
        assert (shown.returncode, told.returncode) == (0, 0)
        assert "job.failed  no " in shown.stdout
        assert json.loads(told.stdout)["patterns"][0]["pattern"] == "no – \ud800"


def with_closed(redirection: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The command as a shell starts it, which closes one of its streams first."""
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "s4.entrypoints.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_get_takes_a_plain_name_and_replaces_nothing_unasked(
    server: FakeS4, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    server.on("GET", "/api/v1/documents/doc_a", answering(document(filename="../../evil.txt")))
    server.on("GET", "/api/v1/documents/doc_a/download", serving(b"abc"))

    assert run(["get", "doc_a"]) == 0
    (tmp_path / "evil.txt").write_text("mine")
    assert run(["get", "doc_a"]) == 1
    assert (tmp_path / "evil.txt").read_text() == "mine"
    assert run(["get", "doc_a", "-o", "evil.txt"]) == 0
    assert (tmp_path / "evil.txt").read_bytes() == b"abc"


def test_search_marks_highlights_and_disarms_control_characters(
    server: FakeS4, capsys: pytest.CaptureFixture[str]
) -> None:
    passage = {"text": "red \x1b[31m\nfox", "score": 0.5, "page": 3, "heading": "Animals", "highlights": [[10, 13]]}
    result = {"document_id": "doc_a", "filename": "a.pdf", "score": 0.5, "chunks": [passage]}
    answer = {
        "results": [result], "query": "fox", "mode": "hybrid", "total_results": 1, "execution_time_ms": 1.0
    }  # fmt: skip
    server.on("POST", "/api/v1/search", answering(answer))

    assert run(["search", "fox", "--filter", "year>=2020"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines == ["0.500  a.pdf  doc_a", "       p. 3 · Animals", "       red �[31m *fox*"]


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("year>=2020", {"field": "year", "op": "gte", "value": 2020}),
        ("author = Ada", {"field": "author", "op": "eq", "value": "Ada"}),
        ('code="007"', {"field": "code", "op": "eq", "value": "007"}),
        ("title~a=b", {"field": "title", "op": "contains", "value": "a=b"}),
        ("draft!=true", {"field": "draft", "op": "ne", "value": True}),
    ],
)
def test_a_condition_is_read_with_its_type(text: str, condition: dict[str, Any]) -> None:
    assert parse_condition(text) == condition


def test_a_tenant_is_created_with_the_saved_key_of_the_administrator(
    server: FakeS4, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "admin.key").write_text("s4admin_saved\n")
    tenant = {"id": "ten_a", "name": "Acme", "created_at": "2026-01-02T03:04:05Z", "status": "active"}
    server.on("POST", "/api/v1/admin/tenants", answering(tenant | {"api_key": "s4_secret"}, status=201))

    assert run(["tenant", "create", "Acme", "--data-dir", str(tmp_path)]) == 0

    assert server.requests[0].headers["x-admin-key"] == "s4admin_saved"
    assert capsys.readouterr().out.count("export S4_TENANT_KEY=s4_secret") == 1


def test_rm_tells_what_was_not_there(server: FakeS4, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"deleted": ["doc_a"], "not_found": ["doc_b"]}
    server.on("POST", "/api/v1/documents/bulk-delete", answering(answer))

    assert run(["rm", "doc_a", "doc_b"]) == 1

    assert capsys.readouterr() == ("Deleted 1 of 2.\n", "not found: doc_b\n")


def test_help_imports_neither_the_client_nor_the_server() -> None:
    code = (
        "import sys; from s4.entrypoints.cli.app import run; run(['--help']);"
        "heavy = {'httpx', 'pydantic', 's4client', 'fastapi', 'sqlalchemy', 'lancedb', 'uvicorn'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"
