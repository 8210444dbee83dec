"""The inside of an extraction child: `python -m s4.engine.extraction.child MEMORY_BYTES SCRATCH_BYTES PARENT_PID`.

It limits itself before it loads a parser, then reads one file at a time for its parent. It has S4's code but
none of its environment, writes nothing but temporary files, and does not outlive its parent. Whatever a
library prints goes to stderr: the pipe of the protocol is moved away from file descriptor 1 first.
"""

import contextlib
import ctypes
import gc
import math
import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from s4.engine.extraction import frames
from s4.engine.extraction.limits import Limits
from s4.kernel.errors import DocumentRejected
from s4.kernel.units import KIB

_OPEN_FILES_MAX = 256
_NICENESS = 3  # on top of the worker's: of one core, the worker's other work gets two thirds and a file one
_OOM_SCORE = 500  # of 1000: when the machine is out of memory, this process goes before the API and the database
_CPU_SECONDS_SPARE = 10  # the parent's clock decides; this ends a child that its parent forgot
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def main() -> int:
    memory_bytes, scratch_bytes, parent_pid = map(int, sys.argv[1:4])
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    _die_with_parent(parent_pid)
    _limit(memory_bytes, scratch_bytes)
    try:
        from s4.engine.extraction.readers import extract  # the parsers, loaded inside the limits
    except (ImportError, MemoryError, OSError) as error:
        _say(answers, {"failed": f"{type(error).__name__}: {error}"})
        return 1

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        path, declared, limits = Path(request["path"]), request["content_type"], Limits.from_dict(request["limits"])
        return extract(path, filename=request["filename"], declared=declared, limits=limits).to_dict()

    _say(answers, {"ready": True})
    return _serve(requests, answers, answer)


def _serve(requests: BinaryIO, answers: BinaryIO, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    while (request := frames.read(requests)) is not None:
        _limit_processor_time(request["seconds_max"])
        message = _attempt(request, answer)
        message["memory_bytes"] = _memory_bytes_most()
        try:
            _say(answers, message)
        except MemoryError:
            del message
            _say(answers, {"spent": "memory", "memory_bytes": 0})
    return 0


def _attempt(request: dict[str, Any], answer: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    try:
        return {"ok": answer(request)}
    except DocumentRejected as rejected:
        detected = rejected.details.get("detected_type")
        return {"error": {"code": rejected.code, "message": rejected.message, "detected_type": detected}}
    except MemoryError:
        gc.collect()  # frees what the failed attempt held in cycles, so that the answer fits
        return {"spent": "memory"}
    except OSError as error:
        return {"unreadable": f"{type(error).__name__}: {error.strerror}"}


def _memory_bytes_most() -> int:
    """Resident, since the start. Not `ru_maxrss` on Linux, which a child inherits from its parent."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    match = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return int(match[1]) * KIB if match else 0


def _say(answers: BinaryIO, message: dict[str, Any]) -> None:
    answers.write(frames.encode(message))
    answers.flush()


def _die_with_parent(parent_pid: int) -> None:
    """Linux only; elsewhere the closed pipe ends an idle child, and the CPU limit a busy one."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        with contextlib.suppress(OSError):  # the score may be raised by anyone; a read-only /proc forbids it
            Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
    if os.getppid() != parent_pid:  # it died before the line above took effect
        sys.exit(1)


def _limit(memory_bytes: int, scratch_bytes: int) -> None:
    _step_back()
    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),  # a core would put a tenant's document on the disk
        (resource.RLIMIT_FSIZE, scratch_bytes),  # of a file; the answer goes through a pipe, which has no such limit
        (resource.RLIMIT_NOFILE, _OPEN_FILES_MAX),
    ):
        hard = resource.getrlimit(kind)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(OSError, ValueError):  # macOS refuses RLIMIT_AS
            resource.setrlimit(kind, (value, value))


def _step_back() -> None:
    """Also as a group: Linux weighs sessions against each other first, by default, and a child has one of its own."""
    niceness = os.nice(_NICENESS)
    with contextlib.suppress(OSError):  # no such file, where sessions are not weighed
        Path("/proc/self/autogroup").write_text(str(niceness))


def _limit_processor_time(seconds_max: float) -> None:
    """From now on, for this file. The soft limit can be raised again for the next one."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    processors = os.cpu_count() or 1  # parsers may use threads, and the limit counts them all
    soft = math.ceil(used.ru_utime + used.ru_stime + seconds_max * processors) + _CPU_SECONDS_SPARE
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


if __name__ == "__main__":
    # Parsers' threads may be alive; their destructors are of no interest, the parent's wait is.
    code = main()
    sys.stderr.flush()
    os._exit(code)
