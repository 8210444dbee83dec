"""`s4 tenant export`."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from s4 import __version__
from s4.entrypoints.cli.leaving.layout import (
    FORMAT,
    FORMAT_VERSION,
    GENERATIONS,
    RECORDS,
    TENANT,
    FileEntry,
    Folder,
    sha256_of,
)
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
from s4.kernel.clock import rfc3339
from s4.kernel.units import human_size

if TYPE_CHECKING:
    from s4client import ExportedDocument, S4AdminClient, TenantExport

PART_DOCUMENTS = 200
T = TypeVar("T")

Target = Annotated[Path, typer.Option("--to", metavar="DIR", help="Directory of the export; made if it is not there.")]
Embeddings = Annotated[
    bool, typer.Option(help="Also vectors by what was embedded, so that another S4 need not pay for them again.")
]
Parallel = Annotated[int, typer.Option(min=1, max=32, help="Downloads at a time.")]


def export(
    tenant_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the tenant.")],
    to: Target,
    embeddings: Embeddings = True,
    parallel: Parallel = 4,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Write everything that a tenant has into a directory: bytes, texts, metadata, chunks, vectors, usage and audit.

    The layout is open and documented. An interrupted run goes on where it stopped when it is started again. Exit code 1
    if bytes were missing or damaged; the manifest then names them.
    """
    folder = Folder(to)
    if folder.is_whole:
        raise WrongUsage(f"{to} holds a whole export already: name another directory.")
    with admin_client(url, admin_key, data_dir, ca_file, patient=True) as s4:
        found = s4.begin_export(tenant_id)
        if (found.format, found.format_version) != (FORMAT, FORMAT_VERSION):
            raise WrongUsage(f"The server exports {found.format} {found.format_version}: use a command of its release.")
        with byte_progress("", found.stored_bytes, wanted=not as_json) as bar:
            run = Export(s4, found, folder, bar, parallel=parallel)
            said = run.all(embeddings=embeddings)
    if as_json:
        print_json(said)
    else:
        print_line(
            f"Exported {said['documents']} documents of {found.tenant.name} ({tenant_id}), "
            f"{human_size(said['content_bytes'])} of content, to {to}."
        )
        if found.processing:
            print_note(f"{found.processing} of them had no chunks yet: they are indexed anew where they are loaded.")
        for problem in said["problems"]:
            print_note(f"  {problem['document_id']}: {problem['message']}")
    if said["problems"]:
        raise typer.Exit(1)


