"""Bounds of histograms, in seconds; metrics that are read when they are asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import Metric, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nothing here looks at

# OpenTelemetry's buckets for http.server.request.duration, in seconds. The ledger's sketches have the same: other
# bounds need columns of their own there.
HTTP_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
STAGE_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0)
STATEMENT_BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)
FRESHNESS_BUCKETS_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)


Samples = Iterable[tuple[tuple[str, ...], float]]
"""Values, each with those of its labels."""


@dataclass(frozen=True, slots=True)
class Read:
    """A metric that nobody counts: its source (the kernel, the catalog) is read at the moment of a scrape."""

    name: str
    """As it is scraped: of a counter with `_total`."""
    documentation: str
    labels: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        return "counter" if self.name.endswith("_total") else "gauge"

    def describe(self) -> list[Metric]:
        return [Metric(self.name.removesuffix("_total"), self.documentation, self.type)]

    def of(self, samples: Samples | Mapping[str, float] | float) -> Metric:
        """The family with its samples: one number, numbers by the one label, or by all labels."""
        (family,) = self.describe()
        if isinstance(samples, (int, float)):
            samples = [((), samples)]
        elif isinstance(samples, Mapping):
            samples = [((key,), value) for key, value in samples.items()]
        for values, number in samples:
            family.add_sample(self.name, dict(zip(self.labels, values, strict=True)), number)
        return family
