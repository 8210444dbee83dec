"""Where a tenant's former state is read from: a backup, or the chains of heads that are still in the bucket."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from s4.domains.backup import queries
from s4.domains.backup.model import Entry, Manifest, Sample
from s4.domains.backup.place import Place
from s4.domains.backup.reading import bytes_of, read_together, summed
from s4.domains.documents.chain import subject as document_subject
from s4.domains.tenants.chain import subject as tenant_subject
from s4.kernel import keys
from s4.kernel.errors import NotFound
from s4.kernel.ids import DocumentId, TenantId, VersionId
from s4.kernel.keys import KeyKind, ObjectKey
from s4.platform.chains import ABANDONED, Chains, Head, Subject
from s4.platform.database import Database
from s4.platform.objects import ObjectMissing, ObjectStore


@dataclass(frozen=True, slots=True)
class Was:
    """A document as it was: its head, or None when there was none then."""

    document_id: DocumentId
    head: Head | None


class Source(Protocol):
    """A moment that can be gone back to."""

    @property
    def point(self) -> datetime: ...

    async def tenants(self) -> list[TenantId]:
        """Those that were alive at the point."""
        ...

    async def tenant(self, tenant_id: TenantId) -> Head:
        """Its head. Raises `NotFound` when it was not there, or was a tombstone."""
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

    async def tenants(self) -> list[TenantId]:
        newest: dict[TenantId, Entry] = {}
        async for entry in self._place.entries(self._manifest):
            parsed = keys.parse(entry.key)
            if parsed is not None and parsed.kind is KeyKind.TENANT_HEAD and parsed.tenant_id is not None:
                newest[parsed.tenant_id] = entry  # in the order of revisions
        found = []
        for tenant_id in newest:
            try:
                await self.tenant(tenant_id)
            except NotFound:
                continue
            found.append(tenant_id)
        return found

    async def tenant(self, tenant_id: TenantId) -> Head:
        await self._load(tenant_id)
        heads = [key for key in self._entries if key.startswith(keys.tenant_heads(tenant_id))]
        head = await self._newest(heads, tenant_subject(tenant_id))
        if head is None or head.state != "live":
            raise NotFound(f"The backup has no tenant {tenant_id}.")
        return head

    async def documents(self, tenant_id: TenantId, *, if_changed: bool) -> AsyncIterator[Was]:  # noqa: ARG002 (it has all)
        await self._load(tenant_id)
        heads: dict[DocumentId, list[ObjectKey]] = {}
        for key in self._entries:
            parsed = keys.parse(key)
            if parsed is not None and parsed.kind is KeyKind.DOCUMENT_HEAD and parsed.document_id is not None:
                heads.setdefault(parsed.document_id, []).append(key)
        newest = await read_together(
            self._place, [self._entries[of[-1]] for of in heads.values()], encrypted=self._encrypted
        )
        for document_id, of in heads.items():
            subject = document_subject(tenant_id, document_id)
            head: Head | None = Head.from_bytes(newest[of[-1]], expected=subject)
            if head is not None and head.state == ABANDONED:
                head = await self._newest(of[:-1], subject)
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

    async def _newest(self, heads: list[ObjectKey], subject: Subject) -> Head | None:
        """The newest that happened."""
        for key in reversed(heads):
            head = Head.from_bytes(b"".join([chunk async for chunk in self.read(key)]), expected=subject)
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

    async def tenants(self) -> list[TenantId]:
        """Also those that are gone by now, as far as the bucket still knows them."""
        async with self._database.read() as connection:
            known = [TenantId(row.tenant_id) for row in await queries.tenant_rows(connection)]
        found = []
        for tenant_id in sorted(known):
            with suppress(NotFound):
                await self.tenant(tenant_id)
                found.append(tenant_id)
        return found

    async def tenant(self, tenant_id: TenantId) -> Head:
        head = await self._chains.at(tenant_subject(tenant_id), self._point)
        if head is None or head.state != "live":
            raise NotFound(f"There was no tenant {tenant_id} at that time.")
        return head

    async def documents(self, tenant_id: TenantId, *, if_changed: bool) -> AsyncIterator[Was]:
        async with self._database.read() as connection:
            since = self._point if if_changed else None
            known = await queries.document_ids(connection, tenant_id, changed_since=since)
        for text in known:
            document_id = DocumentId(text)
            head = await self._chains.at(document_subject(tenant_id, document_id), self._point)
            yield Was(document_id, head if head is not None and head.state == "live" else None)

    def read(self, key: ObjectKey) -> AsyncIterator[bytes]:
        return self._store.stream(key)

    async def samples(self, tenant_id: TenantId) -> list[Sample]:  # noqa: ARG002 (nobody asked)
        return []

    async def derived(self, tenant_id: TenantId) -> AsyncIterator[ObjectKey]:
        async for info in self._store.list(keys.embeddings(tenant_id)):
            yield info.key


def content_of(tenant_id: TenantId, head: Head) -> ObjectKey:
    return keys.content(tenant_id, DocumentId(head.subject.subject_id), VersionId(head.body["version_id"]))


def text_of(tenant_id: TenantId, head: Head) -> ObjectKey:
    document_id, version_id = DocumentId(head.subject.subject_id), VersionId(head.body["version_id"])
    return keys.text(tenant_id, document_id, version_id, head.body["content_revision"])
