"""A real S4 for a benchmark: `s4 serve` on a directory of its own, from here to the end of a block."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from s4client import S4AdminClient

START_SECONDS_MAX = 60  # a cold disk needs several seconds to import everything
STOP_SECONDS_MAX = 40  # above S4's own bound for finishing what it has begun
LOG_TAIL_BYTES = 4000


class ServerFailed(Exception):
    """The server did not start, or ended; the text holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where it answers and where it keeps its data."""

    url: str
    data_dir: Path
    pid: int

    def new_tenant(self, name: str) -> str:
        """The key of a new tenant."""
        admin_key = (self.data_dir / "admin.key").read_text().strip()
        with S4AdminClient(self.url, api_key=admin_key) as admin:
            return admin.create_tenant(name).api_key


def clean_environment() -> dict[str, str]:
    """Without `S4_*`: a benchmark must never meet somebody's store or database."""
    return {name: value for name, value in os.environ.items() if not name.startswith("S4_")}


@contextlib.contextmanager
def running_server(
    data_dir: Path,
    *arguments: str,
    settings: Mapping[str, str] | None = None,
    python: str = sys.executable,
    entered: Callable[[Sequence[str]], Sequence[str]] = tuple,
) -> Iterator[Server]:
    """`settings` are `S4_*` variables, `arguments` those of `s4 serve`, `python` the interpreter of the environment
    where S4 is installed, `entered` what puts a command into a control group. Raises `ServerFailed`."""
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "s4.log"
    command = [python, "-m", "s4.entrypoints.cli", "serve", "--port", "0", "--data-dir", str(data_dir)]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            entered([*command, *arguments]),
            env=clean_environment() | dict(settings or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,  # Ctrl-C reaches the benchmark, which stops the server in its own time
        )
    try:
        yield Server(_await_url(process, log), data_dir, process.pid)
    finally:
        _stop(process)


def _await_url(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that S4 announces in its log once it answers."""
    give_up_at = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < give_up_at:
        for line in log.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if event.get("event_type") == "api.started":
                    return str(event["details"]["url"])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise ServerFailed(f"s4 serve did not start:\n{log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors='replace')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Gracefully, then for good, with all that it started."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C does not wait
        process.wait(STOP_SECONDS_MAX)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
