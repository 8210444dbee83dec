"""From two lists of raw scores to one ranked list of documents. Pure arithmetic, no I/O.

`fusion` calibrates cosine similarities and BM25 scores to 0..1, combines them by mode, gives what a query quotes its
share, and groups chunks by document. `feedback` lifts what is like the best. `highlights` finds the words of a chunk
that answer the query.
"""

from s4.engine.ranking.feedback import LIKENESS_WEIGHT, liken
from s4.engine.ranking.fusion import (
    DocumentHit,
    Mode,
    ScoredHit,
    Weights,
    fuse,
    group,
    keyword_score,
    prefer,
    reciprocal_rank,
    semantic_score,
)
from s4.engine.ranking.highlights import Highlighter

__all__ = [
    "LIKENESS_WEIGHT",
    "DocumentHit",
    "Highlighter",
    "Mode",
    "ScoredHit",
    "Weights",
    "fuse",
    "group",
    "keyword_score",
    "liken",
    "prefer",
    "reciprocal_rank",
    "semantic_score",
]
