"""A text measured in tokens, once, in linear time.

Units are the smallest pieces that the chunker does not cut: normally a token with the blanks behind it.
They cover the text without gaps, so whatever the tokenizer drops (control characters, accents) still
belongs to a chunk. Two things would make a unit long without making it count, and are cut up: a word beyond
what the tokenizer reads (100,000 letters are one [UNK]), and a run of characters without tokens.

The tokenizer sees windows, never the whole text: 20 million characters in one call would take gigabytes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TokenOffsets = Callable[[str], list[tuple[int, int]]]
"""Code point ranges of a text's tokens, ascending, without special tokens."""

# The tokenizer holds the interpreter's lock for a window: 10 to 30 ms, which is how long searches and heartbeats of the
# process may have to wait. Windows eight times as large are no quicker.
_WINDOW_CHARS = 8_192
_WORD_CHARS_MAX = 100  # WordPiece reads no longer words
_TOKEN_CHARS = 4  # of such a word, taken as one token: the mean of English
_GAP_CHARS = 32  # of characters without tokens, taken as one: tables in plain text have wide gaps

Integers = NDArray[np.int32]
"""Positions and counts: a text may have millions of units, and is far shorter than two billion characters."""


class TooManyTokens(Exception):
    """The text is longer than the caller has use for."""


@dataclass(frozen=True, slots=True)
class Units:
    """Unit `i` is `text[starts[i]:starts[i + 1]]`, and `tokens[i]` tokens lie before it."""

    starts: Integers
    tokens: Integers

    def at(self, position: int) -> int:
        """The first unit that starts at or after `position`."""
        return int(np.searchsorted(self.starts, position))

    def many_at(self, positions: Iterable[int]) -> Integers:
        """`at` for ascending positions. Millions of them, in a text of nothing but line ends: hence no list."""
        return np.searchsorted(self.starts, np.fromiter(positions, dtype=np.int32)).astype(np.int32)

    def last_within(self, tokens: int) -> int:
        """The last unit border with at most `tokens` tokens before it."""
        return int(np.searchsorted(self.tokens, tokens, side="right")) - 1

    def first_beyond(self, tokens: int) -> int:
        """The first unit border with at least `tokens` tokens before it."""
        return int(np.searchsorted(self.tokens, tokens))


def measure(text: str, token_offsets: TokenOffsets, borders: Iterable[int], *, tokens_max: int) -> Units:
    """The units of `text`; none crosses a position of `borders` (ascending). Raises `TooManyTokens`."""
    starts: list[Integers] = []
    counts: list[Integers] = []
    total = 0
    for window_start, window_end in _windows(text, borders):
        offsets = token_offsets(text[window_start:window_end])
        window_starts, window_counts = _units(offsets, window_start, window_end)
        starts.append(window_starts)
        counts.append(window_counts)
        total += len(offsets)
        if total > tokens_max:
            raise TooManyTokens
    zero = np.zeros(1, dtype=np.int32)
    return Units(
        starts=np.concatenate([*starts, np.array([len(text)], dtype=np.int32)]),
        tokens=np.concatenate([zero, *counts]).cumsum(dtype=np.int32),
    )


def _windows(text: str, borders: Iterable[int]) -> Iterable[tuple[int, int]]:
    start = 0
    for border in [*borders, len(text)]:
        while border - start > _WINDOW_CHARS:
            end = _blank_before(text, start + _WINDOW_CHARS // 2, start + _WINDOW_CHARS)
            yield start, end
            start = end
        if border > start:
            yield start, border
            start = border


def _blank_before(text: str, low: int, high: int) -> int:
    """A border between words in the range, else `high`: writing without blanks, or no writing at all."""
    return max(text.rfind(" ", low, high), text.rfind("\n", low, high)) + 1 or high


def _units(offsets: list[tuple[int, int]], window_start: int, window_end: int) -> tuple[Integers, Integers]:
    """Starts of the window's units, ascending and distinct, and the tokens of each."""
    ranges = np.array(offsets, dtype=np.int64).reshape(-1, 2) + window_start
    # What stands before the first token is a unit of no tokens; its run is cut up like any other below.
    begins = np.concatenate([[window_start], ranges[:, 0]])
    ends = np.maximum(begins, np.concatenate([[window_start], ranges[:, 1]]))
    nexts = np.concatenate([begins[1:], [window_end]])
    pieces = [begins]
    weights = [np.concatenate([[0], np.ones(len(ranges), dtype=np.int64)])]
    pieces.extend(
        np.arange(begins[index] + _TOKEN_CHARS, ends[index], _TOKEN_CHARS)
        for index in np.flatnonzero(ends - begins > _WORD_CHARS_MAX)
    )
    pieces.extend(
        np.arange(ends[index] + _GAP_CHARS, nexts[index], _GAP_CHARS)
        for index in np.flatnonzero(nexts - ends > _GAP_CHARS)
    )
    weights.extend(np.ones(len(piece), dtype=np.int64) for piece in pieces[1:])
    # Tokens may share a start (the parts of a Hangul syllable): one unit of several tokens.
    starts, inverse = np.unique(np.concatenate(pieces), return_inverse=True)
    counts = np.bincount(inverse, weights=np.concatenate(weights), minlength=len(starts))
    return starts.astype(np.int32), counts.astype(np.int32)
