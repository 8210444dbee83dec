"""Where in a chunk the query's words stand. Offsets count code points of the chunk's text, like the API's."""

from collections.abc import Collection

from s4.engine.ranking.words import STOP_WORDS, WORD, normalise, stem

HIGHLIGHTS_MAX = 50
"""In one chunk. A chunk holds a few hundred words; more marks than this show nothing more."""


def highlight(text: str, terms: Collection[str], *, limit: int = HIGHLIGHTS_MAX) -> list[tuple[int, int]]:
    """Ascending, disjoint [start, end) spans of the words that match one of `terms` (from `query_terms`).

    Case, accents and English endings do not count; each span is one whole word of the original text.
    """
    spans: list[tuple[int, int]] = []
    if not terms:
        return spans
    for match in WORD.finditer(text):
        if len(spans) == limit:
            break
        word = normalise(match.group())
        if stem(word) in terms and word not in STOP_WORDS:
            spans.append(match.span())
    return spans
