"""What belongs to a backup: the catalog at one moment, read in one transaction.

Why that is a consistent state. The catalog is at all times a function of heads (`platform/chains`), and an answer to a
caller comes after it has moved. So whatever was acknowledged before the moment is in the snapshot, and the revision
that it names of each subject has all its heads in the bucket: chains have no gaps. What is committed to the bucket
later, or by a writer that has not settled, has a higher revision or another version id, and is left out by its key
alone.

The bucket is listed after that moment. All that the snapshot names was written before it; so it is in the listing,
unless it was removed, and a hold (`maintenance/holds`) keeps anybody from that. Index tables have versions, and each
consists of files that never change: of a table exactly the files of the version that searches open are taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from s4.domains.backup import queries
from s4.domains.backup.model import Counts
from s4.domains.maintenance.deployment import is_serving
from s4.domains.usage.rollups import rollup_key
from s4.engine.vectors import manifest_name
from s4.kernel import keys
from s4.kernel.errors import Unavailable
from s4.kernel.ids import DocumentId, GenerationId, Incarnation, TenantId, VersionId
from s4.kernel.keys import Collection, KeyKind, ObjectKey
from s4.platform.database import Connection, Database

_LIVE = "live"
_READY = "ready"
_GONE = "tombstone"
_REBUILD_AWAITED = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class DocumentState:
    """A document's row. `version_id` is None where there are no bytes."""

    revision: int
    version_id: str | None
    size_bytes: int
    sha256: str
    is_ready: bool


@dataclass(slots=True)
class Snapshot:
    """The catalog at `point`, by the database's clock."""

    point: datetime
    tenants: dict[str, int] = field(default_factory=dict)
    departed: frozenset[str] = frozenset()
    """Of the tenants, those that are tombstones: their heads are all that is taken."""
    documents: dict[str, dict[str, DocumentState]] = field(default_factory=dict)
    records: dict[tuple[str, str], int] = field(default_factory=dict)
    departing: set[tuple[str, str]] = field(default_factory=set)
    """Records of tenants that are tombstones: an erasure may have removed their heads."""
    rollups: list[ObjectKey] = field(default_factory=list)
    audit_batch: int = 0
    tables: dict[tuple[str, str, str], dict[str, tuple[int, str | None]]] = field(default_factory=dict)
    """Files of the version that counts, by (tenant, generation, incarnation): name to size and MD5."""

    @property
    def counts(self) -> Counts:
        live = [d for of in self.documents.values() for d in of.values() if d.version_id is not None]
        tenants = len(self.tenants) - len(self.departed)
        return Counts(tenants, len(live), sum(document.size_bytes for document in live))

    def wants(self, key: ObjectKey) -> bool:
        """Whether the object belongs to this state."""
        parsed = keys.parse(key)
        if parsed is not None and parsed.kind is KeyKind.BACKUP:
            return False
        if key.startswith(keys.SYSTEM):
            return self._wants_of_system(key)
        tenant_id = keys.owner(key)
        if tenant_id is None or tenant_id not in self.tenants:
            return False
        if parsed is not None and parsed.kind is KeyKind.TENANT_HEAD:
            return (parsed.revision or 0) <= self.tenants[tenant_id]
        if tenant_id in self.departed:
            return False
        if parsed is None:
            return True  # a kind of object that a later release keeps with its tenant
        if parsed.document_id is not None:
            return self._wants_of_document(tenant_id, parsed.document_id, parsed.version_id, parsed.revision)
        if parsed.kind is KeyKind.INDEX and parsed.incarnation is not None:
            return self._sum_in_table(parsed, key) is not None
        return True

    def known_sum(self, key: ObjectKey) -> str | None:
        """Of objects whose sum the catalog knows, as `Entry.sum` has it."""
        parsed = keys.parse(key)
        if parsed is None:
            return None
        if parsed.kind is KeyKind.CONTENT:
            assert parsed.tenant_id is not None, "a content has an owner"
            assert parsed.document_id is not None, "and a document"
            return f"sha256:{self.documents[parsed.tenant_id][parsed.document_id].sha256}"
        described = self._sum_in_table(parsed, key)
        return f"md5:{described[1]}" if described is not None and described[1] is not None else None

    def expected(self) -> Iterator[ObjectKey]:
        """Everything that the catalog knows to be in the bucket, and without which a rebuild would not make the same
        catalog again: whole chains of heads, contents, the sealed trail, what was rolled up of the use. Not what can be
        made anew of that."""
        for tenant_id, revision in self.tenants.items():
            first = revision if tenant_id in self.departed else 1  # of who was erased, the tombstone is left
            for number in range(first, revision + 1):
                yield keys.tenant_head(TenantId(tenant_id), number)
        for tenant_id, documents in self.documents.items():
            for document_id, state in documents.items():
                whose = TenantId(tenant_id), DocumentId(document_id)
                for number in range(1, state.revision + 1):
                    yield keys.document_head(*whose, number)
                if state.version_id is not None:
                    yield keys.content(*whose, VersionId(state.version_id))
        for (collection, name), revision in self.records.items():
            if (collection, name) not in self.departing:
                for number in range(1, revision + 1):
                    yield keys.system_head(Collection(collection), name, number)
        for sequence in range(1, self.audit_batch + 1):
            yield keys.audit_batch(sequence)
        yield from self.rollups

    def still_expects(self, key: ObjectKey) -> bool:
        """Of a later snapshot: whether what an earlier one expects must be there even now. Erasures wait for nobody,
        and what a deleted document leaves behind may be collected."""
        parsed = keys.parse(key)
        assert parsed is not None, "snapshots make keys by `keys`"
        if parsed.kind is KeyKind.CONTENT and parsed.tenant_id is not None and parsed.document_id is not None:
            state = self.documents.get(parsed.tenant_id, {}).get(parsed.document_id)
            return state is not None and state.version_id is not None
        if parsed.tenant_id is not None and parsed.tenant_id in self.departed:
            return parsed.revision == self.tenants[parsed.tenant_id]
        if (named := keys.parse_system_head(key)) is not None:
            record = named[0].value, named[1]
            return record in self.records and record not in self.departing
        return True

    def drop_tables_lacking(self, seen: set[ObjectKey]) -> list[str]:
        """Forgets index tables of which a file is gone: they are made anew after a restore. Their prefixes."""
        lacking = []
        for table, files in list(self.tables.items()):
            prefix = _prefix(*table)
            if any(keys.index_file(prefix, name) not in seen for name in files):
                lacking.append(prefix)
                del self.tables[table]
        return lacking

    def _wants_of_system(self, key: ObjectKey) -> bool:
        if "/" not in key.removeprefix(keys.SYSTEM) or key.startswith(keys.PROBES):
            return False  # what a bucket says of itself: a restored one has an epoch of its own
        parts = key.split("/")
        if parts[1] in set(Collection):
            named = keys.parse_system_head(key)
            if named is None:
                return False  # nobody's
            collection, name, revision = named
            return revision <= self.records.get((collection.value, name), 0)
        if key.startswith(keys.AUDIT):
            return key <= keys.audit_batch(self.audit_batch)
        return True

    def _wants_of_document(
        self, tenant_id: TenantId, document_id: DocumentId, version_id: VersionId | None, revision: int | None
    ) -> bool:
        state = self.documents.get(tenant_id, {}).get(document_id)
        if state is None:
            return False
        if version_id is not None:
            return version_id == state.version_id and (revision is None or revision <= state.revision)
        return revision is not None and revision <= state.revision

    def _sum_in_table(self, parsed: keys.ParsedKey, key: ObjectKey) -> tuple[int, str | None] | None:
        if parsed.tenant_id is None or parsed.generation_id is None or parsed.incarnation is None:
            return None
        table = (parsed.tenant_id, parsed.generation_id, parsed.incarnation)
        name = key.removeprefix(keys.index_table(_prefix(*table)))
        return self.tables.get(table, {}).get(name)


