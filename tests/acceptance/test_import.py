"""`s4 import`: what lies in a bucket or a directory comes in, with metadata, once; and again, only what is new."""

import json
from pathlib import Path

import pytest
from obstore.store import S3Store

from s4client import S4Client
from tests.acceptance.conftest import Command, Done
from tests.factories.command_line import documents, lines_of
from tests.factories.deployment import Deployment
from tests.servers import S3Server

OBJECTS = {
    "old/tides.txt": b"Tides follow the moon.",
    "old/2024/ice.txt": b"Glaciers grind the valley.",
    "old/2024/pump.md": b"The pump was repaired.",
    "elsewhere/other.txt": b"Not below the prefix.",
}
MANIFEST = """\
{"path": "tides.txt", "metadata": {"year": 2024, "tags": ["sea"]}}
{"path": "2024/ice.txt", "metadata": {"year": 2023}}
"""


@pytest.fixture
def bucket(s3_server: S3Server, s3_bucket: str) -> S3Store:
    store = s3_server.client(s3_bucket)
    for key, data in OBJECTS.items():
        store.put(key, data)
    store.put("old/2024/", b"")  # as consoles make folders
    return store


@pytest.fixture
def source(s3_server: S3Server, s3_bucket: str) -> dict[str, str]:
    return {
        "S4_SOURCE_ENDPOINT": s3_server.endpoint,
        "S4_SOURCE_ACCESS_KEY_ID": s3_server.access_key,
        "S4_SOURCE_SECRET_ACCESS_KEY": s3_server.secret_key,
    }


def actions(done: Done) -> dict[str, str]:
    """By the name of the object."""
    assert done.code == 0, done.err
    outcomes, _ = lines_of(done.out)
    return {name: outcome["action"] for name, outcome in outcomes.items() if outcome["action"] != "skipped"}


def test_a_bucket_comes_in_with_its_manifest_and_then_only_what_is_new(
    command: Command, tenant: dict[str, str], bucket: S3Store, s3_bucket: str, source: dict[str, str], tmp_path: Path
) -> None:
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(MANIFEST)
    state = tmp_path / "state.jsonl"
    arguments = ["import", f"s3://{s3_bucket}/old", "--prefix", "archive", "--manifest", manifest, "--state", state]
    arguments += ["-m", "origin=old", "--no-wait", "--json"]

    first = command(*arguments, **source)

    assert set(actions(first).values()) == {"uploaded"}
    assert set(documents(tenant)) == {"archive/tides.txt", "archive/2024/ice.txt", "archive/2024/pump.md"}
    with S4Client(tenant["S4_URL"], api_key=tenant["S4_TENANT_KEY"]) as s4:
        tides = s4.get_by_key("archive/tides.txt")
        assert tides.metadata == {"origin": "old", "year": 2024, "tags": ["sea"]}
        assert (tides.filename, tides.content_type) == ("tides.txt", "text/plain")
        assert s4.get_by_key("archive/2024/pump.md").metadata == {"origin": "old"}

    bucket.put("old/tides.txt", b"Tides follow the Moon.")  # as long as before
    bucket.put("old/new.txt", b"Something new.")
    manifest.write_text(MANIFEST.replace("2023", "2022"))
    second = command(*arguments, **source)

    assert actions(second) == {
        "tides.txt": "replaced", "new.txt": "uploaded", "ice.txt": "metadata", "pump.md": "unchanged",
    }  # fmt: skip
    etags = {line["object"] for line in map(json.loads, state.read_text().splitlines())}
    assert etags == {"tides.txt", "2024/ice.txt", "2024/pump.md", "new.txt"}


