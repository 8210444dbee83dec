"""Whether a search with a `min_score` has to look farther: what is neither near nor a good match may be both enough.

The candidates of a round are the nearest chunks and the best matches. Any other chunk is at most as near as the last of
the former and matches at most as well as the last of the latter, so it scores no more than both together, with all
likeness to the best that there can be. Phrases and identifiers add to the match: what has one is among the best.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from s4.domains.search.answers import fitting, scored_by
from s4.domains.search.model import Query
from s4.engine.analysis import parse
from s4.engine.ranking import LIKENESS_WEIGHT, Mode
from s4.engine.vectors import Hit


class Bar:
    """Of one search."""

    def __init__(self, query: Query, mode: Mode) -> None:
        self._least = query.min_score
        self._mode = mode
        self._parsed = parse(query.text)

    def passing(self, hits: Sequence[Hit]) -> set[str]:
        """Documents with a chunk that scores enough."""
        scored = scored_by(self._mode, self._parsed, hits)
        return {each.hit.document_id for each in scored if each.score >= self._least}

    def is_in_reach(self, hits: Sequence[Hit], true: Sequence[Hit], candidates: int) -> bool:
        """Whether a chunk that is not among `hits`, so many of each kind, may score enough."""
        near = _last(candidates, (hit.semantic for hit in hits))
        match = _last(candidates, (hit.keyword for hit in hits))
        most = self._best([replace(hits[0], semantic=near, keyword=match, text="", heading=None)])
        if self._mode is Mode.HYBRID:
            best = max(most, self._best(true))
            most = (most + LIKENESS_WEIGHT * best) / (1 + LIKENESS_WEIGHT)
        return most >= self._least

    def _best(self, hits: Sequence[Hit]) -> float:
        return max((each.score for each in fitting(self._mode, self._parsed, hits)), default=0.0)


def _last(count: int, scores: Iterable[float | None]) -> float | None:
    """The last of the `count` best; None when there are no more to come."""
    known = sorted((score for score in scores if score), reverse=True)
    return known[count - 1] if len(known) >= count else None