async def require_whole(connection: Connection) -> None:
    """Raises `Unavailable` while the catalog is being made anew: it names a part of what there is, and a backup of
    that would look sound, and take the place of one that is whole."""
    if not await is_serving(connection):
        raise Unavailable(
            "The catalog is being rebuilt from the bucket, so nobody can say yet what belongs to a backup. Wait until "
            "that is done, or do it now with `s4 rebuild`; then make the backup.",
            retry_after=_REBUILD_AWAITED,
            untried=True,
        )


async def take(database: Database) -> Snapshot:
    """One transaction; some hundred bytes of memory a document. Raises as `require_whole`."""
    async with database.snapshot() as connection:
        await require_whole(connection)  # the first statement is the moment
        tenants = await queries.tenant_rows(connection)
        snapshot = Snapshot(
            point=await database.now(connection),
            tenants={row.tenant_id: row.revision for row in tenants},
            departed=frozenset(row.tenant_id for row in tenants if row.state == _GONE),
            audit_batch=await queries.last_audit_batch(connection),
        )
        for row in await queries.record_rows(connection):
            if row.revision > 0:  # others came with the schema
                snapshot.records[row.collection, row.name] = row.revision
            if row.tenant_id in snapshot.departed:
                snapshot.departing.add((row.collection, row.name))
        for row in await queries.rollup_rows(connection):
            if row.tenant_id not in snapshot.departed:
                snapshot.rollups.append(rollup_key(row.tenant_id, row.month))
        for row in await queries.document_rows(connection):
            version_id = row.version_id if row.state == _LIVE else None
            state = DocumentState(row.revision, version_id, row.size_bytes, row.sha256, row.status == _READY)
            if row.tenant_id not in snapshot.departed:
                snapshot.documents.setdefault(row.tenant_id, {})[row.document_id] = state
        for row in await queries.table_rows(connection):
            files = {name: (described[0], described[1]) for name, described in (row.files or {}).items()}
            if manifest_name(row.lance_version) in files and row.tenant_id not in snapshot.departed:
                snapshot.tables[row.tenant_id, row.generation_id, row.incarnation] = files
    return snapshot


def _prefix(tenant_id: str, generation_id: str, incarnation: str) -> str:
    return keys.generation(TenantId(tenant_id), GenerationId(generation_id), Incarnation(incarnation))
