"""Where in a chunk the query's words stand. Offsets count code points of the chunk's text, like the API's."""

import re
from collections.abc import Collection, Iterator

from s4.engine.ranking.words import STOP_WORDS, WORD, normalise, stem

HIGHLIGHTS_MAX = 50
"""In one chunk. A chunk holds a few hundred words; more marks than this show nothing more."""


class Highlighter:
    """Of one query. A page shows thousands of words, so only those that begin like a term are looked at closely."""

    def __init__(self, terms: Collection[str]) -> None:
        """`terms`: from `query_terms`."""
        self._terms = terms
        # A stem is what is left of a word without its ending. Longest first: the first that fits is taken.
        beginnings = sorted((term for term in terms if term.isascii()), key=len, reverse=True)
        self._ascii = (
            re.compile(f"(?:{'|'.join(beginnings)})[a-z0-9]*", re.ASCII | re.IGNORECASE) if beginnings else None
        )

    def spans(self, text: str, *, limit: int = HIGHLIGHTS_MAX) -> list[tuple[int, int]]:
        """Ascending, disjoint [start, end) spans of the words that match one of the terms.

        Case, accents and English endings do not count; each span is one whole word of the original text.
        """
        found: list[tuple[int, int]] = []
        for match in self._likely(text):
            if self._is_term(normalise(match[0])):
                found.append(match.span())
                if len(found) == limit:
                    break
        return found

    def matched(self, text: str) -> set[str]:
        """The terms of which the text has a form."""
        words = (normalise(match[0]) for match in self._likely(text))
        return {stem(word) for word in words if self._is_term(word)}

    def _likely(self, text: str) -> Iterator[re.Match[str]]:
        """Words, in order, all that match a term among them."""
        if not self._terms:
            return
        if not text.isascii():
            yield from WORD.finditer(text)
        elif self._ascii is not None:
            for match in self._ascii.finditer(text):
                if match.start() == 0 or not text[match.start() - 1].isalnum():  # else the middle of a word
                    yield match

    def _is_term(self, word: str) -> bool:
        return word not in STOP_WORDS and stem(word) in self._terms
