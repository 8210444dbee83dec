"""`s4 tenant export`."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
_TURNS_MAX = 8  # of a part whose documents are changed while it is taken; each takes what has changed since the last
_DAMAGED = "Groups of vectors that are damaged, and not here: {}. Where this is loaded, they are paid for again."
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
            print_note(f"  {problem.get('document_id') or problem['file']}: {problem['message']}")
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
            begun = {"tenant_id": self._tenant_id, "format_version": FORMAT_VERSION, "at": rfc3339(datetime.now(UTC))}
            self._folder.note({"kind": "begun"} | begun)
        elif done[0].get("tenant_id") != self._tenant_id:
            raise WrongUsage(f"{self._folder.root} holds the beginning of another tenant's export.")
        elif done[0].get("format_version") != FORMAT_VERSION:
            raise WrongUsage(f"{self._folder.root} holds what another release began: name another directory.")
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
        """Bytes, text and chunks of each document are of the state that its line names. Where something of that state
        is gone, the document was changed: then its line is read again, and it is taken as it is now."""
        lines = {each.document_id: each for each in documents}
        taken, wanted = dict[str, _Taken](), [*documents]
        for turn in range(_TURNS_MAX):
            taken |= {each.document_id: found for each, found in self._each(self._document, wanted)}
            chunks, moved = self._chunks(part, lines.values())
            lost = {name for name, found in taken.items() if found.is_lacking}
            if not moved | lost or turn == _TURNS_MAX - 1:
                break
            now = self._lines_now(after, through)
            wanted = [now[name] for name in sorted(moved | lost) if name in now and now[name] != lines[name]]
            gone = (moved | lost) - now.keys()  # deleted, and so is what was taken of it
            if not (wanted or gone or moved):
                break  # nobody has changed what is lacking: it is a problem
            lines = {name: each for name, each in lines.items() if name not in gone}
            lines |= {each.document_id: each for each in wanted}
            taken = {name: found for name, found in taken.items() if name in lines}
        return self._noted(part, through, lines, taken, chunks, moved)

    def _noted(
        self,
        part: int,
        through: str,
        lines: "dict[str, ExportedDocument]",
        taken: "dict[str, _Taken]",
        chunks: list[FileEntry],
        moved: set[str],
    ) -> dict[str, Any]:
        """The lines on disk, and what the journal says of the part."""
        documents = [lines[name] for name in sorted(lines)]
        said = [json.dumps(each.model_dump(mode="json"), ensure_ascii=False).encode() + b"\n" for each in documents]
        written = self._folder.write(self._folder.documents(part), said)
        problems = [problem for each in documents for problem in taken[each.document_id].problems]
        problems += [_problem(name, "It was changed again and again meanwhile: its chunks are not here.")
                     for name in sorted(moved & lines.keys())]  # fmt: skip
        entries = [entry for each in documents for entry in taken[each.document_id].files]
        return {
            "kind": "documents",
            "part": part,
            "through": through,
            "documents": len(documents),
            "content_bytes": sum(each.size for each in documents),
            "problems": problems,
            "files": [each.to_dict() for each in (*entries, *chunks, written)],
        }

    def _chunks(self, part: int, lines: "Iterable[ExportedDocument]") -> tuple[list[FileEntry], set[str]]:
        """Files with the chunks that the lines name, and the documents of which others are searchable by now."""
        from s4client import Conflict

        lines = [*lines]
        entries, moved = list[FileEntry](), set[str]()
        for generation in sorted({name for each in lines for name in each.searchable}):
            revisions = {
                each.document_id: each.searchable[generation] for each in lines if generation in each.searchable
            }
            name = self._folder.chunks(generation, part)

            def fetch(to: Path, of: str = generation, wanted: dict[str, int] = revisions) -> int:
                return self._s4.export_chunks(self._tenant_id, of, wanted, to)

            while revisions:  # every turn takes some out
                try:
                    if self._fetched(fetch, name):
                        entries.append(self._folder.entry(name))
                    break
                except Conflict as error:
                    late = set(error.details.get("documents", ())) & revisions.keys()
                    if not late:
                        raise
                    moved |= late
                    for each in late:
                        del revisions[each]
        return entries, moved

    def _lines_now(self, after: str, through: str) -> "dict[str, ExportedDocument]":
        """Of the documents between two ids, with the latter."""
        found = dict[str, "ExportedDocument"]()
        asked: str | None = after
        while asked is not None and asked < through:
            page = self._s4.export_documents(self._tenant_id, after=asked, limit=PART_DOCUMENTS)
            found |= {each.document_id: each for each in page.documents if each.document_id <= through}
            asked = page.next_after
        return found

    def _document(self, document: "ExportedDocument") -> "_Taken":
        from s4client import NotFound

        name = self._folder.content(document.document_id)
        path = self._folder.prepare(name)
        taken = _Taken()
        try:
            if not (path.exists() and path.stat().st_size == document.size and sha256_of(path) == document.sha256):
                self._s4.export_content(self._tenant_id, document, path)
            taken.files.append(self._folder.entry(name))
            if taken.files[0].sha256 != document.sha256:
                taken.problems.append(_problem(document.document_id, "Its bytes do not match their SHA-256."))
        except NotFound:
            taken.lack(document, "Its bytes are not in the store.")
        self._bar.advance(document.size)
        text = self._folder.text(document.document_id)
        if self._fetched(lambda to: self._s4.export_text(self._tenant_id, document, to), text):
            taken.files.append(self._folder.entry(text))
        elif document.status == "ready":  # which it is by its text
            taken.lack(document, "Its text is not in the store, or cannot be read.")
        return taken

    # -- what else there is

    def _embeddings(self, done: set[str]) -> None:
        from s4.engine.vectors import damaged_groups

        for space in self._found.embeddings:
            for part in space.parts:
                name = self._folder.embeddings(space.space, part)
                if name in done:
                    continue
                files, problems = [], []
                if self._fetched(
                    lambda to, of=space.space, which=part: self._s4.export_embeddings(  # type: ignore[misc]
                        self._tenant_id, of, which, to
                    ),
                    name,
                ):
                    files = [self._folder.entry(name).to_dict()]
                    if damaged := damaged_groups(self._folder.root / name):
                        problems = [{"file": name, "message": _DAMAGED.format(damaged)}]
                self._folder.note({"kind": "embeddings", "name": name, "files": files, "problems": problems})

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
            "problems": [problem for part in done for problem in part.get("problems", ())],
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

    def _each(
        self, work: "Callable[[ExportedDocument], T]", documents: "Sequence[ExportedDocument]"
    ) -> "Iterator[tuple[ExportedDocument, T]]":
        yield from zip(documents, self._pool.map(work, documents), strict=True)

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        """What is under way ends, what waits does not begin."""
        try:
            yield
        finally:
            self._pool.shutdown(cancel_futures=True)


@dataclass(slots=True)
class _Taken:
    """Of one document: its files, and what was wrong. `is_lacking`: something of what its line names was not there."""

    files: list[FileEntry] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)
    is_lacking: bool = False

    def lack(self, document: "ExportedDocument", message: str) -> None:
        self.problems.append(_problem(document.document_id, message))
        self.is_lacking = True


def _problem(document_id: str, message: str) -> dict[str, str]:
    return {"document_id": document_id, "message": message}
