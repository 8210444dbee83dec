"""What a manifest says of the files that are imported."""

import csv
import json
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s4.entrypoints.cli.options import WrongUsage, scalar

MANIFEST_PATH = "path"
"""The column, or the field, that says of which file a line speaks."""
_CELL_CHARS_MAX = 1_000_000  # more than the metadata of a document may have


@dataclass(slots=True)
class Manifest:
    """Metadata by path below the source. A name is the same name however its accents are composed."""

    _said: dict[str, dict[str, Any]] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)

    def say(self, path: str, metadata: dict[str, Any]) -> None:
        self._said[_plain(path)] = metadata

    def of(self, path: str) -> dict[str, Any]:
        """Empty for what it does not name."""
        self._asked.add(_plain(path))
        return self._said.get(_plain(path), {})

    def unmatched(self) -> list[str]:
        """The paths it names that nobody asked for."""
        return [path for path in self._said if path not in self._asked]


def read_manifest(path: Path | None) -> Manifest:
    """CSV with a column `path`, or JSON lines with `path` and `metadata`. Raises `WrongUsage`."""
    manifest = Manifest()
    if path is None:
        return manifest
    if not path.is_file():
        raise WrongUsage(f"There is no file {path}.")
    csv.field_size_limit(_CELL_CHARS_MAX)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                for row in csv.DictReader(file):
                    name = row.pop(MANIFEST_PATH)
                    manifest.say(name, {field: scalar(value) for field, value in row.items() if field and value})
            else:
                for line in file:
                    if line.strip():
                        said = json.loads(line)
                        manifest.say(said[MANIFEST_PATH], dict(said.get("metadata") or {}))
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise WrongUsage(
            f"{path} is no manifest: CSV with a column `path`, or JSON lines with `path` and `metadata`."
        ) from error
    return manifest


def _plain(path: str) -> str:
    return unicodedata.normalize("NFC", path).removeprefix("./")
