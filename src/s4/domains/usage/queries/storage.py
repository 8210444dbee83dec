"""What the bucket holds by tenant and class, as the last whole listing found it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from s4.domains.usage.model import Holding, StorageClass
from s4.domains.usage.models import storage_classes
from s4.platform.database import Connection, upsert

_OF = storage_classes.c


async def put(
    connection: Connection, found: Sequence[tuple[str, StorageClass, Holding]], *, listed_at: datetime
) -> None:
    """Notes holdings, each by tenant and class."""
    for tenant_id, storage_class, holding in found:
        identity = {"tenant_id": tenant_id, "storage_class": storage_class.value}
        values = {"size_bytes": holding.size_bytes, "objects": holding.objects, "listed_at": listed_at}
        await connection.execute(
            upsert(connection, storage_classes, identity | values, conflict=list(identity), update=values)
        )


async def forget(connection: Connection, *, before: datetime) -> None:
    """Removes what an earlier listing found and the last one did not."""
    await connection.execute(sa.delete(storage_classes).where(_OF.listed_at < before))


async def held(
    connection: Connection, tenant_id: str | None = None
) -> tuple[Mapping[StorageClass, Holding], datetime | None]:
    """By class, of one tenant or of all, and when it was listed; None before the first listing."""
    wanted = sa.select(
        _OF.storage_class,
        sa.func.sum(_OF.size_bytes).label("size_bytes"),
        sa.func.sum(_OF.objects).label("objects"),
    ).group_by(_OF.storage_class)
    if tenant_id is not None:
        wanted = wanted.where(_OF.tenant_id == tenant_id)
    found = {
        StorageClass(row.storage_class): Holding(int(row.size_bytes), int(row.objects))
        for row in await connection.execute(wanted)
    }
    # Nobody's bytes (system/deployment.json at least) are in every bucket: they say when it was listed.
    listed_at = (await connection.execute(sa.select(sa.func.max(_OF.listed_at)))).scalar_one()
    return found, listed_at
