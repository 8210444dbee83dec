"""The machine that this runs on: disks, memory, processors, against what limits them. Of the machines of other
processes their metrics tell."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from s4.entrypoints.disks import folders
from s4.entrypoints.doctor.report import Check, failed, ok, warning
from s4.entrypoints.doctor.whole.bedside import Bedside
from s4.kernel.units import GIB, human_size
from s4.platform.machine import read_machine
from s4.platform.resources import read_disk, read_group

_DISK_WARNED, _DISK_FAILED = 0.10, 0.03
_DISK_BYTES_WARNED, _DISK_BYTES_FAILED = 5 * GIB, GIB  # of a large disk a hundredth is much
_MEMORY_WARNED, _MEMORY_FAILED = 0.90, 0.97
_LOAD_WARNED = 4.0  # threads that want each processor, for five minutes
_FIVE_MINUTES = 1  # its place in /proc/loadavg
_KIB = 1024


async def disks(bedside: Bedside) -> list[Check]:
    name = "machine.disk"
    checks, seen = [], []
    for what, folder in folders(bedside.settings).items():
        found = read_disk(_there(folder))
        if found is None:
            continue
        size, free = found
        seen.append(f"{human_size(free)} of {human_size(size)} for {what}")
        judge = _judge(size, free)
        if judge is not None:
            checks.append(
                judge(
                    name,
                    f"The disk of {folder} ({what}) is nearly full: {human_size(free)} of {human_size(size)} are free.",
                    _ROOM[what],
                    cause=f"disk of {folder}",
                )
            )
    return checks or [ok(name, f"Free are {'; '.join(dict.fromkeys(seen))}.")]


_ROOM = {
    "data": "Make room: `copies/` may go while no process runs, and S4_INDEX_COPIES_BYTES bounds it; or enlarge the "
    "disk. A full one ends uploads with 503.",
    "objects": "Enlarge the disk, or move the store: docs/guide/store.md. Tenants' deletions free it after "
    "S4_GARBAGE_GRACE_SECONDS.",
    "backups": "`s4 backup prune`, fewer of S4_BACKUP_KEEP_DAYS and S4_BACKUP_KEEP_COUNT, or a larger disk.",
    "temporary": "Make room in it, or set TMPDIR: files are unpacked there while they are read.",
}


def _there(folder: Path) -> Path:
    """It, or what it will be made in."""
    return next(each for each in (folder, *folder.parents) if each.exists())


def _judge(size: int, free: int) -> Callable[..., Check] | None:
    if free < min(_DISK_FAILED * size, _DISK_BYTES_FAILED):
        return failed
    return warning if free < min(_DISK_WARNED * size, _DISK_BYTES_WARNED) else None


async def memory(bedside: Bedside) -> list[Check]:
    name = "machine.memory"
    own = bedside.proc / "self"
    limit, used, by = _memory(own, bedside.proc)
    if not limit:
        return []
    said = f"{human_size(used)} of {human_size(limit)} ({by}) are used."
    if used < _MEMORY_WARNED * limit:
        return [ok(name, said)]
    judge = failed if used >= _MEMORY_FAILED * limit else warning
    return [
        judge(
            name,
            f"{said} At the limit the kernel ends a process, most often one that reads a file.",
            "Give it more memory, or lower what `s4 config check` names; docs/guide/operations.md.",
            cause="memory of this machine",
        )
    ]


def _memory(own: Path, proc: Path) -> tuple[int, int, str]:
    """Limit, use, and what limits it: the control group where it does, else the machine."""
    total, available = _meminfo(proc)
    machine = read_machine(proc=own, physical_bytes=total or None)
    group = read_group(proc=own)
    if group.working_set_bytes is not None and (not total or machine.memory_bytes < total):
        return machine.memory_bytes, group.working_set_bytes, machine.memory_by
    return total, total - available, "the machine's memory"


def _meminfo(proc: Path) -> tuple[int, int]:
    try:
        text = (proc / "meminfo").read_text()
    except OSError:  # no Linux
        return 0, 0
    found = {name: int(size) * _KIB for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    return found.get("MemTotal", 0), found.get("MemAvailable", found.get("MemFree", 0))


async def processors(bedside: Bedside) -> list[Check]:
    name = "machine.processors"
    machine = read_machine(proc=bedside.proc / "self", affinity=os.cpu_count())
    try:
        load = float((bedside.proc / "loadavg").read_text().split()[_FIVE_MINUTES])
    except OSError:
        return []
    said = f"{machine.processors:g} processors ({machine.processors_by}); the load of five minutes is {load:.1f}."
    if load < _LOAD_WARNED * machine.processors:
        return [ok(name, said)]
    return [
        warning(
            name, f"{said} Everything takes so many times longer.",
            "See what else runs here (`top`); add processors, or replicas.", cause="processors of this machine",
        )
    ]  # fmt: skip
