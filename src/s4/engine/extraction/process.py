"""One extraction child, seen from the parent: start, ask, kill.

The parent believes nothing that a child says: it is where hostile files are read. An answer is bounded in
size and time and checked in form; a child that breaks the rules is lost, which `ChildLost` says with a reason.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import s4
from s4.engine.extraction import frames, recognition_data
from s4.kernel.errors import Unavailable
from s4.platform import egress

Reason = Literal["timeout", "memory", "crashed"]

_SMALL_FRAME_BYTES = 1 << 20  # parsed in the event loop: some milliseconds; longer ones in a thread
_START_SECONDS_MAX = 60.0  # loading the parser takes 0.2 s, and many times that on a cold, busy disk


class ChildLost(Exception):
    """The child is dead or must be killed; its answer, if any, is void."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class ExtractionChild:
    """A running child. Not for concurrent use; after `ChildLost` or a cancelled `ask` only `kill` is allowed."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.files_served = 0
        self.memory_bytes = 0

    @classmethod
    async def start(cls, *, memory_bytes: int, scratch_bytes: int, ocr_data_dir: Path | None) -> "ExtractionChild":
        """Raises `Unavailable` when no child can be started: that is the machine's fault, not a file's."""
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="s4-extraction-"))
        command = (sys.executable, "-P", "-s", "-m", "s4.engine.extraction.child")
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                str(memory_bytes),
                str(scratch_bytes),
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # parsers quote the document there
                cwd=folder,
                env=_environment(folder) | recognition_data.environment(ocr_data_dir),
                start_new_session=True,
            )
        except OSError as error:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise Unavailable("The process that reads files cannot be started.") from error
        child = cls(process, folder)
        try:
            hello = await child._receive(_SMALL_FRAME_BYTES, _START_SECONDS_MAX)
        except ChildLost as error:
            await child.kill()
            raise Unavailable(
                "The process that reads files did not start.", details={"reason": error.reason}
            ) from error
        except BaseException:
            await child.kill()
            raise
        if hello.get("ready") is not True:
            await child.kill()
            raise Unavailable(
                "The process that reads files did not start.", details={"reason": str(hello.get("failed"))}
            )
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, request: dict[str, Any], *, seconds_max: float, answer_bytes_max: int) -> dict[str, Any]:
        """The answer to one request (see `frames`). Raises `ChildLost`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(frames.encode(request))
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChildLost(await self._reason_of_death()) from error
        answer = await self._receive(answer_bytes_max, seconds_max)
        memory = answer.get("memory_bytes")
        if "spent" in answer or not isinstance(memory, int):
            raise ChildLost("memory")
        self.memory_bytes = memory
        self.files_served += 1
        return answer

    async def kill(self) -> None:
        """Ends the child and whatever it started, and removes its temporary files. Safe to repeat."""
        if self.alive:  # a number that has been waited for may belong to somebody else by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _receive(self, bytes_max: int, seconds_max: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds_max):
                header = await self._process.stdout.readexactly(frames.HEADER.size)
                size = frames.HEADER.unpack(header)[0]
                if size > bytes_max:
                    raise ChildLost("crashed")
                body = await self._process.stdout.readexactly(size)
        except TimeoutError as error:
            raise ChildLost("timeout") from error
        except (asyncio.IncompleteReadError, ConnectionResetError) as error:
            raise ChildLost(await self._reason_of_death()) from error
        try:
            message = await asyncio.to_thread(json.loads, body) if size > _SMALL_FRAME_BYTES else json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ChildLost("crashed") from error
        if not isinstance(message, dict):
            raise ChildLost("crashed")
        return message

    async def _reason_of_death(self) -> Reason:
        """From the signal. An allocation that fails inside a parser aborts; the kernel's killer sends SIGKILL."""
        try:
            async with asyncio.timeout(1.0):  # the pipe is closed; the exit follows, unless it only closed that
                code = await self._process.wait()
        except TimeoutError:
            return "crashed"
        if code == -signal.SIGXCPU:
            return "timeout"
        return "memory" if code in (-signal.SIGABRT, -signal.SIGKILL) else "crashed"


def _environment(folder: Path) -> dict[str, str]:
    """Built from nothing, so that no secret of S4 can leak into a process that reads hostile files."""
    return {
        **egress.QUIET,
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(Path(s4.__file__).parent.parent),  # so that it also runs from a source tree
        "HOME": str(folder),
        "TMPDIR": str(folder),
        # Threads: the pool decides how many files are read at once. Arenas: each reserves 64 MiB of addresses.
        "RAYON_NUM_THREADS": "1",
        "TOKIO_WORKER_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }
