"""What extraction yields: text, and where its pages and headings are.

Every offset is a Unicode code point into `text`, as Python counts, never a byte. The stored form is plain
JSON with a format number; whoever stores it compresses it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from s4.kernel.errors import DataCorrupt

FORMAT = 1


@dataclass(frozen=True, slots=True)
class PageSpan:
    """A page, slide or the like: `text[char_start:char_end]`. Numbers count from 1."""

    number: int
    char_start: int
    char_end: int


@dataclass(frozen=True, slots=True)
class HeadingSpan:
    """A heading; `char_start` is where its line begins. Levels count from 1, the outermost."""

    level: int
    title: str
    char_start: int


@dataclass(frozen=True, slots=True)
class ExtractedText:
    """The text of one document. `pages` are contiguous and ascending, and empty for formats that have none;
    `content_type` is what the bytes are, whatever the file was called."""

    text: str
    pages: tuple[PageSpan, ...]
    headings: tuple[HeadingSpan, ...]
    title: str | None
    content_type: str
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; pages and headings as short arrays, since a long document has thousands."""
        return {
            "format": FORMAT,
            "text": self.text,
            "pages": [[page.number, page.char_start, page.char_end] for page in self.pages],
            "headings": [[heading.level, heading.title, heading.char_start] for heading in self.headings],
            "title": self.title,
            "content_type": self.content_type,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ExtractedText":
        """Raises `DataCorrupt` for another format, missing parts, or offsets that do not fit the text."""
        try:
            if data["format"] != FORMAT:
                raise DataCorrupt(f"Extracted text has format {data['format']!r}; this version reads {FORMAT}.")
            title = data["title"]
            extracted = cls(
                text=str(data["text"]),
                pages=tuple(PageSpan(int(n), int(start), int(end)) for n, start, end in data["pages"]),
                headings=tuple(
                    HeadingSpan(int(level), str(name), int(start)) for level, name, start in data["headings"]
                ),
                title=None if title is None else str(title),
                content_type=str(data["content_type"]),
                warnings=tuple(str(warning) for warning in data["warnings"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataCorrupt("Extracted text is not in its stored form.") from error
        extracted._check_offsets()
        return extracted

    def _check_offsets(self) -> None:
        length = len(self.text)
        edges = [edge for page in self.pages for edge in (page.char_start, page.char_end)]
        starts = [heading.char_start for heading in self.headings]
        contiguous = all(before.char_end == after.char_start for before, after in pairwise(self.pages))
        for offsets in (edges, starts):
            ascending = all(before <= after for before, after in pairwise(offsets))
            inside = not offsets or (offsets[0] >= 0 and offsets[-1] <= length)
            if not (ascending and inside and contiguous):
                raise DataCorrupt("The offsets of extracted text do not fit the text.")

    def to_json_bytes(self) -> bytes:
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json_bytes(cls, data: bytes) -> "ExtractedText":
        """Raises `DataCorrupt`."""
        try:
            parsed = json.loads(data)
        except ValueError as error:  # includes wrong UTF-8
            raise DataCorrupt("Extracted text is not JSON.") from error
        if not isinstance(parsed, dict):
            raise DataCorrupt("Extracted text is not a JSON object.")
        return cls.from_dict(parsed)
