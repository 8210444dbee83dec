"""From the Markdown that kreuzberg writes, or that a tenant wrote, to text that reads well and its headings.

Kreuzberg escapes punctuation (`5 \\> 3`) and keeps addresses of images; people read this text as passages,
so both go. Headings are taken before the escapes, because an escaped `\\#` is no heading.

The text may be written against the expressions that read it. So each of them takes time in proportion to its text,
whatever that is: none looks for an end that is not there, once for every beginning.
"""

import re

from s4.engine.extraction.model import HeadingSpan

HEADING_TITLE_CHARS_MAX = 300  # longer ones are paragraphs set in large type
_TITLE_SOURCE_CHARS_MAX = 4 * HEADING_TITLE_CHARS_MAX  # with the addresses of its links
HEADINGS_MAX = 20_000  # a bound on what a hostile file makes us keep; a long book has hundreds
_ATX = re.compile(r" {0,3}(#{1,6})[ \t]++(.+)$")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_IMAGE = re.compile(r"!\[([^\[\]\n]{0,1000}+)\]\([^)\n]*+\)")
_LINK = re.compile(r"\[([^\[\]\n]{1,1000}+)\]\([^)\n]*+\)")
_EMPHASIS = re.compile(r"(\*\*|\*|__|`)(\S(?:.*?\S)?)\1")
_PADDING = re.compile(r"(?<! ) {2,}+\|")  # one long cell would blow up every row
_RULE = re.compile(r"-{4,}")
_FRONT_MATTER = re.compile(r"---\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\n|$)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*+(.+)$", re.MULTILINE | re.IGNORECASE)
_MARKS_MAX = 60  # of emphasis in a heading; beyond that they are ornament, and pairing them takes long


def plain_title(marked: str) -> str:
    """A heading or title without links, emphasis and doubled blanks."""
    text = _ESCAPED.sub(r"\1", _without_addresses(marked, _IMAGE, _LINK))
    if sum(map(text.count, "*_`")) <= _MARKS_MAX and len(text) <= _TITLE_SOURCE_CHARS_MAX:
        text = _EMPHASIS.sub(r"\2", text)
    return " ".join(text.split())


def _without_addresses(line: str, *patterns: re.Pattern[str]) -> str:
    """Images and links as their words. Behind the last closing bracket there is none to look for."""
    for pattern in patterns:
        end = line.rfind(")") + 1
        line = pattern.sub(r"\1", line[:end]) + line[end:]
    return line


def headings_of(text: str) -> tuple[HeadingSpan, ...]:
    """Headings of Markdown as people write it, `# so` or underlined, outside code blocks and front matter."""
    found: list[HeadingSpan] = []
    start, fence = 0, ""
    front = _FRONT_MATTER.match(text)
    body = front.end() if front else 0
    previous = ("", 0)
    for line in text.split("\n"):
        marker = _FENCE.match(line)
        if start < body or len(found) >= HEADINGS_MAX:
            pass
        elif fence:
            if marker and marker[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
        elif marker:
            fence = marker[1]
        elif heading := _atx(line):
            _add(found, *heading, start)
        elif _can_be_underlined(previous[0]) and (rule := _SETEXT.match(line)):
            _add(found, 1 if rule[1][0] == "=" else 2, previous[0], previous[1])
        previous = (line, start)
        start += len(line) + 1
    return tuple(found)


def _atx(line: str) -> tuple[int, str] | None:
    """Level and title, still marked up."""
    match = _ATX.match(line) if len(line) <= _TITLE_SOURCE_CHARS_MAX else None
    if match is None:
        return None
    title = match[2].rstrip(" \t")
    open_end = title.rstrip("#")
    closed = open_end != title and open_end.endswith((" ", "\t"))
    return len(match[1]), open_end.rstrip(" \t") if closed else title


def _can_be_underlined(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(("#", "|", ">", "-", "*"))


def _add(found: list[HeadingSpan], level: int, marked: str, start: int) -> None:
    title = plain_title(marked) if len(marked) <= _TITLE_SOURCE_CHARS_MAX else ""
    if title and len(title) <= HEADING_TITLE_CHARS_MAX:
        found.append(HeadingSpan(level, title, start))


def front_matter_title(text: str) -> str | None:
    """The `title` of a Markdown file's front matter."""
    front = _FRONT_MATTER.match(text)
    match = _FRONT_TITLE.search(front[1] or "") if front else None
    return plain_title(match[1].strip(" \t\"'")[:_TITLE_SOURCE_CHARS_MAX]) if match else None


def readable(markdown: str) -> tuple[str, tuple[HeadingSpan, ...]]:
    """The text without escapes and image addresses, and its headings with offsets into that text."""
    lines: list[str] = []
    headings: list[HeadingSpan] = []
    start, fence = 0, ""
    for line in markdown.strip("\n").split("\n"):
        marker = _FENCE.match(line)
        if fence:
            if marker and marker[1].startswith(fence):
                fence = ""
        elif marker:
            fence = marker[1]
        else:
            heading = _atx(line)
            if heading and len(headings) < HEADINGS_MAX:
                _add(headings, *heading, start)
            line = _unescape(line)
        lines.append(line)
        start += len(line) + 1
    return "\n".join(lines), tuple(headings)


def _unescape(line: str) -> str:
    line = _without_addresses(line, _IMAGE)
    if line.startswith("|"):
        line = _RULE.sub("---", line) if not line.strip("|-: ") else _PADDING.sub(" |", line)
        # An escaped bar inside a table cell stays, or the table would gain a column.
        return _ESCAPED.sub(lambda match: match[0] if match[1] == "|" else match[1], line)
    return _ESCAPED.sub(r"\1", line)


def table_row(cells: list[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def table_rule(columns: int) -> str:
    """The line between a table's first row and the rest."""
    return "| " + " | ".join(["---"] * columns) + " |"
