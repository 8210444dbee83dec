"""Starts `s4` processes in a tenth of the time: forks them off one that has imported their modules already.

What runs in a child is the product's own command line, in a session of its own, with nothing mocked. The nursery holds
no thread and no open connection when it forks; LanceDB, whose import starts threads, is left to the children.

`python -m tests.factories.nursery` is the nursery itself: one JSON request per line on stdin, one answer on stdout.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tests.leash import die_with_parent

PATIENCE_SECONDS = 60
_ROOT = Path(__file__).parents[2]
_PRELOADED = (
    "alembic.command",
    "lance_namespace_urllib3_client",  # most of what importing LanceDB costs, and free of threads
    "s4.engine.embedding.openai_compatible",
    "s4.entrypoints.cli.app",
    "s4.entrypoints.cli.server_commands",
    "s4.entrypoints.serve",
    "s4.entrypoints.worker",
    "uvloop",
)


class Process:
    """A child of the nursery. Its log is a file of JSON lines."""

    def __init__(self, nursery: "Nursery", pid: int, log: Path) -> None:
        self._nursery = nursery
        self.pid = pid
        self.log = log
        self._exit_code: int | None = None

    @property
    def has_ended(self) -> bool:
        return self._exit_code is not None or _state(self.pid) in ("Z", "")

    @property
    def is_stopped(self) -> bool:
        return _state(self.pid) == "T"

    def wait(self) -> int:
        """The exit code, once it has ended; the negative signal where one ended it."""
        if self._exit_code is None:
            until(lambda: self.has_ended, f"process {self.pid} lives on:\n{self.tail()}")
            self._exit_code = self._nursery.ask({"reap": self.pid})
        return self._exit_code

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """With everything that it started."""
        if self._exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()

    def events(self, event_type: str) -> list[dict[str, Any]]:
        """Log lines of one kind."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event_type") == event_type:
                    found.append(event)
        return found

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-6000:]


class Nursery:
    """The forking process, from the test's side."""

    def __init__(self) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("S4_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.factories.nursery"],
            cwd=_ROOT,
            env=clean | {"OPENBLAS_NUM_THREADS": "1"},  # its threads would not survive the fork
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> Process:
        """`s4` with these arguments. Its stderr goes to `log`."""
        log.touch()
        pid = self.ask({"arguments": arguments, "environment": dict(environment), "log": str(log)})
        return Process(self, pid, log)

    def ask(self, request: Mapping[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """Ends it and, through their parent's death, all its children."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextlib.contextmanager
def nursery() -> Iterator[Nursery]:
    started = Nursery()
    try:
        yield started
    finally:
        started.close()


def until(condition: Any, what: str) -> Any:
    """What `condition` answers as soon as that is true."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not (answer := condition()):
        if time.monotonic() > give_up_at:
            raise AssertionError(what)
        time.sleep(0.01)
    return answer


def _state(pid: int) -> str:
    """As in `ps`; empty when there is no such process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def _serve() -> None:
    for name in _PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        print(_reap(request["reap"]) if "reap" in request else _fork(request), flush=True)


def _reap(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _fork(request: Mapping[str, Any]) -> int:
    arrange = die_with_parent(signal.SIGKILL)
    pid = os.fork()
    if pid:
        return pid
    try:
        arrange()
        _run(request)
    finally:
        os._exit(70)  # an internal error of this file: `_run` does not return


def _run(request: Mapping[str, Any]) -> NoReturn:
    from s4.entrypoints.cli.app import run

    os.setsid()
    silence = os.open(os.devnull, os.O_RDWR)
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
    for number, target in ((0, silence), (1, silence), (2, log)):
        os.dup2(target, number)
    os.environ.update(request["environment"])
    os._exit(run(request["arguments"]))


if __name__ == "__main__":
    _serve()
