"""Where in a chunk the query's words stand. Offsets count code points of the chunk's text, like the API's."""

import re
from collections.abc import Iterator

from s4.engine.analysis import LANGUAGES, STOP_WORDS, UNSPACED, WORD, ParsedQuery, fold, normalise, stem

HIGHLIGHTS_MAX = 50
"""In one chunk. A chunk holds a few hundred words; more marks than this show nothing more."""


class Highlighter:
    """Of one query. A page shows thousands of words, so only those that begin like a term are looked at closely.

    The stems are light ones of every language, while the index takes Snowball's for English: they agree so far that a
    reader sees why a chunk was found. A pair of words that they join wrongly shows one highlight too many, never a
    wrong result.
    """

    def __init__(self, query: ParsedQuery) -> None:
        self._query = query
        words = [term.text for term in query.terms if not UNSPACED.search(term.text)]
        self._pairs = [term.text for term in query.terms if UNSPACED.search(term.text)]
        self._written = {normalise(word): word for word in words}
        self._terms = {
            language: {stem(normalise(word), language): word for word in reversed(words)} for language in LANGUAGES
        }
        # A stem is what is left of a word without its ending. Longest first: the first that fits is taken.
        stems = sorted({one for stems in self._terms.values() for one in stems if one.isascii()}, key=len, reverse=True)
        beginnings = "|".join(map(re.escape, stems))
        self._ascii = re.compile(f"(?:{beginnings})[a-z0-9]*", re.ASCII | re.IGNORECASE) if stems else None
        self._overlapping = re.compile(f"(?=({'|'.join(map(re.escape, self._pairs))}))") if self._pairs else None

    def spans(self, text: str, *, limit: int = HIGHLIGHTS_MAX) -> list[tuple[int, int]]:
        """Ascending, disjoint [start, end) spans of the words that match one of the terms.

        Case, accents and endings do not count; each span is one whole word of the original text, or of a script without
        spaces a run that is in the query.
        """
        found = [match.span() for match in self._likely(text) if self._term(match[0]) is not None]
        if self._overlapping is not None and not text.isascii():
            found = _joined([*found, *(match.span(1) for match in self._overlapping.finditer(text))])
        return found[:limit]

    def matched(self, text: str) -> list[str]:
        """What of the query the text has in some form, as it stands in the query."""
        found = {self._term(match[0]) for match in self._likely(text)}
        folded = fold(text) if self._pairs else ""
        found |= {pair for pair in self._pairs if pair in folded}
        exact = self._query.exact_parts_in(text)
        words = [term.text for term in self._query.terms if term.text in found]
        return list(dict.fromkeys([*words, *exact]))

    def _likely(self, text: str) -> Iterator[re.Match[str]]:
        """Words, in order, all that match a term among them."""
        if not text.isascii():
            if any(self._terms.values()):
                yield from WORD.finditer(text)
        elif self._ascii is not None:
            for match in self._ascii.finditer(text):
                if match.start() == 0 or not text[match.start() - 1].isalnum():  # else the middle of a word
                    yield match

    def _term(self, word: str) -> str | None:
        folded = normalise(word)
        if (written := self._written.get(folded)) is not None:
            return written
        for language, terms in self._terms.items():
            term = terms.get(stem(folded, language))
            if term is not None and folded not in STOP_WORDS[language]:
                return term
        return None


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What overlaps becomes one span."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
