"""The text that Prometheus scrapes: this process's metrics and those of its children, told apart by `process`."""

from collections.abc import Iterator, Mapping

from prometheus_client import REGISTRY, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def own() -> bytes:
    """This process's metrics, unlabelled: what a child hands to its parent."""
    return generate_latest(REGISTRY)


def combined(name: str, children: Mapping[str, bytes]) -> bytes:
    """This process's metrics as `process=name`, each child's under its own name; one family each."""
    families: dict[str, Metric] = {}
    for process, text in {name: own(), **children}.items():
        for family in text_string_to_metric_families(text.decode()):
            whole = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type, family.unit)
            )
            for sample in family.samples:
                whole.samples.append(sample._replace(labels={**sample.labels, "process": process}))
    return generate_latest(_Collected(list(families.values())))


class _Collected:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families
