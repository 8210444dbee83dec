"""What a deployment's files say of one process, and that process as they say it: its arguments, its environment, its
files, read-only but for the folders that it is given, on an address of its own, asked by its probes, ended as it would
be. Without containers: what is run is this environment's S4. Needs root, and Linux's mount namespaces.
"""

import asyncio
import contextlib
import itertools
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from tests.factories.deployment import clean_environment
from tests.fault_proxy import accepting
from tests.leash import leashed

EVERY_ADDRESS = "0.0.0.0"
S4 = (sys.executable, "-m", "s4.entrypoints.cli")
START_SECONDS_MAX = 180  # on a machine that is busy with more


@dataclass(frozen=True)
class Probe:
    """A GET, every so often; so many failures in a row count."""

    path: str
    port: int
    period_seconds: float = 10.0
    timeout_seconds: float = 1.0
    failures: int = 3

    def passes(self, address: str) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(f"http://{address}:{self.port}{self.path}", timeout=self.timeout_seconds)
            return 200 <= answer.status_code < 400
        return False


@dataclass(frozen=True)
class Workload:
    """`files`: contents of secrets by path. `writable`: folders that it may write to; all else is read-only."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    writable: tuple[str, ...] = ("/var/lib/s4", "/tmp")
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    grace_seconds: float = 30.0
    program: tuple[str, ...] = S4

    def settings(self, **more: str) -> "Workload":
        return replace(self, environment={**self.environment, **more})


class Running:
    """A workload's process. What the files call every address is `address` here, where all share one network."""

    def __init__(self, workload: Workload, address: str, folder: Path) -> None:
        self.workload = workload
        self.address = address
        self.leaving_since: float | None = None
        self._log = folder / "log"
        folder.mkdir(parents=True)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                leashed(["/usr/bin/unshare", "--mount", "sh", "-ec", self._script(folder)]),
                env=clean_environment() | self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _environment(self) -> dict[str, str]:
        image = {"S4_HOST": EVERY_ADDRESS, "S4_DATA_DIR": "/var/lib/s4", "HOME": "/var/lib/s4"}
        said = image | dict(self.workload.environment)
        return {name: self.address if value == EVERY_ADDRESS else value for name, value in said.items()}

    def _script(self, folder: Path) -> str:
        """A root of its own: this machine's, and what is the workload's."""
        root = folder / "root"
        lines = [f"mkdir {root}", f"mount -t tmpfs tmpfs {root}", f"cd {root}", "mkdir upper work whole"]
        lines += [f"mount -t overlay overlay -o lowerdir=/,upperdir={root}/upper,workdir={root}/work {root}/whole"]
        lines += [f"mount --rbind /{name} {root}/whole/{name}" for name in ("dev", "proc", "sys")]
        for number, path in enumerate(self.workload.writable):
            (folder / f"writable-{number}").mkdir()
            lines += [f"mkdir -p {root}/whole{path}", f"mount --bind {folder}/writable-{number} {root}/whole{path}"]
        for number, (path, text) in enumerate(self.workload.files.items()):
            (folder / f"file-{number}").write_text(text)
            lines += [f"mkdir -p $(dirname {root}/whole{path})", f"cp {folder}/file-{number} {root}/whole{path}"]
        lines += [f"mount -o remount,bind,ro {root}/whole"]
        arguments = [each.replace(EVERY_ADDRESS, self.address) for each in self.workload.arguments]
        program = shlex.join([*self.workload.program, *arguments])
        return "\n".join([*lines, f"exec /usr/sbin/chroot {root}/whole {program}"])

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def complete(self) -> str:
        """To its end, as a job. What it said."""
        assert self.process.wait(START_SECONDS_MAX) == 0, self.log()
        return self.log()

    def await_ready(self) -> None:
        """By its probes: startup as often as it may fail, then readiness."""
        for probe in (self.workload.startup, self.workload.readiness):
            give_up_at = time.monotonic() + START_SECONDS_MAX
            while probe is not None and not probe.passes(self.address):
                assert not self.ended, self.log()
                assert time.monotonic() < give_up_at, self.log()
                time.sleep(min(probe.period_seconds, 0.2))

    def leave(self) -> None:
        """SIGTERM. `ended_in_time` judges the rest."""
        self.leaving_since = time.monotonic()
        self.process.send_signal(signal.SIGTERM)

    def ended_in_time(self) -> bool:
        """Within its grace, by itself, and well."""
        try:
            return self.process.wait(self.workload.grace_seconds) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Replicas:
    """Of one workload: as many as told, replaced one by one as `maxSurge: 1, maxUnavailable: 0` says."""

    def __init__(self, workload: Workload, folder: Path, network: Iterator[str]) -> None:
        self.workload = workload
        self.running: list[Running] = []
        self._folder = folder
        self._network = network
        self._started = 0

    def start(self, count: int) -> None:
        begun = [self._begin() for _ in range(count)]
        for each in begun:
            each.await_ready()
        self.running += begun

    def roll(self) -> None:
        """Every one is replaced, and each has ended in its time."""
        for old in list(self.running):
            self.start(1)
            self.remove(old)

    def remove(self, one: Running) -> None:
        one.leave()
        assert one.ended_in_time(), one.log()
        self.running.remove(one)

    def stop(self) -> None:
        for each in self.running:
            each.kill()

    def _begin(self) -> Running:
        self._started += 1
        name = f"{self.workload.name}-{self._started}"
        return Running(self.workload, next(self._network), self._folder / name)


def addresses() -> Iterator[str]:
    """Of the loopback network, one for each process."""
    return (f"127.44.{number // 250}.{number % 250 + 1}" for number in range(1000))


class Service:
    """Connections, one by one, to replicas that are ready, as nodes of Kubernetes pass them on. Of one that was told to
    leave they hear `late_seconds` later; of requests they know nothing, and repeat none."""

    def __init__(self, replicas: Replicas, port: int, late_seconds: float) -> None:
        self.url = ""
        self._replicas = replicas
        self._port = port
        self._late_seconds = late_seconds
        self._turns = itertools.count()

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        now = time.monotonic()
        endpoints = [
            each.address
            for each in self._replicas.running
            if each.leaving_since is None or now - each.leaving_since < self._late_seconds
        ]
        address = endpoints[next(self._turns) % len(endpoints)]
        up_reader, up_writer = await asyncio.open_connection(address, self._port)
        ways = [asyncio.create_task(_pass_on(reader, up_writer)), asyncio.create_task(_pass_on(up_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            up_writer.close()

    async def _serve(self, open_: threading.Event, closed: asyncio.Event) -> None:
        async with accepting(self._attend) as port:
            self.url = f"http://127.0.0.1:{port}"
            open_.set()
            await closed.wait()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(64 * 1024):
        writer.write(piece)
        await writer.drain()


@contextlib.contextmanager
def service(replicas: Replicas, port: int, *, late_seconds: float) -> Iterator[Service]:
    """For the length of the block, in a thread of its own."""
    balancer = Service(replicas, port, late_seconds)
    loop, open_, closed = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(balancer._serve(open_, closed)), daemon=True)
    thread.start()
    assert open_.wait(START_SECONDS_MAX)
    try:
        yield balancer
    finally:
        loop.call_soon_threadsafe(closed.set)
        thread.join()
        loop.close()
