"""Settings that fit the machine: what nobody set is made as large as memory and processors allow, and no larger.

The memory (`S4_MEMORY_BYTES`, else what `platform/machine.py` reads) is shared by the API, its worker, and the children
that read files, as `s4 serve` runs them; a process with a limit of its own only has more room. What both need before
they do anything comes first. Of the rest a half belongs to the children, a quarter to the caches, and a quarter to the
texts in work. What an operator sets is taken as it is; `misfits` says where it cannot be.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from s4.kernel.settings import Settings
from s4.kernel.units import MIB, human_size
from s4.platform.machine import Machine

IDLE_BYTES = 640 * MIB  # API and worker, both with the local model and in use: 614 measured (benchmarks/RESULTS.md)
CACHE_FACTOR = 5  # what full caches take: with metadata and a worker's part 1.7 x the setting, 3 x what LanceDB counts
TEXT_BYTES_PER_CHAR = 50  # of the worst text while it is cut into chunks (docs/guide/limits.md)
CHILD_ADDRESSES_BYTES = 256 * MIB  # of a child's address space, for programs and stacks; measured, and not its memory
CHILD_BYTES_MIN = 96 * MIB  # ordinary files take 25 to 80 MiB beside the programs
CACHE_BYTES_MIN = 8 * MIB  # below, each search reads the footers of its table again
TEXT_CHARS_MIN = 1_000_000  # a book of 500 pages
TASK_BYTES = 64 * MIB  # for a document in work: its chunks, their vectors, and a row of the index for each
TASKS_MIN = 2  # so that one that waits does not stop the other
PARSED_SHARE = 16  # of a child's memory is what a document may unpack to, as the settings' descriptions ask for


@dataclass(frozen=True, slots=True)
class Fit:
    """`changes` by setting, and in one sentence what they follow from."""

    changes: dict[str, int]
    reason: str


def fit(settings: Settings, machine: Machine, *, given: Collection[str]) -> Fit:
    """What becomes of the settings that are not `given`. Never more than their defaults."""
    processors = settings.processors or machine.threads
    memory_bytes = settings.memory_bytes or machine.memory_bytes
    spare_bytes = max(0, memory_bytes - IDLE_BYTES)
    child_bytes = spare_bytes // 2 // _children(settings)
    wanted = {
        "extraction_memory_bytes": max(CHILD_BYTES_MIN, child_bytes) + CHILD_ADDRESSES_BYTES,
        "index_cache_bytes": max(CACHE_BYTES_MIN, spare_bytes // 4 // CACHE_FACTOR),
        "extraction_text_chars_max": max(TEXT_CHARS_MIN, spare_bytes // 4 // TEXT_BYTES_PER_CHAR),
        "worker_concurrency": max(TASKS_MIN, spare_bytes // TASK_BYTES),
    }
    changes = {name: min(value, getattr(settings, name)) for name, value in wanted.items() if name not in given}
    parsed_bytes = changes.get("extraction_memory_bytes", settings.extraction_memory_bytes) // PARSED_SHARE
    for name in ("extraction_unpacked_bytes_max", "extraction_markup_bytes_max"):
        if name not in given:
            changes[name] = min(parsed_bytes, getattr(settings, name))
    changes |= {"processors": processors, "memory_bytes": memory_bytes}
    changes["embedding_threads"] = settings.embedding_threads or processors
    reason = f"{machine.processors:g} processors ({machine.processors_by}), {human_size(machine.memory_bytes)} "
    return Fit(
        {name: value for name, value in changes.items() if value != getattr(settings, name)},
        f"{reason}({machine.memory_by})",
    )


def misfits(settings: Settings) -> Iterator[str]:
    """Sentences for the operator, about settings to which `fit` has been applied."""
    children, child_bytes = _children(settings), _child_bytes(settings)
    parts = {
        "API and worker, idle": IDLE_BYTES,
        f"S4_INDEX_CACHE_BYTES, {CACHE_FACTOR} x {human_size(settings.index_cache_bytes)} when full": (
            CACHE_FACTOR * settings.index_cache_bytes
        ),
        "S4_EXTRACTION_MEMORY_BYTES x (S4_EXTRACTION_PROCESSES + S4_EXTRACTION_SLOW_PROCESSES), "
        f"{human_size(child_bytes)} of memory for each of {children} children": children * child_bytes,
        f"S4_EXTRACTION_TEXT_CHARS_MAX, {TEXT_BYTES_PER_CHAR} bytes each": (
            TEXT_BYTES_PER_CHAR * settings.extraction_text_chars_max
        ),
    }
    needed_bytes = sum(parts.values())
    if needed_bytes > settings.memory_bytes:
        listed = "; ".join(f"{human_size(size)} ({what})" for what, size in parts.items())
        yield (
            f"S4 may come to need {human_size(needed_bytes)}, and has {human_size(settings.memory_bytes)} "
            f"(S4_MEMORY_BYTES): {listed}. Lower these settings or give it more memory; otherwise the kernel ends what "
            "reads files first, and those documents fail."
        )


def _children(settings: Settings) -> int:
    return settings.extraction_processes + settings.extraction_slow_processes


def _child_bytes(settings: Settings) -> int:
    """What a child can take of memory, given its address space."""
    return max(0, settings.extraction_memory_bytes - CHILD_ADDRESSES_BYTES)
