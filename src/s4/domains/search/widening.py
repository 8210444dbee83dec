"""How a search goes on while its page is not full: what is asked of the index next.

First more candidates. As soon as these would take a scan, the documents that pass the filters are named to the index
instead, if one query can name them all. If they are more, yet more candidates are likely to hold enough of them; only
when they do not are all named. What then still keeps the page short are documents of many near chunks: the search goes
on without those that it has met.

It ends: candidates grow up to a bound, filters turn into names once, and each later round leaves out documents of the
rounds before.
"""

from collections.abc import Collection, Sequence

from s4.engine.vectors import APPROXIMATE_MAX, NARROWED_IDS_MAX, Hit

_CANDIDATES_MAX = 6_400
"""Chunks in one answer of the index: some 10 MB with their texts."""
_WIDEN = 4
_ANY_NUMBER = 1 << 31
"""More documents than there are; a statement's LIMIT takes it."""


class Pursuit:
    """Of one search."""

    def __init__(self, wanted: int, candidates: int, narrowed: list[str] | None, *, is_filtered: bool) -> None:
        """More than `wanted` documents fill the page, so that it is known whether there is another. `narrowed` are
        those that pass the filters, where they are few."""
        self._wanted = wanted
        self._few = max(candidates, 2 * wanted)
        self._can_narrow = is_filtered and narrowed is None
        self._asked = False
        self._left: list[Hit] = []
        self._true: Sequence[Hit] = ()
        self._met: set[str] = set()
        self.candidates = self._few
        self.among = narrowed
        self.without: Collection[str] = ()

    @property
    def kept(self) -> list[Hit]:
        """True hits of all rounds, each once."""
        return [*self._left, *self._true]

    @property
    def is_narrowed(self) -> bool:
        return self.among is not None

    def ends_with(self, hits: Sequence[Hit], true: Sequence[Hit]) -> bool:
        """Whether the page is full with the `true` ones of `hits`, or the index has no more."""
        self._true = true
        self._met = {hit.document_id for hit in hits}
        return len({hit.document_id for hit in self.kept}) > self._wanted or len(hits) < self.candidates

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
        self._left, self._true = self.kept, ()
        self.without = {*self.without, *self._met}
        return None

    def narrow(self, names: list[str] | None) -> None:
        """None: they are too many."""
        if names is not None:
            self.among, self.candidates, self._can_narrow = names, self._few, False
