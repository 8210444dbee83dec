"""What a table stores of a chunk for keyword search: its terms, in order, between spaces.

Stop words stay in, for phrases and for queries of nothing else; who searches leaves them out.
"""

from collections.abc import Iterator

from s4.engine.analysis.stems import ENGLISH, language_of, stem
from s4.engine.analysis.words import WORD, identifiers, normalise, pieces

_MARK = "~"
"""Behind stems of other languages: the index leaves them alone, and no English word is taken for one of them, or counts
twice, as itself and as what another language would make of it."""


def index_terms(*parts: str | None) -> str:
    """Of a passage and what stands above it. The language is that of the whole."""
    text = "\n".join(filter(None, parts))
    language = language_of(normalise(match[0]) for match in WORD.finditer(text)) or ENGLISH
    return " ".join(terms_in(text, language))


def terms_in(text: str, language: str) -> Iterator[str]:
    """An identifier comes before its words; a run without spaces as each character and, from it on, a pair."""
    whole = {match.start(): match[0] for match in identifiers(text)}
    for match in WORD.finditer(text):
        if (identifier := whole.get(match.start())) is not None:
            yield normalise(identifier)
        for piece, is_unspaced in pieces(normalise(match[0])):
            if not is_unspaced:
                yield index_form(piece, language)
                continue
            for place, character in enumerate(piece):
                yield character
                if place + 1 < len(piece):
                    yield piece[place : place + 2]


def index_form(word: str, language: str) -> str:
    """The term of a folded word in a text of this language. English words the index stems itself, by fuller rules."""
    return word if language == ENGLISH else stem(word, language) + _MARK
