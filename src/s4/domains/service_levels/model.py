"""A month, judged."""

from dataclasses import dataclass
from enum import StrEnum

from s4.domains.plans import ServiceLevel
from s4.domains.usage.ledger import SEARCH_BUCKETS, Amounts
from s4.domains.usage.service import search_p95_seconds

AT_RISK_SPENT = 0.8  # of the budget: early enough to do something about the rest of the month
SEARCHES_MIN = 100  # below, the slowest five of a hundred are one or two, and one cold start is a trend

_DIGITS = 9  # 1 - 0.99 is a little more than 0.01, and eight of ten failures would be less than 80 %


class State(StrEnum):
    NO_OBJECTIVE = "no_objective"
    MET = "met"
    AT_RISK = "at_risk"
    BREACHED = "breached"


@dataclass(frozen=True, slots=True)
class Level:
    """What was measured in a month, or in the part of it that is over, beside what was promised."""

    objective: ServiceLevel | None
    requests: int
    failures: int
    searches: int
    search_p95_ms: float | None
    closed: bool
    """The month is over."""

    @classmethod
    def of(cls, amounts: Amounts, objective: ServiceLevel | None, *, closed: bool) -> "Level":
        p95_seconds = search_p95_seconds(amounts)
        return cls(
            objective,
            amounts["requests"],
            amounts["failures"],
            sum(amounts[name] for name in SEARCH_BUCKETS),
            round(p95_seconds * 1000, 1) if p95_seconds is not None else None,
            closed,
        )

    @property
    def availability(self) -> float | None:
        """Share of the requests that S4 did not fail; None without requests."""
        return 1 - self.failures / self.requests if self.requests else None

    @property
    def failures_allowed(self) -> float | None:
        """By the promise, of as many requests as there were."""
        if self.objective is None:
            return None
        return round((1 - self.objective.availability) * self.requests, _DIGITS)

    @property
    def budget_spent(self) -> float | None:
        """Share of the failures allowed that happened; above 1 the promise is broken. None without requests."""
        return self.failures / self.failures_allowed if self.failures_allowed else None

    @property
    def latency_is_over(self) -> bool:
        """Of enough searches, or of a month that is over."""
        if self.objective is None or self.search_p95_ms is None:
            return False
        enough = self.closed or self.searches >= SEARCHES_MIN
        return enough and self.search_p95_ms > self.objective.latency_p95_ms

    @property
    def state(self) -> State:
        """A running month is judged by its failures once there are so many requests that one of them may fail; before,
        the first failure would break every promise. Its latency can still mend, so it puts at risk and does not break.
        """
        if self.objective is None:
            return State.NO_OBJECTIVE
        spent, allowed = self.budget_spent or 0.0, self.failures_allowed or 0.0
        judged = self.closed or allowed >= 1
        if judged and spent > 1:
            return State.BREACHED
        if self.latency_is_over:
            return State.BREACHED if self.closed else State.AT_RISK
        return State.AT_RISK if judged and spent >= AT_RISK_SPENT and not self.closed else State.MET
