"""The `s4` executable against a real server, as a person or a script uses it."""

import json
from pathlib import Path

import pytest

from tests.acceptance.conftest import Command
from tests.factories.command_line import document_of, lines_of, s4
from tests.factories.deployment import ADMIN_KEY, Deployment
from tests.factories.files import pdf

pytestmark = pytest.mark.processes

NOBODY_LISTENS = "http://127.0.0.1:9"  # the discard port


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
    uploaded = s4("upload", folder, "--prefix", "papers", "-m", "year=2026", **tenant)
    assert uploaded.returncode == 1
    (complaint,) = uploaded.stderr.splitlines()
    assert "locked.pdf → encrypted: " in complaint
    *lines, summary = uploaded.stdout.splitlines()
    assert sorted((line.split()[0], Path(line.split()[1]).name) for line in lines) == [
        ("uploaded", "tides.txt"),
        ("uploaded", "walrus.md"),
    ]
    assert summary.startswith("3 uploaded, 0 replaced, 0 unchanged, 1 failed; ")

    listed = s4("ls", **tenant)
    assert (listed.returncode, listed.stderr) == (0, "")
    rows = {line.split("\t")[4]: line.split("\t") for line in listed.stdout.splitlines()}
    assert set(rows) == {"papers/tides.txt", "papers/below/walrus.md", "papers/below/locked.pdf"}
    assert rows["papers/below/locked.pdf"][1] == "failed"
    assert rows["papers/below/locked.pdf"][5].startswith("encrypted: ")
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


def test_with_json_stdout_is_json_and_nothing_else(
    served: Deployment, tenant: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    uploaded = s4("upload", folder, "--json", **tenant)
    assert (uploaded.returncode, uploaded.stderr) == (1, "")
    outcomes, summary = lines_of(uploaded.stdout)
    assert (summary["uploaded"], summary["failed"]) == (3, 1)
    assert outcomes["locked.pdf"]["failure"]["code"] == "encrypted"
    assert outcomes["tides.txt"]["failure"] is None
    document_id = outcomes["tides.txt"]["document_id"]

    listed = document_of(s4("ls", "--limit", "2", "--json", **tenant))
    assert (len(listed["documents"]), listed["more"]) == (2, True)
    found = document_of(s4("search", "tides", "--json", **tenant))
    assert document_id in [result["document_id"] for result in found["results"]]
    got = document_of(s4("get", document_id, "-o", tmp_path / "x", "--json", **tenant))
    assert (got["document"]["document_id"], got["path"]) == (document_id, str(tmp_path / "x"))
    status = document_of(s4("status", "--json", **tenant))
    counts = {"processing": 0, "ready": 2, "failed": 1, "archived": 0, "restoring": 0}
    assert (status["health"]["status"], status["documents"]) == ("ready", counts)
    removed = document_of(s4("rm", document_id, "--json", **tenant))
    assert removed == {"deleted": [document_id], "not_found": [], "held": []}
    admin = {"S4_URL": served.url, "S4_ADMIN_API_KEY": ADMIN_KEY}
    created = s4("tenant", "create", "Beta", "--email", "b@example.com", "--json", **admin)
    assert (created.returncode, created.stderr) == (0, "")
    made = document_of(created)
    assert (made["name"], made["email"], made["status"]) == ("Beta", "b@example.com", "active")
    assert s4("ls", S4_URL=served.url, S4_TENANT_KEY=made["api_key"]).returncode == 0
    names = [one["name"] for one in document_of(s4("tenant", "list", "--json", **admin))["tenants"]]
    assert "Beta" in names
    assert "version" in document_of(s4("version", "--json"))


@pytest.mark.parametrize(
    "arguments",
    [["ls"], ["get", "doc_x", "-o", "never"], ["upload", __file__], ["sync", str(Path(__file__).parent)], ["status"]],
)
def test_a_wrong_key_ends_in_one_sentence_and_exit_code_1(
    served: Deployment, here: Command, arguments: list[str]
) -> None:
    caller = {"S4_URL": served.url, "S4_TENANT_KEY": "s4_wrong"}
    plain = here(*arguments, **caller)
    assert plain.code == 1
    (line,) = plain.err.splitlines()
    assert "key" in line
    assert "s4_wrong" not in plain.err
    as_json = here(*arguments, "--json", **caller)
    assert (as_json.code, as_json.out) == (1, "")
    assert json.loads(as_json.err)["error"]["code"] == "unauthorized"


@pytest.mark.parametrize(
    "arguments",
    [["ls"], ["upload", __file__], ["sync", str(Path(__file__).parent)], ["status"], ["tenant", "create", "Acme"]],
)
def test_without_a_server_the_sentence_names_its_address(here: Command, arguments: list[str]) -> None:
    caller = {"S4_URL": NOBODY_LISTENS, "S4_TENANT_KEY": "s4_x", "S4_ADMIN_API_KEY": "x"}
    plain = here(*arguments, **caller)
    assert (plain.code, plain.out) == (1, "")
    (line,) = plain.err.splitlines()
    assert NOBODY_LISTENS in line
    as_json = here(*arguments, "--json", **caller)
    assert (as_json.code, as_json.out) == (1, "")
    assert json.loads(as_json.err)["error"]["code"] == "connection_failed"


def test_wrong_usage_is_exit_code_2(here: Command, tmp_path: Path) -> None:
    key = ["--tenant-key", "s4_x"]
    for arguments in (
        ["ls"], ["search"], ["nonsense"],
        ["sync", tmp_path / "absent", *key],
        ["sync", tmp_path, "--delete", *key],  # of everything that the tenant has
        ["upload", "-", *key],
        ["upload", tmp_path, "--prefix", "a\nb", *key],
    ):  # fmt: skip
        plain = here(*arguments)
        assert (plain.code, plain.out) == (2, "")
        assert len(plain.err.splitlines()) == 1


def test_a_missing_file_is_named(tenant: dict[str, str], tmp_path: Path) -> None:
    done = s4("upload", tmp_path / "absent.txt", **tenant)
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path / 'absent.txt'} → file_error: There is no such file.\n"
