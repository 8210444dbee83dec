"""How long each stage of a search takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from s4.platform.telemetry import metrics, traces


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Observes the block's duration, however it ends."""
    started = time.perf_counter()
    try:
        with traces.span(f"search {name}"):
            yield
    finally:
        metrics.SEARCH_SECONDS.labels(name).observe(time.perf_counter() - started)
