"""What `s4 upload` and `s4 sync` are made of, without a server or against one that answers by script."""

import json
import subprocess
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request, Response
from fastapi.responses import JSONResponse

from s4.entrypoints.cli.app import run
from s4.entrypoints.cli.tenant_import import Keys
from s4.entrypoints.cli.transfer.documents import KnownDocument, KnownDocuments
from s4.entrypoints.cli.transfer.extras import extra_documents
from s4.entrypoints.cli.transfer.files import Finder, LocalFile, UnfitKey, folder_prefix, key_for
from s4.entrypoints.cli.transfer.outcomes import Action, Failure, Outcome
from s4.entrypoints.cli.transfer.report import LISTED_FAILURES_MAX, Report
from s4.entrypoints.cli.transfer.selection import Selection
from tests.factories.fake_s4 import FakeS4, answering, document, fake_s4, refusing

DOCUMENTS = "/api/v1/documents"
BY_KEY = f"{DOCUMENTS}/by-key/.*"


@pytest.mark.parametrize(
    ("selection", "path", "is_taken"),
    [
        (Selection(), "a/b.txt", True),
        (Selection(), ".git/config", False),
        (Selection(), "a/.hidden", False),
        (Selection(hidden=True), "a/.hidden", True),
        (Selection(include=["*.pdf"]), "a/b.pdf", True),
        (Selection(include=["*.pdf"]), "b.pdf/a.txt", False),
        (Selection(include=["a/*.pdf"]), "a/deep/b.pdf", True),
        (Selection(include=["a/*.pdf"]), "c/a/b.pdf", False),
        (Selection(exclude=["node_modules"]), "a/node_modules/b/c.js", False),
        (Selection(exclude=["*.tmp"]), "a/b.tmp", False),
        (Selection(exclude=["a/drafts"]), "a/drafts/b.txt", False),
        (Selection(exclude=["a/drafts"]), "b/a/drafts/c.txt", True),
        (Selection(include=["*.txt"], exclude=["b*"]), "b.txt", False),
    ],
)
def test_a_selection_decides_by_the_path_alone(selection: Selection, path: str, is_taken: bool) -> None:
    assert selection.takes(path) is is_taken


def test_a_key_is_the_composed_path_behind_a_folder_of_keys() -> None:
    assert [folder_prefix(prefix) for prefix in ("", "a", "a/", "a/b")] == ["", "a/", "a/", "a/b/"]
    assert key_for("a/", unicodedata.normalize("NFD", "é/ü.txt")) == "a/é/ü.txt"
    assert key_for("", "x" * 1024)
    for name, code in (("x" * 1025, "name_too_long"), ("ü" * 513, "name_too_long"), ("a\nb", "bad_name"),
                       ("a\x7f", "bad_name"), ("\udcff", "bad_name")):  # fmt: skip
        with pytest.raises(UnfitKey) as unfit:
            key_for("", name)
        assert unfit.value.failure.code == code


def test_a_tree_deeper_than_the_stack_is_found_to_its_end(tmp_path: Path) -> None:
    directory = tmp_path / "top"
    directory.mkdir()
    for _ in range(1200):  # Python's own stack ends at a thousand
        directory = directory / "d"
        directory.mkdir()
    (directory / "f").write_text("x")

    (found,) = Finder([tmp_path / "top"], "")

    subprocess.run(["rm", "-r", tmp_path / "top"], check=True)  # which pytest could not
    assert found == Outcome(
        path=str(directory / "f"),
        action=Action.REFUSED,
        failure=Failure("name_too_long", "Prefix and path have more than 1024 bytes: shorten them."),
    )


def known(key: str, **fields: Any) -> tuple[str, KnownDocument]:
    values = {"version": 1, "metadata": None, "failure": None, "status": "ready", "sha256": "0" * 64, "size_bytes": 3}
    return key, KnownDocument(document_id=f"doc_{key}", uploaded_at=datetime.now(UTC), **{**values, **fields})


def test_extra_is_only_what_was_looked_for_and_not_found() -> None:
    documents = KnownDocuments(
        dict(
            known(f"p/{key}")
            for key in ("here", "gone", "gone/deep", ".hidden", "x.tmp", "closed", "closed/a", "closed-not/a")
        )
    )
    finder = Finder([], "p/", Selection(exclude=["*.tmp"]), covered=["closed"])

    extras = extra_documents(documents, finder, {"p/here"})

    assert [extra.outcome.key for extra in extras] == ["p/closed-not/a", "p/gone", "p/gone/deep"]
    finder.covered.append("")  # the directory itself could not be read
    assert extra_documents(documents, finder, {"p/here"}) == []


