"""`make cluster` as a process, and what one says to it from another terminal."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from s4client import S4AdminClient
from tests.factories.deployment import clean_environment
from tests.leash import leashed

REPOSITORY = Path(__file__).parents[2]
PROGRAM = Path("deploy/cluster/cluster.py")
COMMAND_SECONDS_MAX = 400  # a roll of five processes on a machine that is busy with more
_ANSWERS = re.compile(r"^S4 answers at (http://\S+);")
_PROCESS = re.compile(r"^  (\S+)\tpid (\d+)", re.MULTILINE)

QUICK = {
    "S4_EMBEDDING_PROVIDER": "deterministic",
    "S4_JOB_POLL_SECONDS": "0.1",
    "S4_JOB_LEASE_SECONDS": "600",  # what a stopped worker does not hand back is missed
    "S4_DRAIN_SECONDS": "5",  # enough for checks that a busy machine makes late
}


@dataclass(frozen=True)
class Cluster:
    """`folder` is where it was started, and where its keys and logs are."""

    folder: Path
    url: str
    pid: int

    def tell(self, *arguments: str) -> str:
        """What a command prints. Raises `AssertionError` with its words when it fails."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()
        return done.stdout

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, PROGRAM, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )

    def pids(self) -> dict[str, int]:
        """Of S4's processes, by name."""
        return {name: int(pid) for name, pid in _PROCESS.findall(self.tell("status"))}

    def environment(self) -> dict[str, str]:
        """As its file says it."""
        lines = (self.folder / "s4-cluster" / "environment").read_text().splitlines()
        return dict(line.removeprefix("export ").split("=", 1) for line in lines)

    def new_tenant(self, name: str) -> str:
        """The key of a new tenant."""
        key = (self.folder / "s4-cluster" / "admin.key").read_text()
        with S4AdminClient(self.url, api_key=key) as admin:
            return admin.create_tenant(name).api_key

    def replicas(self) -> list[httpx.Client]:
        """One client for each process of the API, past the balancer."""
        found = re.findall(r"^  \S+\tpid \d+\t\S+.*\t(http\S+)$", self.tell("status"), re.MULTILINE)
        return [httpx.Client(base_url=f"{url}/api/v1", timeout=60) for url in found]

    def logs(self, chars: int = 2000) -> str:
        folder = self.folder / "s4-cluster"
        return "".join(f"\n== {path.name}\n{path.read_text()[-chars:]}" for path in sorted(folder.glob("*.log")))


@contextlib.contextmanager
def running_cluster(folder: Path, **environment: str) -> Iterator[Cluster]:
    """From here to the end of the block, when it must stop cleanly. Keyword arguments are `S4_*` variables."""
    (folder / "deploy").symlink_to(REPOSITORY / "deploy")
    process = subprocess.Popen(
        leashed([sys.executable, PROGRAM, "up"]),
        cwd=folder,
        env=clean_environment() | QUICK | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if found := _ANSWERS.match(line):
            break
    else:
        raise AssertionError("the cluster does not start:\n" + "".join(said))
    cluster = Cluster(folder, found[1], process.pid)
    try:
        yield cluster
        left = [*cluster.pids().values()]
    finally:
        process.send_signal(signal.SIGTERM)
        said += process.communicate(timeout=COMMAND_SECONDS_MAX)[0].splitlines(keepends=True)
    assert process.returncode == 0, "".join(said)
    assert not [pid for pid in left if Path(f"/proc/{pid}").exists()], "somebody lives on"
    assert not (folder / "s4-cluster").exists()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
