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

from s4.entrypoints.cli.leaving.layout import TENANT, FileEntry, Folder
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
_DAYS = ("retention_days", "archive_after_days")
_LEFT = {
    "changed": "It is another here, or not held as it was there, and stays so; --replace puts this one in its place.",
    "deleted": "It was deleted here, and stays so; --replace brings it back.",
}


def load(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="What `s4 tenant export` wrote.")],
    keys: Annotated[
        Path | None, typer.Option(help="Where the new tenant's key goes: a file that only you can read, or -.")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Load into this tenant instead of a new one.")] = None,
    plan: Annotated[str | None, typer.Option(help="Plan of the new tenant; as it was there if absent.")] = None,
    external_id: Annotated[str | None, typer.Option(help="Your own name for the new tenant.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also documents that were changed or deleted here since they were loaded.")
    ] = False,
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

    Where documents are indexed as they were there, no vector is asked for again, and searches find the same. Legal
    holds come along, and the days of the tenant. Run it again after an interruption: what is here is not sent again,
    and what was changed or deleted here stays so, unless you say --replace. Exit code 1 if a document could not be
    brought, was left as it is here, or if vectors were damaged.
    """
    if (keys is None) == (tenant is None):
        raise WrongUsage("Say where the new tenant's key goes (--keys), or which tenant to load into (--tenant).")
    folder = Folder(directory)
    manifest = folder.manifest()
    inventory = Inventory.of(folder, manifest)
    source = folder.tenant()
    with admin_client(url, admin_key, data_dir, ca_file, patient=True) as s4:
        target = tenant or _made(s4, source, keys or Path("-"), plan, external_id)
        if target == source["id"] and tenant is None:
            raise WrongUsage("This is the tenant that was exported: say --tenant if you mean it.")
        with byte_progress("", manifest["content_bytes"], wanted=not as_json) as bar, _writing(ids) as told:
            run = Load(s4, folder, target, bar, told, replace=replace, parallel=parallel)
            run.all(inventory, source)
        if wait:
            _wait(s4, target)
        after = s4.describe_export(target)
    said = {"tenant_id": target, **run.counts, "documents": after.documents, "processing": after.processing}
    if as_json:
        print_json(said | {"problems": run.problems})
    else:
        print_line(
            f"Loaded {run.counts['loaded']} documents into {after.tenant.name} ({target}); "
            f"{run.counts['unchanged']} were here, {run.counts['left']} are others here, {run.counts['failed']} failed."
        )
        for problem in run.problems[:_PROBLEMS_SHOWN_MAX]:
            print_note(f"  {problem.get('document_id') or problem['file']}: {problem['message']}")
    if run.problems:
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


@dataclass(frozen=True, slots=True)
class Inventory:
    """The files that a load needs, but for the bytes of documents, which the server holds against their lines."""

    parts: list[str]
    embeddings: list[FileEntry]

    @classmethod
    def of(cls, folder: Folder, manifest: dict[str, Any]) -> "Inventory":
        """Raises `WrongUsage` where the tenant's description, or a part's lines, are not what the manifest says.
        Damaged vectors are found when it is their turn: they can be made again."""
        parts, embeddings, has_tenant = list[str](), list[FileEntry](), False
        for entry in folder.files(manifest):
            if entry.path == TENANT or entry.path.startswith("documents/"):
                folder.require(entry)
            if entry.path.startswith("documents/"):
                parts.append(entry.path)
            elif entry.path.startswith("embeddings/"):
                embeddings.append(entry)
            has_tenant |= entry.path == TENANT
        if not has_tenant:
            raise WrongUsage(f"The export does not list {TENANT}: it is damaged.")
        return cls(sorted(parts), embeddings)


@dataclass
class Load:
    """One run."""

    s4: "S4AdminClient"
    folder: Folder
    tenant_id: str
    bar: Bar
    told: "_Told"
    replace: bool = field(kw_only=True)
    parallel: int = field(kw_only=True)
    counts: dict[str, int] = field(default_factory=lambda: {"loaded": 0, "unchanged": 0, "left": 0, "failed": 0})
    problems: list[dict[str, str]] = field(default_factory=list)

    def all(self, inventory: Inventory, source: dict[str, Any]) -> None:
        self.s4.begin_import(self.tenant_id, source["id"])
        hold = self._keep_as_there(source)
        sent = False
        with ThreadPoolExecutor(self.parallel) as pool, _stopping(pool):
            for part in inventory.parts:
                lines = [_held(line, hold) for line in self.folder.lines(part)]
                missing = self._missing(lines)
                # Vectors come before documents. So where a document is, an earlier run has brought all vectors.
                if missing and not sent and not self.counts["unchanged"]:
                    self.problems += filter(None, pool.map(self._embeddings, inventory.embeddings))
                    sent = True
                for problem in pool.map(self._document, missing):
                    self.counts["failed" if problem else "loaded"] += 1
                    if problem:
                        self.problems.append(problem)

    def _keep_as_there(self, source: dict[str, Any]) -> dict[str, Any] | None:
        """Before the first document comes, the tenant has the days and the hold that it had there: retention might be
        faster than we. Answers with the hold where this tenant, which has documents already, is not held: then it is
        placed on every document that comes. Its days are then its own."""
        here = self.s4.describe_export(self.tenant_id)
        days = {name: value for name, value in source["keeping"].items() if name in _DAYS}
        own = here.tenant.keeping.model_dump(include=set(_DAYS)) if here.tenant.keeping else {}
        if any(value is not None for value in days.values()) and days != own:
            if here.documents == 0 and not any(value is not None for value in own.values()):
                self.s4.set_keeping(self.tenant_id, **days)
            else:
                print_note("Documents are kept for other days here than they were there: see s4 retention show.")
        hold: dict[str, Any] | None = source.get("legal_hold")
        if hold is None or here.tenant.legal_hold is not None:
            return None
        if here.documents:
            return hold
        self.s4.hold_tenant(self.tenant_id, hold["reason"])
        return None

    def _missing(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that have to come. What was changed or deleted here is not brought back, but named."""
        answer = self.s4.import_missing(self.tenant_id, lines)
        states = {each.source_document_id: each.state for each in answer.documents}
        self.told.add([(each.source_document_id, each.document_id) for each in answer.documents])
        missing = []
        for line in lines:
            state = states[line["document_id"]]
            if state == "missing" or (self.replace and state in _LEFT):
                missing.append(line)
                continue
            self.bar.advance(line["size"])
            self.counts["left" if state in _LEFT else "unchanged"] += 1
            if state in _LEFT:
                self.problems.append({"document_id": line["document_id"], "message": _LEFT[state]})
        return missing

    def _embeddings(self, entry: FileEntry) -> dict[str, str] | None:
        """What was wrong with them. Damaged ones are left out: they are asked for again."""
        from s4client import InvalidRequest

        if self.folder.holds(entry):
            with contextlib.suppress(InvalidRequest):
                self.s4.import_embeddings(self.tenant_id, self.folder.path(entry.path))
                return None
        return {"file": entry.path, "message": "These vectors are damaged or not there: they are made again."}

    def _document(self, line: dict[str, Any]) -> dict[str, str] | None:
        """What was wrong with it. The server holds the bytes against their sum. What would go wrong with every
        document is raised."""
        from s4client import Conflict, InvalidRequest, PayloadTooLarge

        path = self.folder.path(self.folder.content(line["document_id"]))
        try:
            self.s4.import_document(self.tenant_id, line, path, replace=self.replace)
        except FileNotFoundError:
            message = "Its bytes are not in the export."
        except (InvalidRequest, PayloadTooLarge, Conflict) as error:
            message = error.message
        else:
            self.bar.advance(line["size"])
            return None
        return {"document_id": line["document_id"], "message": message}


def _held(line: dict[str, Any], hold: dict[str, Any] | None) -> dict[str, Any]:
    """The document with its tenant's hold as one of its own."""
    return line | {"holds": {"operator": hold} | line.get("holds", {})} if hold is not None else line


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
