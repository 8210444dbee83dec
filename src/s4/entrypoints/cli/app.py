"""Assembles the commands. Every failure ends here: one sentence, or with `--json` one JSON document, on stderr.

Exit codes: 0 done, 1 failed, or nobody read the output to its end, 2 wrong usage, 130 interrupted.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from s4.entrypoints.cli import (
    admin_commands,
    audit_commands,
    backup_commands,
    checklist_commands,
    config_commands,
    doctor_commands,
    document_commands,
    erasure_commands,
    index_commands,
    keeping_commands,
    key_commands,
    lifecycle_commands,
    logs_commands,
    notice_commands,
    plan_commands,
    rebuild_command,
    region_commands,
    report_commands,
    restore_command,
    schedule_commands,
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
from s4.entrypoints.cli.failures import EXIT_FAILED, EXIT_INTERRUPTED, explain
from s4.entrypoints.cli.options import examples
from s4.entrypoints.cli.output import JSON_FLAG, make_streams_fit, print_error
from s4.platform.egress import keep_libraries_quiet

EXIT_USAGE = 2


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
        schedule_commands,
        checklist_commands,
        backup_commands,
        restore_command,
        upgrade_commands,
        lifecycle_commands,
        logs_commands,
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
    make_streams_fit()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    keep_libraries_quiet()
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
    except Exception as error:  # told apart in `explain`, which raises on what it does not know
        print_error(**explain(error), as_json=as_json)
        return EXIT_FAILED
    if code == EXIT_INTERRUPTED:
        print_error("Interrupted.", code="interrupted", as_json=as_json)
    return code if isinstance(code, int) else 0


def _usage(error: typer.TyperException, said: str) -> str:
    """One sentence, with the command whose help says more."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "s4"
    return f"{said.rstrip('.')}. See `{path} --help`."
