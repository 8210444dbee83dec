"""What a reconciler answers with."""

from collections.abc import Callable
from dataclasses import dataclass, field

from s4.platform.telemetry import metrics

Progress = Callable[[str, int, int | None], None]
"""Is told the step, how much of it is done, and of how much, where that is known."""


@dataclass(slots=True)
class Report:
    """What a reconciler mended, by action."""

    counts: dict[str, int] = field(default_factory=dict)
    drift_bytes: int = 0
    """Between what the catalog says of bytes and what there is."""
    problems: list[str] = field(default_factory=list)
    """What a rebuild could not bring back, in sentences, each naming whose it is."""

    def add(self, action: str, count: int = 1) -> None:
        if count:
            self.counts[action] = self.counts.get(action, 0) + count
            metrics.RECONCILED.labels(action).inc(count)
