"""`s4 ls`, `s4 get`, `s4 rm`."""

import itertools
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.options import (
    DEFAULT_URL,
    CaFile,
    Json,
    Server,
    TenantKey,
    Url,
    WrongUsage,
    examples,
    tenant_client,
)
from s4.entrypoints.cli.output import byte_progress, print_json, print_line, print_note, print_table
from s4.kernel.units import human_size

if TYPE_CHECKING:
    from s4client import Document, DocumentDetail, S4Client

_STDOUT = Path("-")
_BULK = 1000  # most ids that one request may name


class Status(StrEnum):
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"
    ARCHIVED = "archived"
    RESTORING = "restoring"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(
        "ls",
        epilog=examples(
            "s4 ls", "s4 ls --prefix papers/ --limit 20", "s4 ls --status failed", "s4 ls --json | head -3"
        ),
    )(list_documents)
    app.command(
        epilog=examples(
            "s4 get --key papers/tides.txt",
            "s4 get --key papers/tides.txt -o copy.txt",
            "s4 get --key papers/tides.txt -o - | wc -c",
        )
    )(get)
    app.command("rm", epilog=examples("s4 rm $(s4 ls --prefix inbox/ | cut -f 1)"))(remove)


def list_documents(
    prefix: Annotated[str | None, typer.Option(help="Only documents whose key begins so.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only documents in this state.")] = None,
    category: Annotated[str | None, typer.Option(help="Only documents of this category.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most documents to list.")] = 100,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List documents, newest first, and why those that failed did."""
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        found = s4.iter_documents(prefix=prefix, status=status, category=category, page_limit=min(limit + 1, 200))
        documents = [*itertools.islice(found, limit + 1)]
    more = len(documents) > limit
    documents = documents[:limit]
    if as_json:
        listed = [document.model_dump(mode="json") for document in documents]
        print_json({"documents": listed, "more": more})
        return
    headings = ("id", "status", "size", "uploaded", "name", "failure")
    print_table(headings, [_row(document) for document in documents])
    if more:
        print_note(f"There are more than {limit}: see --limit.")


def get(
    document_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Id of the document.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The document's key, instead of its id.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File or directory to write to, or - for stdout.", show_default="its name"),
    ] = None,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Download a document. Without -o it gets its own name here, and replaces nothing."""
    if (document_id is None) == (key is None):
        raise WrongUsage("Name one document, by ID or by --key.")
    if as_json and output == _STDOUT:
        raise WrongUsage("With --json, stdout is taken: choose a file.", param_hint="--output")
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        document = s4.get_by_key(key) if key is not None else s4.get(document_id or "")
        if output == _STDOUT:
            s4.download(document.document_id, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        path = _target(document, output)
        _download(s4, document, path, with_bar=not as_json)
    if as_json:
        print_json({"document": document.model_dump(mode="json"), "path": str(path)})
    else:
        print_line(f"{path} ({human_size(document.size)})")


def remove(
    document_ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of the documents.")],
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Delete documents. They are gone from search at once."""
    deleted: list[str] = []
    missing: list[str] = []
    held: list[str] = []
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        for start in range(0, len(document_ids), _BULK):
            answer = s4.bulk_delete(document_ids[start : start + _BULK])
            deleted += answer.deleted
            missing += answer.not_found
            held += answer.held
    if as_json:
        print_json({"deleted": deleted, "not_found": missing, "held": held})
    else:
        for document_id in missing:
            print_note(f"not found: {document_id}")
        for document_id in held:
            print_note(f"under a legal hold: {document_id}")
        print_line(f"Deleted {len(deleted)} of {len(deleted) + len(missing) + len(held)}.")
    if missing or held:
        raise typer.Exit(1)


def _row(document: "Document") -> tuple[str, ...]:
    return (
        document.document_id,
        document.status,
        human_size(document.size),
        f"{document.uploaded_at:%Y-%m-%d %H:%M}",
        document.key or document.filename,
        f"{document.error.code}: {document.error.message}" if document.error else "",
    )


def _target(document: "DocumentDetail", output: Path | None) -> Path:
    """Where to write. The name comes from the server, so only its last part counts, and nothing is replaced."""
    from s4.kernel.errors import Conflict

    if output is not None and not output.is_dir():
        return output
    name = Path(document.filename.replace("\\", "/")).name
    path = (output or Path()) / (name if name not in ("", "..") else document.document_id)
    if path.exists():
        raise Conflict(f"{path} exists: say -o {path} to replace it.")
    return path


def _download(s4: "S4Client", document: "DocumentDetail", path: Path, *, with_bar: bool) -> None:
    with byte_progress(document.filename, document.size, wanted=with_bar) as bar:
        received_bytes = 0

        def report(now_bytes: int, _: int | None) -> None:
            nonlocal received_bytes
            bar.advance(now_bytes - received_bytes)
            received_bytes = now_bytes

        s4.download(document.document_id, path, progress=report)
