"""The client half of the command line, against a server on a real socket."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request, Response
from fastapi.responses import JSONResponse

from s4.entrypoints.cli.app import run
from s4.entrypoints.cli.search_command import parse_condition
from tests.factories.fake_s4 import FakeS4, answering, document, fake_s4, refusing, serving

PROGRAM = [sys.executable, "-m", "s4.entrypoints.cli"]


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


def receiving_by_name(answers: dict[str, Response]) -> Any:
    """Answers an upload by the name of its file."""

    async def handle(request: Request) -> Response:
        async with request.form() as form:
            file: Any = form["file"]
            return answers[file.filename]

    return handle


def three_uploads(server: FakeS4, directory: Path) -> None:
    """One that becomes ready, one that is refused, one whose document fails."""
    for name in ("failing.pdf", "good.txt", "refused.bin"):
        (directory / name).write_text(name)
    (directory / ".hidden").write_text("not to be uploaded")
    refused = {"error": {"code": "payload_too_large", "message": "At most 10 MiB.", "details": {}}}
    server.on(
        "POST",
        "/api/v1/documents",
        receiving_by_name(
            {
                "good.txt": JSONResponse(document("doc_good", status="processing"), 201),
                "failing.pdf": JSONResponse(document("doc_failing", status="processing"), 201),
                "refused.bin": JSONResponse(refused, 413),
            }
        ),
    )
    server.on("GET", "/api/v1/documents/doc_good", answering(document("doc_good")))
    failure = {"code": "encrypted", "message": "It needs a password."}
    server.on(
        "GET",
        "/api/v1/documents/doc_failing",
        answering(document("doc_failing", status="failed", error=failure)),
    )


def test_an_upload_names_each_failure_and_fails_as_a_whole(
    server: FakeS4, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three_uploads(server, tmp_path)

    code = run(["upload", "-r", str(tmp_path)])

    out, err = capsys.readouterr()
    assert code == 1
    assert f"doc_good  ready  {tmp_path / 'good.txt'}" in out.splitlines()
    assert out.splitlines()[-1] == "Uploaded 2 of 3 files, 6 B; 2 failed."
    assert sorted(err.splitlines()) == [
        f"{tmp_path / 'failing.pdf'} (doc_failing): encrypted: It needs a password.",
        f"{tmp_path / 'refused.bin'}: payload_too_large: At most 10 MiB.",
    ]


def test_an_upload_in_json_writes_one_document_and_nothing_else(
    server: FakeS4, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three_uploads(server, tmp_path)

    code = run(["upload", "-r", str(tmp_path), "--json"])

    out, err = capsys.readouterr()
    report = json.loads(out)
    failures = {Path(file["path"]).name: file["failure"] and file["failure"]["code"] for file in report["files"]}
    assert (code, err) == (1, "")
    assert (report["uploaded"], report["failed"]) == (2, 2)
    assert failures == {"good.txt": None, "failing.pdf": "encrypted", "refused.bin": "payload_too_large"}


def test_an_upload_stops_when_the_key_is_not_valid(
    server: FakeS4, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(20):
        (tmp_path / f"{number}.txt").write_text("x")
    server.on("POST", "/api/v1/documents", refusing(401, "unauthorized", "The key is not known."))

    code = run(["upload", "-r", str(tmp_path), "--parallel", "2", "--json"])

    codes = [file["failure"]["code"] for file in json.loads(capsys.readouterr().out)["files"]]
    assert code == 1
    assert sorted(codes) == ["not_tried"] * 18 + ["unauthorized"] * 2
    assert len(server.requests) == 2


def test_a_key_prefix_puts_files_under_their_paths(
    server: FakeS4, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("a")
    server.on("PUT", "/api/v1/documents/by-key/.*", answering(document(), status=201))

    code = run(["upload", "-r", str(tmp_path), "--key-prefix", "docs/", "-m", "year=2024", "--no-wait"])

    assert code == 0
    assert [seen.path for seen in server.requests] == ["/api/v1/documents/by-key/docs/sub/a.txt"]
    assert server.requests[0].headers["x-s4-metadata"] == '{"year":2024}'


@pytest.mark.parametrize(
    ("arguments", "code", "error_code"),
    [
        (["get", "doc_missing"], 1, "not_found"),
        (["ls", "--url", "http://127.0.0.1:9"], 1, "connection_failed"),
        (["ls", "--no-such-option"], 2, "usage"),
        (["ls", "--tenant-key", ""], 2, "usage"),
        (["search", "x", "--filter", "nonsense"], 2, "usage"),
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


def test_an_interrupted_upload_ends_with_130_and_a_word(server: FakeS4, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    arrived = threading.Event()

    async def hang(request: Request) -> Response:
        arrived.set()
        while (await request.receive())["type"] != "http.disconnect":
            pass
        return JSONResponse(document(), 201)

    server.on("POST", "/api/v1/documents", hang)
    program = subprocess.Popen(
        [*PROGRAM, "upload", str(tmp_path / "a.txt")],
        env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell that started the tests in the background has them, and so this, ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert arrived.wait(30)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=30)

    assert (program.returncode, out, err.strip()) == (130, "", "Error: Interrupted.")


def test_help_imports_neither_the_client_nor_the_server() -> None:
    code = (
        "import sys; from s4.entrypoints.cli.app import run; run(['--help']);"
        "print(sorted({'httpx', 's4client', 'fastapi', 'sqlalchemy', 'lancedb', 'uvicorn'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"