def test_what_a_record_knows_is_not_fetched_again(
    command: Command, bucket: S3Store, s3_bucket: str, source: dict[str, str], tmp_path: Path
) -> None:
    """It says that an object has the hash of its document; whoever fetched it would find out that it lies."""
    state = tmp_path / "state.jsonl"
    arguments = ["import", f"s3://{s3_bucket}/old", "--state", state, "--no-wait", "--json"]
    command(*arguments, **source)
    before = [json.loads(line) for line in state.read_text().splitlines()]
    bucket.put("old/tides.txt", b"Tides follow the Moon.")
    etag = bucket.head("old/tides.txt")["e_tag"]
    lie = [{**line, "etag": etag} if line["object"] == "tides.txt" else line for line in before]
    state.write_text("".join(json.dumps(line) + "\n" for line in lie))

    assert actions(command(*arguments, **source))["tides.txt"] == "unchanged"
    state.unlink()
    assert actions(command(*arguments, **source))["tides.txt"] == "replaced"


def test_what_cannot_be_had_is_named_and_keeps_nothing_else_back(
    command: Command, tenant: dict[str, str], bucket: S3Store, s3_bucket: str, source: dict[str, str], tmp_path: Path
) -> None:
    done = command("import", f"s3://{s3_bucket}/old", **source | {"S4_SOURCE_SECRET_ACCESS_KEY": "wrong" * 8})
    assert (done.code, "denies" in done.err) == (1, True)
    done = command("import", "ftp://somewhere/else")
    assert (done.code, "is no source" in done.err) == (2, True)
    bad = tmp_path / "manifest.csv"
    bad.write_text("file,year\ntides.txt,2024\n")
    done = command("import", tmp_path, "--manifest", bad)
    assert (done.code, "is no manifest" in done.err) == (2, True)
    bad.write_text(f"path,note\ntides.txt,{'x' * 1_000_001}\n")
    done = command("import", tmp_path, "--manifest", bad)
    assert (done.code, "is no manifest" in done.err) == (2, True)
    assert documents(tenant) == {}


def test_a_manifest_means_names_and_tells_of_those_that_nothing_has(
    command: Command, tenant: dict[str, str], served: Deployment, tmp_path: Path
) -> None:
    """As another system composes their accents, and as tools write paths."""
    papers = tmp_path / "papers"
    papers.mkdir()
    for name in ("u\u0308bung.txt", "plain.txt"):
        (papers / name).write_text(name)
    table = tmp_path / "papers.csv"
    table.write_text(f"path,year,note\n\u00fcbung.txt,2024,{'x' * 200_000}\n./plain.txt,2023,\nnever.txt,2022,\n")

    done = command("import", papers, "--manifest", table, "--dry-run")

    assert "names 1 that were not looked at: never.txt" in done.err
    table.write_text(table.read_text().replace("x" * 200_000, "short"))
    done = command("import", papers, "--manifest", table, "--no-wait", "--json")
    assert json.loads(done.out.splitlines()[-1])["summary"]["manifest_unmatched"] == 1
    with S4Client(served.url, api_key=tenant["S4_TENANT_KEY"]) as s4:
        assert s4.get_by_key("\u00fcbung.txt").metadata == {"year": 2024, "note": "short"}
        assert s4.get_by_key("plain.txt").metadata == {"year": 2023}


def test_a_directory_comes_in_with_a_table_of_metadata(
    command: Command, tenant: dict[str, str], served: Deployment, tmp_path: Path
) -> None:
    papers = tmp_path / "papers"
    (papers / "2024").mkdir(parents=True)
    (papers / "tides.txt").write_text("Tides.")
    (papers / "2024" / "ice.txt").write_text("Ice.")
    table = tmp_path / "papers.csv"
    table.write_text("path,year,author\ntides.txt,2024,Ada\n2024/ice.txt,2023,\n")

    done = command("import", papers, "--manifest", table, "--no-wait", "--json")

    assert set(actions(done).values()) == {"uploaded"}
    with S4Client(served.url, api_key=tenant["S4_TENANT_KEY"]) as s4:
        assert s4.get_by_key("tides.txt").metadata == {"year": 2024, "author": "Ada"}
        assert s4.get_by_key("2024/ice.txt").metadata == {"year": 2023}
    again = command("import", papers, "--manifest", table, "--dry-run", "--json")
    assert set(actions(again).values()) == {"unchanged"}
