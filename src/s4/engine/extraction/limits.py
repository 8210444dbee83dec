"""How much of a file is read. The pool sends these to its children; the meaning of each stands with its setting."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What may be unpacked from one document: archives, compressed files, attachments of mail."""

    depth_max: int
    members_max: int
    bytes_max: int
    member_bytes_max: int


@dataclass(frozen=True, slots=True)
class OcrLimits:
    """Of recognising text in images: in which languages, and how much of one document."""

    languages: str
    pages_max: int
    seconds_max: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one file, whatever it is."""

    text_chars_max: int
    pages_max: int
    unpacked_bytes_max: int
    markup_bytes_max: int
    archives: ArchiveLimits
    ocr: OcrLimits | None = None
    """None: text in images is not read."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Limits":
        """From what `dataclasses.asdict` made."""
        ocr = OcrLimits(**data["ocr"]) if data["ocr"] is not None else None
        return cls(**{**data, "archives": ArchiveLimits(**data["archives"]), "ocr": ocr})