def test_fields_of_metadata_are_compared_with_their_types() -> None:
    _, document = known("k", metadata={"year": 2026, "draft": True, "tags": ["a"]})

    assert document.lacking({"year": 2026, "tags": ["a"]}) == {}
    assert document.lacking({"draft": 1, "year": "2026", "new": None}) == {"draft": 1, "year": "2026", "new": None}


def test_a_summary_names_the_first_failures_and_counts_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    moments = iter([100.0, 102.5])
    report = Report(as_json=False, dry_run=False, monotonic=lambda: next(moments))
    failure = Failure("empty", "No text.")
    for number in range(LISTED_FAILURES_MAX + 5):
        report.ended(Outcome(path=f"{number}.pdf", action=Action.UPLOADED, sent_bytes=1024, failure=failure))
    report.ended(Outcome(path="link", action=Action.SKIPPED, failure=Failure("symlink", "A link.")))

    report.close()

    out, err = capsys.readouterr()
    assert out == "105 uploaded, 0 replaced, 0 unchanged, 1 skipped, 105 failed; 105.0 KiB sent in 2.5 s.\n"
    assert err.splitlines()[0] == "0.pdf → empty: No text."
    assert err.splitlines()[-1] == "… and 6 more: --json names all."
    assert len(err.splitlines()) == LISTED_FAILURES_MAX + 1


# -- against a server


@pytest.fixture(scope="module")
def running() -> Iterator[FakeS4]:
    with fake_s4() as fake:
        yield fake


@pytest.fixture
def server(running: FakeS4, monkeypatch: pytest.MonkeyPatch) -> FakeS4:
    running.forget()
    monkeypatch.setenv("S4_TENANT_KEY", "s4_key")
    monkeypatch.setenv("S4_URL", running.url)
    running.on("GET", DOCUMENTS, answering({"documents": [], "next_cursor": None}))
    return running


async def receive(request: Request) -> Response:
    """An upload that becomes searchable at once."""
    size = len(await request.body())
    key = request.scope["path"].partition("/by-key/")[2]
    return JSONResponse(document(f"doc_{key}", key=key, filename=key, size=size), 201)


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    *outcomes, last = map(json.loads, capsys.readouterr().out.splitlines())
    return outcomes, last["summary"]


def twenty_files(directory: Path) -> Path:
    for number in range(20):
        (directory / f"{number:02}.txt").write_text("x")
    return directory


def test_files_are_found_while_others_are_on_their_way(
    server: FakeS4, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "z"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "first.txt").write_text("x")

    async def and_one_more(request: Request) -> Response:
        (tmp_path / "z" / "late.txt").write_text("y")
        return await receive(request)

    server.on("PUT", BY_KEY, and_one_more, receive)

    assert run(["upload", str(tmp_path), "--parallel", "1"]) == 0

    assert [seen.path.rpartition("/")[2] for seen in server.requests if seen.method == "PUT"] == [
        "first.txt",
        "late.txt",
    ]


def test_a_file_that_vanishes_or_changes_is_named_and_the_others_go_on(
    server: FakeS4, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (directory / name).write_text(name)

    async def and_remove(request: Request) -> Response:
        (directory / "b.txt").unlink()
        return await receive(request)

    server.on("PUT", BY_KEY, and_remove, receive)
    finding = Finder.__iter__

    def all_at_once(finder: Finder) -> Iterator[LocalFile | Outcome]:
        return iter([*finding(finder)])  # found before the first is sent, as with more hands than files

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Finder, "__iter__", all_at_once)
        code = run(["upload", str(directory), "--parallel", "1", "--json"])

    outcomes, summary = lines(capsys)
    assert (code, summary["uploaded"], summary["failed"]) == (1, 2, 1)
    assert [outcome["failure"] for outcome in outcomes] == [
        None,
        {"code": "file_error", "message": "There is no such file."},
        None,
    ]


