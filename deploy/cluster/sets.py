"""A set of S4: replicas of the API behind the balancer, and workers. One release serves a set."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from balancer import SLOTS, Balancer, Set
from parts import ClusterError, Process

Say = Callable[[str], None]
OWN_RELEASE: tuple[str, ...] = (sys.executable, "-m", "s4.entrypoints.cli")


@dataclass
class S4Set:
    """`program` starts the release that the next process of this set will run."""

    name: Set
    folder: Path
    environment: Mapping[str, str]
    balancer: Balancer
    program: tuple[str, ...] = OWN_RELEASE
    replicas: dict[str, Process] = field(default_factory=dict)
    workers: dict[str, Process] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    """Of replicas, past the balancer."""

    @property
    def runs(self) -> bool:
        return bool(self.replicas or self.workers)

    def start(self, *, replicas: int, workers: int, say: Say) -> None:
        """All at once; returns when the balancer sends requests to every replica. Nothing is left of a set that does
        not start."""
        if self.runs:
            raise ClusterError(f"{self.name} runs already; `roll {self.name}` replaces its processes.")
        if not 1 <= replicas <= SLOTS:
            raise ClusterError(f"A set has from 1 to {SLOTS} replicas.")
        try:
            self._start(replicas, workers, say)
        except ClusterError:
            self.stop(say)
            raise

    def _start(self, replicas: int, workers: int, say: Say) -> None:
        for number in range(1, replicas + 1):
            self.replicas[f"{self.name}-{number}"] = self._begin_replica(f"{self.name}-{number}")
        for number in range(1, workers + 1):
            self.workers[f"{self.name}-worker-{number}"] = self._begin_worker(f"{self.name}-worker-{number}")
        for name, process in self.replicas.items():
            self._enter(name, process, say)
        for name, process in self.workers.items():
            process.await_event("worker.started")
            say(f"{name} works")

    def stop(self, say: Say) -> None:
        """All at once, each in its own time."""
        processes = self.replicas | self.workers
        for process in processes.values():
            process.tell_to_stop()
        for name, process in processes.items():
            process.stop()
            if name in self.replicas:
                self.balancer.leave(name)
            say(f"{name} has ended")
        self.replicas.clear()
        self.workers.clear()

    def roll(self, say: Say) -> None:
        """Replaces every process, one after the other, the next when the one before is back at work."""
        for name in [*self.replicas, *self.workers]:
            self.replace(name, say)

    def replace(self, name: str, say: Say) -> None:
        """Drained and ended, then started anew, under the same name."""
        if name in self.workers:
            self.workers[name].stop()
            self.workers[name] = self._begin_worker(name)
            self.workers[name].await_event("worker.started")
        else:
            self.replicas[name].stop()
            self.balancer.leave(name)
            self.replicas[name] = self._begin_replica(name)
            self._enter(name, self.replicas[name], say)
        say(f"{name} is replaced")

    def add(self, say: Say) -> None:
        """One more replica."""
        free = [name for name in (f"{self.name}-{n}" for n in range(1, SLOTS + 1)) if name not in self.replicas]
        if not free:
            raise ClusterError(f"{self.name} has all the {SLOTS} replicas that haproxy.cfg has names for.")
        self.replicas[free[0]] = self._begin_replica(free[0])
        self._enter(free[0], self.replicas[free[0]], say)

    def remove(self, name: str, say: Say) -> None:
        """One replica less."""
        if len(self.replicas) == 1:
            raise ClusterError(f"{name} is the only replica of {self.name}: stop the set instead.")
        self.replicas.pop(name).stop()
        self.balancer.leave(name)
        say(f"{name} is removed")

    def died(self) -> Sequence[str]:
        """Names of processes that have ended though nobody told them to."""
        return [name for name, process in (self.replicas | self.workers).items() if process.exit_code is not None]

    def _begin_replica(self, name: str) -> Process:
        return self._begin(name, "serve", "--no-worker", "--port", "0")

    def _begin_worker(self, name: str) -> Process:
        return self._begin(name, "worker")

    def _begin(self, name: str, *arguments: str) -> Process:
        process = Process(name, self.folder)
        process.start([*self.program, *arguments], self.environment)
        return process

    def _enter(self, name: str, process: Process, say: Say) -> None:
        url = str(process.await_event("api.started")["details"]["url"])
        self.addresses[name] = url
        self.balancer.enter(name, urlsplit(url).port or 80)
        say(f"{name} serves at {url}")


def set_of(name: str) -> str:
    """`blue` of `blue-2` and of `blue-worker-1`."""
    found = re.fullmatch(r"(blue|green)-(worker-)?\d+", name)
    if found is None:
        raise ClusterError(f"{name} is no replica and no worker: `status` names them.")
    return found[1]
