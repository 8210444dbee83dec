"""`s4 backup …`: backups of this deployment, made, looked at, tried. Works on catalog and stores, past the API."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from s4.entrypoints.cli.options import ConfigFile, Json, ServerDataDir, WrongUsage, configuration, deployed, examples
from s4.entrypoints.cli.output import print_json, print_line, print_note, print_table
from s4.kernel.units import human_size, parse_size

if TYPE_CHECKING:
    from s4.domains.backup import BackupService
    from s4.domains.backup.creator import Progress
    from s4.domains.backup.service import Listed
    from s4.entrypoints.bootstrap import Core
    from s4.kernel.context import Actor, AdminContext
    from s4.kernel.settings import Settings

T = TypeVar("T")

_SHOWN_EVERY_SECONDS = 0.2

Wanted = Annotated[str, typer.Argument(metavar="BACKUP", help="`latest`, or one that `s4 backup list` names.")]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="URL", show_default=False, help="Where backups are, as S4_BACKUP_URL."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    backup = typer.Typer(help="Make backups, look at them, prove that they work.", no_args_is_help=True)
    of = "--data-dir s4-data"
    backup.command("create", epilog=examples(f"s4 backup create {of}", f"s4 backup create {of} --json"))(create)
    backup.command("list", epilog=examples(f"s4 backup list {of}"))(list_backups)
    backup.command("verify", epilog=examples(f"s4 backup verify {of}", f"s4 backup verify latest {of} --bytes 1GiB"))(
        verify
    )
    backup.command("prune", epilog=examples(f"s4 backup prune {of} --dry-run"))(prune)
    backup.command("drill", epilog=examples(f"s4 backup drill {of} --json"))(drill)
    app.add_typer(backup, name="backup")


def create(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    to: To = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Copy everything, also what former backups have: after one was damaged.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Back up everything as it is at this moment, while the deployment goes on.

    Copies what is new since the last backup. Exits with 1 when the bucket lacks something that the catalog names; what
    there is has been backed up then. Interrupted, it leaves nothing that looks like a backup, and the next run goes on.
    """
    settings = settings_of(context, config, data_dir=data_dir, backup_url=to)

    async def run() -> "Listed":
        from s4.domains.backup.service import Listed

        async with opened(settings) as (backups, actor):
            manifest = await backups.create(shown(as_json=as_json), anew=anew, actor=actor)
        return Listed(manifest.backup_id, manifest)

    listed = done(run())
    manifest = listed.manifest
    assert manifest is not None, "it was just made"
    if as_json:
        print_json(_described(listed))
    else:
        work = manifest.work
        print_line(
            f"Backup {manifest.backup_id}: {manifest.counts.documents} documents of {manifest.counts.tenants} tenants, "
            f"{human_size(manifest.counts.object_bytes)} in {manifest.counts.objects} objects."
        )
        print_line(
            f"Copied {human_size(work.bytes_copied)} in {work.objects_copied} objects; {work.requests} requests, "
            f"{work.seconds:.1f} s."
        )
        for key in manifest.lacking:
            print_note(f"The bucket lacks {key}.")
    if manifest.lacking:
        raise typer.Exit(1)


def list_backups(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    to: To = None,
    as_json: Json = False,
) -> None:
    """List backups, oldest first. Needs no catalog: also on a machine that has nothing yet."""
    from s4.domains.backup.service import all_in

    settings = settings_of(context, config, mints=False, data_dir=data_dir, backup_url=to)

    async def run() -> "list[Listed]":
        from s4.entrypoints.bootstrap import looked_at, open_place

        async with open_place(looked_at(settings)) as place:
            return await all_in(place)

    found = [_described(each) for each in done(run())]
    if as_json:
        print_json({"backups": found})
        return
    if not found:
        print_note("There is no backup yet: make one with `s4 backup create`.")
        return
    print_table(
        ("id", "state", "tenants", "documents", "size", "copied", "encrypted"),
        [
            (each["id"], "ok", str(each["tenants"]), str(each["documents"]), human_size(each["object_bytes"]),
             human_size(each["bytes_copied"]), "yes" if each["encrypted"] else "no")
            if each["ok"] else (each["id"], each["problem"], "", "", "", "", "")
            for each in found
        ],
    )  # fmt: skip


