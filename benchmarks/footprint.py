"""What S4 costs before it does anything: installed size, start-up, memory and processor time while idle.

    python benchmarks/footprint.py            some three minutes; needs the package index
    python benchmarks/footprint.py --check    the same, and fails when a budget of budgets.toml is exceeded

Measures S4 as it is installed: the runtime lock and the repository in an environment of their own, with nothing of the
tools. Prints Markdown, ready for RESULTS.md. Times mean little beyond this machine, so their budgets are ratios to
importing FastAPI and LanceDB, which S4 cannot do without.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path

import httpx
from figures import Durations, print_facts, print_heading, print_table, print_text
from machine import REPOSITORY, describe
from processes import KIB, Process, family
from served import clean_environment, running_server

from s4client import S4Client

MIB = KIB * KIB
BUDGETS = REPOSITORY / "benchmarks" / "budgets.toml"
STARTS = 5
CALLS = 9
SETTLE_SECONDS = 5.0  # what a start leaves behind is written and freed by then
IDLE_SECONDS = 30.0
LARGEST = 10
REFERENCE = "import fastapi, lancedb"
SAMPLE = REPOSITORY / "samples" / "documents" / "service-manual-fh800.pdf"
ROLES = ("api", "worker", "extraction")


@dataclass
class Found:
    """Figures by the names that `budgets.toml` has."""

    figures: dict[str, float] = field(default_factory=dict)

    def exceeded(self, budgets: dict[str, float]) -> list[str]:
        unknown = budgets.keys() - self.figures.keys()
        assert not unknown, f"budgets for what is not measured: {unknown}"
        return [
            f"{name} is {self.figures[name]:.2f}, its budget {budget:g}"
            for name, budget in budgets.items()
            if self.figures[name] > budget
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description="What S4 costs before it does anything.")
    parser.add_argument("--check", action="store_true", help="fail when a budget is exceeded")
    options = parser.parse_args()
    found = Found()
    with tempfile.TemporaryDirectory(prefix="s4-footprint-") as folder:
        print_heading("Machine")
        print_facts(describe(Path(folder)))
        programs = _install(Path(folder, "installed"))
        _sizes(programs, found)
        _commands(programs, found)
        _starts(programs, Path(folder), found)
        _idle(programs, Path(folder, "idle"), found)
    exceeded = found.exceeded(tomllib.loads(BUDGETS.read_text())["footprint"])
    for each in exceeded:
        print_text(f"Over budget: {each}.")
    return 1 if options.check and exceeded else 0


# -- installing


def _install(folder: Path) -> Path:
    """The folder of its programs."""
    _run(sys.executable, "-m", "venv", folder)
    python: str | Path = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run(*pip, "--require-hashes", "-r", REPOSITORY / "requirements" / "runtime.lock")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist")
    _run(*pip, "--no-deps", *(folder / "dist").iterdir())
    _run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools", "pip")
    return folder / "bin"


def _run(*command: str | Path) -> None:
    subprocess.run([*map(str, command)], cwd=REPOSITORY, env=clean_environment(), check=True)


def _packages(programs: Path) -> Path:
    (found,) = programs.parent.glob("lib/python*/site-packages")
    return found


def _sizes(programs: Path, found: Found) -> None:
    packages = _packages(programs)
    sizes = {each.name: _size(Path(str(file.locate())) for file in each.files or []) for each in
             distributions(path=[str(packages)])}  # fmt: skip
    total = _size(packages.rglob("*"))
    found.figures["installed_mib"] = total / MIB
    print_heading("Installed size, MiB")
    print_text(f"{len(sizes)} distributions of the runtime lock with their compiled modules: {total / MIB:.0f} MiB.\n")
    largest = sorted(sizes.items(), key=lambda each: -each[1])[:LARGEST]
    print_table(("distribution", "MiB"), [(name, f"{size / MIB:.1f}") for name, size in largest])


def _size(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files if path.is_file())


# -- times


def _commands(programs: Path, found: Found) -> None:
    python = str(programs / "python")
    commands = {
        REFERENCE: [python, "-c", REFERENCE],
        "s4 --version": [str(programs / "s4"), "--version"],
        "s4 --help": [str(programs / "s4"), "--help"],
        "s4 config show": [str(programs / "s4"), "config", "show"],
    }
    times = {name: Durations() for name in commands}
    for _ in range(CALLS):  # in turn, so that what else the machine does meets all of them
        for name, command in commands.items():
            times[name].add(_timed(lambda command=command: _quiet(command)))  # type: ignore[misc]
    floor = times[REFERENCE].quantile(0.5)
    print_heading("Commands, ms, with a warm page cache")
    print_table(
        ("command", "n", "p50", "max", "ratio"),
        [
            (name, str(each.count), f"{1000 * each.quantile(0.5):.0f}", f"{1000 * each.quantile(1.0):.0f}",
             f"{each.quantile(0.5) / floor:.2f}")
            for name, each in times.items()
        ],
    )  # fmt: skip
    found.figures["version_ratio"] = times["s4 --version"].quantile(0.5) / floor
    found.figures["help_ratio"] = times["s4 --help"].quantile(0.5) / floor
    found.figures["reference_seconds"] = floor


def _quiet(command: Sequence[str]) -> None:
    subprocess.run(command, env=clean_environment(), stdout=subprocess.DEVNULL, check=True)


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _starts(programs: Path, folder: Path, found: Found) -> None:
    """From exec to the first 200 of /health/ready. Cold: a new data directory, no file of the installation cached."""
    cold, warm = Durations(), Durations()
    for number in range(STARTS):
        data_dir = folder / f"start-{number}"
        _forget_cached(programs.parent)
        cold.add(_start(programs, data_dir))
        warm.add(_start(programs, data_dir))
    floor = found.figures["reference_seconds"]
    print_heading("Start of s4 serve, seconds to the first 200 of /health/ready")
    print_table(
        ("start", "n", "min", "p50", "max", "p50 ratio"),
        [
            (name, str(each.count), *(f"{each.quantile(part):.2f}" for part in (0.0, 0.5, 1.0)),
             f"{each.quantile(0.5) / floor:.1f}")
            for name, each in (("cold", cold), ("warm", warm))
        ],
    )  # fmt: skip
    found.figures["start_warm_ratio"] = warm.quantile(0.5) / floor


def _start(programs: Path, data_dir: Path) -> float:
    started = time.perf_counter()
    with running_server(data_dir, python=str(programs / "python")) as server, httpx.Client(trust_env=False) as client:
        while client.get(f"{server.url}/health/ready").status_code != httpx.codes.OK:
            time.sleep(0.005)
        return time.perf_counter() - started


def _forget_cached(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# -- idle


def _idle(programs: Path, data_dir: Path, found: Found) -> None:
    with running_server(data_dir, python=str(programs / "python")) as server:
        _await_worker(data_dir)
        time.sleep(SETTLE_SECONDS)
        before = _memory(server.pid)
        ticks = _processor_seconds(server.pid)
        time.sleep(IDLE_SECONDS)
        share = (_processor_seconds(server.pid) - ticks) / IDLE_SECONDS
        with S4Client(server.url, api_key=server.new_tenant("footprint")) as s4:
            s4.wait(s4.upload(SAMPLE).document_id)
            s4.search("how is the freezer defrosted?")
        time.sleep(SETTLE_SECONDS)
        after = _memory(server.pid)
    print_heading("Memory of an idle server, MiB (PSS / RSS)")
    print_table(
        ("process", "after the start", f"after {SAMPLE.name} and a search"),
        [(role, _pair(before.get(role)), _pair(after.get(role))) for role in ROLES],
    )
    print_text(f"Processor time while idle: {100 * share:.2f} % of one core, over {IDLE_SECONDS:.0f} s.")
    found.figures["idle_cpu_percent"] = 100 * share
    for role in ROLES:
        if role in before:
            found.figures[f"{role}_idle_pss_mib"] = before[role][0] / MIB
        found.figures[f"{role}_used_pss_mib"] = after[role][0] / MIB
    found.figures["idle_pss_mib"] = sum(pss for pss, _ in before.values()) / MIB


def _await_worker(data_dir: Path) -> None:
    """Its log goes where the API's goes."""
    while "worker.started" not in (data_dir / "s4.log").read_text(errors="replace"):
        time.sleep(0.1)


def _memory(pid: int) -> dict[str, tuple[int, int]]:
    """By role: proportional and resident bytes."""
    processes = [Process(each) for each in family(pid)]
    return {each.role: (each.proportional_bytes, each.memory.resident) for each in processes if each.role in ROLES}


def _pair(bytes_: tuple[int, int] | None) -> str:
    return "" if bytes_ is None else f"{bytes_[0] / MIB:.0f} / {bytes_[1] / MIB:.0f}"


def _processor_seconds(pid: int) -> float:
    """User and system time of the server and all below it."""
    ticks = 0
    for each in family(pid):
        # After the name in parentheses: fields 14 and 15 of proc(5) are the 12th and 13th.
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
