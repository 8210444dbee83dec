"""How long each stage of a document's way into the index takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from s4.platform.telemetry import metrics, traces


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Observes the block's duration, if it ends well."""
    started = time.perf_counter()
    with traces.span(f"index {name}"):
        yield
    metrics.STAGE_SECONDS.labels(name).observe(time.perf_counter() - started)