def verify(
    context: typer.Context,
    wanted: Wanted = "latest",
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    to: To = None,
    bytes_max: Annotated[
        str | None,
        typer.Option("--bytes", metavar="SIZE", show_default="all", help="Read about so much, drawn at random: 10GiB."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read a backup and compare every object with the sum that was taken when it was copied.

    Exits with 1 when anything is missing, cut or changed. Needs no catalog; where there is one, it also tells whether
    the latest backup is the one that was made last.
    """
    settings = settings_of(context, config, mints=False, data_dir=data_dir, backup_url=to)
    budget = _size(bytes_max)

    async def run() -> Any:
        from s4.domains.backup import Verifier
        from s4.entrypoints.bootstrap import looked_at, newest_backup_made, open_place

        newest = await newest_backup_made(settings)
        async with open_place(looked_at(settings)) as place:
            progress = shown(as_json=as_json)
            verified = Verifier(place).verify(wanted, newest_made=newest, bytes_max=budget, progress=progress)
            return (await verified)[1]

    found = done(run())
    if as_json:
        print_json(asdict(found) | {"ok": found.ok})
    else:
        for problem in found.problems:
            print_note(problem)
        state = "is sound" if found.ok else f"is damaged: {found.problems_count} problems"
        print_line(
            f"Backup {found.backup_id} {state}; {found.objects_read} of {found.objects} objects were read, "
            f"{human_size(found.bytes_read)}."
        )
    if not found.ok:
        raise typer.Exit(1)


def prune(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    to: To = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove backups that S4_BACKUP_KEEP_DAYS and S4_BACKUP_KEEP_COUNT do not keep, and data that no backup needs."""
    settings = settings_of(context, config, data_dir=data_dir, backup_url=to)

    async def run() -> Any:
        async with opened(settings) as (backups, _):
            return await backups.prune(dry_run=dry_run)

    pruned = done(run())
    if as_json:
        print_json(asdict(pruned) | {"dry_run": dry_run})
        return
    verb = "Would remove" if dry_run else "Removed"
    print_line(
        f"{verb} {len(pruned.backups)} backups, {len(pruned.unfinished)} unfinished ones and "
        f"{human_size(pruned.data_bytes)} of data; {pruned.kept} backups stay."
    )
    if pruned.unopened:
        print_note(
            f"No data goes as long as there is {pruned.unopened[0]}: it is encrypted under another key than "
            "S4_BACKUP_ENCRYPTION_KEY, so nobody knows what it needs."
        )


def drill(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    to: To = None,
    as_json: Json = False,
) -> None:
    """Restore the latest backup into scratch, verify it, measure how long that took, and remove it again.

    Exits with 1 when the backup is not sound, or S4_RPO_TARGET_SECONDS or S4_RTO_TARGET_SECONDS was missed.
    """
    settings = settings_of(context, config, data_dir=data_dir, backup_url=to)

    async def run() -> Any:
        async with opened(settings) as (backups, actor):
            return await backups.drill(shown(as_json=as_json), actor=actor)

    drilled = done(run())
    restored = drilled.restored
    figures = {
        "backup": drilled.backup_id,
        "ok": drilled.ok,
        "rpo_seconds": drilled.rpo_seconds,
        "rto_seconds": drilled.rto_seconds,
        "documents": restored.counts.documents if restored is not None and restored.counts is not None else 0,
        "bytes": restored.bytes_written if restored is not None else 0,
        "requests": restored.requests if restored is not None else 0,
        "searches": restored.samples if restored is not None else 0,
        "problems": drilled.problems,
    }
    if as_json:
        print_json(figures)
    else:
        for problem in drilled.problems:
            print_note(problem)
        if drilled.rto_seconds is not None:
            print_line(
                f"Restored {drilled.backup_id}: {figures['documents']} documents, {human_size(figures['bytes'])} with "
                f"{figures['requests']} requests; {searched(figures['searches'])}."
            )
            print_line(f"RTO {drilled.rto_seconds:.1f} s, RPO {drilled.rpo_seconds:.1f} s.")
        print_line("The drill was passed." if drilled.ok else "The drill FAILED.")
    if not drilled.ok:
        raise typer.Exit(1)


# -- what commands on backups share


def settings_of(context: typer.Context, config: Path | None, *, mints: bool | None = None, **flags: Any) -> "Settings":
    """With logs that leave the terminal to the command. Of a deployment that is there; given `mints`, also where none
    is, as `configuration.complete` has it."""
    from s4.entrypoints.bootstrap import configure_process
    from s4.entrypoints.configuration import complete
    from s4.platform.telemetry import logs

    loaded = configuration(context, config, **flags)
    settings = deployed(loaded) if mints is None else complete(loaded.settings, mints=mints)
    configure_process(settings, service="backup")
    logs.configure(level="critical", log_format=settings.log_format, service="backup")
    return settings


def done(work: Coroutine[Any, Any, T]) -> T:
    """Runs it; SIGTERM interrupts as Ctrl-C does, so that what was begun is let go of."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    return asyncio.run(work)


@contextlib.asynccontextmanager
async def opened(settings: "Settings") -> "AsyncIterator[tuple[BackupService, Actor]]":
    """The deployment's backups, and in whose name the command acts."""
    from s4.entrypoints.bootstrap import make_backups, open_core

    async with open_core(settings) as core:
        yield make_backups(core), (await operator_context(core)).actor


async def operator_context(core: "Core") -> "AdminContext":
    """Whoever runs commands beside the deployment has its settings, and so the administrator's key."""
    from s4.kernel.context import NOWHERE
    from s4.platform.http.routing import Credentials

    key = core.settings.admin_api_key
    assert key is not None, "complete settings have one"
    return await core.access.admin(Credentials(tenant_key=None, admin_key=key.get_secret_value(), origin=NOWHERE))


def shown(*, as_json: bool) -> "Progress":
    """One line on stderr that is written over, where that is a terminal."""
    if as_json or not sys.stderr.isatty():
        return lambda *_: None
    last = 0.0

    def show(what: str, objects: int, size_bytes: int) -> None:
        nonlocal last
        if time.monotonic() - last < _SHOWN_EVERY_SECONDS:
            return
        last = time.monotonic()
        sys.stderr.write(f"\r\x1b[K{what}: {objects} objects, {human_size(size_bytes)}\r")
        sys.stderr.flush()

    return show


def searched(count: int) -> str:
    """What was asked of a restored deployment."""
    return f"{count} searches were asked" if count else "no search was asked, for the backup holds none to ask"


def _described(listed: "Listed") -> dict[str, Any]:
    """As `GET /admin/backups` shows it."""
    from s4.domains.backup.schemas import BackupOut

    return BackupOut.of(listed).model_dump(mode="json")


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as error:
        raise WrongUsage(f"{text!r} is not a size such as 500MiB or 10GiB.") from error
