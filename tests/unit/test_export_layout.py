"""An export from a stranger: whatever stands in it, and be its sums right, is refused in a sentence."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s4.entrypoints.cli.leaving.layout import FileEntry, Folder
from s4.entrypoints.cli.leaving.load import Inventory
from s4.entrypoints.cli.options import WrongUsage

GOLDEN = Path(__file__).parents[1] / "golden/export-1"
LINES = "documents/000001.jsonl"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(shutil.copytree(GOLDEN, tmp_path / "export"))


def read(folder: Folder) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """As a load does, before it sends anything."""
    inventory = Inventory.of(folder, folder.manifest())
    return folder.tenant(), [line for part in inventory.parts for line in folder.lines(part)]


def rewrite(folder: Folder, name: str, data: str) -> None:
    """With the sums that belong to it."""
    folder.path(name).write_text(data)
    listed = [FileEntry.of(json.loads(line)) for line in folder.path("files.jsonl").read_text().splitlines()]
    now = [folder.entry(each.path) if each.path == name else each for each in listed]
    vouch(folder, "".join(json.dumps(each.to_dict()) + "\n" for each in now))


def vouch(folder: Folder, files: str) -> None:
    data = files.encode()
    folder.path("files.jsonl").write_bytes(data)
    named = {"path": "files.jsonl", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest(folder, lambda said: said.update(files=named))


def manifest(folder: Folder, change: Callable[[dict[str, Any]], object]) -> None:
    said = json.loads(folder.path("manifest.json").read_text())
    change(said)
    folder.path("manifest.json").write_text(json.dumps(said))


def test_an_export_is_read(folder: Folder) -> None:
    tenant, lines = read(folder)
    assert (tenant["name"], len(lines)) == ("Golden Ltd", 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.pop("files"),
        lambda said: said.update(files=5),
        lambda said: said.update(files={"path": 5, "size": 1, "sha256": ""}),
        lambda said: said.pop("content_bytes"),
        lambda said: said.update(content_bytes="many"),
    ],
)
def test_a_manifest_of_another_make(folder: Folder, change: Callable[[dict[str, Any]], object]) -> None:
    manifest(folder, change)
    with pytest.raises(WrongUsage, match=r"^manifest\.json does not hold what an export has there"):
        read(folder)


@pytest.mark.parametrize("path", ["documents/a\0b", "documents/\ud800", "documents/../../a", 5])
def test_a_list_of_files_that_are_none(folder: Folder, path: Any) -> None:
    vouch(folder, json.dumps({"path": path, "size": 1, "sha256": "a"}) + "\n")
    with pytest.raises(WrongUsage, match=r"which is not in it|^files\.jsonl does not hold"):
        read(folder)


@pytest.mark.parametrize("line", ["garbage", "[]", "{}", "[" * 100_000, '{"path": "tenant.json", "size": "1"}'])
def test_a_list_of_files_that_is_none(folder: Folder, line: str) -> None:
    vouch(folder, line + "\n")
    with pytest.raises(WrongUsage, match=r"^files\.jsonl does not hold"):
        read(folder)


@pytest.mark.parametrize(
    "odd", [{"id": 5}, {"name": None}, {"name": "\ud800"}, {"keeping": [1]}, {"legal_hold": "x"}, {"legal_hold": {}}]
)
def test_a_tenant_of_another_make(folder: Folder, odd: dict[str, Any]) -> None:
    rewrite(folder, "tenant.json", json.dumps({"id": "ten_a", "name": "Acme"} | odd))
    with pytest.raises(WrongUsage, match=r"^tenant\.json does not hold"):
        read(folder)


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"size": 1}', '{"document_id": 5, "size": 1}', '{"document_id": "doc_a", "size": "1"}',
     '{"document_id": "doc_a", "size": 1, "metadata": {"a": "\\ud800"}}'],
)  # fmt: skip
def test_a_line_of_another_make(folder: Folder, line: str) -> None:
    rewrite(folder, LINES, line + "\n")
    with pytest.raises(WrongUsage, match=r"^documents/000001\.jsonl does not hold"):
        read(folder)
