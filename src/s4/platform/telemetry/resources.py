"""Sources of metrics that are read at a scrape: what this process uses, and what it has."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client import Metric

from s4.platform import resources
from s4.platform.machine import read_machine
from s4.platform.resources import Used
from s4.platform.telemetry import metrics
from s4.platform.telemetry.metrics.buckets import Read, Samples

Numbers = Callable[[], Iterable[int]]
"""Of processes, or of threads."""


class Resources:
    """One per process."""

    def __init__(
        self, *, folders: Mapping[str, Path], children: Numbers | None = None, embedding_threads: Numbers | None = None
    ) -> None:
        """`folders` whose file systems are looked at, by name. `children` are the extraction children that run, in a
        process that waits for no others; `embedding_threads` those of the local model; None where there are none."""
        self._folders = folders
        self.children = children
        self._embedding_threads = embedding_threads

    def __call__(self) -> Iterator[Metric]:
        yield from self._process()
        yield from _machine()
        disks = {name: found for name, folder in self._folders.items() if (found := resources.read_disk(folder))}
        yield metrics.DISK_SIZE_BYTES.of({name: size for name, (size, _) in disks.items()})
        yield metrics.DISK_FREE_BYTES.of({name: free for name, (_, free) in disks.items()})

    def _process(self) -> Iterator[Metric]:
        myself = resources.used_by_self()
        if myself is None:
            return
        parts = {"self": myself}
        if self.children is not None:
            pids = list(self.children())
            parts["extraction"] = resources.used_by_ended_children() + resources.used_by_all(pids)
            yield metrics.EXTRACTION_PROCESSES.of(len(pids))
        yield metrics.PROCESS_CPU_SECONDS.of({part: used.cpu_seconds for part, used in parts.items()})
        yield metrics.PROCESS_MEMORY_BYTES.of({part: used.memory_bytes for part, used in parts.items()})
        yield metrics.PROCESS_THREADS.of({part: used.threads for part, used in parts.items()})
        yield metrics.PROCESS_DISK_BYTES.of(_disk_samples(parts))
        if self._embedding_threads is not None:
            yield metrics.EMBEDDING_CPU_SECONDS.of(resources.thread_cpu_seconds(self._embedding_threads()))


def _disk_samples(parts: Mapping[str, Used]) -> Samples:
    for part, used in parts.items():
        yield (part, "read"), used.read_bytes
        yield (part, "written"), used.written_bytes


def _machine() -> Iterator[Metric]:
    machine, group, network = read_machine(), resources.read_group(), resources.read_network()
    yield metrics.CPU_LIMIT_CORES.of(machine.processors)
    yield metrics.MEMORY_LIMIT_BYTES.of(machine.memory_bytes)
    yield from _known(metrics.CGROUP_CPU_SECONDS, group.cpu_seconds)
    yield from _known(metrics.CGROUP_THROTTLED_SECONDS, group.throttled_seconds)
    yield from _known(metrics.CGROUP_OOM_KILLS, group.oom_kills)
    yield metrics.CGROUP_MEMORY_BYTES.of(_present(used=group.memory_bytes, working_set=group.working_set_bytes))
    yield metrics.CGROUP_DISK_BYTES.of(_present(read=group.read_bytes, written=group.written_bytes))
    if network is not None:
        yield metrics.NETWORK_BYTES.of({"received": network.received_bytes, "sent": network.sent_bytes})
        yield metrics.NETWORK_ERRORS.of({"received": network.receive_errors, "sent": network.send_errors})


def _known(metric: Read, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield metric.of(value)


def _present(**values: int | None) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
