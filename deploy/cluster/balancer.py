"""haproxy as a child: two sets of replicas behind one address, told through its runtime socket who is where.

Who takes requests is decided by haproxy's health checks alone, as anywhere: the socket says where a replica listens,
which set is live, and what haproxy thinks of them.
"""

import csv
import io
import shutil
import socket
from pathlib import Path
from string import Template
from typing import Literal

from parts import ClusterError, Process, await_that
from repository import free_ports

Set = Literal["blue", "green"]
SETS: tuple[Set, ...] = ("blue", "green")
SLOTS = 6
"""Replicas that a set can have: haproxy knows their names from the start."""
_ANSWER_SECONDS_MAX = 5.0


class Balancer:
    """`sockets` is a folder with a short name: paths of sockets end at 107 bytes."""

    def __init__(self, folder: Path, sockets: Path) -> None:
        self._config = folder / "haproxy.cfg"
        self._map = folder / "live.map"
        self._socket = sockets / "haproxy"
        self._process = Process("haproxy", folder)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """With blue live, and nobody in either set yet."""
        program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if program is None:
            raise ClusterError("haproxy is missing: run `make cluster` as root, or install Debian's package haproxy.")
        (self.port,) = free_ports(1)
        self._map.write_text(f"live {SETS[0]}\n")
        template = Template(Path(__file__).with_name("haproxy.cfg").read_text(encoding="utf-8"))
        values = {"socket": self._socket, "port": self.port, "map": self._map, "slots": SLOTS}
        self._config.write_text(template.safe_substitute(values), encoding="utf-8")
        self._process.start([program, "-db", "-f", str(self._config)], {})
        await_that(self._answers, self._process, "haproxy does not start")

    def stop(self) -> None:
        self._process.stop()

    def enter(self, name: str, port: int) -> None:
        """The replica `name` listens there from now on. Returns when haproxy sends it requests."""
        server = f"{name.partition('-')[0]}/{name}"
        self._tell(f"set server {server} addr 127.0.0.1 port {port}")
        self._tell(f"set server {server} state ready")
        await_that(lambda: self.states()[name].startswith("UP"), self._process, f"haproxy does not take {name} in")

    def leave(self, name: str) -> None:
        """The replica `name` has ended."""
        self._tell(f"set server {name.partition('-')[0]}/{name} state maint")

    def states(self) -> dict[str, str]:
        """Of all places by name: `UP`, `DOWN`, `MAINT`, with haproxy's further words."""
        rows = csv.DictReader(io.StringIO(self._tell("show stat").removeprefix("# ")))
        return {row["svname"]: row["status"] for row in rows if row["svname"].partition("-")[0] in SETS}

    @property
    def live(self) -> Set:
        """Where new requests go."""
        answer = self._tell(f"get map {self._map} live")
        return next(each for each in SETS if f'value="{each}"' in answer)

    def switch(self, to: Set) -> None:
        """New requests go there from now on; those under way end where they are."""
        if not any(name.startswith(to) and state.startswith("UP") for name, state in self.states().items()):
            raise ClusterError(f"No replica of {to} is up: start it first.")
        self._tell(f"set map {self._map} live {to}")

    def _tell(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_SECONDS_MAX)
            connection.connect(str(self._socket))
            connection.sendall(command.encode() + b"\n")
            with connection.makefile("rb") as answer:
                said = answer.read().decode().strip()
        if command.startswith("set ") and said and "changed from" not in said and "no need to change" not in said:
            raise ClusterError(f"haproxy refuses `{command}`: {said}")
        return said

    def _answers(self) -> bool:
        return self._socket.exists() and bool(self._tell("show info"))
