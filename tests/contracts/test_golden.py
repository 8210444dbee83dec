"""What earlier releases stored is read by this one, and what this one stores could be read by them."""

import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from s4.domains.indexing.model_memory import BucketModelMemory
from s4.domains.usage.ledger import EVERYBODY, Grain
from s4.domains.usage.rollups import RollUps, rollup_key
from s4.engine.embedding.known import KnownModel
from s4.entrypoints.configuration import read_configuration
from s4.entrypoints.connections import explained
from s4.entrypoints.upgrade import FORMATS, check, read_stored
from s4.entrypoints.upgrade.formats import BACKUPS, format_of, read_object
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt
from s4.kernel.ids import TenantId
from s4.kernel.keys import KeyKind
from s4.kernel.settings import Settings
from s4.platform.objects import ObjectStore, StoreFault, StoreUnavailable, open_store
from tests.factories.catalog import open_catalog, sqlite_url
from tests.factories.house import open_house
from tests.golden import make

GOLDEN = Path(make.__file__).parent
RELEASES = sorted(path.name.removesuffix(".tar.zst") for path in GOLDEN.glob("*.tar.zst"))
OLDEST = "0.1"
ALONE = GOLDEN.parent / "unit" / "golden"
ABSENT = {"0.1": {"embedding model", "rolled-up use"} | {each.name for each in BACKUPS}}
"""What the deployment of a release has nothing of: a model of a provider is remembered where there is one; use was not
rolled up yet, and nothing backed up. Of those `ALONE` keeps each format."""
TENANT = TenantId("ten_" + "a" * 26)
MONTH = "2026-01"
"""Of the use that is kept."""


@pytest.fixture
async def memory_store() -> AsyncIterator[ObjectStore]:
    store = open_store(Settings(store_url="memory://"))
    yield store
    await store.aclose()


def objects(folder: Path) -> Iterator[tuple[str, bytes]]:
    root = folder / "objects"
    for path in sorted(root.rglob("*")):
        if path.is_file():
            yield path.relative_to(root).as_posix(), path.read_bytes()


def test_no_golden_file_is_ever_made_anew() -> None:
    said = dict(line.split("  ")[::-1] for line in (GOLDEN / "SHA256SUMS").read_text().splitlines())
    there = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in GOLDEN.iterdir()
        if path.suffix in (".json", ".zst")
    }
    assert there == said, "a new release adds files; those of others stay as they are"


@pytest.mark.parametrize("release", RELEASES)
def test_this_release_reads_every_object_of_an_earlier_one(release: str, tmp_path: Path) -> None:
    make.unpacked(release, tmp_path)
    read = {found.name for key, data in objects(tmp_path) if (found := read_stored(key, data)) is not None}
    assert read >= {each.name for each in FORMATS} - ABSENT[release]


@pytest.mark.parametrize("release", RELEASES)
def test_what_a_release_had_nothing_of_is_kept_alone(release: str) -> None:
    kept = {path.name.partition(".")[0] for path in ALONE.iterdir()}
    absent = [each for each in FORMATS if each.name in ABSENT[release]]
    needed = {f"{each.name.replace(' ', '-')}-{version}" for each in absent for version in each.reads}
    assert kept >= needed


@pytest.mark.parametrize(
    ("key", "name", "golden"),
    [
        ("backups/20260131T120000Z/manifest.json", "backup manifest", "backup-manifest-1.json"),
        ("backups/20260131T120000Z/parts/000001.jsonl.zst", "backup list", "backup-list-1.jsonl.zst"),
        ("backups/20260131T120000Z/parts/000001.jsonl.zst", "backup list", "encrypted-object-1.bin"),
        ("backups/20260131T120000Z/parts/000000.jsonl.zst", "backup samples", "backup-samples-1.jsonl.zst"),
        (f"backups/erased/{TENANT}.json", "note of an erasure", "note-of-an-erasure-1.json"),
        ("system/restoring.json", "deployment", "restoring-1.json"),
        ("system/embedding-models/model.json", "embedding model", "embedding-model-1.json"),
        (f"tenants/{TENANT}/usage/{MONTH}.json", "rolled-up use", "rolled-up-use-1.json"),
        (f"system/usage/{MONTH}.json", "rolled-up use", "rolled-up-use-1-everybody.json"),
    ],
)
def test_what_is_kept_alone_is_read_by_the_check_of_an_upgrade_which_tells_what_it_cannot_read(
    key: str, name: str, golden: str
) -> None:
    data = (ALONE / golden).read_bytes()
    found = read_stored(key, data)
    assert found is not None
    assert found.name == name
    cut = data[:20] if data.startswith(b"S4V1") else data[:-9]
    for other in (cut, data.replace(b'"format": 1', b'"format": 99').replace(b"S4V1", b"S4V2")):
        if other != data:
            with pytest.raises(DataCorrupt):
                read_stored(key, other)


