"""What earlier releases stored is read by this one, and what this one stores could be read by them."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from s4.entrypoints.configuration import read_configuration
from s4.entrypoints.upgrade import FORMATS, check, read_stored
from s4.entrypoints.upgrade.formats import BACKUPS, format_of
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt
from s4.kernel.keys import KeyKind
from tests.factories.house import open_house
from tests.golden import make

GOLDEN = Path(make.__file__).parent
RELEASES = sorted(path.name.removesuffix(".tar.zst") for path in GOLDEN.glob("*.tar.zst"))
OLDEST = "0.1"
ABSENT = {"0.1": {"embedding model", "rolled-up use"} | {each.name for each in BACKUPS}}
"""What a release kept nothing of: a model of a provider is remembered where there is one; use was not rolled up yet,
and nothing backed up. Of what is in backups, `tests/unit/golden` keeps each format."""


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
