"""`s4 lifecycle …`: the rules by which the store itself ends what S4 deleted. Asks the catalog and the bucket."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from s4.entrypoints.cli.doctor_commands import show as show_report
from s4.entrypoints.cli.options import ConfigFile, Json, ServerDataDir, WrongUsage, configuration, examples
from s4.entrypoints.cli.output import print_json, print_line, print_note, print_table

if TYPE_CHECKING:
    from s4.entrypoints.lifecycle import Tenure
    from s4.kernel.settings import Settings
    from s4.platform.objects import SignedRequests


StoreUrl = Annotated[
    str | None, typer.Option("--store-url", show_default=False, help="As S4_STORE_URL, which it overrules.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    lifecycle = typer.Typer(help="Rules by which the store ends what S4 deleted.", no_args_is_help=True)
    lifecycle.command(
        epilog=examples(
            "s4 lifecycle show --data-dir s4-data --store-url s3://my-bucket/s4",
            "s4 lifecycle show --data-dir s4-data --store-url gs://my-bucket/s4 --json",
        )
    )(show)
    lifecycle.command(epilog=examples("s4 lifecycle apply --help"))(apply)
    lifecycle.command(epilog=examples("s4 lifecycle check --help"))(check)
    app.add_typer(lifecycle, name="lifecycle")


def show(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    store_url: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """The rules that the bucket must have, by plans, settings and legal holds. Asks the catalog only.

    With --json as the store reads them: a list for S3, a lifecycle file for Google's storage.
    """
    from s4.entrypoints.lifecycle import google_document, wanted_rules

    settings = _settings(context, config, data_dir, store_url)
    url = urlsplit(settings.store_url or "")
    prefix = f"{url.path.strip('/')}/" if url.path.strip("/") else ""
    wanted = wanted_rules(settings, prefix, _known(settings))
    if as_json and url.scheme == "gs":
        print_json(google_document(wanted.rules))
        return
    if as_json:
        print_json({"rules": [asdict(rule) for rule in wanted.rules], "tenants_without_room": wanted.without_room})
        return
    print_table(
        ("rule", "prefix", "ends uploads after", "ends old versions after"),
        [
            (rule.name, rule.prefix, _days(rule.abort_uploads_days), _days(rule.old_versions_days))
            for rule in wanted.rules
        ],
    )
    if wanted.without_room:
        print_note(f"{wanted.without_room} tenants have no room for a rule of their own: theirs go with most.")


def apply(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    store_url: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Bring the rules into the S3 bucket, beside those of others, and read them back. Again after every change of plans
    and holds. Needs s3:GetLifecycleConfiguration and s3:PutLifecycleConfiguration, which S4 itself does not."""
    from s4.entrypoints.lifecycle import apply as bring

    settings = _settings(context, config, data_dir, store_url)
    signed = _signed(settings)
    done = asyncio.run(bring(settings, signed, _known(settings)))
    if as_json:
        print_json({"written": done.written, "kept": done.kept, "tenants_without_room": done.without_room})
    else:
        print_line(f"{done.written} rules are in force; {done.kept} of others stayed.")


def check(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    store_url: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Whether the bucket's rules are those that there must be, reach nobody under a legal hold, and whether others do
    harm. Exits with 1 when not."""
    from s4.entrypoints.lifecycle import check as look

    settings = _settings(context, config, data_dir, store_url)
    signed = _signed(settings)
    report = asyncio.run(look(settings, signed, _known(settings)))
    if as_json:
        print_json(report.as_json())
    else:
        show_report(report)
    raise typer.Exit(report.exit_code)


def _settings(context: typer.Context, config: Path | None, data_dir: Path | None, store_url: str | None) -> "Settings":
    from s4.platform.telemetry import logs

    settings = configuration(context, config, data_dir=data_dir, store_url=store_url).settings
    logs.configure(level="critical", log_format=settings.log_format, service="lifecycle")
    return settings


def _signed(settings: "Settings") -> "SignedRequests":
    from s4.platform.objects import open_signed

    signed = open_signed(settings)
    if signed is None:
        raise WrongUsage(
            "S4 brings rules into S3 buckets only. For Google's: `s4 lifecycle show --json`, then `gcloud storage "
            "buckets update --lifecycle-file`. A directory has none."
        )
    return signed


def _known(settings: "Settings") -> "list[Tenure]":
    """What the catalog says of tenants. Raises `InvalidRequest`, `Unavailable` when there is none to ask."""
    from s4.entrypoints.bootstrap import database_url, find_catalog
    from s4.entrypoints.lifecycle.bucket import tenures
    from s4.kernel.errors import Unavailable
    from s4.platform.database import migrate, open_database

    url = database_url(settings)
    find_catalog(settings)
    if migrate.pending(url):
        raise Unavailable("The catalog's schema is older than this release: run `s4 migrate` first.")

    async def ask() -> "list[Tenure]":
        database = open_database(url, pool_size=1, timeout_seconds=settings.database_timeout_seconds)
        try:
            return await tenures(database)
        finally:
            await database.aclose()

    return asyncio.run(ask())


def _days(days: int | None) -> str:
    return "" if days is None else f"{days} days"
