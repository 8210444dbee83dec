"""The server half of the command line: `serve`, `worker`, `exporter`, `migrate`. Imports the server only when a
command runs."""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.failures import in_the_log
from s4.entrypoints.cli.options import ConfigFile, configuration, examples
from s4.platform import memory

if TYPE_CHECKING:
    from s4.entrypoints.configuration import Configuration
    from s4.kernel.settings import Settings

_WORKER_PORT = 9464  # where OpenTelemetry's exporters answer Prometheus; 9100 is the node exporter's

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Database, objects and keys of the embedded mode.", show_default="s4-data"),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(epilog=examples("s4 serve --data-dir s4-data --port 8080"))(serve)
    app.command(epilog=examples("s4 worker --data-dir s4-data --metrics-port 9464"))(worker)
    app.command(epilog=examples("s4 exporter --data-dir s4-data --port 9465"))(exporter)
    app.command(epilog=examples("s4 migrate --data-dir s4-data", "s4 migrate --pre"))(migrate)


def serve(
    context: typer.Context,
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", show_default="8000")] = None,
    data_dir: DataDir = None,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="API only; run `s4 worker` elsewhere.")] = False,
) -> None:
    """Run the API, and a worker as its child."""
    memory.starting()
    with in_the_log("api"):
        from s4.entrypoints.configuration import complete

        loaded = configuration(context, config, host=host, port=port, data_dir=data_dir)
        settings = complete(loaded.settings)
        from s4.entrypoints.serve import serve as run  # takes seconds, and wrong settings are told before

        _begin(settings, "api", loaded)
        import uvloop  # serves about twice the requests of asyncio's own loop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings, with_worker=not no_worker))


def worker(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            help="Answer /health/live, /health/ready and /metrics on this port of S4_HOST.", show_default="9464"
        ),
    ] = None,
    listen_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    exit_with_parent: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Run jobs until stopped: extract, embed, index, maintain."""
    memory.starting()
    with in_the_log("worker"):
        from s4.entrypoints.configuration import complete

        loaded = (
            None
            if exit_with_parent
            else configuration(context, config, data_dir=data_dir, worker_metrics_port=metrics_port)
        )
        settings = _of_the_parent() if loaded is None else complete(loaded.settings)
        # Before anything is imported that starts threads: niceness is a thread's, and what it starts inherits it.
        os.nice(settings.worker_niceness)
        from s4.entrypoints.listening import listen, listen_near
        from s4.entrypoints.worker import WorkerListener, run_worker

        _begin(settings, "worker", loaded)
        if listen_fd is not None:
            listening = socket.socket(fileno=listen_fd)
        elif settings.worker_metrics_port is not None:
            listening = listen(settings.host, settings.worker_metrics_port)
        else:
            listening = listen_near(settings.host, _WORKER_PORT)
        parent_pipe = sys.stdin.fileno() if exit_with_parent else None
        # Not on uvloop: it starts children by a fork that runs LanceDB's hooks, which may deadlock; asyncio does not.
        asyncio.run(run_worker(settings, WorkerListener(listening, parent_pipe)))


def exporter(
    context: typer.Context,
    config: ConfigFile = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Answer health and metrics on this port of S4_HOST; 0 takes a free one.", show_default="9465"
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Tell Prometheus some figures of every tenant, read from the catalog."""
    with in_the_log("exporter"):
        loaded = configuration(context, config, data_dir=data_dir, exporter_port=port)
        settings = loaded.settings
        from s4.entrypoints.exporter import check_exposure, run_exporter
        from s4.entrypoints.listening import listen

        check_exposure(settings)
        _begin(settings, "exporter", loaded)
        asyncio.run(run_exporter(settings, listen(settings.host, settings.exporter_port)))


def migrate(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    pre: Annotated[
        bool, typer.Option("--pre", help="Only what the older release can live with: run it before replacing that.")
    ] = False,
) -> None:
    """Bring the catalog's schema to this release. The embedded mode does it by itself."""
    from s4.entrypoints.bootstrap import migrate_database, missing_steps

    settings = configuration(context, config, data_dir=data_dir).settings
    steps = migrate_database(settings, pre_only=pre)
    typer.echo(f"migrated: {', '.join(steps)}" if steps else "nothing to do")
    if pre and (left := missing_steps(settings)):
        typer.echo(f"left for `s4 migrate`, once no process of the older release runs: {', '.join(left)}")


def _of_the_parent() -> "Settings":
    """What `s4 serve` runs with, the first line that it writes into the pipe."""
    from s4.entrypoints.configuration import taken_over

    # Unbuffered: what follows, the end of the pipe, is awaited by the event loop.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as pipe:
        line = pipe.readline()
    if not line:  # the parent ended first
        raise typer.Exit(1)
    return taken_over(line)


def _begin(settings: "Settings", service: str, loaded: "Configuration | None") -> None:
    """Makes the process's logs work, and tells what is doubtful about its settings, if they are not its parent's."""
    import structlog

    from s4.entrypoints.bootstrap import configure_process
    from s4.entrypoints.fitting import misfits

    configure_process(settings, service=service)
    if loaded is None:
        return
    log = structlog.get_logger()
    for variable, nearest in loaded.unknown.items():
        log.warning("configuration.variable_unknown", variable=variable, nearest=nearest)
    for sentence in misfits(settings):
        log.warning("configuration.does_not_fit", message=sentence)
