"""Programs as children, each with a log of its own, and what they say in it."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from repository import leashed

START_SECONDS_MAX = 180.0  # seconds on an idle machine, minutes where neighbours leave little of it
STOP_SECONDS_MAX = 60.0  # above what S4 takes to drain, to finish what it has begun and to hand back the rest
_POLL_SECONDS = 0.05
_TAIL_CHARS = 3000


class ClusterError(Exception):
    """Something is not as it should be; the text tells the person at the terminal."""


class Process:
    """Ends with the process that started it, whatever ends that."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._said_before = 0

    def start(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        """`environment` comes on top of this process's own."""
        self._said_before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                leashed(command),
                env=os.environ | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the cluster, which ends them in their own time
            )

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        assert self._child is not None
        return self._child.poll()

    def wait(self, seconds: float = 0.0) -> None:
        """To its end, which may take so much longer than a start. Raises `ClusterError` when that is no success."""
        assert self._child is not None
        if self._child.wait(START_SECONDS_MAX + seconds) != 0:
            raise ClusterError(f"{self.name} failed:\n{self.tail()}")

    def tell_to_stop(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()

    def stop(self) -> None:
        """Gracefully, then for good, with all that it started."""
        if self._child is None:
            return
        self.tell_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(STOP_SECONDS_MAX)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def said(self, event_type: str) -> dict[str, Any] | None:
        """The first log line of that kind since the last start."""
        with self.log.open("rb") as lines:
            lines.seek(self._said_before)
            for line in lines:
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict) and event.get("event_type") == event_type:
                        return event
        return None

    def await_event(self, event_type: str) -> dict[str, Any]:
        await_that(lambda: self.said(event_type) is not None, self, f"{self.name} does not start")
        event = self.said(event_type)
        assert event is not None
        return event

    def said_now(self) -> str:
        """All of its log since the last start."""
        with self.log.open("rb") as lines:
            lines.seek(self._said_before)
            return lines.read().decode(errors="replace").strip()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-_TAIL_CHARS:]


def await_that(condition: Callable[[], bool], process: Process, otherwise: str) -> None:
    """Raises `ClusterError` when `process` ends first, or when it takes too long."""
    give_up_at = time.monotonic() + START_SECONDS_MAX
    while not condition():
        if process.exit_code is not None or time.monotonic() > give_up_at:
            raise ClusterError(f"{otherwise}. Its log ends with:\n{process.tail()}")
        time.sleep(_POLL_SECONDS)
