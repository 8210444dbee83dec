"""S4 as on many machines, all of it on this one: `make cluster`.

    cluster.py up                    haproxy, three replicas, two workers, PostgreSQL, Redis, SeaweedFS; until Ctrl-C
    cluster.py status                who is where, and what the balancer thinks of it
    cluster.py roll [SET]            replaces every replica and every worker, one by one
    cluster.py start SET             the other set beside the live one; `--program` names another release's `s4`,
                                     `--set S4_CHUNK_TOKENS_MAX=128` gives it a setting of its own
    cluster.py migrate [--pre]       brings the schema to the release of `--program`
    cluster.py switch [SET]          sends new requests there, if it finds what the live one finds; without SET to the
                                     other one; `--wait SECONDS` until it does, `--anyway` although it does not
    cluster.py stop SET              ends a set that is not live
    cluster.py add [SET], remove NAME, replace NAME

Everything but `up` is said to the process that `up` has become, in the same directory and in another terminal. Data are
temporary: they go when it ends. It is a model to read and to try things on, not a tool for production.
"""

import argparse
import contextlib
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from balancer import SETS, Balancer
from parts import ClusterError, Process
from repository import PostgreSQL, RedisServer, SeaweedFS, ServerStartError
from sets import OWN_RELEASE, S4Set, Say, set_of

FOLDER = "s4-cluster"
LOOK_SECONDS = 0.5  # between looks whether a process has died
DRAIN_SECONDS = 3  # three times what haproxy.cfg takes to see it: two checks, half a second apart
REPLY_SECONDS_MAX = 600.0  # a whole set, process by process, on a busy machine


