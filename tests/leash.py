"""Ties a program to the process that started it: when that ends, however it does, the kernel ends the program.

A test that hits its time limit ends its whole process, and no `finally` runs; without this its servers would hold
ports, memory and disk for ever.

    subprocess.Popen(leashed(["s4", "serve"]))

puts this file in front of the program, as a script of its own: it makes the arrangement and becomes the program. That
takes 20 ms, and needs no code between fork and exec (`preexec_fn`), which may deadlock where there are threads. For the
kernel the parent is the *thread* that starts the program: let it be one that lives as long as the program is needed.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores them, and what is ignored stays so through exec


def leashed(command: Sequence[str | Path]) -> list[str]:
    """`command`, which may not begin with a name to be looked for in the path, as a program on the leash."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *map(str, command)]


def die_with_parent(death_signal: signal.Signals, parent: int | None = None) -> Callable[[], None]:
    """To run in the child between fork and exec; prepared here, because little is allowed there."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    expected = os.getpid() if parent is None else parent

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != expected:  # it died in between
            os._exit(1)

    return arrange


def main() -> None:
    parent, *command = sys.argv[1:]
    die_with_parent(signal.SIGKILL, int(parent))()
    for number in _RESTORED:
        signal.signal(number, signal.SIG_DFL)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
