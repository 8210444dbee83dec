"""What the bucket holds, counted while it is listed anyway."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from functools import partial

from s4.domains import usage
from s4.domains.usage import Holding, StorageClass
from s4.kernel import keys
from s4.kernel.ids import VersionId
from s4.kernel.keys import KeyKind
from s4.platform.database import Database
from s4.platform.objects import ObjectInfo

_ROWS_AT_ONCE = 500  # of one transaction

_CLASSES = {
    KeyKind.SYSTEM: StorageClass.SYSTEM,
    KeyKind.TENANT_HEAD: StorageClass.HEADS,
    KeyKind.DOCUMENT_HEAD: StorageClass.HEADS,
    KeyKind.STRANDED: StorageClass.OTHER,
    KeyKind.USAGE: StorageClass.HEADS,
    KeyKind.CONTENT: StorageClass.CONTENT,
    KeyKind.TEXT: StorageClass.TEXT,
    KeyKind.INDEX: StorageClass.INDEX,
    KeyKind.EMBEDDING: StorageClass.EMBEDDINGS,
    KeyKind.BACKUP: StorageClass.BACKUP,
}


class Inventory:
    """Sums by tenant and class. Nobody's bytes stand under the empty id."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, StorageClass], Holding] = defaultdict(Holding)

    def count(self, objects: Iterable[ObjectInfo], *, living: VersionId | None = None) -> None:
        """Adds objects. `living`: the version that their document has now; any other is an old one."""
        for info in objects:
            parsed = keys.parse(info.key)
            if parsed is None:
                whose, storage_class = "", _unparsed(info.key)
            else:
                whose, storage_class = parsed.tenant_id or "", _CLASSES[parsed.kind]
                if parsed.version_id is not None and parsed.version_id != living:
                    storage_class = StorageClass.OLD_VERSIONS
            self._held[whose, storage_class] += Holding(info.size, 1)

    async def save(self, database: Database, *, listed_at: datetime) -> None:
        """In place of what an earlier listing found."""
        found = [(tenant_id, of, holding) for (tenant_id, of), holding in sorted(self._held.items())]
        for start in range(0, len(found), _ROWS_AT_ONCE):
            rows = found[start : start + _ROWS_AT_ONCE]
            await database.transact(partial(usage.storage.put, found=rows, listed_at=listed_at))
        await database.transact(partial(usage.storage.forget, before=listed_at))


def _unparsed(key: str) -> StorageClass:
    """What another release or another program keeps among the backups is paid for as one."""
    return StorageClass.BACKUP if key.startswith(keys.BACKUPS) else StorageClass.OTHER
