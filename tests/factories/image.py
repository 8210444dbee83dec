"""A Dockerfile's steps, run without a container engine: each stage is a folder with Debian's /usr bound into it and
nothing else of this machine, each RUN a chroot in it. Needs root, and Linux's mount namespaces.

    image = Image.built(ROOT / "deploy/docker/Dockerfile", context=ROOT, folder=tmp_path)
    with image.running("serve") as container:
        container.execute("s4-health", "8000")

Of Dockerfiles it understands what S4's says, and refuses the rest.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from tests.leash import leashed

BUILD_SECONDS_MAX = 900  # hundreds of MB of wheels, where none is cached
_OF_THE_MACHINE = ("PIP_", "UV_INDEX", "UV_DEFAULT_INDEX", "SSL_CERT", "HTTP", "http", "NO_PROXY", "no_proxy")
"""Beginnings of variables that say how this machine reaches a package index: what `--build-arg` is for."""


class NotUnderstoodError(Exception):
    """An instruction that this builder does not know."""


@dataclass
class Image:
    """`root` holds its files; the rest is what its last stage says."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    workdir: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)

    @staticmethod
    def built(dockerfile: Path, *, context: Path, folder: Path, **environment: str) -> "Image":
        """Every stage, in order; the last one. `environment` overrules the stages' own."""
        kept = Context(context, (context / ".dockerignore").read_text(encoding="utf-8").splitlines())
        stages: dict[str, Image] = {}
        image = Image(folder)
        for name, rest in instructions(dockerfile.read_text(encoding="utf-8")):
            if name == "FROM":
                stage = rest.rpartition(" AS ")[2] if " AS " in rest else "last"
                image = stages[stage] = Image(_root(folder / stage))
            else:
                image._do(name, rest, kept, stages, environment)
        return image

    def _do(
        self, name: str, rest: str, context: "Context", stages: dict[str, "Image"], environment: dict[str, str]
    ) -> None:
        match name:
            case "RUN":
                self._run(rest, environment)
            case "COPY":
                self._copy(rest, context, stages)
            case "ENV":
                self.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "WORKDIR":
                self.workdir = rest
                self.inside(rest).mkdir(parents=True, exist_ok=True)
            case "USER":
                self.user = rest
            case "ENTRYPOINT":
                self.entrypoint = json.loads(rest)
            case "CMD":
                self.command = json.loads(rest)
            case "HEALTHCHECK":
                self.health = json.loads(rest.partition(" CMD ")[2])
            case "VOLUME":
                self.volumes = json.loads(rest)
            case "EXPOSE" | "STOPSIGNAL":
                pass
            case _:
                raise NotUnderstoodError(f"{name} {rest}")

    def inside(self, path: str) -> Path:
        """Where a path of the image lies on this machine."""
        return self.root / (path if path.startswith("/") else f"{self.workdir}/{path}").lstrip("/")

    def _run(self, rest: str, environment: dict[str, str]) -> None:
        words, binds = rest, [f"mount --bind /usr {self.root}/usr", f"mount -t tmpfs tmpfs {self.root}/usr/local"]
        while words.startswith("--"):
            flag, words = words.split(maxsplit=1)
            if not flag.startswith("--mount=type=cache,target=/root/.cache/uv"):
                raise NotUnderstoodError(flag)
            cache = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv")
            cache.mkdir(parents=True, exist_ok=True)
            self.inside("/root/.cache/uv").mkdir(parents=True, exist_ok=True)
            binds.append(f"mount --bind {cache} {self.root}/root/.cache/uv")
        machine = {name: value for name, value in os.environ.items() if name.startswith(_OF_THE_MACHINE)}
        inner = f"cd {self.workdir} && {words}"
        script = " && ".join(
            [*binds, *_devices(self.root), f"exec chroot {self.root} /bin/sh -ec {shlex.quote(inner)}"]
        )
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-ec", script],
            env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
            | machine | self.environment | environment,
            capture_output=True, text=True, timeout=BUILD_SECONDS_MAX, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"RUN {rest}\n{done.stdout}{done.stderr}"

    def _copy(self, rest: str, context: "Context", stages: dict[str, "Image"]) -> None:
        source: Context | Image = context
        mode = None
        *words, target = rest.split()
        for flag in [word for word in words if word.startswith("--")]:
            words.remove(flag)
            name, _, value = flag.partition("=")
            if name == "--from":
                source = stages[value]
            elif name == "--chmod":
                mode = int(value, 8)
            else:
                raise NotUnderstoodError(flag)
        for word in words:
            found = source.inside(word)
            into = self.inside(target)
            if found.is_dir():  # its contents, as Docker has it
                shutil.copytree(found, into, symlinks=True, dirs_exist_ok=True, ignore=source.ignored)
            elif source.has(found):
                into = into / found.name if target.endswith("/") else into
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, into)
            else:
                raise FileNotFoundError(f"COPY {word}: .dockerignore leaves it out")
            if mode is not None:
                into.chmod(mode)

    def has(self, path: Path) -> bool:
        return path.exists()

    def ignored(self, _folder: str, _names: list[str]) -> set[str]:
        return set()

    @contextlib.contextmanager
    def running(self, *arguments: str, **environment: str) -> Iterator["Container"]:
        """A container with a network of its own, read-only but for /tmp and volumes, as a user without capabilities."""
        user, group = self.user.split(":")
        script = [
            "PATH=$PATH:/usr/sbin ip link set lo up",
            f"mount --bind {self.root} {self.root}",
            f"mount --bind /usr {self.root}/usr",
            f"mount -t tmpfs tmpfs {self.root}/usr/local",
            *_devices(self.root),
            f"mount -t tmpfs -o mode=1777 tmpfs {self.root}/tmp",
            *(f"mount -t tmpfs -o uid={user},gid={group},mode=700 tmpfs {self.root}{path}" for path in self.volumes),
            f"mount -o remount,bind,ro {self.root}",
            f'exec setpriv --no-new-privs /usr/sbin/chroot --userspec={self.user} {self.root} "$@"',
        ]
        command = ["sh", *self.entrypoint, *(arguments or self.command)]
        process = subprocess.Popen(
            leashed(["/usr/bin/unshare", "--mount", "--net", "sh", "-ec", "\n".join(script), *command]),
            env=self.environment | environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        container = Container(process, self)
        try:
            yield container
        finally:
            process.send_signal(signal.SIGTERM)
            container.said = process.communicate(timeout=90)[0]


@dataclass
class Container:
    """A running one. `said`: its log, once it has ended."""

    process: subprocess.Popen[str]
    image: Image
    said: str = ""

    def execute(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """As `docker exec` does: beside what runs, as the same user."""
        user, group = self.image.user.split(":")
        target = ["--target", str(self.process.pid), "--mount", "--net", "--root", "--setuid", user, "--setgid", group]
        return subprocess.run(
            ["nsenter", *target, "env", "--chdir", self.image.workdir, *command],
            env=self.image.environment | environment,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip


@dataclass(frozen=True)
class Context:
    """What a builder is sent of a folder: without what `.dockerignore` names."""

    folder: Path
    patterns: list[str]

    def inside(self, path: str) -> Path:
        return self.folder / path

    def has(self, path: Path) -> bool:
        """The last pattern that is about a file, or a folder that it lies in, decides."""
        name = str(path.relative_to(self.folder))
        above = [name, *(str(parent) for parent in Path(name).parents if str(parent) != ".")]
        kept = True
        for line in self.patterns:
            pattern = line.strip().rstrip("/")
            if not pattern or pattern.startswith("#"):
                continue
            bare = pattern.removeprefix("!")
            anywhere = bare.removeprefix("**/")
            if any(fnmatch(each, bare) or (bare != anywhere and fnmatch(Path(each).name, anywhere)) for each in above):
                kept = pattern.startswith("!")
        return kept and path.exists()

    def ignored(self, folder: str, names: list[str]) -> set[str]:
        return {name for name in names if not self.has(Path(folder) / name)}


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Name and rest of each, lines put together."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for whole in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = whole.strip().partition(" ")
        yield name.upper(), " ".join(rest.split())


def _root(folder: Path) -> Path:
    """A stage's own: empty but for what Debian has in /etc, and links into /usr."""
    for name in ("usr", "proc", "dev", "tmp", "root", "var/lib", "run"):
        (folder / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (folder / name).symlink_to(f"usr/{name}")
    shutil.copytree("/etc", folder / "etc", symlinks=True, ignore_dangling_symlinks=True)
    return folder


def _devices(root: Path) -> list[str]:
    """Commands that bring what every container has."""
    names = ("null", "zero", "urandom", "random")
    return [
        f"mount -t proc proc {root}/proc",
        f"mount -t tmpfs tmpfs {root}/dev",
        *(f"touch {root}/dev/{name} && mount --bind /dev/{name} {root}/dev/{name}" for name in names),
    ]