async def test_a_model_of_format_1_is_known_again_and_would_be_remembered_so(memory_store: ObjectStore) -> None:
    golden = (ALONE / "embedding-model-1.json").read_bytes()
    memory, known = BucketModelMemory(memory_store), KnownModel(np.array([0.6, 0.0, -0.8], dtype=np.float32))
    await memory.save("written", known)
    assert await memory_store.get(keys.embedding_model("written")) == golden
    await memory_store.put(keys.embedding_model("read"), golden)
    found = await memory.load("read")
    assert found is not None
    assert found.canary.tolist() == known.canary.tolist()


async def test_use_of_format_1_comes_back_and_would_be_rolled_up_so(tmp_path: Path, memory_store: ObjectStore) -> None:
    """As if it were of this month: others are not rolled up any more."""
    month = Grain.MONTH.floor(datetime.now(UTC))
    goldens = {TENANT: "rolled-up-use-1.json", EVERYBODY: "rolled-up-use-1-everybody.json"}
    kept = {
        rollup_key(owner, month): (ALONE / name).read_text(encoding="utf-8").replace(MONTH, f"{month:%Y-%m}").encode()
        for owner, name in goldens.items()
    }
    for key, data in kept.items():
        await memory_store.put(key, data)

    async def is_gone(_: TenantId) -> bool:
        return False

    database = open_catalog(sqlite_url(tmp_path))
    try:
        rollups = RollUps(database, memory_store, every=timedelta(hours=1), is_gone=is_gone)
        assert await rollups.restore([TENANT]) == 2
        for key in kept:
            await memory_store.delete([key])
        assert await rollups.run() == 2
    finally:
        await database.aclose()
    for key, data in kept.items():
        written, golden = json.loads(await memory_store.get(key)), json.loads(data)
        assert list(written) == list(golden)
        assert written | {"as_of": None} == golden | {"as_of": None}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("catalog", ["kept", "lost"])
async def test_an_earlier_release_is_taken_over_with_its_catalog_and_without(
    release: str, catalog: str, tmp_path: Path
) -> None:
    said = make.unpacked(release, tmp_path)
    if catalog == "lost":
        for path in tmp_path.glob("catalog.sqlite*"):
            path.unlink()
    async with open_house(tmp_path, **make.SETTINGS) as house:
        await house.work()
        found = await make.known(house, await house.known(said["key"]))
        assert json.loads(json.dumps(found)) == said
        acme = await house.known(said["key"])
        later = await house.put(acme, "later", "Written by this release, of the moon.")
        await house.work()
        assert set(await house.found(acme, "moon")) == {later.document_id, *said["found"]["moon"]}


