"""What the command line says of itself: examples that work, completion, colours, and output that nobody reads."""

import gzip
import json
import os
import pty
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import s4
from s4.entrypoints.cli import app
from s4.kernel.settings import LogFormat
from s4.platform.security.signing import Signer
from tests.acceptance.conftest import Command
from tests.factories.command_line import S4
from tests.factories.deployment import ADMIN_KEY, Deployment, clean_environment
from tests.factories.events import every_event
from tests.servers import free_ports

pytestmark = pytest.mark.processes

SERVERS = ("s4 serve", "s4 worker", "s4 exporter")
ELSEWHERE = ("s4 verify-isolation",)
"""Takes as long as a suite, and is one: tests/isolation runs what it runs, and `make isolation` the command."""
COLOURS = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|9\d)")


def commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """All that can be run; groups cannot."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name in inner:
        yield from commands(f"{path} {name}", inner[name])


def examples() -> dict[str, list[str]]:
    """Of every command, as they stand below its help."""
    root = typer.main.get_command(app.build())
    runnable = [("s4", root), *commands("s4", root)]
    return {path: (command.epilog or "").split("\n\n")[1:] for path, command in runnable}


@pytest.fixture
def folder(tmp_path: Path, served: Deployment) -> Path:
    """Where the examples are run: with the files that they name."""
    papers = tmp_path / "papers"
    papers.mkdir()
    for path in (papers / "tides.txt", tmp_path / "report.txt", tmp_path / "notes.md"):
        path.write_text("Tides follow the moon.")
    (tmp_path / "customers.csv").write_text("name,external_id\nAcme One,1\n")
    headings = "service.description,sku.description,usage_start_time,cost,currency"
    (tmp_path / "bill.csv").write_text(f"{headings}\nCloud Storage,Standard Storage,2026-01-01,1.5,USD\n")
    (tmp_path / "papers.csv").write_text("path,year\ntides.txt,2024\n")
    line = every_event(LogFormat.JSON)["job.failed"] + "\n"
    (tmp_path / "s4.log").write_text(line)
    (tmp_path / "s4.log.1.gz").write_bytes(gzip.compress(line.encode()))
    signer = Signer("of the examples " * 2)
    erased = {"tenant_id": "ten_1", "proved_empty_at": "2026-01-01T00:00:00Z", "removed": {"objects": {}, "rows": {}}}
    (tmp_path / "receipt.json").write_text(json.dumps(signer.signed({**erased, "remains": []})))
    (tmp_path / "s4.pub").write_text(signer.public_key)
    (tmp_path / "s4-data").symlink_to(served.data_dir)
    return tmp_path


@pytest.fixture
def environment(tenant: dict[str, str], tmp_path: Path) -> dict[str, str]:
    paths = {"PATH": f"{S4.parent}:{clean_environment()['PATH']}", "HOME": str(tmp_path)}
    return clean_environment() | tenant | paths | {"S4_ADMIN_API_KEY": ADMIN_KEY}


@pytest.mark.timeout(900)  # a hundred commands, each a process or nearly one
def test_every_example_in_the_help_works(
    command: Command, folder: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of a first session: what is fetched and removed has been uploaded before."""
    shown = examples()
    assert [path for path, lines in shown.items() if not lines] == []
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", environment["HOME"])
    failed = {}
    lines = [line for lines in shown.values() for line in lines if not line.startswith(SERVERS + ELSEWHERE)]
    for line in sorted(
        lines, key=lambda line: not line.startswith(("s4 upload", "s4 tenant create", "s4 backup create", "echo"))
    ):
        if {"|", "$"} & set(line) or " > " in line or "completion" in line or line.startswith("s4 config"):
            run = subprocess.run(["bash", "-c", f"{line}; exit"], env=environment, capture_output=True, text=True)
            code, said = run.returncode, run.stderr
        else:
            done = command(*shlex.split(line)[1:], S4_ADMIN_API_KEY=ADMIN_KEY)
            code, said = done.code, done.err
        if code:
            failed[line] = said
    assert failed == {}


def test_the_examples_of_servers_start_and_stop(folder: Path, environment: dict[str, str]) -> None:
    (folder / "s4-data").unlink()
    lines = [line for path, lines in examples().items() if path in SERVERS for line in lines]
    running = []
    for line in lines:
        port = str(free_ports(1)[0])
        arguments = shlex.split(re.sub(r"\b(8080|9464|9465)\b", port, line))
        quick = {"S4_EMBEDDING_PROVIDER": "deterministic"}
        process = subprocess.Popen(
            arguments, cwd=folder, env=environment | quick, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stderr is not None
        running.append(process)
        started = next(
            (event for event in process.stderr if re.search(r'"(api|worker|exporter)\.started"', event)), None
        )
        assert started is not None, line
    for process in reversed(running):
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert [process.returncode for process in running] == [0] * len(lines)


def test_bash_completes_commands_once_completion_is_installed(environment: dict[str, str], tmp_path: Path) -> None:
    script = """
        s4 --install-completion >/dev/null
        source ~/.bashrc
        COMP_WORDS=(s4 upl); COMP_CWORD=1
        _s4_completion s4
        echo "${COMPREPLY[@]}"
        COMP_WORDS=(s4 sync --del); COMP_CWORD=2
        _s4_completion s4
        echo "${COMPREPLY[@]}"
    """

    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["upload", "--delete"]


def test_zsh_is_offered_the_same(environment: dict[str, str]) -> None:
    asked = {"_S4_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "s4 upl"}
    offered = subprocess.run([S4], env=environment | asked, capture_output=True, text=True, check=True).stdout
    script = subprocess.run(
        [S4], env=environment | {"_S4_COMPLETE": "source_zsh"}, capture_output=True, text=True, check=True
    ).stdout

    assert '"upload":' in offered
    assert script.strip().startswith("#compdef s4")


def on_a_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    master, slave = pty.openpty()
    with subprocess.Popen([S4, *arguments], env=environment, stdin=slave, stdout=slave, stderr=slave):
        os.close(slave)
        printed = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # the other end is closed: Linux says EIO
                break
            printed += piece
    os.close(master)
    return printed.decode()


def test_a_terminal_that_wants_no_colours_gets_none(environment: dict[str, str]) -> None:
    terminal = environment | {"TERM": "xterm-256color"}
    terminal.pop("NO_COLOR", None)

    assert COLOUR.search(on_a_terminal(["ls", "--help"], terminal))
    assert not COLOUR.search(on_a_terminal(["ls", "--help"], terminal | {"NO_COLOR": "1"}))


def test_a_terminal_shows_how_an_upload_goes(environment: dict[str, str], folder: Path) -> None:
    (folder / "large.bin").write_bytes(bytes(8 * 1024 * 1024))
    printed = on_a_terminal(
        ["upload", str(folder / "large.bin"), "--no-wait"], environment | {"TERM": "xterm-256color"}
    )

    assert re.search(r" 8\.4 MB [\d.]+ [kM]B/s", COLOURS.sub("", printed))
    assert "1 uploaded, 0 replaced, 0 unchanged, 0 failed; 8.0 MiB sent in " in printed


def test_output_that_nobody_reads_is_no_error(command: Command, folder: Path, environment: dict[str, str]) -> None:
    """`s4 ls | head`, and an upload whose lines nobody wants: no trace, no sentence."""
    command("upload", folder / "papers")
    for line in ("s4 ls | true", "s4 upload papers --prefix again | true"):
        done = subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_told_by_option_and_by_command(command: Command) -> None:
    assert command("--version").out == command("version").out == f"s4 {s4.__version__}\n"
