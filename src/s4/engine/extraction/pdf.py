"""PDF: text page by page, with headings.

Kreuzberg rebuilds paragraphs, lists and headings from positions and type sizes, but the page boundaries
that it reports belong to its other, plain output. Both come from one call, so the text is assembled here
from its nodes, each of which names its page; a page on which the nodes hold clearly less than the plain
text is taken from the plain text.
"""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import kreuzberg

from s4.engine.extraction.decode import clean
from s4.engine.extraction.markup import (
    HEADING_TITLE_CHARS_MAX,
    HEADINGS_MAX,
    table_row,
    table_rule,
)
from s4.engine.extraction.model import HeadingSpan, PageSpan
from s4.kernel.errors import DocumentRejected

# Share of a page's letters that the rebuilt text must hold. Dropped running heads cost a few per cent;
# measured on manuals, a page that lost a listing kept 79 %.
_KEPT_SHARE_MIN = 0.9
_PROSE_CHARS_MIN = 40  # a line this long that nearly fills its paragraph's width is wrapped prose
_PROSE_FILL = 0.7
_HYPHEN = re.compile("\x02\r?\n?")  # PDFium's mark for a word broken at the line's end


def read_pdf(
    path: Path, config: kreuzberg.ExtractionConfig, *, pages_max: int
) -> tuple[str, tuple[PageSpan, ...], tuple[HeadingSpan, ...], Any]:
    """Text, pages, headings and kreuzberg's metadata. Raises `DocumentRejected` (too_many_pages) and whatever
    kreuzberg raises."""
    count = len(kreuzberg.PdfPageIterator(str(path)))
    if count > pages_max:
        raise too_many_pages(count, pages_max)
    result = kreuzberg.extract_file_sync(path, "application/pdf", config)
    blocks = _blocks_by_page(result.document["nodes"] if result.document else [])
    plain = {page["page_number"]: page["content"] for page in result.pages or []}
    writer = PageWriter()
    for number in range(1, count + 1):
        page_blocks = blocks.get(number, [])
        page_plain = _mend(plain.get(number, ""))
        if _letters(page_blocks) < _KEPT_SHARE_MIN * sum(map(str.isalnum, page_plain)):
            page_blocks = _blocks_of_plain(page_plain, page_blocks)
        writer.page(page_blocks)
    text, pages, headings = writer.done()
    return text, pages, headings, result.metadata


def too_many_pages(count: int, pages_max: int) -> DocumentRejected:
    return DocumentRejected(
        f"The document has {count:,} pages; at most {pages_max:,} are taken. Split it and upload the parts.",
        code="too_many_pages",
    )


class PageWriter:
    """Joins blocks to pages and pages to a text, counting code points on the way. A block is a heading's
    level, 0 for other text, and its text."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._starts: list[int] = []
        self._headings: list[HeadingSpan] = []

    def page(self, blocks: list[tuple[int, str]]) -> None:
        self._starts.append(self._length)
        for level, text in blocks:
            if level and len(self._headings) < HEADINGS_MAX:
                self._headings.append(HeadingSpan(level, text, self._length))
            line = f"{'#' * level} {text}\n\n" if level else f"{text}\n\n"
            self._parts.append(line)
            self._length += len(line)

    def done(self) -> tuple[str, tuple[PageSpan, ...], tuple[HeadingSpan, ...]]:
        text = "".join(self._parts).rstrip("\n")
        edges = [min(start, len(text)) for start in (*self._starts, self._length)]
        pages = tuple(PageSpan(number, edges[number - 1], edges[number]) for number in range(1, len(self._starts) + 1))
        return text, pages, tuple(self._headings)


def _letters(blocks: list[tuple[int, str]]) -> int:
    return sum(sum(map(str.isalnum, text)) for _, text in blocks)


def _blocks_by_page(nodes: list[Any]) -> dict[int, list[tuple[int, str]]]:
    blocks: dict[int, list[tuple[int, str]]] = {}
    number = 1
    for node in nodes:
        number = node.get("page") or number
        block = _block(node["content"])
        if block[1]:
            blocks.setdefault(number, []).append(block)
    return blocks


def _block(content: Any) -> tuple[int, str]:
    kind = content["node_type"]
    if kind == "table":
        return 0, _table(content["grid"])
    text = _mend(content.get("text") or "")
    if kind in ("heading", "title"):
        title = " ".join(text.split())
        if len(title) <= HEADING_TITLE_CHARS_MAX:
            return min(max(int(content.get("level") or 1), 1), 6), title
    if kind == "list_item":
        return 0, f"- {_unwrap(text)}" if text.strip() else ""
    return 0, text if kind == "code" else _unwrap(text)


def _blocks_of_plain(plain: str, rebuilt: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The plain text as blocks, with those headings that stand in it as lines of their own."""
    levels = {title: level for level, title in rebuilt if level}
    blocks: list[tuple[int, str]] = []
    lines: list[str] = []
    for line in plain.split("\n"):
        level = levels.pop(" ".join(line.split()), 0)
        if level:
            blocks += [(0, "\n".join(lines).strip()), (level, " ".join(line.split()))]
            lines = []
        else:
            lines.append(line)
    blocks.append((0, "\n".join(lines).strip()))
    return [block for block in blocks if block[1]]


def _mend(text: str) -> str:
    """Words broken at line ends are whole again; PDFium's stray returns go."""
    return clean(_HYPHEN.sub("", text).replace("\r\n", "\n").replace("\r", ""))


def _unwrap(text: str) -> str:
    """Lines of wrapped prose become one line; short lines (addresses, verses, listings) stay apart."""
    lines = [line.strip() for line in text.strip().split("\n")]
    width = max(map(len, lines))
    joined = lines[:1]
    for before, line in pairwise(lines):
        if len(before) >= max(_PROSE_CHARS_MIN, _PROSE_FILL * width):
            joined[-1] += " " + line
        else:
            joined.append(line)
    return "\n".join(joined)


def _table(grid: Any) -> str:
    rows = [[""] * grid["cols"] for _ in range(grid["rows"])]
    for cell in grid["cells"]:
        rows[cell["row"]][cell["col"]] = _mend(cell["content"] or "")
    if not rows:
        return ""
    return "\n".join([table_row(rows[0]), table_rule(len(rows[0])), *(table_row(row) for row in rows[1:])])
