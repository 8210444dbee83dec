"""Cutting a text into chunks where its author would.

Rules, in the order of their force:

1. Chunks cover every character that is not blank; a chunk is a stripped slice of the text. 2. No chunk
crosses the heading of a top section (the highest level that the text has). 3. No chunk crosses a page, but
a piece below eight tokens (a page number, a heading left alone at the foot) joins its
   neighbour. A chunk cites the page that holds its middle.
4. A piece that fits is one chunk. A longer one is cut at the last heading in the final three quarters of
the room,
   else at the last paragraph, sentence, line or word in its final half, else anywhere.
5. Neighbours within a section share `overlap_tokens`, from the start of a sentence or a word on.
6. A tail of less than an eighth of the room is avoided by cutting earlier.

What is embedded is the text under its title and headings, as far as these do not stand in the text itself,
in at most 32 tokens: a passage says what it is about, and a text without headings is embedded as it is.

Time is linear: `units` measures once, and the places for cuts are found by one search each over the whole
text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from s4.engine.chunking.outline import Outline
from s4.engine.chunking.units import Integers, TokenOffsets, TooManyTokens, measure
from s4.engine.extraction.model import ExtractedText
from s4.kernel.errors import DocumentRejected

CHUNKER = "structure-1"
"""Names the rules above. Chunks of other rules belong to another generation of an index."""

_SPECIAL_TOKENS = 2  # what BERT's kind puts around a text; others add none or one
_PREFIX_TOKENS_MAX = 32
_TINY_TOKENS = 8
_PATH_SEPARATOR = " > "

# Possessive quantifiers: no run of blanks or dots is read twice.
_PARAGRAPH = re.compile(r"\n[ \t\r\f\v]*+\n\s*+|\f\s*+|\u2029\s*+")
_SENTENCE = re.compile(r"[.!?…][\"'”’»)\]]{0,4}+\s++(?![a-z])|[。！？][”’」』）]{0,4}+\s*+")
_LINE = re.compile(r"\n\s*+")
_SEARCH_CHARS = 262_144
_BREAK_CHARS = 1_024


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage. `text` is `extracted.text[char_start:char_end]`; `tokens` counts `embed_text`."""

    ordinal: int
    text: str
    char_start: int
    char_end: int
    page: int | None
    heading: str | None
    embed_text: str
    tokens: int


def chunk(
    extracted: ExtractedText,
    *,
    token_offsets: TokenOffsets,
    tokens_max: int,
    overlap_tokens: int,
    chunks_max: int,
    title: str | None = None,
) -> list[Chunk]:
    """The chunks of a text, in order; none for a blank one.

    `token_offsets` is the embedder's; `tokens_max` the model's input with special tokens; `title` stands
    before every chunk (see `titles.real_title`). Raises `DocumentRejected("text_too_long")` beyond
    `chunks_max`. Takes some four seconds for a million tokens: not for the event loop.
    """
    found: list[Chunk] = []
    try:
        chunker = _Chunker(
            extracted,
            token_offsets,
            tokens_max=tokens_max,
            overlap_tokens=overlap_tokens,
            text_tokens_max=chunks_max * tokens_max,  # no chunk holds more, so a longer text makes too many
            title=title,
        )
        for one in chunker.chunks():
            if len(found) == chunks_max:
                raise TooManyTokens
            found.append(one)
    except TooManyTokens:
        raise DocumentRejected(
            f"The document's text makes more than {chunks_max:,} passages. Split it and upload the parts.",
            code="text_too_long",
        ) from None
    return found


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """As `finditer`, a window at a time: one search through a long text without a match would hold the interpreter's
    lock for a second. A break of more than `_BREAK_CHARS` at a window's end may be overlooked."""
    start = 0
    while start < len(text):
        window_end = start + _SEARCH_CHARS
        search_end = min(window_end + _BREAK_CHARS, len(text))
        start = window_end
        for match in pattern.finditer(text, window_end - _SEARCH_CHARS, search_end):
            if match.start() >= window_end:
                break
            whole = pattern.match(text, match.start()) if match.end() == search_end else match
            if whole is not None:
                yield whole
                start = max(start, whole.end())


