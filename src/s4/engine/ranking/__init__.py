"""From two lists of raw scores to one ranked list of documents. Pure arithmetic, no I/O.

`fusion` calibrates cosine similarities and BM25 scores to 0..1, combines them by mode and groups chunks by
document. `highlights` finds the words of a chunk that answer the query. `words` cuts and stems text for both.
"""

from s4.engine.ranking.fusion import (
    DocumentHit,
    Mode,
    ScoredHit,
    Weights,
    fuse,
    group,
    keyword_score,
    reciprocal_rank,
    semantic_score,
)
from s4.engine.ranking.highlights import Highlighter
from s4.engine.ranking.words import query_terms, query_words

__all__ = [
    "DocumentHit",
    "Highlighter",
    "Mode",
    "ScoredHit",
    "Weights",
    "fuse",
    "group",
    "keyword_score",
    "query_terms",
    "query_words",
    "reciprocal_rank",
    "semantic_score",
]
