"""`s4 replicate`, `s4 promote`, `s4 stranded`, `s4 fail-back`: a second bucket, and which of two serves. They ask
stores and database, not the API. docs/guide/second-region.md is the runbook."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4.entrypoints.cli.options import ConfigFile, Json, ServerDataDir, WrongUsage, configuration, deployed, examples
from s4.entrypoints.cli.output import print_json, print_line, print_note, print_table
from s4.entrypoints.cli.rebuild_command import Notes, name_problems

if TYPE_CHECKING:
    from s4.domains.maintenance.promotion import Promoted, Stranded
    from s4.domains.maintenance.replication import Copied
    from s4.entrypoints.configuration import Configuration
    from s4.kernel.settings import Settings

PrintPolicy = Annotated[
    bool,
    typer.Option(
        "--print-policy",
        help="Print what makes the store itself copy, as `aws s3api put-bucket-replication` reads it, and end.",
    ),
]
CheckPolicy = Annotated[
    bool,
    typer.Option(
        "--check-policy", help="Ask the first bucket whether it copies what S4 needs, and end: 1 if it does not."
    ),
]
Role = Annotated[
    str,
    typer.Option(
        metavar="ARN", help="For the policy: the role that the store copies as.", show_default="to be filled in"
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(
        epilog=examples(
            "s4 replicate --data-dir s4-data --replica-store-url file://$PWD/second-bucket",
            "S4_STORE_URL=s3://first/s4 S4_REPLICA_STORE_URL=s3://second/s4 s4 replicate --print-policy | head -3",
        )
    )(replicate)
    app.command(epilog=examples("s4 promote --help"))(promote)
    app.command(epilog=examples("s4 stranded --help"))(stranded)
    app.command("fail-back", epilog=examples("s4 fail-back --help"))(fail_back)


def replicate(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    replica_store_url: Annotated[
        str | None,
        typer.Option("--replica-store-url", show_default=False, help="As S4_REPLICA_STORE_URL, which it overrules."),
    ] = None,
    print_policy: PrintPolicy = False,
    check_policy: CheckPolicy = False,
    role: Role = "arn:aws:iam::ACCOUNT:role/s4-replication",
    as_json: Json = False,
) -> None:
    """Copy what is new into the second bucket, once. Workers do it every S4_REPLICATE_SECONDS.

    The copy can be served from at any moment, also when this is interrupted; the next run goes on. What was deleted
    stays there for S4_REPLICA_DELETIONS_HOURS.
    """
    loaded = configuration(context, config, data_dir=data_dir, replica_store_url=replica_store_url)
    if print_policy or check_policy:
        _policy(loaded.settings, role, check=check_policy)
        return
    copied = asyncio.run(_replicate(_begun(loaded)))
    told = {
        "as_of": copied.as_of.isoformat(),
        "seconds": round(copied.seconds, 3),
        "objects": copied.objects,
        "bytes": copied.size_bytes,
        "deleted": copied.deleted,
        "differing": copied.differing,
    }
    if as_json:
        print_json(told)
    else:
        said = "it is not whole" if copied.differing else f"what was acknowledged before {told['as_of']} is there"
        print_line(f"Copied {copied.objects} objects, {copied.size_bytes} bytes, and deleted {copied.deleted}: {said}.")
    for key in copied.differing:
        print_note(f"Other bytes lie in the copy, and were left: {key}")
    if copied.differing:
        raise typer.Exit(1)


def promote(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    copied_by_store: Annotated[
        bool,
        typer.Option(
            "--copied-by-store",
            help="The bucket is a copy that the store made by itself, and does not say so: the first region's workers "
            "never came to write that into it.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the copy serve. Run it where S4_STORE_URL names the copy, with that region's database.

    The former first bucket, if S4_REPLICA_STORE_URL names it, is told; its processes stop when they see it. Waits 8
    seconds, after which nobody there copies any more. Then start `s4 serve` here. Exits with 1 when anything of the
    copy could not be read, which is named; all else is served.
    """
    settings = _begun(configuration(context, config, data_dir=data_dir), migrate=True)
    promoted = asyncio.run(_promote(settings, copied_by_store=copied_by_store))
    lost = (promoted.promoted_at - promoted.as_of).total_seconds() if promoted.as_of is not None else None
    if as_json:
        print_json(
            {
                "term": promoted.term,
                "as_of": promoted.as_of.isoformat() if promoted.as_of is not None else None,
                "lost_seconds_max": lost,
                "former_region_told": promoted.fenced,
                **promoted.report.counts,
                "ok": not promoted.report.problems,
                "problems": promoted.report.problems,
            }
        )
    else:
        _show_promoted(promoted, lost)
    if promoted.report.problems:
        raise typer.Exit(1)


