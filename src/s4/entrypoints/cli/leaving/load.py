"""`s4 tenant load`."""

import contextlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4.entrypoints.cli.leaving.layout import TENANT, Folder
from s4.entrypoints.cli.options import (
    DATA_DIR,
    DEFAULT_URL,
    AdminKey,
    CaFile,
    DataDir,
    Json,
    Url,
    WrongUsage,
    admin_client,
)
from s4.entrypoints.cli.output import Bar, byte_progress, print_json, print_line, print_note
from s4.entrypoints.cli.tenant_import import Keys

if TYPE_CHECKING:
    from s4client import S4AdminClient

_POLL_SECONDS = 1.0  # the answer is two counts
_PROBLEMS_SHOWN_MAX = 20


def load(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="What `s4 tenant export` wrote.")],
    keys: Annotated[
        Path | None, typer.Option(help="Where the new tenant's key goes: a file that only you can read, or -.")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Load into this tenant instead of a new one.")] = None,
    plan: Annotated[str | None, typer.Option(help="Plan of the new tenant; as it was there if absent.")] = None,
    external_id: Annotated[str | None, typer.Option(help="Your own name for the new tenant.")] = None,
    ids: Annotated[
        Path | None, typer.Option(help="Write, a JSON line each, under which id a document was and is.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Until the documents are searchable.")] = True,
    parallel: Annotated[int, typer.Option(min=1, max=32, help="Uploads at a time.")] = 4,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Load an export into this deployment, as a new tenant: documents with their keys, metadata and times.

    Where documents are indexed as they were there, no vector is asked for again, and searches find the same. Run it
    again after an interruption: what is here is not sent again. Exit code 1 if a document could not be brought.
    """
    if (keys is None) == (tenant is None):
        raise WrongUsage("Say where the new tenant's key goes (--keys), or which tenant to load into (--tenant).")
    folder = Folder(directory)
    manifest = folder.manifest()
    source: dict[str, Any] = json.loads(folder.path(TENANT).read_bytes())
    with admin_client(url, admin_key, data_dir, ca_file, patient=True) as s4:
        target = tenant or _made(s4, source, keys or Path("-"), plan, external_id)
        if target == source["id"] and tenant is None:
            raise WrongUsage("This is the tenant that was exported: say --tenant if you mean it.")
        with byte_progress("", manifest["content_bytes"], wanted=not as_json) as bar, _writing(ids) as told:
            run = Load(s4, folder, target, bar, told, parallel=parallel)
            run.all(manifest, source["id"])
        if wait:
            _wait(s4, target)
        after = s4.describe_export(target)
    said = {"tenant_id": target, **run.counts, "documents": after.documents, "processing": after.processing}
    if as_json:
        print_json(said | {"problems": run.problems})
    else:
        print_line(
            f"Loaded {run.counts['loaded']} documents into {after.tenant.name} ({target}); "
            f"{run.counts['unchanged']} were here, {run.counts['failed']} failed."
        )
        for problem in run.problems[:_PROBLEMS_SHOWN_MAX]:
            print_note(f"  {problem['document_id']}: {problem['message']}")
    if run.counts["failed"]:
        raise typer.Exit(1)


def _made(s4: "S4AdminClient", source: dict[str, Any], keys: Path, plan: str | None, external_id: str | None) -> str:
    """The tenant of this export: found again by its external id, or made now, its key on disk before anything else."""
    from s4client import Conflict

    external_id = external_id or f"export-{source['id']}"
    with Keys(keys) as taken:
        if (known := taken.external_ids.get(external_id)) is not None:
            return known
        try:
            made = s4.create_tenant(
                source["name"],
                email=source.get("email"),
                company=source.get("company"),
                plan_id=plan or source.get("plan_id"),
                external_id=external_id,
                idempotency_key=f"load-{external_id}",
            )
        except Conflict as error:
            known = error.details.get("tenant_id")
            if not isinstance(known, str):
                raise
            print_note(f"The tenant {known} is there from an earlier run; its key was shown then.")
            return known
        taken.add(external_id, made.id, made.name, made.api_key)
        if taken.is_stdout:
            print_line(f"export S4_TENANT_KEY={made.api_key}")
        return made.id


@dataclass
class Load:
    """One run."""

    s4: "S4AdminClient"
    folder: Folder
    tenant_id: str
    bar: Bar
    told: "_Told"
    parallel: int = field(kw_only=True)
    counts: dict[str, int] = field(default_factory=lambda: {"loaded": 0, "unchanged": 0, "failed": 0})
    problems: list[dict[str, str]] = field(default_factory=list)

    def all(self, manifest: dict[str, Any], source_id: str) -> None:
        parts, embeddings = list[str](), list[str]()
        for entry in self.folder.files(manifest):
            if entry.path.startswith("documents/"):
                if self.folder.entry(entry.path) != entry:
                    raise WrongUsage(f"{entry.path} is not what the manifest says: the export is damaged.")
                parts.append(entry.path)
            elif entry.path.startswith("embeddings/"):
                embeddings.append(entry.path)
        self.s4.begin_import(self.tenant_id, source_id)
        sent = False
        with ThreadPoolExecutor(self.parallel) as pool, _stopping(pool):
            for part in sorted(parts):
                lines = [*self.folder.lines(part)]
                missing = self._missing(lines)
                # Vectors come before documents. So where a document is, an earlier run has brought all vectors.
                if missing and not sent and not self.counts["unchanged"]:
                    list(pool.map(self._embeddings, embeddings))
                    sent = True
                for problem in pool.map(self._document, missing):
                    self.counts["failed" if problem else "loaded"] += 1
                    if problem:
                        self.problems.append(problem)

    def _missing(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answer = self.s4.import_missing(self.tenant_id, lines)
        states = {each.source_document_id: each for each in answer.documents}
        self.told.add([(each.source_document_id, each.document_id) for each in answer.documents])
        missing = [line for line in lines if states[line["document_id"]].missing]
        self.counts["unchanged"] += len(lines) - len(missing)
        self.bar.advance(sum(line["size"] for line in lines) - sum(line["size"] for line in missing))
        return missing

    def _embeddings(self, name: str) -> None:
        """Damaged ones are left out: they are asked for again."""
        from s4client import InvalidRequest

        with contextlib.suppress(InvalidRequest):
            self.s4.import_embeddings(self.tenant_id, self.folder.path(name))

    def _document(self, line: dict[str, Any]) -> dict[str, str] | None:
        """What was wrong with it. The server holds the bytes against their sum. What would go wrong with every
        document is raised."""
        from s4client import Conflict, InvalidRequest, PayloadTooLarge

        path = self.folder.path(self.folder.content(line["document_id"]))
        try:
            self.s4.import_document(self.tenant_id, line, path)
        except FileNotFoundError:
            message = "Its bytes are not in the export."
        except (InvalidRequest, PayloadTooLarge, Conflict) as error:
            message = error.message
        else:
            self.bar.advance(line["size"])
            return None
        return {"document_id": line["document_id"], "message": message}


def _wait(s4: "S4AdminClient", tenant_id: str) -> None:
    """Each document ends in bounded time, so this does."""
    while s4.describe_export(tenant_id).processing:
        time.sleep(_POLL_SECONDS)


class _Told:
    """Where ids are written, if anywhere."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("w", encoding="utf-8") if path is not None else None

    def add(self, pairs: list[tuple[str, str]]) -> None:
        if self._file is not None:
            for there, here in pairs:
                self._file.write(json.dumps({"source_document_id": there, "document_id": here}) + "\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@contextlib.contextmanager
def _writing(path: Path | None) -> Iterator[_Told]:
    told = _Told(path)
    try:
        yield told
    finally:
        told.close()


@contextlib.contextmanager
def _stopping(pool: ThreadPoolExecutor) -> Iterator[None]:
    try:
        yield
    finally:
        pool.shutdown(cancel_futures=True)
