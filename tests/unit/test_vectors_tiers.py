"""What is merged of a table, reckoned on its pieces alone."""

from dataclasses import replace
from random import Random

from s4.engine.vectors.manifest import Fragment
from s4.engine.vectors.tiers import FRAGMENT_ROWS_FULL, WHOLE, Plan, plan

COMMITS = 20
"""Between two looks at a table."""


class Pieces:
    """What LanceDB makes of plans. `written` are rows of data; `reindexed` those whose indices were written."""

    def __init__(self) -> None:
        self.fragments: list[Fragment] = []
        self.indexed: set[int] = set()
        self.next_id = self.written = self.reindexed = self.most = self.most_unindexed = 0

    @property
    def rows(self) -> int:
        return sum(piece.rows for piece in self.fragments)

    @property
    def unindexed(self) -> int:
        return sum(piece.rows for piece in self.fragments if piece.fragment_id not in self.indexed)

    def commit(self, rows: int = 1) -> None:
        self.fragments.append(Fragment(self.next_id, rows))
        self.next_id += 1
        self.most = max(self.most, len(self.fragments))

    def delete(self, position: int) -> None:
        for at, piece in enumerate(self.fragments):
            if position < piece.rows:
                self.fragments[at] = replace(piece, rows=piece.rows - 1, deleted=piece.deleted + 1)
                if piece.rows == 1:
                    del self.fragments[at]
                return
            position -= piece.rows

    def tidy(self) -> None:
        due = plan(self.fragments, self.unindexed)
        if due.gather_from is not None:
            self._merge([piece for piece in self.fragments if piece.fragment_id >= due.gather_from])
        if due.whole:
            self._merge(list(self.fragments))
        if due.index:
            self.indexed = {piece.fragment_id for piece in self.fragments}
            self.reindexed += self.rows
        self.most_unindexed = max(self.most_unindexed, self.unindexed)

    def _merge(self, pieces: list[Fragment]) -> None:
        rows = sum(piece.rows for piece in pieces)
        self.fragments = [piece for piece in self.fragments if piece not in pieces]
        self.written += rows
        self.commit(rows)


def test_each_row_is_written_anew_a_few_times_however_long_the_table_grows() -> None:
    pieces = Pieces()
    times = {}
    for number in range(1, 40_001):
        pieces.commit()
        if number % COMMITS == 0:
            pieces.tidy()
        if number in (5_000, 40_000):
            times[number] = pieces.written / number, pieces.reindexed / number
    assert pieces.rows == 40_000
    assert times[40_000][0] < 15, times  # written whole after every twentieth commit: a thousand times
    assert times[40_000][0] < 1.5 * times[5_000][0], times
    assert times[40_000][1] < 30, times
    assert pieces.most <= 2 * COMMITS
    assert pieces.most_unindexed <= 2_000


def test_deleted_rows_never_take_more_than_a_fixed_part_beside_the_living() -> None:
    pieces, drawn = Pieces(), Random(7)
    for number in range(1, 6_001):
        pieces.commit()
        if number % 2:
            pieces.delete(drawn.randrange(pieces.rows))
        if number % COMMITS == 0:
            pieces.tidy()
            assert sum(piece.deleted for piece in pieces.fragments) <= 0.1 * pieces.rows + COMMITS
    assert pieces.written < 40 * 6_000
    assert pieces.most <= 2 * COMMITS


def test_a_full_piece_is_left_alone_and_what_lies_behind_it_has_a_base_of_its_own() -> None:
    full, base = Fragment(0, FRAGMENT_ROWS_FULL), Fragment(1, 100_000)
    assert plan([full, base, Fragment(2, 1_000), Fragment(3, 1_500)], 2_500) == Plan(gather_from=2, index=True)
    assert plan([full, base, Fragment(2, 30_000)], 30_000) == WHOLE
    assert plan([full, base], 0) == Plan()
