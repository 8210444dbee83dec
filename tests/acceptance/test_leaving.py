"""A tenant leaves one S4 and comes into another: nothing is lost, nothing is paid twice, searches find the same."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from s4.entrypoints.cli.leaving import export
from s4client import Forbidden, NotFound, S4AdminClient, S4Client
from tests.acceptance.conftest import Command
from tests.factories.command_line import started_s4
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.factories.provider import CountingProvider, counting_provider

PROVIDER = {name: value for name, value in FAST.items() if name != "S4_EMBEDDING_PROVIDER"}
WORDS = ("tides follow the moon", "glaciers grind the valley", "bread needs salt and patience", "the pump was repaired")
QUERIES = ("moon and tides", "salt in bread", "who repaired the pump", "valley")


@dataclass
class TwoHouses:
    """`there` is left, `here` is come into; both ask one provider, which counts."""

    there: Deployment
    here: Deployment
    provider: CountingProvider
    tenant_id: str
    key: str


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoHouses]:
    with counting_provider() as provider:
        environment = PROVIDER | provider.settings | {"S4_ADMIN_API_KEY": ADMIN_KEY}
        there, here = (Deployment(tmp_path_factory.mktemp(name), environment).start() for name in ("there", "here"))
        with S4AdminClient(there.url, api_key=ADMIN_KEY) as admin:
            tenant = admin.create_tenant("Acme", email="office@acme.example", company="Acme Ltd")
        with S4Client(there.url, api_key=tenant.api_key) as s4:
            uploaded = [
                s4.put_by_key(f"notes/{number}.txt", f"Note {number}: {text}.".encode(), metadata={"number": number})
                for number, text in enumerate(WORDS)
            ]
            uploaded.append(s4.upload(b"A note without a key: the moon again.", filename="loose.txt"))
            uploaded.append(s4.put_by_key("empty.txt", b""))
            for document in uploaded:
                s4.wait(document.document_id)
        yield TwoHouses(there, here, provider, tenant.id, tenant.api_key)
        there.kill()
        here.kill()


def operator(deployment: Deployment) -> dict[str, str]:
    return {"S4_URL": deployment.url, "S4_ADMIN_API_KEY": ADMIN_KEY}


def found(url: str, key: str) -> list[list[dict[str, Any]]]:
    """What searches of both kinds answer, but for ids, which are a deployment's own."""
    answers = []
    with S4Client(url, api_key=key) as s4:
        for query in QUERIES:
            for mode in ("hybrid", "semantic", "keyword"):
                results = s4.search(query, mode=mode).model_dump(mode="json")["results"]
                kept = ("filename", "key", "score", "chunks", "metadata")
                # Where scores are equal, ids decide.
                ranked = sorted(results, key=lambda each: (-each["score"], each["filename"]))
                answers.append([{name: each[name] for name in kept} for each in ranked])
    return answers


