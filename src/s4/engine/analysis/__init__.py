"""From text to the terms by which keywords find it. Pure, the same for chunks, queries and highlights.

`words` cuts text into words, identifiers and pieces of scripts without spaces, and folds case and accents. `stems`
takes the endings off, by the language that a chunk seems to be in. `indexing` makes what a table stores of a chunk;
`queries` reads a query: its terms, what it quotes, and the identifiers that it names.
"""

from s4.engine.analysis.indexing import index_terms
from s4.engine.analysis.queries import QUERY_CHARS_MAX, TERMS_MAX, ParsedQuery, parse
from s4.engine.analysis.stems import LANGUAGES, STOP_WORDS, stem
from s4.engine.analysis.words import UNSPACED, WORD, fold, normalise

__all__ = [
    "LANGUAGES",
    "QUERY_CHARS_MAX",
    "STOP_WORDS",
    "TERMS_MAX",
    "UNSPACED",
    "WORD",
    "ParsedQuery",
    "fold",
    "index_terms",
    "normalise",
    "parse",
    "stem",
]
