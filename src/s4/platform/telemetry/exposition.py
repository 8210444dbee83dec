"""The text that Prometheus scrapes: this process's metrics and those of its children, told apart by `process`.

What is counted stands in the client library's registry; what is read when it is asked for comes from `sources`, which
whoever assembles the process hands over.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import REGISTRY, Metric, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Source = Callable[[], Iterable[Metric]]

_FAMILY = re.compile(r"^# HELP (\S+) ")


def own(sources: Sequence[Source] = ()) -> bytes:
    """This process's metrics, unlabelled: what a child hands to its parent."""
    return generate_latest(_Collected([REGISTRY.collect, *sources]))


def only(families: Iterable[Metric]) -> bytes:
    """These, and nothing of what is counted."""
    return generate_latest(_Collected([lambda: families]))


def combined(texts: Mapping[str, bytes]) -> bytes:
    """Each process's text, with its samples labelled as `process=` its name; one family each."""
    families: dict[str, tuple[list[str], list[str]]] = {}
    for process, text in texts.items():
        head: list[str] = []
        samples: list[str] = []
        for line in text.decode().splitlines():
            if found := _FAMILY.match(line):
                head, samples = families.setdefault(found[1], ([], []))
            if not line.startswith("#"):
                samples.append(_labelled(line, process))
            elif len(head) < 2:  # HELP and TYPE; another process says the same
                head.append(line)
    return "".join(f"{line}\n" for head, samples in families.values() for line in (*head, *samples)).encode()


def _labelled(sample: str, process: str) -> str:
    """Without parsing it: there are thousands, and the event loop waits."""
    name, blank, value = sample.partition(" ")
    if "{" not in name:
        return f'{name}{{process="{process}"}}{blank}{value}'
    name, _, rest = sample.partition("{")
    return f'{name}{{process="{process}",{rest}'


class _Collected:
    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        for source in self._sources:
            yield from source()
