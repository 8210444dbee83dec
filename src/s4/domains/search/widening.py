"""How a search goes on while its page is not full: what is asked of the index next.

First more candidates. As soon as these would take a scan, the documents that pass the filters are named to the index
instead, if one query can name them all. If they are more, yet more candidates are likely to hold enough of them; only
when they do not are all named. What then still keeps the page short are documents of many near chunks: the search goes
on without those that it has met.

It ends: candidates grow up to a bound, filters turn into names once, and each later round leaves out documents of the
rounds before.

The rounds are the same whatever page is asked for; a further page only takes more of them. What a round found stands
before what later ones find beside it. So the pages of a query are parts of one order, as long as nothing changes.

A page may also be short for `min_score`: then more is looked at as long as it may score enough (`bar.py`), up to the
bound of candidates.

A search both ways under a filter may see enough passing chunks of one kind, and of the other hardly any, for those that
do not pass are nearer, or match better. Such a round is one-sided: the next one, which sees more, takes its place.
"""

from collections.abc import Collection, Sequence

from s4.domains.search.bar import Bar
from s4.engine.vectors import APPROXIMATE_MAX, NARROWED_IDS_MAX, Hit

_CANDIDATES_MAX = 6_400
"""Chunks in one answer of the index: some 10 MB with their texts."""
_WIDEN = 4
_EACH_WAY_MIN = 10
"""Passing chunks of each kind that a filtered search both ways wants to have seen: some first pages."""
_ANY_NUMBER = 1 << 31
"""More documents than there are; a statement's LIMIT takes it."""


class Pursuit:
    """Of one search."""

    def __init__(
        self, wanted: int, candidates: int, narrowed: list[str] | None, *, is_filtered: bool, bar: Bar | None = None
    ) -> None:
        """More than `wanted` documents fill the page, so that it is known whether there is another. `candidates` are
        those of the first round. `narrowed` are the documents that pass the filters, where they are few. `bar`: what
        counts has to score enough."""
        self._wanted = wanted
        self._bar = bar
        self._few = candidates
        self._can_narrow = is_filtered and narrowed is None
        self._asked = False
        self._met: set[str] = set()
        self._is_one_sided = False
        self.rounds: list[list[Hit]] = []
        """True hits of each, in the order in which they count."""
        self.candidates = self._few
        self.among = narrowed
        self.without: Collection[str] = ()

    @property
    def is_narrowed(self) -> bool:
        return self.among is not None

    def ends_with(self, hits: Sequence[Hit], true: list[Hit]) -> bool:
        """Whether the page is full with the `true` ones of `hits`, or the index has no more."""
        if self._is_one_sided:
            self.rounds.pop()
        self.rounds.append(true)
        self._met = {hit.document_id for hit in hits}
        if len(hits) < self.candidates:
            return True
        self._is_one_sided = self._can_narrow and self.candidates < _CANDIDATES_MAX and not self._sees_both(hits, true)
        found = {hit.document_id for each in self.rounds for hit in each}
        return len(found) > self._wanted and not self._is_one_sided and not self._is_low(hits)

    def widen(self) -> int | None:
        """Prepares the next round. With an answer it is narrowed to the documents that pass, if they are so many at
        most: see `narrow`."""
        if self.candidates < _CANDIDATES_MAX:
            self.candidates *= _WIDEN
            if not self._can_narrow or self._asked or self.candidates <= APPROXIMATE_MAX:
                return None
            self._asked = True
            return NARROWED_IDS_MAX
        if self._can_narrow:
            return _ANY_NUMBER
        self.without = {*self.without, *self._met}
        return None

    def narrow(self, names: list[str] | None) -> None:
        """None: they are too many."""
        if names is not None:
            self.among, self.candidates, self._can_narrow = names, self._few, False

    def _is_low(self, hits: Sequence[Hit]) -> bool:
        """Whether too little of what was found scores enough, and what is farther may."""
        if self._bar is None or self.candidates >= _CANDIDATES_MAX:
            return False
        passing = {document_id for each in self.rounds for document_id in self._bar.passing(each)}
        return len(passing) <= self._wanted and self._bar.is_in_reach(hits, self.rounds[-1], self.candidates)

    def _sees_both(self, hits: Sequence[Hit], true: Sequence[Hit]) -> bool:
        """Whether enough passing chunks of each kind are among those seen, or no more are to be had. A match that is
        as near as one that is there only for that is one of the nearest too."""
        nearest = [hit.semantic for hit in hits if hit.keyword == 0 and hit.semantic is not None]
        matches = sum(1 for hit in hits if hit.keyword)
        if not nearest or not matches:
            return True
        farthest = min(nearest)
        near = sum(1 for hit in true if hit.semantic is not None and hit.semantic >= farthest)
        matching = sum(1 for hit in true if hit.keyword)
        return near >= _EACH_WAY_MIN and (matching >= _EACH_WAY_MIN or matches < self.candidates)