class Cluster:
    """All of it. Lives in one thread, to which its children are tied."""

    def __init__(self, folder: Path, sockets: Path) -> None:
        self.folder = folder
        self._servers = (PostgreSQL(), SeaweedFS(), RedisServer())
        self.balancer = Balancer(folder, sockets)
        self.environment: dict[str, str] = {}
        self.sets: dict[str, S4Set] = {}

    def start(self, *, replicas: int, workers: int, say: Say) -> None:
        for server in self._servers:
            server.start()
        postgresql, seaweedfs, redis = self._servers
        store = seaweedfs.wait()
        self.environment = {
            "S4_ENVIRONMENT": "production",
            "S4_ADMIN_API_KEY": secrets.token_hex(32),
            "S4_SECRET_KEY": secrets.token_hex(32),
            "S4_DATABASE_URL": postgresql.wait().new_database(),
            "S4_REDIS_URL": redis.wait(),
            "S4_STORE_URL": f"s3://{store.new_bucket()}/s4",
            "S4_STORE_ENDPOINT": store.endpoint,
            "S4_STORE_ACCESS_KEY_ID": store.access_key,
            "S4_STORE_SECRET_ACCESS_KEY": store.secret_key,
            "S4_DATA_DIR": str(self.folder / "data"),
            "S4_DRAIN_SECONDS": os.environ.get("S4_DRAIN_SECONDS", str(DRAIN_SECONDS)),
        }
        self.balancer.start()
        self._save_keys()
        self.migrate(OWN_RELEASE, say)
        for name in SETS:
            self.sets[name] = S4Set(name, self.folder, self.environment, self.balancer)
        self.live.start(replicas=replicas, workers=workers, say=say)

    def stop(self, say: Say) -> None:
        """Sets, then what they stand on; all of it, whatever goes wrong on the way."""
        with contextlib.ExitStack() as stack:
            for server in self._servers:
                stack.callback(server.stop)
            stack.callback(self.balancer.stop)
            for each in self.sets.values():
                stack.callback(each.stop, say)

    @property
    def live(self) -> S4Set:
        return self.sets[self.balancer.live]

    @property
    def idle(self) -> S4Set:
        return next(each for each in self.sets.values() if each is not self.live)

    def migrate(self, program: tuple[str, ...], say: Say, *more: str) -> None:
        step = Process("migrate", self.folder)
        step.start([*program, "migrate", *more], self.environment)
        step.wait()
        say(step.said_now())

    def look_after(self, say: Say) -> None:
        """Starts anew what has died, as a supervisor does."""
        for each in self.sets.values():
            for name in each.died():
                say(f"{name} has died")
                try:
                    each.replace(name, say)
                except ClusterError as error:  # it is tried again
                    say(str(error))

    def _save_keys(self) -> None:
        client = {"S4_URL": self.balancer.url}
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in (client | self.environment).items()]
        for name, text in {"admin.key": self.environment["S4_ADMIN_API_KEY"], "environment": "".join(lines)}.items():
            path = self.folder / name
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")

    # -- commands

    def obey(self, options: argparse.Namespace, say: Say) -> None:
        """Raises `ClusterError`."""
        match options.command:
            case "status":
                self.status(say)
            case "roll":
                rolled = self.sets[options.set or self.live.name]
                rolled.program = _program(options.program) or rolled.program
                rolled.roll(say)
            case "start":
                begun = self.sets[options.set]
                begun.program = _program(options.program) or begun.program
                begun.environment = self.environment | dict(options.settings)
                like = self.live
                begun.start(replicas=len(like.replicas), workers=len(like.workers), say=say)
            case "migrate":
                self.migrate(_program(options.program) or self.live.program, say, *(["--pre"] if options.pre else []))
            case "switch":
                target = self.sets[options.set] if options.set else self.idle
                if not options.anyway and target is not self.live:
                    self._check_index(target, options.wait, say)
                self.balancer.switch(target.name)
                say(f"{self.live.name} is live")
            case "stop":
                if self.sets[options.set] is self.live:
                    raise ClusterError(f"{options.set} is live: `switch` first.")
                self.sets[options.set].stop(say)
            case "add":
                self.sets[options.set or self.live.name].add(say)
            case "remove" | "replace":
                owner = self.sets[set_of(options.name)]
                if options.name not in owner.replicas and (
                    options.command == "remove" or options.name not in owner.workers
                ):
                    raise ClusterError(f"{options.name} is not there: `status` names what is.")
                (owner.remove if options.command == "remove" else owner.replace)(options.name, say)

    def _check_index(self, target: S4Set, wait_seconds: float, say: Say) -> None:
        """Raises `ClusterError` while tenants would miss documents there. What is not up, the balancer refuses."""
        if not target.replicas:
            return
        step = Process("index", self.folder)
        step.start([*target.program, "index", "status", "--wait", str(wait_seconds)], target.environment)
        try:
            step.wait(wait_seconds)
        except ClusterError as error:
            raise ClusterError(
                f"{target.name} lacks documents that {self.live.name} finds:\n{step.said_now()}\n"
                "Its workers fill it: `switch --wait 600` waits for them, `switch --anyway` does not."
            ) from error
        say(step.said_now())

    def status(self, say: Say) -> None:
        states = self.balancer.states()
        for each in self.sets.values():
            say(f"{each.name}{' (live)' if each is self.live else ''}")
            for name, process in each.replicas.items():
                say(f"  {name}\tpid {process.pid}\t{states[name]}\t{each.addresses[name]}")
            for name, process in each.workers.items():
                say(f"  {name}\tpid {process.pid}")


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text} is no NAME=VALUE")
    return name, value


def _program(path: Path | None) -> tuple[str, ...] | None:
    return (str(path.absolute()),) if path is not None else None


# -- up


