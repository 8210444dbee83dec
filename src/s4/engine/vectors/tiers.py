"""Which pieces of a table are to be merged now, so that each row is written anew few times however large it grows.

LanceDB's compaction has one rule: whatever is below a million rows, and in the same indices, becomes one piece. After
every twentieth commit, it wrote the whole table for twenty rows. So the table has parts. The *base* is what the last
whole compaction made. Behind it lies what came since, of which the older part is in the indices. Behind that:

- New pieces are merged among themselves, an older one when those behind it have together as many rows. So each row is
  written anew once for every doubling, and there are never many pieces.
- When new rows are too large a part for keyword search to scan, all that lies behind the base becomes one piece, and
  the indices take it in. The base is not touched. Indices are written anew, a fifth as large as the rows.
- When what lies behind the base is a fixed part of it, or many rows are deleted, everything is merged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from s4.engine.vectors.manifest import Fragment

FRAGMENT_ROWS_FULL = 1 << 20
"""LanceDB leaves such a piece alone."""
UNINDEXED_PART = 1 / 16
UNINDEXED_ROWS_MAX = 2_000
"""Of a large table: keyword search took 61 ms with 2,100 such rows beside 100,000, and 3 ms without."""
BEHIND_PART = 1 / 4
"""Of the base. A smaller one writes the base more often, a larger one what lies behind it."""
DELETED_PART = 1 / 10
"""Of the living rows. LanceDB's compaction takes deleted rows out of a piece from there on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """In this order. `gather_from`: that fragment and all later ones become one."""

    gather_from: int | None = None
    index: bool = False
    whole: bool = False


WHOLE = Plan(index=True, whole=True)


def plan(fragments: Sequence[Fragment], unindexed_rows: int) -> Plan:
    """What is due of a table with these pieces, in the order of their ids."""
    rows = sum(piece.rows for piece in fragments)
    if sum(piece.deleted for piece in fragments) > DELETED_PART * rows:
        return WHOLE
    full = [position for position, piece in enumerate(fragments) if piece.rows + piece.deleted >= FRAGMENT_ROWS_FULL]
    first = full[-1] + 1 if full else 0
    base, behind = fragments[first : first + 1], fragments[first + 1 :]
    if unindexed_rows <= min(UNINDEXED_ROWS_MAX, UNINDEXED_PART * rows):
        return Plan(gather_from=_doubled(behind, unindexed_rows))
    if sum(piece.rows for piece in behind) >= BEHIND_PART * sum(piece.rows for piece in base):
        return WHOLE
    return Plan(gather_from=behind[0].fragment_id if len(behind) > 1 else None, index=True)


def _doubled(behind: Sequence[Fragment], unindexed_rows: int) -> int | None:
    """Where the pieces begin that are to be merged: none of those that are in the indices."""
    begin, gathered = None, 0
    for piece in reversed(behind):
        if gathered + piece.rows > unindexed_rows or (gathered and piece.rows > gathered):
            break
        begin = piece.fragment_id if gathered else None
        gathered += piece.rows
    return begin