class _Chunker:
    def __init__(
        self,
        extracted: ExtractedText,
        token_offsets: TokenOffsets,
        *,
        tokens_max: int,
        overlap_tokens: int,
        text_tokens_max: int,
        title: str | None,
    ) -> None:
        self._text = extracted.text
        self._text_end = len(self._text.rstrip())
        self._token_offsets = token_offsets
        self._room = tokens_max - _SPECIAL_TOKENS
        self._overlap_tokens = overlap_tokens
        self._title = " ".join(title.split()) if title else None
        self._prefix_tokens_max = min(_PREFIX_TOKENS_MAX, tokens_max // 4)
        self._tiny_tokens = min(_TINY_TOKENS, tokens_max // 8)
        self._outline = Outline(extracted)
        self._units = measure(self._text, token_offsets, self._outline.borders(), tokens_max=text_tokens_max)
        self._headings = self._units.many_at(self._outline.heading_starts)
        self._paragraphs = self._cuts(_PARAGRAPH)
        # Two ascending runs, merged; a place that is in both stands there twice, which does no harm.
        self._sentences = np.sort(np.concatenate([self._cuts(_SENTENCE), self._paragraphs]), kind="stable")
        self._lines = self._cuts(_LINE)

    def chunks(self) -> Iterator[Chunk]:
        ordinal = 0
        for start, end in self._pieces():
            for one in self._cut_piece(start, end, ordinal):
                yield one
                ordinal += 1

    def _cuts(self, pattern: re.Pattern[str]) -> Integers:
        return self._units.many_at(match.end() for match in _matches(pattern, self._text))

    # -- pieces: what lies between hard borders

    def _pieces(self) -> list[tuple[int, int]]:
        """Ranges of units, each cut by itself: pages and top sections, tiny ones joined to a neighbour."""
        borders = [0, *self._outline.borders(), len(self._text)]
        found: list[tuple[int, int]] = []
        joined = False  # the last piece spans two pages already
        open_start: int | None = None  # of a tiny piece that waits for its successor
        for begin, finish in pairwise(borders):
            if self._outline.begins_top_section(begin) and open_start is not None:
                found.append((open_start, self._units.at(begin)))
                open_start, joined = None, False
            if not self._text[begin:finish].strip():
                continue
            start, end = self._units.at(begin), self._units.at(finish)
            tiny = self._tokens(start, end) < self._tiny_tokens
            if open_start is not None:
                found.append((open_start, end))
                open_start, joined = None, True
            elif tiny and not self._ends_section(finish):
                open_start = start
            elif tiny and found and not joined and not self._outline.begins_top_section(begin):
                found[-1] = (found[-1][0], end)
                joined = True
            else:
                found.append((start, end))
                joined = False
        if open_start is not None:
            found.append((open_start, len(self._units.starts) - 1))
        return found

    def _ends_section(self, position: int) -> bool:
        return position >= self._text_end or self._outline.begins_top_section(position)

    # -- cutting one piece

    def _cut_piece(self, start: int, end: int, ordinal: int) -> Iterator[Chunk]:
        fresh = start  # the first unit that no chunk holds yet
        while fresh < end:
            start = self._after_blank_units(start, end)
            prefix, prefix_tokens = self._prefix(self._position(start))
            room = self._room - prefix_tokens
            cut = self._cut(start, max(fresh, start), end, room)
            if self._slice(fresh, cut).strip():
                yield self._chunk(start, cut, ordinal, prefix, prefix_tokens)
                ordinal += 1
            fresh = cut
            start = self._overlap_start(start, cut, min(self._overlap_tokens, room // 2))

    def _cut(self, start: int, fresh: int, end: int, room: int) -> int:
        """Where the chunk from `start` ends; beyond `fresh`, at most `end`."""
        if fresh >= end:
            return end
        before = int(self._units.tokens[start])
        last = self._units.last_within(before + room)
        if last >= end:
            return end
        without_tail = self._units.last_within(int(self._units.tokens[end]) - room // 8)
        last = max(min(last, without_tail), fresh + 1)
        new_tokens = self._tokens(fresh, last)
        half = self._units.first_beyond(int(self._units.tokens[last]) - new_tokens // 2)
        quarter = self._units.first_beyond(int(self._units.tokens[last]) - new_tokens * 3 // 4)
        for cuts, low in (
            (self._headings, quarter),
            (self._paragraphs, half),
            (self._sentences, half),
            (self._lines, half),
        ):
            index = int(np.searchsorted(cuts, last, side="right")) - 1
            if index >= 0 and cuts[index] >= max(low, fresh + 1):
                return int(cuts[index])
        words = (unit for unit in range(last, max(half, fresh + 1) - 1, -1) if self._begins_word(unit))
        return next(words, last)

    def _overlap_start(self, start: int, cut: int, overlap_tokens: int) -> int:
        """Where the chunk after `cut` starts: up to `overlap_tokens` before it, within its section."""
        index = int(np.searchsorted(self._headings, cut, side="right")) - 1
        section = int(self._headings[index]) if index >= 0 else 0
        low = max(self._units.first_beyond(int(self._units.tokens[cut]) - overlap_tokens), section, start + 1)
        index = int(np.searchsorted(self._sentences, low))
        if index < len(self._sentences) and self._sentences[index] < cut:
            return int(self._sentences[index])
        return next((unit for unit in range(low, cut) if self._begins_word(unit)), min(low, cut))

    def _begins_word(self, unit: int) -> bool:
        position = self._position(unit)
        return position == 0 or self._text[position - 1].isspace()

    def _after_blank_units(self, start: int, end: int) -> int:
        while start < end and self._slice(start, start + 1).isspace():
            start += 1
        return start

    # -- one chunk

    def _chunk(self, start: int, cut: int, ordinal: int, prefix: str, prefix_tokens: int) -> Chunk:
        raw = self._slice(start, cut)
        text = raw.strip()
        char_start = self._position(start) + len(raw) - len(raw.lstrip())
        char_end = char_start + len(text)
        path = _PATH_SEPARATOR.join(title for _, title in self._outline.path_at(char_start))
        return Chunk(
            ordinal=ordinal,
            text=text,
            char_start=char_start,
            char_end=char_end,
            page=self._outline.page_at((char_start + char_end) // 2),
            heading=path or None,
            embed_text=f"{prefix}\n\n{text}" if prefix else text,
            tokens=self._tokens(start, cut) + prefix_tokens,
        )

    def _prefix(self, char_start: int) -> tuple[str, int]:
        """Title and headings above the text from `char_start` on, the innermost kept, and their tokens."""
        path = self._outline.path_at(char_start)
        parts = [title for begin, title in path if begin < char_start]
        if self._title is not None and not self._says_title(char_start, [title for _, title in path]):
            parts.insert(0, self._title)
        while parts:
            prefix = _PATH_SEPARATOR.join(parts)
            offsets = self._token_offsets(prefix)
            if len(offsets) <= self._prefix_tokens_max:
                return prefix, len(offsets)
            if len(parts) == 1:
                cut = offsets[self._prefix_tokens_max - 1][1]
                return prefix[:cut], self._prefix_tokens_max
            del parts[0]
        return "", 0

    def _says_title(self, char_start: int, headings: list[str]) -> bool:
        assert self._title is not None
        title = self._title.casefold()
        opening = " ".join(self._text[char_start : char_start + 2 * len(title)].split()).casefold()
        return opening.startswith(title) or title in (heading.casefold() for heading in headings)

    def _tokens(self, start: int, end: int) -> int:
        return int(self._units.tokens[end] - self._units.tokens[start])

    def _position(self, unit: int) -> int:
        return int(self._units.starts[unit])

    def _slice(self, start: int, end: int) -> str:
        return self._text[self._position(start) : self._position(end)]
