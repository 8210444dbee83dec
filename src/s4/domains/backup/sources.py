"""Where a tenant's former state is read from: a backup, or the chains of heads that are still in the bucket."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from s4.domains.backup import queries
from s4.domains.backup.model import Entry, Manifest, Sample
from s4.domains.backup.place import Place
from s4.domains.backup.reading import bytes_of, read_together, summed
from s4.domains.documents.chain import subject as document_subject
from s4.domains.tenants.chain import subject as tenant_subject
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt, NotFound
from s4.kernel.ids import DocumentId, TenantId, VersionId
from s4.kernel.keys import KeyKind, ObjectKey
from s4.platform.chains import ABANDONED, Chains, Head, Subject
from s4.platform.database import Database
from s4.platform.objects import ObjectMissing, ObjectStore

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Was:
    """A document as it was: its head, or None when there was none then."""

    document_id: DocumentId
    head: Head | None
    problem: str | None = None
    """Why nobody can say what it was, and whether it was."""
    size_bytes: int | None = None
    """Of its bytes, where they are all that is known."""


class Source(Protocol):
    """A moment that can be gone back to."""

    @property
    def point(self) -> datetime: ...

    @property
    def doubt(self) -> str | None:
        """Why `documents` may name some as what they were not, or leave out some that were there; None if it cannot."""
        ...

    async def tenants(self) -> list[TenantId]:
        """Those that were alive at the point, and those of which nobody can say it."""
        ...

    async def tenant(self, tenant_id: TenantId) -> Head:
        """Its head. Raises `NotFound` when it was not there, or was a tombstone, `DataCorrupt` when nobody can say."""
        ...

    def documents(self, tenant_id: TenantId, *, if_changed: bool) -> AsyncIterator[Was]:
        """Every document that was live at the point, and some that were not. With `if_changed` those that are as they
        were may be left out, if whoever was not there at the point is named."""
        ...

    @property
    def names_all(self) -> bool:
        """Whether a document that `documents` does not name was not there at the point, even with `if_changed`."""
        ...

    def read(self, key: ObjectKey) -> AsyncIterator[bytes]:
        """An object as it was. Raises `ObjectMissing`, and `DataCorrupt` at its end if it is not what it was."""
        ...

    async def samples(self, tenant_id: TenantId) -> list[Sample]:
        """Searches that found documents of the tenant at the point; none where nobody asked."""
        ...

    def derived(self, tenant_id: TenantId) -> AsyncIterator[ObjectKey]:
        """Keys of the tenant's vectors, which spare paying for them again."""
        ...


class BackupSource:
    """A backup. Memory: the entries of one tenant."""

    def __init__(self, place: Place, manifest: Manifest) -> None:
        self._place = place
        self._manifest = manifest
        self._encrypted = manifest.encrypted_under is not None
        self._entries: dict[ObjectKey, Entry] = {}
        self._of: TenantId | None = None

    @property
    def point(self) -> datetime:
        return self._manifest.point

    @property
    def names_all(self) -> bool:
        return True

    @property
    def doubt(self) -> str | None:
        if not self._manifest.may_lack_more_heads:
            return None
        return f"Backup {self._manifest.backup_id} may lack more heads than it names: go back to another one."

    async def tenants(self) -> list[TenantId]:
        known: dict[TenantId, None] = {}
        named = [entry.key async for entry in self._place.entries(self._manifest)]
        for key in (*named, *self._manifest.lacking):
            parsed = keys.parse(key)
            if parsed is not None and parsed.kind is KeyKind.TENANT_HEAD and parsed.tenant_id is not None:
                known[parsed.tenant_id] = None
        return [tenant_id for tenant_id in known if await _may_have_been(self, tenant_id)]

    async def tenant(self, tenant_id: TenantId) -> Head:
        await self._load(tenant_id)
        heads = [key for key in self._known(tenant_id) if key.startswith(keys.tenant_heads(tenant_id))]
        head = await self._newest(heads, tenant_subject(tenant_id))
        if head is None or head.state != "live":
            raise NotFound(f"The backup has no tenant {tenant_id}.")
        return head

    async def documents(self, tenant_id: TenantId, *, if_changed: bool) -> AsyncIterator[Was]:  # noqa: ARG002 (it has all)
        await self._load(tenant_id)
        heads: dict[DocumentId, list[ObjectKey]] = {}
        sizes: dict[DocumentId, int] = {}
        for key in self._known(tenant_id):
            parsed = keys.parse(key)
            if parsed is None or parsed.document_id is None:
                continue
            if parsed.kind is KeyKind.DOCUMENT_HEAD:
                heads.setdefault(parsed.document_id, []).append(key)
            elif parsed.kind is KeyKind.CONTENT and key in self._entries:
                sizes[parsed.document_id] = self._entries[key].size_bytes
        last = [self._entries[of[-1]] for of in heads.values() if of[-1] in self._entries]
        read = await read_together(self._place, last, encrypted=self._encrypted)
        for document_id, of in heads.items():
            try:
                head = await self._newest(of, document_subject(tenant_id, document_id), read)
            except DataCorrupt as error:
                yield Was(document_id, None, error.message, sizes.get(document_id))
            else:
                yield Was(document_id, head if head is not None and head.state == "live" else None)

    async def read(self, key: ObjectKey) -> AsyncIterator[bytes]:
        entry = self._entries.get(key)
        if entry is None:
            raise ObjectMissing(key)
        async for chunk in summed(entry, bytes_of(self._place, entry, encrypted=self._encrypted)):
            yield chunk

    async def samples(self, tenant_id: TenantId) -> list[Sample]:
        return [each for each in await self._place.samples(self._manifest) if each.tenant_id == tenant_id]

    async def derived(self, tenant_id: TenantId) -> AsyncIterator[ObjectKey]:
        await self._load(tenant_id)
        for key in self._entries:
            if key.startswith(keys.embeddings(tenant_id)):
                yield key

    # -- inside

    async def _load(self, tenant_id: TenantId) -> None:
        if self._of == tenant_id:
            return
        self._entries = {
            entry.key: entry
            async for entry in self._place.entries(self._manifest)
            if keys.owner(entry.key) == tenant_id
        }
        self._of = tenant_id

    def _known(self, tenant_id: TenantId) -> list[ObjectKey]:
        """Keys of what the backup has of the tenant, and of what it says that it lacks, in order."""
        lacking = {ObjectKey(key) for key in self._manifest.lacking if keys.owner(key) == tenant_id}
        return sorted({*self._entries, *lacking})

    async def _newest(
        self, heads: list[ObjectKey], subject: Subject, read: Mapping[ObjectKey, bytes] | None = None
    ) -> Head | None:
        """The newest that happened. `read`: those that were read already. Raises `DataCorrupt` when the backup lacks
        it, or one that may be it."""
        for key in reversed(heads):
            if key not in self._entries:
                raise DataCorrupt(f"The backup lacks its head, {key}, as the bucket did when it was made.")
            data = (read or {}).get(key) or b"".join([chunk async for chunk in self.read(key)])
            head = Head.from_bytes(data, expected=subject)
            if head.state != ABANDONED:
                return head
        return None