@pytest.fixture(scope="module")
def taken(houses: TwoHouses, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of the tenant."""
    folder = tmp_path_factory.mktemp("export") / "acme"
    run = started_s4("tenant", "export", houses.tenant_id, "--to", folder, "--json", **operator(houses.there))
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert json.loads(out)["documents"] == len(WORDS) + 2
    return folder


def test_an_export_holds_everything_with_sums(houses: TwoHouses, taken: Path) -> None:
    manifest = json.loads((taken / "manifest.json").read_text())
    listed = [json.loads(line) for line in (taken / "files.jsonl").read_text().splitlines()]
    on_disk = {path.relative_to(taken).as_posix() for path in taken.rglob("*") if path.is_file()}
    assert {each["path"] for each in listed} == on_disk - {"manifest.json", "files.jsonl"}
    for each in [*listed, manifest["files"]]:
        data = (taken / each["path"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (each["size"], each["sha256"])

    lines = [json.loads(line) for line in (taken / "documents/000001.jsonl").read_text().splitlines()]
    by_key = {line["key"]: line for line in lines}
    note = by_key["notes/0.txt"]
    content = taken / "content" / note["document_id"][-2:] / note["document_id"]
    assert content.read_bytes() == f"Note 0: {WORDS[0]}.".encode()
    text = json.loads((taken / "text" / note["document_id"][-2:] / f"{note['document_id']}.json").read_text())
    assert text["text"].strip() == f"Note 0: {WORDS[0]}."
    assert note["metadata"] == {"number": 0}
    assert by_key["empty.txt"]["error"]["code"] == "empty"

    (generation,) = json.loads((taken / "generations.json").read_text())
    chunks = pq.read_table(taken / "chunks" / generation["generation"] / "000001.parquet").to_pylist()
    assert {chunk["document_id"] for chunk in chunks} == {
        line["document_id"] for line in lines if line["status"] == "ready"
    }
    assert {len(chunk["vector"]) for chunk in chunks} == {generation["dimension"]}

    tenant = json.loads((taken / "tenant.json").read_text())
    assert (tenant["name"], tenant["email"]) == ("Acme", "office@acme.example")
    usage = [json.loads(line) for line in (taken / "usage.jsonl").read_text().splitlines()]
    assert {row["tenant_id"] for row in usage} == {houses.tenant_id}
    trail = [json.loads(line) for line in (taken / "audit.jsonl").read_text().splitlines()]
    assert {"tenant.create", "tenant.export"} <= {entry["action"] for entry in trail}


def test_what_is_loaded_elsewhere_is_found_the_same_and_not_paid_again(
    houses: TwoHouses, taken: Path, tmp_path: Path, here: Command
) -> None:
    there = found(houses.there.url, houses.key)
    paid = len(houses.provider.texts)
    keys, ids = tmp_path / "keys.jsonl", tmp_path / "ids.jsonl"

    done = here("tenant", "load", taken, "--keys", keys, "--ids", ids, "--json", **operator(houses.here))

    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert (said["loaded"], said["unchanged"], said["failed"]) == (len(WORDS) + 2, 0, 0)
    assert houses.provider.texts[paid:] == [], "no vector was asked for again"
    key = json.loads(keys.read_text())["api_key"]
    assert found(houses.here.url, key) == there
    with S4Client(houses.here.url, api_key=key) as s4, S4Client(houses.there.url, api_key=houses.key) as before:
        came = {each.filename: each for each in s4.iter_documents()}
        was = {each.filename: each for each in before.iter_documents()}
        assert {
            name: (each.key, each.sha256, each.metadata, each.uploaded_at, each.status) for name, each in came.items()
        } == {name: (each.key, each.sha256, each.metadata, each.uploaded_at, each.status) for name, each in was.items()}
    said_ids = {
        line["source_document_id"]: line["document_id"] for line in map(json.loads, ids.read_text().splitlines())
    }
    assert said_ids[was["loose.txt"].document_id] == came["loose.txt"].document_id

    again = here("tenant", "load", taken, "--keys", keys, "--json", **operator(houses.here))

    said = json.loads(again.out)
    assert (said["tenant_id"], said["loaded"], said["unchanged"]) == (said["tenant_id"], 0, len(WORDS) + 2)
    assert said["documents"] == len(WORDS) + 2, "nothing is there twice"


def test_an_interrupted_export_is_none_and_goes_on_where_it_stopped(
    houses: TwoHouses, taken: Path, tmp_path: Path, here: Command
) -> None:
    begun = tmp_path / "begun"
    shutil.copytree(taken, begun)
    manifest = json.loads((begun / "manifest.json").read_text())
    for name in ("manifest.json", "files.jsonl", "documents/000001.jsonl"):
        (begun / name).unlink()
    (begun / "export.journal").write_text(
        json.dumps({"kind": "begun", "tenant_id": houses.tenant_id, "at": manifest["begun_at"]})
        + '\n{"kind":"documents","part":1,"thr'
    )
    kept = next(path for path in (begun / "content").rglob("doc_*"))
    (damaged,) = [path for path in (begun / "content").rglob("doc_*") if b"pump" in path.read_bytes()]
    damaged.write_bytes(b"cut")
    stamp = kept.stat().st_ino if kept != damaged else None

    refused = here("tenant", "load", begun, "--keys", tmp_path / "keys", **operator(houses.here))
    assert (refused.code, "is no export" in refused.err) == (2, True)
    done = here("tenant", "export", houses.tenant_id, "--to", begun, "--json", **operator(houses.there))

    assert done.code == 0, done.err
    assert json.loads((begun / "manifest.json").read_text())["begun_at"] == manifest["begun_at"]
    assert b"pump" in damaged.read_bytes()
    assert stamp in (None, kept.stat().st_ino), "what was whole is not fetched again"
    assert not (begun / "export.journal").exists()
    refused = here("tenant", "export", houses.tenant_id, "--to", begun, **operator(houses.there))
    assert (refused.code, "holds a whole export already" in refused.err) == (2, True)


def test_an_export_in_several_parts_goes_on_after_the_last_whole_one(
    houses: TwoHouses, tmp_path: Path, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PART_DOCUMENTS", 2)
    folder, whole = tmp_path / "parts", export.Export._part
    asked = []

    def part(self: export.Export, number: int, *rest: Any) -> dict[str, Any]:
        asked.append(number)
        if asked == [1, 2]:
            raise KeyboardInterrupt
        return whole(self, number, *rest)

    monkeypatch.setattr(export.Export, "_part", part)
    arguments = ("tenant", "export", houses.tenant_id, "--to", folder)
    interrupted = here(*arguments, **operator(houses.there))
    assert (interrupted.code, (folder / "manifest.json").exists()) == (130, False)

    done = here(*arguments, **operator(houses.there))

    assert done.code == 0, done.err
    assert asked == [1, 2, 2, 3], "the first part is not asked for again"
    assert json.loads((folder / "manifest.json").read_text())["parts"] == 3
    keys = tmp_path / "keys"
    loaded = here(
        "tenant",
        "load",
        folder,
        "--keys",
        keys,
        "--external-id",
        "parts",
        "--no-wait",
        "--json",
        **operator(houses.here),
    )
    assert json.loads(loaded.out)["loaded"] == len(WORDS) + 2


def test_a_changed_byte_is_refused_where_it_comes_in(
    houses: TwoHouses, taken: Path, tmp_path: Path, here: Command
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(taken, changed)
    (path,) = [path for path in (changed / "content").rglob("doc_*") if b"bread" in path.read_bytes()]
    path.write_bytes(path.read_bytes().replace(b"bread", b"broad"))

    done = here(
        "tenant",
        "load",
        changed,
        "--keys",
        tmp_path / "keys",
        "--external-id",
        "changed",
        "--json",
        **operator(houses.here),
    )

    assert done.code == 1
    said = json.loads(done.out)
    assert (said["loaded"], said["failed"]) == (len(WORDS) + 1, 1)
    assert [problem["document_id"] for problem in said["problems"]] == [path.name]
    listed = changed / "documents/000001.jsonl"
    listed.write_text(listed.read_text().replace("notes/0.txt", "notes/9.txt"))
    done = here("tenant", "load", changed, "--keys", tmp_path / "keys", **operator(houses.here))
    assert (done.code, "is not what the manifest says" in done.err) == (2, True)


def test_who_only_looks_takes_nothing_away(houses: TwoHouses) -> None:
    with S4AdminClient(houses.there.url, api_key=ADMIN_KEY) as admin:
        key = admin.create_administrator(f"auditor-{time.monotonic_ns()}", "auditor").api_key
        with pytest.raises(NotFound):
            admin.describe_export("ten_" + "a" * 26)
    with S4AdminClient(houses.there.url, api_key=key) as auditor, pytest.raises(Forbidden):
        auditor.export_documents(houses.tenant_id)
