"""A backup's own formats: golden files of format 1, and what retention keeps."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard

from s4.domains.backup.model import (
    Counts,
    Entry,
    Manifest,
    Part,
    Retention,
    Sample,
    Work,
    backup_id,
    entries_of,
    lines,
    point_of,
    samples_of,
)
from s4.kernel.errors import DataCorrupt, InvalidRequest
from s4.kernel.keys import ObjectKey

GOLDEN = Path(__file__).parent / "golden"
POINT = datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)
MANIFEST = Manifest(
    backup_id="20260131T120000Z",
    point=POINT,
    epoch="epoch",
    version="0.1.0",
    encrypted_under=None,
    secret_key_id="01234567",
    parts=(Part(1, 2, "ab" * 32, "system/a"),),
    counts=Counts(1, 2, 3, 4, 5),
    samples=Part(0, 1, "cd" * 32, ""),
    lacking=("tenants/x",),
    work=Work(1.5, 2, 3, 4),
)
ENTRIES = [
    Entry(ObjectKey("system/a"), 5, f"sha256:{'ab' * 32}", "cd" * 32, 0, '"etag"', "2026-01-31T12:00:00.000000Z"),
    Entry(ObjectKey("tenants/ä"), 7, f"md5:{'ab' * 16}", "cd" * 32, 5, None, "2026-01-31T12:00:00.000000Z"),
]


def test_what_this_release_writes_is_what_format_1_was() -> None:
    assert MANIFEST.to_bytes() == (GOLDEN / "backup-manifest-1.json").read_bytes()
    assert lines(ENTRIES) == (GOLDEN / "backup-entries-1.jsonl").read_bytes()


def test_format_1_is_read() -> None:
    assert Manifest.from_bytes((GOLDEN / "backup-manifest-1.json").read_bytes()) == MANIFEST
    assert list(entries_of((GOLDEN / "backup-entries-1.jsonl").read_bytes())) == ENTRIES


def test_lists_and_samples_of_format_1_are_read_as_they_lie_in_the_place() -> None:
    def unpacked(name: str) -> bytes:
        return zstandard.ZstdDecompressor().decompress((GOLDEN / name).read_bytes())

    assert list(entries_of(unpacked("backup-list-1.jsonl.zst"))) == ENTRIES
    assert list(samples_of(unpacked("backup-samples-1.jsonl.zst"))) == [Sample("ten_a", "doc_ä", "tides follow")]


def test_a_manifest_of_tomorrow_is_refused_with_its_number() -> None:
    with pytest.raises(DataCorrupt, match="has format 99"):
        Manifest.from_bytes(MANIFEST.to_bytes().replace(b'"format": 1', b'"format": 99'))


def test_a_manifest_of_which_any_character_was_changed_is_told_from_a_sound_one() -> None:
    data = MANIFEST.to_bytes()
    for place in range(0, len(data), 7):
        if data[place : place + 1].isspace():
            continue  # means nothing in JSON
        with pytest.raises(DataCorrupt):
            Manifest.from_bytes(data[:place] + b"~" + data[place + 1 :])
    with pytest.raises(DataCorrupt):
        Manifest.from_bytes(data[:-5])


def test_a_backup_is_named_by_its_second() -> None:
    assert backup_id(POINT) == "20260131T120000Z"
    assert point_of("20260131T120000Z") == POINT.replace(microsecond=0)
    with pytest.raises(InvalidRequest):
        point_of("yesterday")


@pytest.mark.parametrize(
    ("ages_days", "count_min", "gone"),
    [
        ([1, 10, 40, 50], 1, [40, 50]),
        ([1, 10, 40, 50], 3, [50]),
        ([40, 50], 1, [50]),
        ([40], 0, []),
        ([], 3, []),
    ],
)
def test_what_is_old_goes_if_enough_newer_ones_stay(ages_days: list[int], count_min: int, gone: list[int]) -> None:
    points = [POINT - timedelta(days=age) for age in ages_days]
    expired = Retention(timedelta(days=30), count_min).expired(points, POINT)
    assert sorted((POINT - point).days for point in expired) == gone


def test_lists_hold_any_key() -> None:
    """Also of what somebody else put below a tenant's part of the bucket."""
    entry = Entry(ObjectKey("tenants/ten_a/one\u2028two\u0085"), 3, f"sha256:{'0' * 64}", "data", 0, None, "")
    assert list(entries_of(lines([entry, entry]))) == [entry, entry]


def test_samples_hold_any_text() -> None:
    """What else than a line feed ends a line, stands in documents."""
    sample = Sample("ten_a", "doc_a", "one\u2028two\u0085three")
    written = json.dumps(asdict(sample), ensure_ascii=False) + "\n"
    assert list(samples_of(written.encode() * 2)) == [sample, sample]
