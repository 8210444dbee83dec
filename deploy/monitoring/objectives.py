"""How fast an error budget may go before somebody is told. The promises themselves are settings (`S4_SLO_…`), which S4
says in `s4_slo_objective_ratio`; a plan's promises to one tenant are in `s4 sla`.

Burn rates and windows are those of Google's SRE workbook, chapter 5: an alert needs a long window, in which so much of
a month's budget went that it matters, and a short one, by which it ends soon after its cause.
"""

from dataclasses import dataclass

FRESH_SECONDS = 60.0
"""How long after its upload a document should be found. A bound of the histogram's buckets."""


@dataclass(frozen=True, slots=True)
class Burn:
    """The budget of 30 days goes `factor` times as fast as it may: through in 30 / `factor` days."""

    long: str
    short: str
    factor: float


FAST = (Burn("1h", "5m", 14.4), Burn("6h", "30m", 6.0))
"""2 % of a month's budget in an hour, or 5 % in six: worth waking somebody."""

SLOW = (Burn("1d", "2h", 3.0), Burn("3d", "6h", 1.0))
"""10 % in a day, or in three."""

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
"""Everything that the above look at, and `records` therefore computes."""
