"""`/metrics`, before and after: where the time went inside S4, and how often it did what."""

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from wire import Wire


@dataclass(frozen=True, slots=True)
class Spent:
    """How often a stage ran, and how long in all."""

    count: float = 0.0
    seconds: float = 0.0

    @property
    def mean_milliseconds(self) -> float:
        return 1000 * self.seconds / self.count if self.count else 0.0


def stages(wire: Wire, histogram: str) -> dict[str, Spent]:
    """By the histogram's label `stage`, over all processes of the server."""
    sums: dict[str, dict[str, float]] = {"_count": {}, "_sum": {}}
    for family in text_string_to_metric_families(wire.send("GET", "/metrics")[1].decode()):
        if family.name != histogram:
            continue
        for sample in family.samples:
            of_kind = sums.get(sample.name.removeprefix(histogram))
            if of_kind is not None:
                stage = sample.labels["stage"]
                of_kind[stage] = of_kind.get(stage, 0.0) + sample.value
    return {stage: Spent(count, sums["_sum"][stage]) for stage, count in sums["_count"].items()}


def total(wire: Wire, counter: str) -> float:
    """Of a counter without labels, over all processes of the server. `counter` without `_total`."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(wire.send("GET", "/metrics")[1].decode())
        if family.name == counter
        for sample in family.samples
        if sample.name.endswith("_total")
    )


def between(before: Mapping[str, Spent], after: Mapping[str, Spent]) -> dict[str, Spent]:
    """What happened from `before` to `after`, in `after`'s order."""
    return {
        stage: Spent(now.count - then.count, now.seconds - then.seconds)
        for stage, now in after.items()
        if now.count > (then := before.get(stage, Spent())).count
    }
