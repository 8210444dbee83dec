"""PDF: text page by page, with headings.

The text is PDFium's plain lines, in the order in which the file draws them: column by column, unless the program
that made it drew line by line across the columns. Lines are judged by their sizes and numbers, whether they are
headings (see `pdf_headings`). Running heads and page numbers go: they would stand in every passage.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from s4.engine.extraction.decode import clean
from s4.engine.extraction.markup import HEADINGS_MAX
from s4.engine.extraction.model import HeadingSpan, PageSpan
from s4.engine.extraction.pdf_headings import find_headings
from s4.engine.extraction.pdf_pages import read_pages
from s4.engine.extraction.recognition import Recogniser

_EDGE_LINES = 3  # running heads and feet stand among so many lines at either end of a page
_RUNNING_CHARS_MAX = 90
_REPEATED_PAGES_MIN = 3
_REPEATED_SHARE_MIN = 0.5
_REPEATED_LETTERS_MIN = 10  # shorter ones may be "Step 1", "Step 2": content that happens to repeat
_HYPHEN = re.compile("[\x02\ufffe](?:\r?\n)?")  # PDFium's marks, old and new, for a word broken at the line's end
_PAGE_NUMBER = re.compile(
    r"^\W*(?:page |seite )?\d{1,5}(?!\w)(?: (?:of|von|/) \d{1,5})?\W*"
    r"|\W*(?:page |seite )?(?<!\w)\d{1,5}(?: (?:of|von|/) \d{1,5})?\W*$",
    re.IGNORECASE,
)
_SENTENCE_END = (".", "!", "?", ":", '."', ".“", ".”", ".)")
_FULL_LINE = 0.8  # share of the page's width that a line in the middle of a paragraph fills


def read_pdf(
    path: Path, *, pages_max: int, recogniser: Recogniser
) -> tuple[str, tuple[PageSpan, ...], tuple[HeadingSpan, ...], str | None]:
    """Text, pages, headings and the title that the file states. Raises `DocumentRejected`."""
    found, title = read_pages(path, pages_max=pages_max, recogniser=recogniser)
    pages, running = _without_running_heads([_lines(page.text) for page in found])
    sizes = [page.sizes for page in found]
    levels = find_headings(pages, sizes, is_running=lambda line: _key(line) in running - {line})
    writer = PageWriter()
    for index, lines in enumerate(pages):
        writer.page(_blocks(lines, levels[index]))
    text, spans, headings = writer.done()
    return text, spans, headings, title


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


def _lines(content: str) -> list[str]:
    """Words broken at line ends are whole again; PDFium's stray returns go."""
    text = clean(_HYPHEN.sub("", content).replace("\r\n", "\n").replace("\r", ""))
    return [line for line in (raw.strip() for raw in text.split("\n")) if line]


def _key(line: str) -> str | None:
    """What stays of a running head when its page number goes; None for a line that reads like prose."""
    if len(line) > _RUNNING_CHARS_MAX or line.endswith(_SENTENCE_END):
        return None
    return _PAGE_NUMBER.sub("", line).strip()


def _edges(lines: list[str]) -> set[str]:
    keys = (_key(line) for line in (*lines[:_EDGE_LINES], *lines[-_EDGE_LINES:]))
    return {key for key in keys if key is not None}


def _without_running_heads(pages: list[list[str]]) -> tuple[list[list[str]], set[str]]:
    """The pages without them, save where one stands first: there it may be the title. And their keys."""
    counts = Counter(key for lines in pages for key in _edges(lines))
    often = max(_REPEATED_PAGES_MIN, _REPEATED_SHARE_MIN * len(pages))
    running = {
        key
        for key, count in counts.items()
        if count >= often and (not key or sum(map(str.isalpha, key)) >= _REPEATED_LETTERS_MIN)
    }
    seen: set[str] = {""}
    kept = []
    for lines in pages:
        first, last = 0, len(lines)
        while first < min(_EDGE_LINES, last) and _key(lines[first]) in running & seen:
            first += 1
        while last > max(first, len(lines) - _EDGE_LINES) and _key(lines[last - 1]) in running & seen:
            last -= 1
        seen |= _edges(lines)
        kept.append(lines[first:last])
    return kept, running


def _blocks(lines: list[str], levels: Mapping[str, int]) -> list[tuple[int, str]]:
    """Headings and paragraphs. A line that ends a sentence early ends its paragraph."""
    blocks: list[tuple[int, str]] = []
    paragraph: list[str] = []
    width = sorted(map(len, lines))[len(lines) * 9 // 10] if lines else 0
    for line in [*lines, ""]:
        level = levels.get(line, 0)
        ended = bool(paragraph) and paragraph[-1].endswith(_SENTENCE_END)
        ended = ended and len(paragraph[-1]) < _FULL_LINE * width
        if paragraph and (level or ended or not line):
            blocks.append((0, "\n".join(paragraph)))
            paragraph = []
        if level:
            blocks.append((level, line))
        elif line:
            paragraph.append(line)
    return blocks
