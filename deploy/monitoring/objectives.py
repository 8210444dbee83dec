"""What S4 as a whole promises by default; a plan's promises to one tenant are in `s4 sla`.

Burn rates and windows are those of Google's SRE workbook, chapter 5: an alert needs a long window, in which so much of
a month's budget went that it matters, and a short one, by which it ends soon after its cause.
"""

from dataclasses import dataclass

AVAILABILITY = 0.999
"""Of requests to the API, in 30 days, that S4 does not answer with 5xx."""

SEARCH_SHARE = 0.99
SEARCH_SECONDS = 1.0
"""Of searches, the share that is answered within so long. A bound of the histogram's buckets."""

FRESH_SHARE = 0.95
FRESH_SECONDS = 60.0
"""Of uploads, the share that is found so long after it was acknowledged. A bound of the histogram's buckets."""


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
