"""Assembles the commands. Every failure ends here: one sentence, or with `--json` one JSON document, on stderr.

Exit codes: 0 done, 1 failed, or nobody read the output to its end, 2 wrong usage, 130 interrupted.
"""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from s4.entrypoints.cli import (
    admin_commands,
    audit_commands,
    backup_commands,
    config_commands,
    doctor_commands,
    document_commands,
    erasure_commands,
    index_commands,
    keeping_commands,
    key_commands,
    lifecycle_commands,
    notice_commands,
    plan_commands,
    rebuild_command,
    region_commands,
    report_commands,
    restore_command,
    search_command,
    secrets_commands,
    server_commands,
    sla_commands,
    status_commands,
    tenant_commands,
    upgrade_commands,
    upload_command,
    usage_commands,
    verify_command,
    webhook_commands,
)
from s4.entrypoints.cli.options import examples
from s4.entrypoints.cli.output import JSON_FLAG, print_error, stand_in_for_closed_streams

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def _say_version(wanted: bool) -> None:
    if wanted:
        status_commands.version()
        raise typer.Exit


def build() -> typer.Typer:
    app = typer.Typer(
        name="s4",
        help="S4: a self-hosted, multi-tenant semantic file store.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        epilog=examples("s4 --install-completion", "s4 upload --help"),
    )
    app.callback()(_options)
    for commands in (
        server_commands,
        tenant_commands,
        erasure_commands,
        plan_commands,
        usage_commands,
        sla_commands,
        report_commands,
        key_commands,
        admin_commands,
        audit_commands,
        notice_commands,
        upload_command,
        document_commands,
        keeping_commands,
        search_command,
        index_commands,
        rebuild_command,
        region_commands,
        webhook_commands,
        status_commands,
        config_commands,
        doctor_commands,
        backup_commands,
        restore_command,
        upgrade_commands,
        lifecycle_commands,
        secrets_commands,
        verify_command,
    ):
        commands.register(app)
    return app


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """What stands before the command."""


def main() -> None:
    """The console script."""
    stand_in_for_closed_streams()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    as_json = JSON_FLAG in flags
    try:
        # Typer would frame its errors and colour them: they are taken from it and written below, as all others.
        code = build()(args=[*arguments], prog_name="s4", standalone_mode=False)
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except typer.TyperException as error:
        if said := error.format_message():  # else the help was shown, because nothing was asked for
            print_error(_usage(error, said), code="usage", as_json=as_json)
        return error.exit_code
    except Exception as error:  # told apart in `_explain`, which raises on what it does not know
        print_error(**_explain(error), as_json=as_json)
        return EXIT_FAILED
    if code == EXIT_INTERRUPTED:
        print_error("Interrupted.", code="interrupted", as_json=as_json)
    return code if isinstance(code, int) else 0


def _usage(error: typer.TyperException, said: str) -> str:
    """One sentence, with the command whose help says more."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "s4"
    return f"{said.rstrip('.')}. See `{path} --help`."


def _explain(error: Exception) -> dict[str, Any]:
    """The message and code of a foreseen failure. A defect is raised again, with its trace."""
    import s4client
    from s4.kernel.errors import S4Error

    match error:
        case s4client.S4ApiError():
            return {
                "message": error.message,
                "code": error.code,
                "details": error.details,
                "request_id": error.request_id,
            }
        case S4Error():
            from s4.entrypoints.connections import explained

            return {"message": explained(error), "code": error.code, "details": error.details}
        case OverflowError():
            return {"message": "A number or a time is out of range.", "code": "usage"}
        case s4client.S4ConnectionError():
            return {"message": str(error), "code": "connection_failed"}
        case s4client.S4WaitTimeout():
            return {"message": str(error), "code": "timeout"}
        case s4client.S4Error():
            return {"message": str(error), "code": "client_error"}
        case OSError():
            reason = error.strerror or str(error)
            return {"message": f"{error.filename}: {reason}" if error.filename else reason, "code": "file_error"}
        case _:
            raise error