class ChainSource:
    """The bucket itself: heads are never overwritten, and bytes stay for a grace period after they were replaced."""

    def __init__(self, database: Database, store: ObjectStore, chains: Chains, point: datetime) -> None:
        self._database = database
        self._store = store
        self._chains = chains
        self._point = point

    @property
    def point(self) -> datetime:
        return self._point

    @property
    def names_all(self) -> bool:
        return False

    @property
    def doubt(self) -> str | None:
        return None

    async def tenants(self) -> list[TenantId]:
        """Also those that are gone by now, as far as the bucket still knows them."""
        async with self._database.read() as connection:
            known = [TenantId(row.tenant_id) for row in await queries.tenant_rows(connection)]
        return [tenant_id for tenant_id in sorted(known) if await _may_have_been(self, tenant_id)]

    async def tenant(self, tenant_id: TenantId) -> Head:
        async with self._database.read() as connection:
            row = await queries.tenant_row(connection, tenant_id)
        try:
            known = row.revision if row is not None else 0
            head = await self._chains.at(tenant_subject(tenant_id), self._point, known=known)
        except DataCorrupt:
            if row is None or row.state != "tombstone":
                raise
            head = None  # of who was erased, the tombstone is left
        if head is None or head.state != "live":
            raise NotFound(f"There was no tenant {tenant_id} at that time.")
        return head

    async def documents(self, tenant_id: TenantId, *, if_changed: bool) -> AsyncIterator[Was]:
        async with self._database.read() as connection:
            since = self._point if if_changed else None
            known = await queries.revisions(connection, tenant_id, changed_since=since)
        for text, revision in known.items():
            document_id = DocumentId(text)
            try:
                subject = document_subject(tenant_id, document_id)
                head = await self._chains.at(subject, self._point, known=revision)
            except DataCorrupt as error:
                yield Was(document_id, None, error.message)
            else:
                yield Was(document_id, head if head is not None and head.state == "live" else None)

    def read(self, key: ObjectKey) -> AsyncIterator[bytes]:
        return self._store.stream(key)

    async def samples(self, tenant_id: TenantId) -> list[Sample]:  # noqa: ARG002 (nobody asked)
        return []

    async def derived(self, tenant_id: TenantId) -> AsyncIterator[ObjectKey]:
        async for info in self._store.list(keys.embeddings(tenant_id)):
            yield info.key


async def _may_have_been(source: Source, tenant_id: TenantId) -> bool:
    try:
        await source.tenant(tenant_id)
    except NotFound:
        return False
    except DataCorrupt as error:  # whoever goes back to it hears of it
        log.error("rewind.tenant_in_doubt", tenant_id=tenant_id, error=error.message)
    return True


def content_of(tenant_id: TenantId, head: Head) -> ObjectKey:
    return keys.content(tenant_id, DocumentId(head.subject.subject_id), VersionId(head.body["version_id"]))


def text_of(tenant_id: TenantId, head: Head) -> ObjectKey:
    document_id, version_id = DocumentId(head.subject.subject_id), VersionId(head.body["version_id"])
    return keys.text(tenant_id, document_id, version_id, head.body["content_revision"])