def _show_promoted(promoted: "Promoted", lost: float | None) -> None:
    print_line(f"Promoted: this region serves in term {promoted.term}.")
    print_line(
        "Nobody noted as of when the copy is whole."
        if lost is None
        else f"What was accepted in the last {lost:.0f} s before may be missing; `s4 stranded` lists it."
    )
    if not promoted.fenced:
        print_note("The former first bucket was not told: its processes stop when they see this one.")
    name_problems(promoted.report)


def stranded(
    context: typer.Context, config: ConfigFile = None, data_dir: ServerDataDir = None, as_json: Json = False
) -> None:
    """What the former region accepted and this one never had. Run it in the region that was promoted.

    Nothing is merged: whoever it belongs to uploads it again, if it is still wanted.
    """
    found = asyncio.run(_stranded(_begun(configuration(context, config, data_dir=data_dir))))
    if as_json:
        print_json({"stranded": [_told(each) for each in found]})
        return
    rows = [
        (each.kind, each.tenant_id or "", each.subject, str(each.revision), each.state, each.name or "")
        for each in found
    ]
    print_table(("kind", "tenant", "subject", "revision", "state", "name"), rows)
    print_note(f"{len(found)} changes are in the former bucket only.")


def fail_back(
    context: typer.Context, config: ConfigFile = None, data_dir: ServerDataDir = None, as_json: Json = False
) -> None:
    """Make the former first bucket a copy of this one. Run it in the region that was promoted.

    What is stranded there is put aside, below stranded/. No process may run on that bucket. To go back, stop this
    region, run `s4 replicate` a last time, and `s4 promote` there.
    """
    aside, copied = asyncio.run(_fail_back(_begun(configuration(context, config, data_dir=data_dir))))
    if as_json:
        print_json({"put_aside": aside, "objects": copied.objects, "bytes": copied.size_bytes})
        return
    print_line(f"The former bucket is a copy now: {aside} objects were put aside, {copied.objects} copied.")


def _begun(loaded: "Configuration", *, migrate: bool = False) -> "Settings":
    """`migrate`: where there is no catalog yet, it is made."""
    from s4.entrypoints.bootstrap import migrate_database
    from s4.entrypoints.configuration import complete
    from s4.platform.telemetry import logs

    settings = complete(loaded.settings) if migrate else deployed(loaded)
    logs.configure(level="critical", log_format=settings.log_format, service="region")
    if migrate:
        migrate_database(settings)
    return settings


async def _replicate(settings: "Settings") -> "Copied":
    from s4.entrypoints.bootstrap import make_replicator, open_core

    async with open_core(settings) as core:
        return await make_replicator(core).run(progress=Notes())


async def _promote(settings: "Settings", *, copied_by_store: bool) -> "Promoted":
    from s4.entrypoints.bootstrap import make_promotions, open_core, open_rebuild

    async with open_core(settings, standby=True) as core, open_rebuild(core) as rebuild:
        return await make_promotions(core).promote(rebuild, copied_by_store=copied_by_store, progress=Notes())


async def _stranded(settings: "Settings") -> "list[Stranded]":
    from s4.entrypoints.bootstrap import make_promotions, open_core

    async with open_core(settings) as core:
        return await make_promotions(core).stranded()


async def _fail_back(settings: "Settings") -> "tuple[int, Copied]":
    from s4.entrypoints.bootstrap import make_promotions, make_replicator, open_core

    async with open_core(settings) as core:
        return await make_promotions(core).fail_back(make_replicator(core), progress=Notes())


def _told(each: "Stranded") -> dict[str, Any]:
    return {
        "key": each.key,
        "kind": each.kind,
        "tenant_id": each.tenant_id,
        "subject": each.subject,
        "revision": each.revision,
        "state": each.state,
        "committed_at": each.committed_at.isoformat() if each.committed_at is not None else None,
        "name": each.name,
    }


def _policy(settings: "Settings", role: str, *, check: bool) -> None:
    from s4.entrypoints.replication_policy import policy, shortcomings

    made = policy(settings, role)
    if made is None:
        raise WrongUsage("Stores copy from s3:// to s3://: name both by S4_STORE_URL and S4_REPLICA_STORE_URL.")
    if not check:
        print_json(made)
        return
    wrong = asyncio.run(shortcomings(settings))
    for sentence in wrong:
        print_line(sentence)
    if wrong:
        raise typer.Exit(1)
    print_line("The first bucket copies into the second what S4 needs.")
