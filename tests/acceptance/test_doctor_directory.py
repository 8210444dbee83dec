"""`s4 doctor store` on a directory: what is wrong with it is named, and nothing stays in it."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s4.entrypoints.configuration import read_configuration
from s4.entrypoints.doctor import Report, Verdict
from s4.entrypoints.doctor.store import examine
from tests.acceptance.conftest import Command

NOBODY = 65534


async def examined(root: Path, **changes: Any) -> Report:
    return await examine(read_configuration(data_dir=root, store_url=(root / "objects").as_uri(), **changes))


def failures(report: Report) -> dict[str, str]:
    return {check.name: check.message for check in report.checks if check.verdict is Verdict.FAILED}


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    """An empty one that is there already."""
    path = tmp_path / "objects"
    path.mkdir()
    return path


async def test_a_directory_that_is_well_is_found_well_and_left_as_it_was(objects: Path) -> None:
    report = await examined(objects.parent, upload_bytes_max=1)

    assert {check.name for check in report.checks if check.verdict is not Verdict.OK} == {"backups"}, "there are none"
    assert {check.name for check in report.checks} >= {"writable", "synced", "hard_links", "room", "index_table"}
    assert report.exit_code == 0
    assert [path for path in objects.rglob("*") if path.name != ".tmp"] == []


async def test_a_directory_that_is_not_there_yet_is_not_there_afterwards(tmp_path: Path) -> None:
    report = await examined(tmp_path / "new" / "data", upload_bytes_max=1)

    assert report.exit_code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A directory of objects that this process may enter and not write to."""
    with tempfile.TemporaryDirectory(prefix="s4-test-foreign-") as name:
        root = Path(name)
        (root / "objects").mkdir()
        root.chmod(0o755)
        (root / "objects").chmod(0o555)
        privileged = os.geteuid() == 0
        if privileged:  # to whom no permission is denied
            os.seteuid(NOBODY)
        try:
            yield root
        finally:
            if privileged:
                os.seteuid(0)


async def test_a_directory_of_somebody_else_is_named_with_the_user(foreign: Path) -> None:
    report = await examined(foreign)

    assert set(failures(report)) == {"writable"}
    assert f"may not be written by this user (user {os.geteuid()})" in failures(report)["writable"]
    assert "EACCES" in failures(report)["writable"]
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("call", "number", "check", "words"),
    [
        ("open", errno.EROFS, "writable", "is mounted read-only"),
        ("fsync", errno.ENOSPC, "synced", "is full"),
        ("fsync", errno.EDQUOT, "synced", "quota"),
        ("link", errno.EPERM, "hard_links", "ext4"),
    ],
)
async def test_what_a_file_system_refuses_is_named_with_what_to_do(
    objects: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, check: str, words: str
) -> None:
    """The call is replaced: to mount such file systems takes an administrator's rights, which tests may not have."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        if call == "open":
            patch.setattr(Path, "open", refuse)
        else:
            patch.setattr(os, call, refuse)
        report = await examined(objects.parent)

    found = next(each for each in report.checks if each.name == check)
    assert found.verdict is Verdict.FAILED
    assert words in f"{found.message} {found.advice}"
    assert str(objects) in found.message
    assert next(each for each in report.checks if each.name == "multipart").verdict is Verdict.UNKNOWN
    assert list(objects.iterdir()) == []


async def test_a_disk_with_less_room_than_one_document_may_take_is_a_warning(objects: Path) -> None:
    report = await examined(objects.parent, upload_bytes_max="1000 TiB")

    assert next(each for each in report.checks if each.name == "room").verdict is Verdict.WARNING
    assert report.exit_code == 0


def test_a_place_that_is_a_file_is_named(here: Command, tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("not a directory")

    done = here("doctor", "store", S4_DATA_DIR=str(tmp_path))

    assert done.code == 1
    assert f" failed  writable            {tmp_path / 'objects'} is not a directory" in done.out
    assert "-> Correct S4_STORE_URL." in done.out
    assert done.out.splitlines()[-1].startswith("NOT READY: ")
