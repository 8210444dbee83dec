"""Whether a series grows: the slope by Theil and Sen, the median of the slopes between all pairs of samples.

It bears a third of outliers, so a peak while something big is read, or a saw's teeth, do not count as growth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SURE = 0.25
"""A series counts as growing when all but this share of its pairs do: a saw has as many that fall."""


@dataclass(frozen=True, slots=True)
class Trend:
    """`first` and `last` are medians of the first and the last fifth; `per_hour` the slope."""

    first: float
    last: float
    per_hour: float
    within: float
    """What the slope makes of the time that was watched."""
    sure: bool


def trend(seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """Of at least ten samples."""
    times, found = np.asarray(seconds, float), np.asarray(values, float)
    later, earlier = np.triu_indices(len(times), 1)[::-1]
    slopes = (found[later] - found[earlier]) / (times[later] - times[earlier])
    slope = float(np.median(slopes))
    fifth = max(1, len(found) // 5)
    return Trend(
        first=float(np.median(found[:fifth])),
        last=float(np.median(found[-fifth:])),
        per_hour=3600 * slope,
        within=slope * float(times[-1] - times[0]),
        sure=float(np.quantile(slopes, SURE)) > 0,
    )
