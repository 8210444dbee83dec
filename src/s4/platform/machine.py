"""What this process may use: processors and memory, as the kernel's control groups limit them.

A container, a unit of systemd, a batch job: each is a *control group*, and the machine around it is larger. Whoever
counts the machine's processors starts too many threads, which the group then stops for a part of every 100 ms; whoever
counts the machine's memory is killed. Both versions are read: v1, where every controller has a tree of its own, and v2,
which is one tree. A group is bounded by all groups above it as well, so the least limit counts, as far up as this
process can see. Nothing is ever assumed from a file that is missing or strange: then there is no limit.
"""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_V2 = ""  # the controller's name that /proc/self/cgroup gives the one tree of version 2
_OCTAL = re.compile(r"\\([0-7]{3})")  # how mountinfo writes blanks


@dataclass(frozen=True, slots=True)
class Machine:
    """`processors` may be a fraction: a group's quota of their time. `…_by` says what decides, for people."""

    processors: float
    processors_by: str
    memory_bytes: int
    memory_by: str

    @property
    def threads(self) -> int:
        """Rounded up: a thread too few leaves time unused that was given, one too many waits now and then."""
        return max(1, math.ceil(self.processors))


def read_machine(
    *, proc: Path = Path("/proc/self"), affinity: int | None = None, physical_bytes: int | None = None
) -> Machine:
    """`proc`, `affinity` (processors that this process may run on) and `physical_bytes` are for tests."""
    affinity = affinity or _usable_processors()
    physical_bytes = physical_bytes or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    folders = list(group_folders(proc))
    quotas = [(quota, place) for folder in folders for quota, place in _quotas(folder)]
    sizes = [(size, place) for folder in folders for size, place in _sizes(folder)]
    processors, processors_by = min([*quotas, (float(affinity), "the processors that this process may run on")])
    memory_bytes, memory_by = min([*sizes, (physical_bytes, "the machine's memory")])
    return Machine(processors, processors_by, memory_bytes, memory_by)


def _usable_processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def group_folders(proc: Path) -> Iterator[Path]:
    """Those of this process's groups that it can see, each followed by those above it."""
    paths = {
        controller: path
        for _, controllers, path in (line.split(":", 2) for line in _lines(proc / "cgroup") if line.count(":") >= 2)
        for controller in controllers.split(",")
    }
    for line in _lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        mounted, kind = before.split(" "), after.split(" ")
        if len(mounted) < 5 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        controllers = [_V2] if kind[0] == "cgroup2" else kind[-1].split(",")
        root, top = (_OCTAL.sub(lambda found: chr(int(found[1], 8)), field) for field in mounted[3:5])
        for path in {paths[controller] for controller in controllers if controller in paths}:
            yield from _upwards(Path(top), root, path)


def _upwards(top: Path, root: str, path: str) -> Iterator[Path]:
    """From the group `path` to where its tree is mounted: at `top`, which shows what is below `root`."""
    inside = (path == root or path.startswith(root.rstrip("/") + "/")) and ".." not in path.split("/")
    # What is not inside has a name of another namespace; the mount's own top is the nearest that can be seen.
    relative = Path(path[len(root) :].lstrip("/")) if inside else Path()
    for steps in range(len(relative.parts), -1, -1):
        yield top.joinpath(*relative.parts[:steps])


def _quotas(folder: Path) -> Iterator[tuple[float, str]]:
    """Processors, from time per period."""
    name = "cpu.max"
    given = _words(folder / name)
    if not given:
        name = "cpu.cfs_quota_us"
        given = _words(folder / name) + _words(folder / "cpu.cfs_period_us")
    if len(given) == 2 and all(map(str.isdecimal, given)) and int(given[0]) > 0 < int(given[1]):
        yield int(given[0]) / int(given[1]), str(folder / name)


def _sizes(folder: Path) -> Iterator[tuple[int, str]]:
    # Above memory.high a group is not killed but slowed down until it stands: to S4 that is the same.
    for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
        given = _words(folder / name)
        if len(given) == 1 and given[0].isdecimal() and int(given[0]) > 0:
            yield int(given[0]), str(folder / name)


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