def shape(value: Any) -> Any:
    """Names of fields and kinds of values, as far as a reader depends on them."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None if value is None else type(value).__name__


def shapes(folder: Path) -> dict[tuple[str, str], list[Any]]:
    """Of everything that is JSON, by its format and the state that it says."""
    found: dict[tuple[str, str], list[Any]] = {}
    for key, data in objects(folder):
        known, parsed = format_of(key), keys.parse(key)
        if known is None or parsed is None or known.name == "vectors":
            continue
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=1 << 30) if key.endswith(".zst") else data
        said = json.loads(raw)
        of = key.split("/")[1] if parsed.kind is KeyKind.SYSTEM else parsed.kind.value
        found.setdefault((of, str(said.get("state", ""))), []).append(shape(said))
    return found


async def test_the_way_back_is_open_for_who_uses_nothing_new(tmp_path: Path) -> None:
    """The same acts lead to objects of the same fields, so that the release before reads them. What is new must be new
    fields, there for those who use it, and never instead of old ones."""
    make.unpacked(OLDEST, tmp_path / "old")
    async with open_house(tmp_path / "new", **make.SETTINGS) as house:
        await make.live(house)
    old, new = shapes(tmp_path / "old"), shapes(tmp_path / "new")
    for of, known in old.items():
        if of[0] == "audit":
            continue  # sealed apart, and its reader takes the fields that it knows by name
        for each in new[of]:
            assert each in known, f"{of} has a shape that release {OLDEST} did not write"


def test_a_format_of_tomorrow_is_refused_with_its_number(tmp_path: Path) -> None:
    make.unpacked(OLDEST, tmp_path)
    seen = set()
    for key, data in objects(tmp_path):
        known = format_of(key)
        if known is None or known.name in seen:
            continue
        seen.add(known.name)
        with pytest.raises(DataCorrupt, match="format"):
            read_stored(key, of_tomorrow(key, data))
    assert seen >= {each.name for each in FORMATS} - ABSENT[OLDEST]


def of_tomorrow(key: str, data: bytes) -> bytes:
    """The same with another number."""
    if data.startswith(b"S4EV"):
        return data[:4] + (99).to_bytes(2, "little") + data[6:]
    packed = key.endswith(".zst")
    raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=1 << 30) if packed else data
    changed = json.dumps(json.loads(raw) | {"format": 99}).encode()
    return zstandard.ZstdCompressor().compress(changed) if packed else changed


@pytest.mark.parametrize("odd", [5, [5], None, True, {"a": 1}])
async def test_whatever_stands_in_a_head_the_check_of_an_upgrade_names_it(odd: Any) -> None:
    key = keys.ObjectKey("system/admins/ada/head/000000000001.json")
    head = {"format": 1, "kind": "admins", "tenant_id": "", "id": "ada", "revision": 1, "state": "live", "body": {}}
    head |= {"commit_id": "com_1", "committed_at": "2026-01-01T00:00:00Z"}
    assert read_object(key, json.dumps(head).encode()) is None
    for name in ("kind", "tenant_id", "id"):
        assert "admins/ada" in (read_object(key, json.dumps(head | {name: odd}).encode()) or "")


async def test_the_check_says_what_is_away_or_damaged_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.unpacked(OLDEST, tmp_path)
    configured = read_configuration(data_dir=tmp_path, embedding_provider="deterministic")
    (tmp_path / "catalog.sqlite").write_bytes(b"no database\n" * 1000)

    def away(_: object, *_args: object) -> Any:
        raise StoreUnavailable(StoreFault.TIMEOUT)

    for act in ("get", "list"):
        with monkeypatch.context() as patched:
            patched.setattr(ObjectStore, act, away)
            report = await check(configured)
        said = {each.name: (each.verdict.value, each.message) for each in report.checks}
        assert report.exit_code == 2
        assert said["formats"] == ("unknown", explained(StoreUnavailable(StoreFault.TIMEOUT)))
        assert "damaged" in said["schema"][1]
        assert "s4 rebuild" in said["schema"][1]


async def test_the_check_tells_what_an_upgrade_would_meet_and_changes_nothing(tmp_path: Path) -> None:
    make.unpacked(OLDEST, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "catalog" not in path.name}
    configured = read_configuration(data_dir=tmp_path, embedding_provider="deterministic")

    report = await check(configured)
    said = {each.name: (each.verdict.value, each.message) for each in report.checks}
    assert report.exit_code == 0, said
    assert "steps are to be run" in said["schema"][1]
    assert said["formats"][0] == said["index"][0] == "ok"
    assert "deployment" in said["formats"][1]
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "catalog" not in path.name}
    assert after == before

    head = next(path for path in (tmp_path / "objects" / "tenants").rglob("*.json"))
    head.write_bytes(of_tomorrow(head.name, head.read_bytes()))
    (tmp_path / "objects" / "system" / "tomorrow.json").write_text("{}")
    report = await check(configured, every_object=True)
    (formats,) = [each for each in report.checks if each.name == "formats"]
    assert (report.exit_code, formats.verdict.value) == (1, "failed")
    assert "has format 99" in formats.message

    # Of backups, wherever they lie: not its sums alone, which a newer release may take in another way.
    later = {"manifest": {"format": 99}, "sha256": ""}
    elsewhere = (tmp_path / "elsewhere").as_uri()
    for place, url, name in (("objects", None, "formats"), ("elsewhere", elsewhere, "backups")):
        manifest = tmp_path / place / "backups/20260131T120000Z/manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text(json.dumps(later))
        backed_up = read_configuration(data_dir=tmp_path, embedding_provider="deterministic", backup_url=url)
        (found,) = [each for each in (await check(backed_up)).checks if each.name == name]
        assert "20260131T120000Z/manifest.json: A backup has format 99" in found.message
        assert found.verdict.value == "failed"

    shutil.rmtree(tmp_path / "objects")
    other = read_configuration(data_dir=tmp_path, embedding_provider="deterministic", chunk_tokens_max=128)
    (index,) = [each for each in (await check(other)).checks if each.name == "index"]
    assert index.verdict.value == "warning", index.message
