"""Pages and headings of a text, by position."""

from bisect import bisect_right

from s4.engine.extraction.model import ExtractedText

_TITLE_CHARS_MAX = 200  # of one heading in a path; a longer one is a paragraph marked wrongly
_DEPTH_MAX = 8  # levels of a path, the deepest kept: the six of HTML, Word and Markdown in a mail in an archive


class Outline:
    """Answers what a position stands under."""

    def __init__(self, extracted: ExtractedText) -> None:
        self._chars = len(extracted.text)
        self._page_starts = [page.char_start for page in extracted.pages]
        self._page_numbers = [page.number for page in extracted.pages]
        self.heading_starts: list[int] = []
        self._paths: list[tuple[tuple[int, str], ...]] = []
        self._top_starts: set[int] = set()
        self._read_headings(extracted)

    def page_at(self, position: int) -> int | None:
        """The number of the page that holds `position`; None without pages."""
        if not self._page_starts:
            return None
        return self._page_numbers[max(0, bisect_right(self._page_starts, position) - 1)]

    def path_at(self, position: int) -> tuple[tuple[int, str], ...]:
        """The headings that `position` stands under, outermost first, each with where it begins."""
        index = bisect_right(self.heading_starts, position) - 1
        return self._paths[index] if index >= 0 else ()

    def borders(self) -> list[int]:
        """Where a page or a top section begins, ascending, within the text and without 0."""
        return sorted(start for start in {*self._top_starts, *self._page_starts} if 0 < start < self._chars)

    def begins_top_section(self, position: int) -> bool:
        """True where a heading of the highest level in this text stands."""
        return position in self._top_starts

    def _read_headings(self, extracted: ExtractedText) -> None:
        top = min((heading.level for heading in extracted.headings), default=0)
        stack: list[tuple[int, int, str]] = []  # level, start, title
        for heading in sorted(extracted.headings, key=lambda one: one.char_start):
            start = _after_blanks(extracted.text, heading.char_start)
            title = " ".join(heading.title[: 2 * _TITLE_CHARS_MAX].split())[:_TITLE_CHARS_MAX]
            if start >= len(extracted.text) or not title:
                continue
            while stack and stack[-1][0] >= heading.level:
                stack.pop()
            stack = [*stack, (heading.level, start, title)][-_DEPTH_MAX:]
            self.heading_starts.append(start)
            self._paths.append(tuple((begin, name) for _, begin, name in stack))
            if heading.level == top:
                self._top_starts.add(start)


def _after_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position