class Export:
    """One run. Parts that an earlier run has finished are taken as they are."""

    def __init__(self, s4: "S4AdminClient", found: "TenantExport", folder: Folder, bar: Bar, *, parallel: int) -> None:
        self._s4 = s4
        self._found = found
        self._tenant_id = found.tenant.id
        self._folder = folder
        self._bar = bar
        self._pool = ThreadPoolExecutor(parallel)

    def all(self, *, embeddings: bool) -> dict[str, Any]:
        """What the manifest says."""
        self._folder.root.mkdir(parents=True, exist_ok=True)
        self._folder.mend_journal()
        done = self._begin()
        with self._stopping():
            self._documents([said for said in done if said["kind"] == "documents"])
            if embeddings:
                self._embeddings({said["name"] for said in done if said["kind"] == "embeddings"})
        return self._end()

    def _begin(self) -> list[dict[str, Any]]:
        done = self._folder.journal()
        if not done:
            self._folder.note({"kind": "begun", "tenant_id": self._tenant_id, "at": rfc3339(datetime.now(UTC))})
        elif done[0].get("tenant_id") != self._tenant_id:
            raise WrongUsage(f"{self._folder.root} holds the beginning of another tenant's export.")
        return done

    # -- documents

    def _documents(self, done: list[dict[str, Any]]) -> None:
        part, after = len(done) + 1, done[-1]["through"] if done else ""
        self._bar.advance(sum(said["content_bytes"] for said in done))
        while True:
            page = self._s4.export_documents(self._tenant_id, after=after, limit=PART_DOCUMENTS)
            if page.documents:
                self._bar.describe(f"part {part}")
                through = page.documents[-1].document_id
                self._folder.note(self._part(part, after, through, page.documents))
                part, after = part + 1, through
            if page.next_after is None:
                return

    def _part(self, part: int, after: str, through: str, documents: "tuple[ExportedDocument, ...]") -> dict[str, Any]:
        entries, problems = list[FileEntry](), list[dict[str, str]]()
        for found in self._each(self._document, documents):
            entries += found[0]
            problems += found[1]
        for generation in sorted({name for each in documents for name in each.searchable}):
            name = self._folder.chunks(generation, part)
            if self._fetched(
                lambda to, of=generation: self._s4.export_chunks(  # type: ignore[misc]
                    self._tenant_id, of, to, after=after, through=through
                ),
                name,
            ):
                entries.append(self._folder.entry(name))
        lines = [json.dumps(each.model_dump(mode="json"), ensure_ascii=False).encode() + b"\n" for each in documents]
        entries.append(self._folder.write(self._folder.documents(part), lines))
        return {
            "kind": "documents",
            "part": part,
            "through": through,
            "documents": len(documents),
            "content_bytes": sum(each.size for each in documents),
            "problems": problems,
            "files": [each.to_dict() for each in entries],
        }

    def _document(self, document: "ExportedDocument") -> tuple[list[FileEntry], list[dict[str, str]]]:
        """Its files, and what was wrong with them."""
        from s4client import NotFound

        name = self._folder.content(document.document_id)
        path = self._folder.prepare(name)
        entries, problems = list[FileEntry](), list[dict[str, str]]()
        try:
            if not (path.exists() and path.stat().st_size == document.size and sha256_of(path) == document.sha256):
                self._s4.export_content(self._tenant_id, document, path)
            entries.append(self._folder.entry(name))
            if entries[0].sha256 != document.sha256:
                problems.append(_problem(document, "Its bytes do not match their SHA-256."))
        except NotFound:
            problems.append(_problem(document, "Its bytes are not in the store."))
        self._bar.advance(document.size)
        text = self._folder.text(document.document_id)
        if self._fetched(lambda to: self._s4.export_text(self._tenant_id, document.document_id, to), text):
            entries.append(self._folder.entry(text))
        return entries, problems

    # -- what else there is

    def _embeddings(self, done: set[str]) -> None:
        for space in self._found.embeddings:
            for part in space.parts:
                name = self._folder.embeddings(space.space, part)
                if name in done:
                    continue
                files = []
                if self._fetched(
                    lambda to, of=space.space, which=part: self._s4.export_embeddings(  # type: ignore[misc]
                        self._tenant_id, of, which, to
                    ),
                    name,
                ):
                    files = [self._folder.entry(name).to_dict()]
                self._folder.note({"kind": "embeddings", "name": name, "files": files})

    def _end(self) -> dict[str, Any]:
        """Usage and audit as they are now, then the manifest."""
        last = [self._folder.write_json(TENANT, self._tenant())]
        last.append(self._folder.write_json(GENERATIONS, [*self._found.generations]))
        for kind in RECORDS:
            name = self._folder.records(kind)
            self._s4.export_records(self._tenant_id, kind, self._folder.prepare(name))
            last.append(self._folder.entry(name))
        done = self._folder.journal()
        parts = [said for said in done if said["kind"] == "documents"]
        said = {
            "tenant_id": self._tenant_id,
            "s4_version": __version__,
            "begun_at": done[0]["at"],
            "ended_at": rfc3339(datetime.now(UTC)),
            "parts": len(parts),
            "documents": sum(part["documents"] for part in parts),
            "content_bytes": sum(part["content_bytes"] for part in parts),
            "problems": [problem for part in parts for problem in part["problems"]],
        }
        noted = (FileEntry.of(each) for part in done for each in part.get("files", ()))
        self._folder.finish([*noted, *last], said)
        return said

    def _tenant(self) -> dict[str, Any]:
        return self._found.tenant.model_dump(mode="json") | {"settings": self._found.settings}

    # -- hands

    def _fetched(self, fetch: Callable[[Path], int], name: str) -> bool:
        """Whether there was anything."""
        from s4client import NotFound

        path = self._folder.prepare(name)
        try:
            size_bytes = fetch(path)
        except NotFound:
            return False
        if size_bytes == 0:
            path.unlink()
        return size_bytes > 0

    def _each(self, work: "Callable[[ExportedDocument], T]", documents: "Iterable[ExportedDocument]") -> Iterator[T]:
        yield from self._pool.map(work, documents)

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        """What is under way ends, what waits does not begin."""
        try:
            yield
        finally:
            self._pool.shutdown(cancel_futures=True)


def _problem(document: "ExportedDocument", message: str) -> dict[str, str]:
    return {"document_id": document.document_id, "message": message}