def up(options: argparse.Namespace) -> int:
    """Runs the cluster, and does what is asked of it, until a signal."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a terminated cluster cleans up as well
    try:
        with _folder(options.folder) as folder, tempfile.TemporaryDirectory(prefix="s4-") as sockets:
            cluster = Cluster(folder, Path(sockets))
            try:
                cluster.start(replicas=options.replicas, workers=options.workers, say=_print)
                with _control(folder, Path(sockets)) as control:
                    _introduce(cluster)
                    _serve(cluster, control)
            finally:
                _print("Stopping …")
                cluster.stop(_print)
    except (ClusterError, ServerStartError) as error:
        print(f"The cluster failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _print("Stopped; nothing is left.")
    return 0


def _introduce(cluster: Cluster) -> None:
    name = Path(sys.argv[0])
    _print(
        f"\nS4 answers at {cluster.balancer.url}; {cluster.live.name} is live.\n"
        f"  administrator's key  {cluster.folder / 'admin.key'}\n"
        f"  every setting        {cluster.folder / 'environment'}    (`. {cluster.folder.name}/environment`)\n"
        f"  logs                 {cluster.folder}/*.log\n"
        f"In another terminal, in this directory: python {name} COMMAND, with COMMAND one of\n"
        "  status, roll, start green, switch, stop blue, add, remove blue-3, replace blue-2, migrate --pre\n"
        "Ctrl-C here stops all of it and removes its data."
    )


def _serve(cluster: Cluster, control: socket.socket) -> None:
    """One command at a time: two that change the same would not know of each other."""
    control.settimeout(LOOK_SECONDS)
    while True:
        try:
            connection, _ = control.accept()
        except TimeoutError:
            cluster.look_after(_print)
            continue
        # Closing sends what is left, too: whoever asked may have gone.
        with contextlib.suppress(OSError), connection, connection.makefile("rw", encoding="utf-8") as stream:

            def say(line: str, stream: Any = stream) -> None:
                with contextlib.suppress(OSError):  # whoever asked has left; what was begun is finished
                    print(json.dumps({"line": line}), file=stream, flush=True)

            connection.settimeout(LOOK_SECONDS)
            try:
                asked = json.loads(stream.readline())
                connection.settimeout(None)
                cluster.obey(_options(asked), say)
                end: dict[str, Any] = {"status": 0}
            except (ClusterError, ValueError, OSError) as error:
                end = {"status": 1, "line": str(error)}
            with contextlib.suppress(OSError):
                print(json.dumps(end), file=stream, flush=True)


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[Path]:
    """A new one, removed at the end."""
    folder = folder.absolute()
    if folder.exists():
        if not (folder / "control.json").exists() or _is_alive(folder):
            raise ClusterError(f"{folder} is there already: a cluster runs in it, or it is somebody else's.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o700)
    (folder / "control.json").write_text(json.dumps({"pid": os.getpid(), "socket": ""}))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_alive(folder: Path) -> bool:
    try:
        os.kill(json.loads((folder / "control.json").read_text())["pid"], 0)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def _control(folder: Path, sockets: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(sockets / "control"))
        control.listen()
        described = {"pid": os.getpid(), "socket": str(sockets / "control")}
        (folder / "control.json").write_text(json.dumps(described))
        yield control


# -- everything else


def ask(folder: Path, arguments: list[str]) -> int:
    """Has the running cluster do it, and prints what it says meanwhile."""
    try:
        where = json.loads((folder / "control.json").read_text())["socket"]
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(REPLY_SECONDS_MAX)
            control.connect(where)
            control.sendall(json.dumps(arguments).encode() + b"\n")
            with control.makefile(encoding="utf-8") as answer:
                for line in answer:
                    said = json.loads(line)
                    if "line" in said:
                        _show(said["line"], sys.stderr if said.get("status") else sys.stdout)
                    if "status" in said:
                        return int(said["status"])
    except (FileNotFoundError, ConnectionError) as error:
        print(f"No cluster runs in {folder} ({error}): start one with `make cluster`.", file=sys.stderr)
        return 1
    print("The cluster ended before it answered.", file=sys.stderr)
    return 1


def _show(line: str, stream: TextIO) -> None:
    """Also when nobody reads on, as after `| head -1`: the command ends as it would have."""
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _print(line: str) -> None:
    print(line, flush=True)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(FOLDER), help=f"keys and logs; default: {FOLDER}")
    commands = parser.add_subparsers(dest="command", required=True)
    started = commands.add_parser("up")
    started.add_argument("--replicas", type=int, default=3)
    started.add_argument("--workers", type=int, default=2)
    commands.add_parser("status")
    for name, needs_set in (("roll", False), ("start", True), ("switch", False), ("stop", True), ("add", False)):
        command = commands.add_parser(name)
        command.add_argument("set", choices=SETS, nargs=None if needs_set else "?")
        if name == "start":
            command.add_argument(
                "--set", dest="settings", metavar="NAME=VALUE", type=_setting, action="append", default=[],
                help="a setting of this set alone",
            )  # fmt: skip
        if name == "switch":
            command.add_argument(
                "--wait", type=float, default=30.0, help="seconds until the index there is complete; default: 30"
            )
            command.add_argument("--anyway", action="store_true", help="whatever is missing there")
        if name in ("roll", "start"):
            command.add_argument("--program", type=Path, help="another release's `s4`")
    migrated = commands.add_parser("migrate")
    migrated.add_argument("--pre", action="store_true", help="only what the older release can live with")
    migrated.add_argument("--program", type=Path, help="another release's `s4`")
    for name in ("remove", "replace"):
        commands.add_parser(name).add_argument("name", help="as `status` says it")
    return parser.parse_args(arguments)


def main() -> int:
    options = _options(sys.argv[1:])
    return up(options) if options.command == "up" else ask(options.folder, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