def test_an_upload_stops_when_the_key_is_not_valid_any_more(
    server: FakeS4, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = document("doc_gone", key="p/gone.txt")
    server.on("GET", DOCUMENTS, answering({"documents": [gone], "next_cursor": None}))
    server.on("DELETE", f"{DOCUMENTS}/doc_gone", answering(None, status=204))
    server.on("PUT", BY_KEY, receive, refusing(401, "unauthorized", "The key is revoked."))

    code = run(["sync", str(twenty_files(tmp_path)), "--parallel", "2", "--prefix", "p", "--delete", "--yes", "--json"])

    outcomes, summary = lines(capsys)
    assert code == 1
    assert summary["stopped"] == {"code": "unauthorized", "message": "The key is revoked."}
    assert 2 <= len(outcomes) <= 4
    assert summary["deleted"] == 0, "not every file was looked at"
    assert {seen.method for seen in server.requests} == {"GET", "PUT"}


def test_an_upload_stops_when_ten_in_a_row_find_no_room(
    server: FakeS4, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("PUT", BY_KEY, refusing(403, "quota_exceeded", "The plan's storage is used up."))

    code = run(["upload", str(twenty_files(tmp_path)), "--parallel", "1"])

    out, err = capsys.readouterr()
    assert code == 1
    assert out.splitlines()[-1].startswith("0 uploaded, 0 replaced, 0 unchanged, 10 failed; ")
    assert err.splitlines()[-1] == "Stopped, and the rest was not tried: The plan's storage is used up."


def test_a_document_that_never_becomes_searchable_is_a_failure_in_the_end(
    server: FakeS4, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("x")
    processing = document("doc_a", status="processing")
    server.on("PUT", BY_KEY, answering(processing, status=201))
    server.on("GET", f"{DOCUMENTS}/doc_a", answering(processing))

    code = run(["upload", str(tmp_path), "--timeout", "0", "--json"])

    outcomes, summary = lines(capsys)
    assert (code, summary["uploaded"], summary["failed"]) == (1, 1, 1)
    assert outcomes[0]["failure"]["code"] == "timeout"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--prefix", "", "--delete"], "is about all documents of the tenant: say --yes"),
        (["--prefix", "p", "--delete", "--json"], "nobody is asked: say --yes"),
        (["--prefix", "p", "--delete", "--yes", "--json"], ""),
        (["--prefix", "p", "--delete"], ""),
    ],
)
def test_a_dry_run_foretells_what_a_real_run_would_be_refused_for(
    server: FakeS4, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    (tmp_path / "a.txt").write_text("x")
    server.on("GET", DOCUMENTS, answering({"documents": [document("doc_b", key="p/b.txt")], "next_cursor": None}))

    assert run(["sync", str(tmp_path), *flags, "--dry-run"]) == 0

    out, err = capsys.readouterr()
    assert (told in err, bool(err)) == (True, bool(told))
    assert "p/b.txt" in out
    assert [seen.method for seen in server.requests] == ["GET"]


def test_a_dry_run_over_an_empty_directory_foretells_that_nothing_is_deleted(
    server: FakeS4, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET", DOCUMENTS, answering({"documents": [document("doc_b", key="p/b.txt")], "next_cursor": None}))

    assert run(["sync", str(tmp_path), "--prefix", "p", "--delete", "--dry-run"]) == 1

    out, err = capsys.readouterr()
    assert "holds no files, so nothing would be deleted: say --yes" in err
    assert "p/b.txt" not in out


def test_a_listing_of_other_keys_than_were_asked_for_deletes_none_of_them(
    server: FakeS4, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a server that knows no prefix."""
    (tmp_path / "a.txt").write_text("x")
    elsewhere = document("doc_b", key="q/b.txt")
    server.on("GET", DOCUMENTS, answering({"documents": [elsewhere, document("doc_c")], "next_cursor": None}))
    server.on("PUT", BY_KEY, receive)

    assert run(["sync", str(tmp_path), "--prefix", "p", "--delete", "--yes", "--json"]) == 0

    assert lines(capsys)[1]["deleted"] == 0
    assert [seen.method for seen in server.requests] == ["GET", "PUT"]


def test_the_file_of_keys_bears_any_name(tmp_path: Path) -> None:
    """What else than a line feed ends a line."""
    path = tmp_path / "keys"
    with Keys(path) as keys:
        keys.add("theirs", "ten_a", "one\u2028two", "s4_key")
    with Keys(path) as keys:
        assert keys.external_ids == {"theirs": "ten_a"}
