"""The `s4` executable against a real server, as a person or a script uses it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.factories.files import pdf

S4 = Path(sys.executable).with_name("s4")
NOBODY_LISTENS = "http://127.0.0.1:9"  # the discard port


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    started = Deployment(tmp_path_factory.mktemp("s4"), FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY}).start()
    yield started
    started.kill()


def s4(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("S4_")}
    return subprocess.run(
        [S4, *arguments], env=clean | environment, capture_output=True, text=True, timeout=120, check=False
    )


def document_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON document on stdout; nothing else may stand there."""
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture
def tenant(deployment: Deployment) -> dict[str, str]:
    """The environment of a person with a key."""
    created = s4(
        "tenant", "create", "Acme", "--email", "a@example.com", "--json",
        S4_URL=deployment.url, S4_ADMIN_API_KEY=ADMIN_KEY,
    )  # fmt: skip
    assert (created.returncode, created.stderr) == (0, "")
    answer = document_of(created)
    assert (answer["name"], answer["email"], answer["status"]) == ("Acme", "a@example.com", "active")
    return {"S4_URL": deployment.url, "S4_TENANT_KEY": answer["api_key"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good files, one in a folder below, and one that nothing can read."""
    below = tmp_path / "papers" / "below"
    below.mkdir(parents=True)
    (tmp_path / "papers" / "tides.txt").write_text("Tides follow the moon.")
    (below / "walrus.md").write_text("# Walrus\n\nAn ancient walrus sleeps on the ice.")
    (below / "locked.pdf").write_bytes(pdf([["Secret."]], encrypted=True))
    (tmp_path / "papers" / ".hidden").write_text("not uploaded")
    return tmp_path / "papers"


def test_a_folder_is_uploaded_found_fetched_and_removed(tenant: dict[str, str], folder: Path, tmp_path: Path) -> None:
    uploaded = s4("upload", "-r", folder, "--key-prefix", "papers/", "-m", "year=2026", **tenant)
    assert uploaded.returncode == 1
    (complaint,) = uploaded.stderr.splitlines()
    assert "locked.pdf" in complaint
    assert "encrypted" in complaint
    *lines, summary = uploaded.stdout.splitlines()
    assert sorted((line.split()[1], Path(line.split()[2]).name) for line in lines) == [
        ("ready", "tides.txt"),
        ("ready", "walrus.md"),
    ]
    assert summary.startswith("Uploaded 3 of 3 files")
    assert summary.endswith("1 failed.")

    listed = s4("ls", **tenant)
    assert (listed.returncode, listed.stderr) == (0, "")
    rows = {line.split("\t")[-1]: line.split("\t") for line in listed.stdout.splitlines()}
    assert set(rows) == {"papers/tides.txt", "papers/below/walrus.md", "papers/below/locked.pdf"}
    assert rows["papers/below/locked.pdf"][1] == "failed"
    walrus = rows["papers/below/walrus.md"][0]

    searched = s4("search", "walrus", "--mode", "keyword", "--filter", "year>=2026", **tenant)
    assert searched.returncode == 0
    assert walrus in searched.stdout
    assert "*walrus*" in searched.stdout
    assert "tides" not in searched.stdout

    fetched = s4("get", walrus, "-o", tmp_path / "copy.md", **tenant)
    assert fetched.returncode == 0
    assert (tmp_path / "copy.md").read_bytes() == (folder / "below" / "walrus.md").read_bytes()
    by_key = s4("get", "--key", "papers/tides.txt", "-o", "-", **tenant)
    assert (by_key.returncode, by_key.stdout) == (0, "Tides follow the moon.")

    removed = s4("rm", walrus, **tenant)
    assert (removed.returncode, removed.stdout) == (0, "Deleted 1 of 1.\n")
    assert walrus not in s4("search", "walrus", **tenant).stdout
    again = s4("rm", walrus, **tenant)
    assert again.returncode == 1
    assert walrus in again.stderr

    status = s4("status", **tenant)
    assert status.returncode == 0
    assert "is ready" in status.stdout
    assert "1 ready" in status.stdout
    assert "1 failed" in status.stdout


def test_with_json_stdout_is_one_document_and_nothing_else(
    deployment: Deployment, tenant: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    uploaded = s4("upload", "-r", folder, "--json", **tenant)
    assert (uploaded.returncode, uploaded.stderr) == (1, "")
    report = document_of(uploaded)
    assert (report["uploaded"], report["failed"]) == (3, 1)
    outcomes = {Path(file["path"]).name: file for file in report["files"]}
    assert outcomes["locked.pdf"]["failure"]["code"] == "encrypted"
    assert outcomes["tides.txt"]["failure"] is None
    document_id = outcomes["tides.txt"]["document"]["document_id"]

    listed = document_of(s4("ls", "--limit", "2", "--json", **tenant))
    assert (len(listed["documents"]), listed["more"]) == (2, True)
    found = document_of(s4("search", "tides", "--json", **tenant))
    assert document_id in [result["document_id"] for result in found["results"]]
    got = document_of(s4("get", document_id, "-o", tmp_path / "x", "--json", **tenant))
    assert (got["document"]["document_id"], got["path"]) == (document_id, str(tmp_path / "x"))
    status = document_of(s4("status", "--json", **tenant))
    assert (status["health"]["status"], status["documents"]) == ("ready", {"processing": 0, "ready": 2, "failed": 1})
    assert document_of(s4("rm", document_id, "--json", **tenant)) == {"deleted": [document_id], "not_found": []}
    admin = {"S4_URL": deployment.url, "S4_ADMIN_API_KEY": ADMIN_KEY}
    names = [one["name"] for one in document_of(s4("tenant", "list", "--json", **admin))["tenants"]]
    assert "Acme" in names
    assert "version" in document_of(s4("version", "--json"))


@pytest.mark.parametrize("arguments", [["ls"], ["get", "doc_x", "-o", "never"], ["upload", __file__], ["status"]])
def test_a_wrong_key_ends_in_one_sentence_and_exit_code_1(deployment: Deployment, arguments: list[str]) -> None:
    caller = {"S4_URL": deployment.url, "S4_TENANT_KEY": "s4_wrong"}
    plain = s4(*arguments, **caller)
    assert plain.returncode == 1
    (line,) = [line for line in plain.stderr.splitlines() if not line.startswith(" ")]
    assert "key" in line
    assert "Traceback" not in plain.stderr
    assert "s4_wrong" not in plain.stderr
    as_json = s4(*arguments, "--json", **caller)
    assert as_json.returncode == 1
    if arguments[0] == "upload":
        assert document_of(as_json)["files"][0]["failure"]["code"] == "unauthorized"
    else:
        assert as_json.stdout == ""
        assert json.loads(as_json.stderr)["error"]["code"] == "unauthorized"


@pytest.mark.parametrize("arguments", [["ls"], ["upload", __file__], ["status"], ["tenant", "create", "Acme"]])
def test_without_a_server_the_sentence_names_its_address(arguments: list[str]) -> None:
    caller = {"S4_URL": NOBODY_LISTENS, "S4_TENANT_KEY": "s4_x", "S4_ADMIN_API_KEY": "x"}
    plain = s4(*arguments, **caller)
    assert plain.returncode == 1
    assert NOBODY_LISTENS in plain.stderr
    assert "Traceback" not in plain.stderr
    as_json = s4(*arguments, "--json", **caller)
    assert as_json.returncode == 1
    if arguments[0] == "upload":
        assert document_of(as_json)["files"][0]["failure"]["code"] == "connection_failed"
    else:
        assert as_json.stdout == ""
        assert json.loads(as_json.stderr)["error"]["code"] == "connection_failed"


def test_wrong_usage_is_exit_code_2(tmp_path: Path) -> None:
    for arguments in (["ls"], ["upload", tmp_path, "--key", "s4_x"], ["search"], ["nonsense"]):
        plain = s4(*arguments)
        assert (plain.returncode, plain.stdout) == (2, "")
        assert plain.stderr


def test_a_missing_file_is_named(tenant: dict[str, str], tmp_path: Path) -> None:
    done = s4("upload", tmp_path / "absent.txt", **tenant)
    assert done.returncode == 1
    assert "absent.txt" in done.stderr
