"""One look at everything of a running S4 that must not grow while its data does not."""

import contextlib
import os
import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from processes import Process, family
from served import Server
from wire import Wire

from s4.kernel.units import MIB

_GONE = (FileNotFoundError, ProcessLookupError, KeyError)  # a child that ended while it was looked at

APPEND_ONLY = {"audit_entries", "audit_batches"}  # they grow by design


@dataclass(frozen=True, slots=True)
class Bound:
    """A kind of figure: by so much may it rise within the watched time, absolutely or by a share of its first value,
    before it counts as growth."""

    unit: str
    absolute: float
    share: float = 0.0


MEMORY = Bound("MiB", 16.0, 0.05)  # allocators keep what they had; a leak of 100 bytes a request shows in an hour
HANDLES = Bound("", 3.0)  # connections come and go
ROWS = Bound("", 25.0, 0.15)  # the mixture is drawn at random
FILES = Bound("", 50.0, 0.2)
BYTES = Bound("MiB", 8.0, 0.2)
SERIES = Bound("", 5.0)
SHARED = Bound("MiB", float("inf"))  # rises when a stranger ends who had the same library mapped: shown, not judged
HISTORY = Bound("", float("inf"))  # every change leaves a head; pruning them belongs to the point-in-time window

Sample = dict[str, float]


def bound_of(name: str) -> Bound:
    """By the last word of a figure's name."""
    if name in ("tenants files", "tenants bytes"):
        return HISTORY
    if name.endswith("PSS"):
        return SHARED
    return {
        "anonymous": MEMORY,
        "RSS": MEMORY,
        "descriptors": HANDLES,
        "threads": HANDLES,
        "rows": ROWS,
        "files": FILES,
        "bytes": BYTES,
        "series": SERIES,
    }[name.rsplit(maxsplit=1)[-1]]


def look(server: Server, wire: Wire) -> Sample:
    """All figures by name."""
    return _processes(server.pid) | _catalog(server.data_dir) | _folders(server.data_dir) | _metrics(wire)


def worker_pid(server: Server) -> int | None:
    for pid in family(server.pid):
        with contextlib.suppress(*_GONE):
            if Process(pid).role == "worker":
                return pid
    return None


def _processes(pid: int) -> Sample:
    """Sums by role: extraction children are replaced now and then."""
    found: Sample = defaultdict(float)
    for member in family(pid):
        with contextlib.suppress(*_GONE):
            process = Process(member)
            role, memory, proportional = process.role, process.memory, process.proportional_bytes
            threads, descriptors = process.threads, process.descriptors
            found[f"{role} anonymous"] += memory.anonymous / MIB
            found[f"{role} RSS"] += memory.resident / MIB
            found[f"{role} PSS"] += proportional / MIB
            found[f"{role} threads"] += threads
            found[f"{role} descriptors"] += descriptors
    return dict(found)


def _catalog(data_dir: Path) -> Sample:
    path = data_dir / "catalog.sqlite"
    found: Sample = {}
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in set(tables) - APPEND_ONLY:
            count = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
            found[f"{table} rows"] = float(count)
    for name in ("catalog.sqlite", "catalog.sqlite-wal"):
        found[f"{name} bytes"] = _size(data_dir / name) / MIB
    return found


def _folders(data_dir: Path) -> Sample:
    """What lies in the store by its first folder, of tables their data and their versions apart; what lies beside."""
    counts: dict[str, int] = {"unfinished": 0}
    sizes: dict[str, int] = {}
    root = data_dir / "objects"
    for folder, _, names in os.walk(root):  # bears folders that vanish meanwhile
        kind = _kind(Path(folder).relative_to(root).parts)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                sizes[kind] = sizes.get(kind, 0) + Path(folder, name).stat().st_size
                counts[kind] = counts.get(kind, 0) + 1
    counts["scratch"] = sum(len(names) for _, _, names in os.walk(data_dir / "scratch"))
    return {f"{kind} files": float(count) for kind, count in counts.items()} | {
        f"{kind} bytes": size / MIB for kind, size in sizes.items()
    }


def _kind(parts: tuple[str, ...]) -> str:
    if not parts or parts[0] == ".tmp":
        return "unfinished"
    if "_versions" in parts:
        return "index versions"
    if "_indices" in parts:
        return "text index"
    return "index data" if "data" in parts else "vectors" if "embeddings" in parts else parts[0]


def _metrics(wire: Wire) -> Sample:
    lines = wire.send("GET", "/metrics")[1].splitlines()
    return {"metrics series": float(sum(1 for line in lines if not line.startswith(b"#")))}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
