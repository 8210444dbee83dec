"""`s4 upload`."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4.entrypoints.cli.options import (
    DEFAULT_URL,
    Json,
    TenantKey,
    Url,
    WrongUsage,
    async_tenant_client,
    parse_metadata,
)
from s4.entrypoints.cli.output import Advance, byte_progress, print_json, print_line, print_note
from s4.kernel.units import human_size

if TYPE_CHECKING:
    from s4.entrypoints.cli.uploading import Outcome, Upload
    from s4client import AsyncS4Client


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(upload)


def upload(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, or with -r directories.")],
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Enter directories. Hidden files in them are left out.")
    ] = False,
    key_prefix: Annotated[
        str | None,
        typer.Option(help="Give each document this and its path as its key; replaces the document that has it."),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", "-m", help="name=value for every document; 2024 is a number. Repeatable."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Until the documents are searchable.")] = True,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for each document.")] = 600.0,
    parallel: Annotated[int, typer.Option(min=1, max=32, help="Uploads at a time.")] = 4,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    as_json: Json = False,
) -> None:
    """Upload files. Exit code 1 if any was refused or could not be made searchable."""
    fields = parse_metadata(metadata or ())
    uploads = find_files(paths, recursive=recursive, key_prefix=key_prefix)
    client = async_tenant_client(url, tenant_key)
    total_bytes = sum(_size_bytes(item.path) for item in uploads)
    with byte_progress("Uploading", total_bytes, wanted=not as_json) as advance:
        report = _Report(advance, as_json=as_json)
        wait_seconds = timeout if wait else None
        asyncio.run(_run(client, report, uploads, metadata=fields, wait_seconds=wait_seconds, parallel=parallel))
    if as_json:
        print_json(report.as_json())
    else:
        print_line(report.summary())
    if any(outcome.failure for outcome in report.outcomes):
        raise typer.Exit(1)


async def _run(
    client: "AsyncS4Client",
    report: "_Report",
    uploads: "list[Upload]",
    *,
    metadata: Mapping[str, Any],
    wait_seconds: float | None,
    parallel: int,
) -> None:
    from s4.entrypoints.cli.uploading import Uploader

    async with client:
        await Uploader(client, report, metadata=metadata, wait_seconds=wait_seconds, parallel=parallel).run(uploads)


def find_files(paths: Sequence[Path], *, recursive: bool, key_prefix: str | None) -> "list[Upload]":
    """What to upload, in the order given. Below a directory, keys follow the path in it."""
    from s4.entrypoints.cli.uploading import Upload

    found = []
    for path in paths:
        if not path.is_dir():
            found.append((path, path.name))
        elif recursive:
            found += [(file, file.relative_to(path).as_posix()) for file in _files_below(path)]
        else:
            raise WrongUsage(f"{path} is a directory: say --recursive to upload what is in it.")
    if key_prefix is None:
        return [Upload(path, None) for path, _ in found]
    uploads = [Upload(path, key_prefix + name) for path, name in found]
    key, count = Counter(upload.key for upload in uploads).most_common(1)[0] if uploads else (None, 0)
    if count > 1:
        raise WrongUsage(f"{count} files would get the key {key!r} and replace one another.")
    return uploads


def _files_below(directory: Path) -> list[Path]:
    """Regular files, sorted. Links to directories are not followed: they may lead in circles."""
    files: list[Path] = []
    for parent, names_below, names in os.walk(directory):
        names_below[:] = sorted(name for name in names_below if not name.startswith("."))
        files += [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
    return [file for file in files if file.is_file()]


def _size_bytes(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


class _Report:
    """Prints a line for each file as it ends, unless JSON is wanted, and keeps what the summary needs."""

    def __init__(self, advance: Advance, *, as_json: bool) -> None:
        self.outcomes: list[Outcome] = []
        self._as_json = as_json
        self.advanced = advance

    def ended(self, outcome: "Outcome") -> None:
        self.outcomes.append(outcome)
        if self._as_json:
            return
        if outcome.failure is None and outcome.document is not None:
            print_line(f"{outcome.document.document_id}  {outcome.document.status}  {outcome.path}")
        elif outcome.failure is not None:
            which = f" ({outcome.document.document_id})" if outcome.document else ""
            print_note(f"{outcome.path}{which}: {outcome.failure.code}: {outcome.failure.message}")

    def summary(self) -> str:
        sizes = [outcome.document.size for outcome in self.outcomes if outcome.document]
        failed = sum(1 for outcome in self.outcomes if outcome.failure)
        text = f"Uploaded {len(sizes)} of {len(self.outcomes)} files, {human_size(sum(sizes))}"
        return f"{text}; {failed} failed." if failed else f"{text}."

    def as_json(self) -> dict[str, Any]:
        return {
            "files": [
                {
                    "path": os.fsencode(outcome.path).decode("utf-8", "replace"),
                    "document": outcome.document.model_dump(mode="json") if outcome.document else None,
                    "failure": (
                        {"code": outcome.failure.code, "message": outcome.failure.message} if outcome.failure else None
                    ),
                }
                for outcome in self.outcomes
            ],
            "uploaded": sum(1 for outcome in self.outcomes if outcome.document),
            "failed": sum(1 for outcome in self.outcomes if outcome.failure),
        }
