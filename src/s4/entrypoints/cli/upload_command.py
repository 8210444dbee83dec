"""`s4 upload` and `s4 sync`. What they share is in `transfer`."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4.entrypoints.cli.options import (
    DEFAULT_URL,
    CaFile,
    JsonLines,
    Server,
    SourceEndpoint,
    SourceKeyId,
    SourceRegion,
    SourceSecret,
    TenantKey,
    Url,
    WrongUsage,
    async_tenant_client,
    examples,
    parse_metadata,
    tenant_client,
)
from s4.entrypoints.cli.output import byte_progress, print_note

if TYPE_CHECKING:
    from s4.entrypoints.cli.transfer.documents import KnownDocuments
    from s4.entrypoints.cli.transfer.engine import TransferOptions
    from s4.entrypoints.cli.transfer.extras import Extra
    from s4.entrypoints.cli.transfer.files import Finder
    from s4.entrypoints.cli.transfer.manifest import Manifest
    from s4.entrypoints.cli.transfer.report import Report
    from s4.entrypoints.cli.transfer.selection import Selection
    from s4.entrypoints.cli.transfer.stores import StoreFinder

STDIN = Path("-")
SHOWN_DELETIONS_MAX = 20
"""Before they are confirmed: what fits a screen; `--dry-run` shows all."""

Prefix = Annotated[
    str, typer.Option("--prefix", help="Folder of keys to put them in; a slash is added if it has none.")
]
MetadataPairs = Annotated[
    list[str] | None,
    typer.Option("--metadata", "-m", help="name=value for every document; 2024 is a number. Repeatable."),
]
Include = Annotated[
    list[str] | None,
    typer.Option(help="Only files that fit this glob, by name, or with a slash in it by path. Repeatable."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="No files and directories that fit this glob. Repeatable."),
]
Hidden = Annotated[bool, typer.Option("--hidden", help="Also files and directories whose names begin with a dot.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Process unchanged documents again that had failed.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Compare and tell what would be done, and do nothing.")]
Wait = Annotated[bool, typer.Option(help="Until the documents are searchable.")]
Timeout = Annotated[float, typer.Option(min=0, help="Stop waiting when none has become searchable for these seconds.")]
Parallel = Annotated[int, typer.Option(min=1, max=32, help="Uploads at a time.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(
        epilog=examples(
            "s4 upload papers/",
            "s4 upload papers/ --prefix papers -m year=2026 -m team=sales",
            "s4 upload report.txt notes.md --prefix inbox",
            "s4 upload papers/ --include '*.txt' --exclude drafts --dry-run",
            "echo 'The pump is repaired.' | s4 upload - --name log/today.txt",
        )
    )(upload)
    app.command(
        "import",
        epilog=examples(
            "s4 import papers/ --prefix archive --manifest papers.csv",
            "s4 import papers/ --prefix archive --manifest papers.csv --dry-run --json",
        ),
    )(import_existing)
    app.command(
        epilog=examples(
            "s4 sync papers/ --prefix papers",
            "s4 sync papers/ --prefix papers --delete --dry-run",
            "s4 sync papers/ --prefix papers --delete --yes",
        )
    )(sync)


def upload(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files and directories, or - for stdin.")],
    prefix: Prefix = "",
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the one file, or of what comes from stdin.")
    ] = None,
    metadata: MetadataPairs = None,
    include: Include = None,
    exclude: Exclude = None,
    hidden: Hidden = False,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    wait: Wait = True,
    timeout: Timeout = 600.0,
    parallel: Parallel = 4,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: JsonLines = False,
) -> None:
    """Upload files and directories; what the server has already, by its SHA-256, is not sent again.

    A document's key is its file's name, or its path below the directory, behind the prefix. Uploading again replaces
    what changed. An interrupted run goes on where it stopped when it is started again. Exit code 1 if a file was
    refused or could not be made searchable.
    """
    server = Server(url, tenant_key, ca_file)
    options = _options(prefix, metadata, wait, timeout, parallel, dry_run=dry_run, retry_failed=retry_failed)
    if STDIN in paths:
        if len(paths) > 1 or not name or dry_run:
            raise WrongUsage("From stdin comes one document: say `s4 upload - --name NAME`, without other files.")
        with _reporting(as_json=as_json, dry_run=False) as report:
            _upload_stdin(server, report, options, name)
    else:
        if name is not None and (len(paths) > 1 or paths[0].is_dir()):
            raise WrongUsage("--name is for one file.")
        finder = _finder(paths, options, include, exclude, hidden=hidden, name=name)
        with _reporting(as_json=as_json, dry_run=dry_run) as report:
            asyncio.run(_transfer(server, finder, report, options))
    _exit(report)


def sync(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory.")],
    prefix: Prefix = "",
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete documents under the prefix that have no file in the directory.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Delete without asking, even if the directory or the prefix is empty."),
    ] = False,
    metadata: MetadataPairs = None,
    include: Include = None,
    exclude: Exclude = None,
    hidden: Hidden = False,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    wait: Wait = True,
    timeout: Timeout = 600.0,
    parallel: Parallel = 4,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: JsonLines = False,
) -> None:
    """Make the documents under a prefix equal to a directory: upload as `s4 upload` does, and with --delete delete.

    What was left out by --include, --exclude or for its name, what lies behind links and in directories that cannot be
    read, and whatever is outside the prefix is never deleted.
    """
    server = Server(url, tenant_key, ca_file)
    options = _options(prefix, metadata, wait, timeout, parallel, dry_run=dry_run, retry_failed=retry_failed)
    if not directory.is_dir():
        raise WrongUsage(f"There is no directory {directory}.")
    if delete and not yes:
        _guard(options.prefix, as_json=as_json, dry_run=dry_run)
    finder = _finder([directory], options, include, exclude, hidden=hidden)
    with _reporting(as_json=as_json, dry_run=dry_run) as report:
        run = asyncio.run(_transfer(server, finder, report, options))
        if run.complete:
            extras = run.extras(finder)
            if delete and extras:
                _delete(server, finder, report, extras, yes=yes, dry_run=dry_run)
            elif extras:
                report.extra = len(extras)
    _exit(report)


def import_existing(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A directory, s3://bucket/prefix or gs://….")],
    prefix: Prefix = "",
    manifest: Annotated[
        Path | None,
        typer.Option(help="Metadata by file: CSV with a column `path`, or JSON lines with `path` and `metadata`."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Remember the hashes of a bucket's objects here: the next run fetches only what changed."),
    ] = None,
    metadata: MetadataPairs = None,
    include: Include = None,
    exclude: Exclude = None,
    hidden: Hidden = False,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    wait: Wait = True,
    timeout: Timeout = 600.0,
    parallel: Parallel = 4,
    endpoint: SourceEndpoint = None,
    region: SourceRegion = "us-east-1",
    access_key_id: SourceKeyId = None,
    secret_access_key: SourceSecret = None,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: JsonLines = False,
) -> None:
    """Bring what lies in a directory or a bucket already, with metadata from a manifest.

    As `s4 upload` does: what the server has, by its SHA-256, is not sent again, so that an interrupted run goes on and
    a later one brings what is new. Nothing of the source is changed, and nothing is deleted.
    """
    server = Server(url, tenant_key, ca_file)
    options = _options(prefix, metadata, wait, timeout, parallel, dry_run=dry_run, retry_failed=retry_failed)
    said = _manifest(manifest)
    if "://" not in source or source.startswith("file://"):
        directory = Path(source.removeprefix("file://"))
        if not directory.is_dir():
            raise WrongUsage(f"There is no directory {directory}.")
        finder = _finder([directory], options, include, exclude, hidden=hidden)
        finder.manifest = said
        with _reporting(as_json=as_json, dry_run=dry_run) as report:
            asyncio.run(_transfer(server, finder, report, options))
            report.unmatched = said.unmatched()
    else:
        access = {
            "store_endpoint": endpoint,
            "store_region": region,
            "store_access_key_id": access_key_id,
            "store_secret_access_key": secret_access_key,
        }
        with _reporting(as_json=as_json, dry_run=dry_run) as report:
            asyncio.run(
                _import_objects(
                    server, source, access, report, options, said, state, _selection(include, exclude, hidden)
                )
            )
            report.unmatched = said.unmatched()
    _exit(report)


def _manifest(path: Path | None) -> "Manifest":
    from s4.entrypoints.cli.transfer.manifest import read_manifest

    return read_manifest(path)


async def _import_objects(
    server: Server,
    source: str,
    access: dict[str, Any],
    report: "Report",
    options: "TransferOptions",
    manifest: "Manifest",
    state: Path | None,
    selection: "Selection",
) -> None:
    from pydantic import ValidationError

    from s4.entrypoints.cli.transfer.documents import KnownDocuments
    from s4.entrypoints.cli.transfer.stores import Record, StoreFinder
    from s4.kernel.settings import Settings
    from s4.platform.objects import open_store

    try:
        settings = Settings(store_url=source, **access)
    except ValidationError as error:
        raise WrongUsage(f"{source} is no source: {error.errors()[0]['msg']}.") from error
    store = open_store(settings)
    try:
        async with async_tenant_client(server) as client:
            known = await KnownDocuments.under(client, options.prefix)
        finder = StoreFinder(store, source, options.prefix, Record(state), manifest, selection)
        await _sent(server, known, finder, report, options)
    finally:
        await store.aclose()


def _guard(prefix: str, *, as_json: bool, dry_run: bool) -> None:
    """What must be meant before anything is looked at. A dry run goes on, and tells it."""
    if not prefix:
        said = "Without --prefix, --delete is about all documents of the tenant: say --yes if you mean that."
    elif as_json:
        said = "With --json nobody is asked: say --yes to delete, or --dry-run."
    else:
        return
    if not dry_run:
        raise WrongUsage(said)
    print_note(f"Without --dry-run this would be refused. {said}")


@dataclass(frozen=True, slots=True)
class _Run:
    """A transfer that has ended. `complete`: every file was looked at."""

    known: "KnownDocuments"
    seen: set[str]
    complete: bool

    def extras(self, finder: "Finder") -> "list[Extra]":
        from s4.entrypoints.cli.transfer.extras import extra_documents

        return extra_documents(self.known, finder, self.seen)


async def _transfer(server: Server, finder: "Finder", report: "Report", options: "TransferOptions") -> _Run:
    from s4.entrypoints.cli.transfer.documents import KnownDocuments

    async with async_tenant_client(server) as client:
        if any(path.is_dir() for path in finder.paths):
            known = await KnownDocuments.under(client, options.prefix)
        else:
            known = await KnownDocuments.named(client, finder.named_keys())
    return await _sent(server, known, finder, report, options)


async def _sent(
    server: Server,
    known: "KnownDocuments",
    finder: "Finder | StoreFinder",
    report: "Report",
    options: "TransferOptions",
) -> _Run:
    from s4.entrypoints.cli.transfer.engine import Transfer
    from s4.entrypoints.cli.transfer.outcomes import failure_of

    with byte_progress("", None, wanted=report.shows_bar) as report.bar:
        async with async_tenant_client(server, patient=True) as client:
            transfer = Transfer(client, known, report, options)
            await transfer.run(finder)
    if transfer.stopped is not None:
        report.stopped = failure_of(transfer.stopped)
    return _Run(known, transfer.seen, transfer.stopped is None)


def _upload_stdin(server: Server, report: "Report", options: "TransferOptions", name: str) -> None:
    """Not by the event loop: what waits for a keyboard in a thread cannot be interrupted."""
    from s4.entrypoints.cli.transfer.files import UnfitKey, key_for
    from s4.entrypoints.cli.transfer.outcomes import Action, Outcome, failure_in
    from s4client import Document, NotFound

    try:
        key = key_for(options.prefix, name)
    except UnfitKey as unfit:
        raise WrongUsage(unfit.failure.message, param_hint="--name") from unfit
    with tenant_client(server) as s4:
        action, kept = Action.UPLOADED, {}
        with contextlib.suppress(NotFound):
            kept, action = s4.get_by_key(key).metadata, Action.REPLACED
        document: Document = s4.put_by_key(key, sys.stdin.buffer, metadata={**kept, **options.metadata} or None)
        if options.wait_seconds is not None:
            document = s4.wait(document.document_id, timeout=options.wait_seconds)
    report.ended(
        Outcome(
            path=str(STDIN), key=key, action=action, sent_bytes=document.size,
            document_id=document.document_id, status=document.status, failure=failure_in(document),
        )
    )  # fmt: skip


def _delete(
    server: Server, finder: "Finder", report: "Report", extras: "list[Extra]", *, yes: bool, dry_run: bool
) -> None:
    from s4.entrypoints.cli.transfer.extras import delete

    empty = finder.files_found == 0 and not yes
    if empty:
        done = "would be" if dry_run else "was"
        print_note(f"{finder.paths[0]} holds no files, so nothing {done} deleted: say --yes if you mean that.")
        report.refused = True
    if dry_run:
        for extra in () if empty else extras:
            report.ended(extra.outcome)
        return
    if empty:
        return
    if not yes:
        for extra in extras[:SHOWN_DELETIONS_MAX]:
            print_note(f"  {extra.outcome.path}")
        if len(extras) > SHOWN_DELETIONS_MAX:
            print_note(f"  … and {len(extras) - SHOWN_DELETIONS_MAX} more")
        if not _confirmed(f"Delete {len(extras)} documents that have no file in {finder.paths[0]}?"):
            print_note("Nothing was deleted.")
            report.refused = True
            return
    with tenant_client(server) as s4:
        delete(s4, extras, report.ended)


def _confirmed(question: str) -> bool:
    """No answer is a no."""
    print_note(f"{question} [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@contextlib.contextmanager
def _reporting(*, as_json: bool, dry_run: bool) -> "Iterator[Report]":
    """The summary comes also when the run is interrupted."""
    from s4.entrypoints.cli.transfer.report import Report

    report = Report(as_json=as_json, dry_run=dry_run)
    try:
        yield report
    except KeyboardInterrupt:
        report.close()
        raise
    report.close()


def _exit(report: "Report") -> None:
    if report.failed or report.stopped or report.refused:
        raise typer.Exit(1)


def _options(
    prefix: str, metadata: list[str] | None, wait: bool, timeout: float, parallel: int, **flags: Any
) -> "TransferOptions":
    from s4.entrypoints.cli.transfer.engine import TransferOptions
    from s4.entrypoints.cli.transfer.files import UnfitKey, folder_prefix, key_for

    fields = parse_metadata(metadata or ())
    try:
        folder = key_for("", folder_prefix(prefix))
    except UnfitKey as unfit:
        raise WrongUsage(f"The prefix cannot be the beginning of a key. {unfit.failure.message}") from unfit
    return TransferOptions(
        prefix=folder, metadata=fields, wait_seconds=timeout if wait else None, parallel=parallel, **flags
    )


def _finder(
    paths: list[Path],
    options: "TransferOptions",
    include: list[str] | None,
    exclude: list[str] | None,
    *,
    hidden: bool,
    name: str | None = None,
) -> "Finder":
    from s4.entrypoints.cli.transfer.files import Finder

    return Finder(paths, options.prefix, _selection(include, exclude, hidden), name)


def _selection(include: list[str] | None, exclude: list[str] | None, hidden: bool) -> "Selection":
    from s4.entrypoints.cli.transfer.selection import Selection

    return Selection(include or (), exclude or (), hidden)
