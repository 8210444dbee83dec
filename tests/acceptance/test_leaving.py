"""A tenant leaves one S4 and comes into another: nothing is lost, nothing is paid twice, searches find the same."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from s4.entrypoints.cli.leaving import export
from s4client import Forbidden, NotFound, S4AdminClient, S4Client
from tests.acceptance.conftest import Command
from tests.factories.command_line import started_s4
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.factories.provider import CountingProvider, counting_provider

pytestmark = pytest.mark.processes

PROVIDER = {name: value for name, value in FAST.items() if name != "S4_EMBEDDING_PROVIDER"}
WORDS = ("tides follow the moon", "glaciers grind the valley", "bread needs salt and patience", "the pump was repaired")
GOLDEN = Path(__file__).parents[1] / "golden/export-1"
"""An export of version 1, as the release wrote it that did not know of version 2."""
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
        json.dumps({"kind": "begun", "tenant_id": houses.tenant_id, "format_version": 2, "at": manifest["begun_at"]})
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


@dataclass
class Customer:
    """A tenant of its own where it leaves, with four documents."""

    tenant_id: str
    key: str
    s4: S4Client


@pytest.fixture
def customer(houses: TwoHouses) -> Iterator[Customer]:
    with S4AdminClient(houses.there.url, api_key=ADMIN_KEY) as admin:
        made = admin.create_tenant("Customer")
    with S4Client(houses.there.url, api_key=made.api_key) as s4:
        for name, words in zip("abcd", WORDS, strict=True):
            s4.put_by_key(f"{name}.txt", f"{name}, first: {words}.".encode())
        s4.wait_all([*s4.iter_documents()])
        yield Customer(made.id, made.api_key, s4)


def exported(here: Command, houses: TwoHouses, tenant_id: str, to: Path) -> Path:
    done = here("tenant", "export", tenant_id, "--to", to, "--json", **operator(houses.there))
    assert done.code == 0, done.err
    return to


def loaded(here: Command, houses: TwoHouses, folder: Path, *more: str | Path) -> tuple[int, dict[str, Any]]:
    done = here("tenant", "load", folder, *more, "--json", **operator(houses.here))
    return done.code, json.loads(done.out) if done.out else {"error": done.err}


def names_found(url: str, key: str) -> list[set[str]]:
    """Without scores: where a document has left the index, its words still count for a while."""
    return [{each["filename"] for each in answer} for answer in found(url, key)]


def test_holds_days_and_the_archive_come_along(
    houses: TwoHouses, customer: Customer, tmp_path: Path, here: Command
) -> None:
    tenant_id, s4 = customer.tenant_id, customer.s4
    held, cold, *_ = sorted(s4.iter_documents(), key=lambda each: each.filename)
    s4.archive(cold.document_id)
    with S4AdminClient(houses.there.url, api_key=ADMIN_KEY) as admin:
        admin.hold_document(tenant_id, held.document_id, "Case 7")
        admin.hold_tenant(tenant_id, "Case 8")
        admin.set_keeping(tenant_id, retention_days=0, archive_after_days=90)
    there = names_found(houses.there.url, customer.key)
    folder, keys = exported(here, houses, tenant_id, tmp_path / "export"), tmp_path / "keys"

    code, said = loaded(here, houses, folder, "--keys", keys)

    assert (code, said["loaded"]) == (0, 4)
    with S4AdminClient(houses.here.url, api_key=ADMIN_KEY) as admin:
        tenant = admin.get_tenant(said["tenant_id"])
        assert tenant.keeping is not None
        assert (tenant.keeping.retention_days, tenant.keeping.archive_after_days) == (0, 90)
        assert tenant.legal_hold is not None
        assert tenant.legal_hold.reason == "Case 8"
        (placed,) = admin.iter_holds(tenant_id=tenant.id)
        assert (placed.key, placed.holds["operator"].reason) == ("a.txt", "Case 7")
        other = admin.create_tenant("Has documents already")
    key = json.loads(keys.read_text())["api_key"]
    with S4Client(houses.here.url, api_key=key) as came:
        assert {each.filename: each.status for each in came.iter_documents()}["b.txt"] == "archived"
    assert names_found(houses.here.url, key) == there

    with S4Client(houses.here.url, api_key=other.api_key) as its_own:
        its_own.put_by_key("z.txt", b"Its own.")
    code, _ = loaded(here, houses, folder, "--tenant", other.id)
    assert code == 0
    with S4AdminClient(houses.here.url, api_key=ADMIN_KEY) as admin:
        tenant = admin.get_tenant(other.id)
        assert (tenant.legal_hold, tenant.keeping and tenant.keeping.retention_days) == (None, None), "are its own"
        reasons = {each.key: each.holds["operator"].reason for each in admin.iter_holds(tenant_id=other.id)}
    assert reasons == {"a.txt": "Case 7", "b.txt": "Case 8", "c.txt": "Case 8", "d.txt": "Case 8"}


def test_loading_again_brings_back_nothing_that_the_customer_changed(
    houses: TwoHouses, customer: Customer, tmp_path: Path, here: Command
) -> None:
    folder, keys = exported(here, houses, customer.tenant_id, tmp_path / "export"), tmp_path / "keys"
    assert loaded(here, houses, folder, "--keys", keys)[0] == 0
    with S4Client(houses.here.url, api_key=json.loads(keys.read_text())["api_key"]) as s4:
        s4.put_by_key("a.txt", b"Written here.")
        s4.delete_by_key("b.txt")

        code, said = loaded(here, houses, folder, "--keys", keys)

        assert (code, said["loaded"], said["left"], said["unchanged"]) == (1, 0, 2, 2)
        assert len(said["problems"]) == 2
        names = {each.filename: each.sha256 for each in s4.iter_documents()}
        assert sorted(names) == ["a.txt", "c.txt", "d.txt"]
        assert names["a.txt"] == hashlib.sha256(b"Written here.").hexdigest()

        code, said = loaded(here, houses, folder, "--keys", keys, "--replace")

        assert (code, said["loaded"], said["left"]) == (0, 2, 0)
        assert sorted(each.filename for each in s4.iter_documents()) == ["a.txt", "b.txt", "c.txt", "d.txt"]


def test_an_export_while_documents_are_replaced_and_deleted_is_of_one_state_each(
    houses: TwoHouses,
    customer: Customer,
    tmp_path: Path,
    here: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenant_id, s4 = customer.tenant_id, customer.s4
    documents = sorted(s4.iter_documents(), key=lambda each: each.document_id)
    whole = export.Export._document

    def interrupted(self: export.Export, document: Any) -> Any:
        """The first is taken; then somebody changes all of them."""
        taken = whole(self, document)
        if document.document_id == documents[0].document_id and not changed:
            changed.append(document.document_id)
            texts = {each.filename: f"{each.filename}, second: the moon again." for each in documents[:3]}
            put = [s4.put_by_key(name, text.encode()) for name, text in texts.items()]
            s4.delete(documents[3].document_id)
            s4.wait_all(put)
        return taken

    changed: list[str] = []
    monkeypatch.setattr(export.Export, "_document", interrupted)
    to = tmp_path / "export"
    done = here("tenant", "export", tenant_id, "--to", to, "--parallel", "1", "--json", **operator(houses.there))

    assert (done.code, json.loads(done.out)["problems"], len(changed)) == (0, [], 1)
    lines = [json.loads(line) for line in (to / "documents/000001.jsonl").read_text().splitlines()]
    assert {line["document_id"] for line in lines} == {each.document_id for each in documents[:3]}
    (chunks,) = [pq.read_table(path).to_pylist() for path in (to / "chunks").rglob("*.parquet")]
    assert {chunk["document_id"]: chunk["revision"] for chunk in chunks} == {
        line["document_id"]: next(iter(line["searchable"].values())) for line in lines
    }
    for line in lines:
        below = Path(line["document_id"][-2:])
        content = (to / "content" / below / line["document_id"]).read_bytes()
        text = json.loads((to / "text" / below / f"{line['document_id']}.json").read_text())["text"]
        (chunk,) = [each["text"] for each in chunks if each["document_id"] == line["document_id"]]
        assert hashlib.sha256(content).hexdigest() == line["sha256"]
        assert content.decode().strip() == text.strip() == chunk.strip()
    listed = {json.loads(line)["path"] for line in (to / "files.jsonl").read_text().splitlines()}
    assert not [each for each in listed if documents[3].document_id in each]


def test_a_text_that_is_lost_is_a_problem_with_a_name(
    houses: TwoHouses, customer: Customer, tmp_path: Path, here: Command
) -> None:
    tenant_id, s4 = customer.tenant_id, customer.s4
    lost = next(iter(s4.iter_documents())).document_id
    for path in (houses.there.data_dir / "objects/tenants" / tenant_id / "documents" / lost).rglob("text/*"):
        path.unlink()
    done = here("tenant", "export", tenant_id, "--to", tmp_path / "export", "--json", **operator(houses.there))
    assert (done.code, [each["document_id"] for each in json.loads(done.out)["problems"]]) == (1, [lost])


def test_vectors_that_are_damaged_are_a_problem_of_the_file_that_lacks_them(
    houses: TwoHouses, customer: Customer, tmp_path: Path, here: Command
) -> None:
    groups = [
        path
        for path in (houses.there.data_dir / "objects/indices" / customer.tenant_id / "embeddings").rglob("*")
        if path.is_file()
    ]
    damaged, *_ = sorted(groups)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    done = here("tenant", "export", customer.tenant_id, "--to", tmp_path / "export", "--json", **operator(houses.there))
    name = damaged.relative_to(damaged.parents[2]).parent.as_posix() + ".parquet"
    (problem,) = json.loads(done.out)["problems"]
    assert (done.code, problem["file"]) == (1, f"embeddings/{name}")
    assert "damaged, and not here: 1." in problem["message"]
    rows = pq.read_table(tmp_path / "export" / problem["file"]).to_pylist()
    assert damaged.name not in {row["group_hash"] for row in rows}
    code, said = loaded(here, houses, tmp_path / "export", "--keys", tmp_path / "keys")
    assert (code, said["loaded"]) == (0, 4), "what is lacking is made again"


def test_an_export_that_goes_on_keeps_nothing_that_it_does_not_name(
    houses: TwoHouses,
    customer: Customer,
    tmp_path: Path,
    here: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenant_id, s4 = customer.tenant_id, customer.s4
    to = tmp_path / "export"

    whole = export.Export._part

    def cut(self: export.Export, *part: Any) -> Any:
        whole(self, *part)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export.Export, "_part", cut)
        assert here("tenant", "export", tenant_id, "--to", to, **operator(houses.there)).code == 130
    gone = next(iter(s4.iter_documents())).document_id
    assert [*to.rglob(f"{gone}*")], "its bytes were taken"
    s4.delete(gone)
    (to / "content/aa").mkdir(exist_ok=True)
    (to / "content/aa/.doc_a.0123abcd.part").write_bytes(b"cut")
    (to / "notes.txt").write_text("of whoever exports")

    exported(here, houses, tenant_id, to)

    listed = {json.loads(line)["path"] for line in (to / "files.jsonl").read_text().splitlines()}
    on_disk = {path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file()}
    assert on_disk - {"manifest.json", "files.jsonl"} == listed | {"notes.txt"}


@pytest.mark.parametrize("name", ["tenant.json", "documents/000001.jsonl"])
def test_nothing_is_made_of_an_export_that_was_changed(
    name: str, houses: TwoHouses, taken: Path, tmp_path: Path, here: Command
) -> None:
    changed, keys = tmp_path / "changed", tmp_path / "keys"
    shutil.copytree(taken, changed)
    (changed / name).write_text((changed / name).read_text().replace("Acme", "Mallory").replace("notes/0", "notes/9"))
    done = here("tenant", "load", changed, "--keys", keys, "--external-id", name, **operator(houses.here))
    assert (done.code, f"{name} is not what the manifest says" in done.err) == (2, True)
    assert not keys.exists()
    with S4AdminClient(houses.here.url, api_key=ADMIN_KEY) as admin:
        assert name not in {each.external_id for each in admin.iter_tenants()}


def test_changed_and_missing_vectors_are_named_and_made_again(
    houses: TwoHouses, taken: Path, tmp_path: Path, here: Command
) -> None:
    changed, keys = tmp_path / "changed", tmp_path / "keys"
    shutil.copytree(taken, changed)
    first, *others = sorted((changed / "embeddings").rglob("*.parquet"))
    table = pq.read_table(first)
    negated = pa.array([[-value for value in row] for row in table["vector"].to_pylist()], table["vector"].type)
    pq.write_table(table.set_column(table.schema.get_field_index("vector"), "vector", negated), first)
    others[0].unlink()

    code, said = loaded(here, houses, changed, "--keys", keys, "--external-id", "vectors")

    assert (code, said["loaded"], said["failed"]) == (1, len(WORDS) + 2, 0)
    assert {each["file"] for each in said["problems"]} == {
        path.relative_to(changed).as_posix() for path in (first, others[0])
    }
    assert found(houses.here.url, json.loads(keys.read_text())["api_key"]) == found(houses.there.url, houses.key)


def test_an_export_of_the_first_version_is_read(houses: TwoHouses, tmp_path: Path, here: Command) -> None:
    keys = tmp_path / "keys"
    code, said = loaded(here, houses, GOLDEN, "--keys", keys)
    assert (code, said["loaded"]) == (0, 2)
    with S4Client(houses.here.url, api_key=json.loads(keys.read_text())["api_key"]) as s4:
        names = {each.filename: each.metadata for each in s4.iter_documents()}
    assert names == {"tides.txt": {"year": 2026}, "loose.txt": {}}
    with S4AdminClient(houses.here.url, api_key=ADMIN_KEY) as admin:
        keeping = admin.get_tenant(said["tenant_id"]).keeping
    assert keeping is not None
    assert keeping.retention_days == 3650
