"""What this process, its children, its control group, its network and its disks have used: the kernel's own figures.

Where a figure has no source (no Linux, no control group, a file that may not be read) it is absent, never 0.
"""

import contextlib
import os
import re
import resource
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from s4.platform.machine import group_folders

_PROC = Path("/proc")
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_BLOCK_BYTES = 512  # what getrusage counts disks in, on Linux
_NANOSECONDS, _MICROSECONDS = 1e-9, 1e-6


@dataclass(frozen=True, slots=True)
class Used:
    """By one process or several. CPU and disk since their beginnings, memory and threads now."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    threads: int = 0
    read_bytes: int = 0
    written_bytes: int = 0

    def __add__(self, other: "Used") -> "Used":
        return Used(
            self.cpu_seconds + other.cpu_seconds,
            self.memory_bytes + other.memory_bytes,
            self.threads + other.threads,
            self.read_bytes + other.read_bytes,
            self.written_bytes + other.written_bytes,
        )


@dataclass(frozen=True, slots=True)
class Group:
    """A control group's figures, each from the nearest one that has it; None where none has."""

    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    memory_bytes: int | None = None
    working_set_bytes: int | None = None
    oom_kills: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """Over all interfaces but loopback, of the namespace. Errors with packets that were dropped."""

    received_bytes: int = 0
    sent_bytes: int = 0
    receive_errors: int = 0
    send_errors: int = 0


def used_by(pid: int, *, proc: Path = _PROC) -> Used | None:
    """None when there is no such process, or no Linux."""
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # from the third on; the second, a name, may hold anything
    disks = {"read_bytes": "0", "write_bytes": "0"}
    with contextlib.suppress(OSError):  # hardened kernels keep it even from who it is about
        disks |= dict(line.split(": ") for line in (proc / str(pid) / "io").read_text().splitlines())
    return Used(
        cpu_seconds=(int(fields[11]) + int(fields[12])) * _TICK_SECONDS,
        memory_bytes=int(fields[21]) * _PAGE_BYTES,
        threads=int(fields[17]),
        read_bytes=int(disks["read_bytes"]),
        written_bytes=int(disks["write_bytes"]),
    )


def used_by_self() -> Used | None:
    """Of this process, with all its threads."""
    return used_by(os.getpid())


def used_by_all(pids: Iterable[int], *, proc: Path = _PROC) -> Used:
    """Those that are gone count nothing."""
    return sum((used for pid in pids if (used := used_by(pid, proc=proc)) is not None), start=Used())


def used_by_ended_children() -> Used:
    """Of this process, that it has waited for, with theirs."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Used(
        cpu_seconds=ended.ru_utime + ended.ru_stime,
        read_bytes=ended.ru_inblock * _BLOCK_BYTES,
        written_bytes=ended.ru_oublock * _BLOCK_BYTES,
    )


def thread_ids() -> set[int]:
    """Of this process's threads; none where there is no Linux."""
    try:
        return {int(each.name) for each in (_PROC / "self" / "task").iterdir()}
    except OSError:
        return set()


def thread_cpu_seconds(ids: Iterable[int]) -> float:
    """Of those of this process's threads that live."""
    return sum(used.cpu_seconds for each in ids if (used := used_by(each, proc=_PROC / "self" / "task")) is not None)


def read_group(*, proc: Path = _PROC / "self") -> Group:
    """Of version 2 or of version 1."""
    folders = list(group_folders(proc))
    cpu, memory = _named(folders, "cpu.stat"), _named(folders, "memory.stat")
    spent, nanoseconds = cpu.get("usage_usec"), _number(folders, "cpuacct.usage")
    stopped, stopped_nanoseconds = cpu.get("throttled_usec"), cpu.get("throttled_time")
    held = _number(folders, "memory.current", "memory.usage_in_bytes")
    droppable = memory.get("total_inactive_file", memory.get("inactive_file", 0))
    disks = _disks(folders)
    return Group(
        cpu_seconds=_scaled(spent, _MICROSECONDS) if spent is not None else _scaled(nanoseconds, _NANOSECONDS),
        throttled_seconds=_scaled(stopped, _MICROSECONDS)
        if stopped is not None
        else _scaled(stopped_nanoseconds, _NANOSECONDS),
        memory_bytes=held,
        working_set_bytes=max(0, held - droppable) if held is not None else None,
        oom_kills=_named(folders, "memory.events", "memory.oom_control").get("oom_kill"),
        read_bytes=disks[0] if disks is not None else None,
        written_bytes=disks[1] if disks is not None else None,
    )


def read_network(*, proc: Path = _PROC / "self") -> Network | None:
    """None where there is no Linux."""
    try:
        lines = (proc / "net" / "dev").read_text().splitlines()[2:]
    except OSError:
        return None
    sums = [0] * 16
    for line in lines:
        interface, _, figures = line.partition(":")
        if interface.strip() != "lo":
            sums = [total + int(each) for total, each in zip(sums, figures.split(), strict=True)]
    return Network(sums[0], sums[8], sums[2] + sums[3], sums[10] + sums[11])


def read_disk(folder: Path) -> tuple[int, int] | None:
    """Size of its file system and what is free of it for us, in bytes. None when there is no such folder."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


def _scaled(value: int | None, unit: float) -> float | None:
    return value * unit if value is not None else None


def _first(folders: Sequence[Path], names: Iterable[str]) -> str | None:
    for name in names:
        for folder in folders:
            with contextlib.suppress(OSError):
                return (folder / name).read_text()
    return None


def _number(folders: Sequence[Path], *names: str) -> int | None:
    said = (_first(folders, names) or "").strip()
    return int(said) if said.isdecimal() else None


def _named(folders: Sequence[Path], *names: str) -> dict[str, int]:
    """A file of lines with a name and a number each."""
    pairs = re.findall(r"^(\w+) (\d+)$", _first(folders, names) or "", re.MULTILINE)
    return {name: int(number) for name, number in pairs}


def _disks(folders: Sequence[Path]) -> tuple[int, int] | None:
    """Read and written, over all devices."""
    said = _first(folders, ("io.stat", "blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"))
    if said is None:
        return None
    read = re.findall(r"rbytes=(\d+)|^\d+:\d+ Read (\d+)$", said, re.MULTILINE)
    written = re.findall(r"wbytes=(\d+)|^\d+:\d+ Write (\d+)$", said, re.MULTILINE)
    return sum(int("".join(each)) for each in read), sum(int("".join(each)) for each in written)
