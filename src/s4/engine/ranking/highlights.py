"""Where in a chunk the query's words stand. Offsets count code points of the chunk's text, like the API's."""

from collections.abc import Collection

from s4.engine.ranking.words import STOP_WORDS, WORD, normalise, stem

HIGHLIGHTS_MAX = 50
"""In one chunk. A chunk holds a few hundred words; more marks than this show nothing more."""


class Highlighter:
    """Of one query. Passages about one thing share their words, so each is judged once."""

    def __init__(self, terms: Collection[str]) -> None:
        """`terms`: from `query_terms`."""
        self._terms = terms
        self._verdicts: dict[str, bool] = {}

    def spans(self, text: str, *, limit: int = HIGHLIGHTS_MAX) -> list[tuple[int, int]]:
        """Ascending, disjoint [start, end) spans of the words that match one of the terms.

        Case, accents and English endings do not count; each span is one whole word of the original text.
        """
        found: list[tuple[int, int]] = []
        if not self._terms:
            return found
        verdicts = self._verdicts
        for match in WORD.finditer(text):
            word = match[0]
            if word not in verdicts:
                verdicts[word] = self._is_term(normalise(word))
            if verdicts[word]:
                found.append(match.span())
                if len(found) == limit:
                    break
        return found

    def _is_term(self, word: str) -> bool:
        return word not in STOP_WORDS and stem(word) in self._terms
