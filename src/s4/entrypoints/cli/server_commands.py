"""The server half of the command line: `serve`, `worker`, `migrate`. Imports the server only when a command runs."""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4.entrypoints.cli.options import examples

if TYPE_CHECKING:
    from s4.kernel.settings import Settings

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Database, objects and keys of the embedded mode.", show_default="s4-data"),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(epilog=examples("s4 serve --data-dir s4-data --port 8080"))(serve)
    app.command(epilog=examples("s4 worker --data-dir s4-data --metrics-port 9100"))(worker)
    app.command(epilog=examples("s4 migrate --data-dir s4-data"))(migrate)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", show_default="8000")] = None,
    data_dir: DataDir = None,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="API only; run `s4 worker` elsewhere.")] = False,
) -> None:
    """Run the API, and a worker as its child."""
    from s4.entrypoints.serve import serve as run

    settings = _settings(host=host, port=port, data_dir=data_dir)
    import uvloop  # serves about twice the requests of asyncio's own loop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings, with_worker=not no_worker))


def worker(
    data_dir: DataDir = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Answer /health/live and /metrics on this port of S4_HOST.")
    ] = None,
    listen_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    exit_with_parent: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Run jobs until stopped: extract, embed, index, maintain."""
    settings = _settings(data_dir=data_dir)
    # Before anything is imported that starts threads: niceness is a thread's, and what it starts inherits it.
    os.nice(settings.worker_niceness)
    from s4.entrypoints.worker import WorkerListener, run_worker

    listening = None
    if listen_fd is not None:
        listening = socket.socket(fileno=listen_fd)
    elif metrics_port is not None:
        listening = socket.create_server((settings.host, metrics_port))
    parent_pipe = sys.stdin.fileno() if exit_with_parent else None
    # Not on uvloop: it starts children by a fork that runs LanceDB's hooks, which may deadlock; asyncio does not.
    asyncio.run(run_worker(settings, WorkerListener(listening, parent_pipe)))


def migrate(data_dir: DataDir = None) -> None:
    """Bring the catalog's schema to this release. The embedded mode does it by itself."""
    from s4.entrypoints.bootstrap import migrate_database

    steps = migrate_database(_settings(data_dir=data_dir))
    typer.echo(f"migrated: {', '.join(steps)}" if steps else "nothing to do")


def _settings(**flags: Any) -> "Settings":
    from s4.entrypoints.configuration import load_settings

    return load_settings(**flags)
