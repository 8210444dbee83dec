"""SQL of erasures: which tables hold a tenant's rows, and which tombstones nobody erases yet."""

from collections.abc import Sequence

import sqlalchemy as sa

from s4.domains.announcements.models import mails, notices_told
from s4.domains.calls.models import call_blocks, call_budgets
from s4.domains.documents.models import document_fields, documents, idempotency_keys, upload_reservations
from s4.domains.events.models import events, webhook_deliveries
from s4.domains.indexing.models import document_index, index_tables
from s4.domains.search.models import logged_queries
from s4.domains.service_levels.models import service_level_notices
from s4.domains.tenants.models import tenant_claims, tenant_generations, tenant_keys, tenants
from s4.domains.usage.models import (
    storage_classes,
    usage_balances,
    usage_endpoints,
    usage_errors,
    usage_ledger,
    usage_marks,
    usage_rollups,
)
from s4.kernel import keys
from s4.kernel.ids import TenantId
from s4.kernel.keys import Collection
from s4.platform.chains.records import LIVE, records
from s4.platform.database import Connection
from s4.platform.jobs.models import job_turns, jobs

GOES_WITH_ITS_TENANT: tuple[sa.Table, ...] = (
    document_fields,
    documents,
    upload_reservations,
    idempotency_keys,
    document_index,
    index_tables,
    tenant_generations,
    logged_queries,
    jobs,
    job_turns,
    usage_balances,
    usage_marks,
    call_budgets,
    call_blocks,
    webhook_deliveries,
    events,
)
"""Tables of which a writer that was late may bring rows for a tombstone: they are looked for again and again."""
ERASED_TABLES: tuple[sa.Table, ...] = (
    *GOES_WITH_ITS_TENANT,
    usage_ledger,
    usage_endpoints,
    usage_errors,
    usage_rollups,
    storage_classes,
    mails,
    notices_told,
    service_level_notices,
    tenant_claims,
    tenant_keys,
)
"""All that names a tenant, but for its tombstone, the audit trail, and the list of erasures itself."""
_REAPPEARING = (usage_ledger, usage_rollups, storage_classes)
"""S4 counts what it asks the store itself, for a tombstone too: such a row comes back now and then, and goes."""


async def unnoted(connection: Connection, *, limit: int) -> list[TenantId]:
    """Tombstones of which there is no erasure."""
    erased = sa.exists().where(records.c.collection == Collection.ERASURES.value, records.c.name == tenants.c.tenant_id)
    found = await connection.execute(
        sa.select(tenants.c.tenant_id).where(tenants.c.state == "tombstone", ~erased).limit(limit)
    )
    return [TenantId(text) for text in found.scalars()]


async def left_behind(connection: Connection, *, limit: int) -> list[TenantId]:
    """Tombstones of which the catalog still has something, or has it again."""
    anything = sa.or_(*(sa.exists().where(table.c.tenant_id == tenants.c.tenant_id) for table in GOES_WITH_ITS_TENANT))
    found = await connection.execute(
        sa.select(tenants.c.tenant_id).where(tenants.c.state == "tombstone", anything).limit(limit)
    )
    return [TenantId(text) for text in found.scalars()]


async def row_counts(connection: Connection, tenant_id: TenantId, *, late: bool = False) -> dict[str, int]:
    """By table, of those that have any. `late`: of rows that only somebody of the past can have brought."""
    found = {}
    for table in ERASED_TABLES:
        if late and table in _REAPPEARING:
            continue
        counted = sa.select(sa.func.count()).select_from(table).where(table.c.tenant_id == tenant_id)
        found[table.name] = int((await connection.execute(counted)).scalar_one())
    return {name: count for name, count in found.items() if count}


async def forget(connection: Connection, tenant_id: TenantId, *, rows_max: int) -> int:
    """Deletes as many rows of each table. Answers with the number of all that went, 0 when nothing is left."""
    return await _forget(connection, tenant_id, ERASED_TABLES, rows_max)


async def forget_left_behind(connection: Connection, tenant_id: TenantId, *, rows_max: int) -> int:
    """The same, of what `left_behind` looks for."""
    return await _forget(connection, tenant_id, GOES_WITH_ITS_TENANT, rows_max)


async def _forget(connection: Connection, tenant_id: TenantId, tables: Sequence[sa.Table], rows_max: int) -> int:
    count = 0
    for table in tables:
        identity = sa.tuple_(*table.primary_key.columns)
        some = sa.select(*table.primary_key.columns).where(table.c.tenant_id == tenant_id).limit(rows_max)
        count += (await connection.execute(sa.delete(table).where(identity.in_(some)))).rowcount
    return count


async def forget_reappeared(connection: Connection) -> int:
    """Of every tenant on the list."""
    erased = sa.select(records.c.name).where(records.c.collection == Collection.ERASURES.value, records.c.state == LIVE)
    count = 0
    for table in _REAPPEARING:
        count += (await connection.execute(sa.delete(table).where(table.c.tenant_id.in_(erased)))).rowcount
    return count


async def configured(connection: Connection, tenant_id: TenantId) -> list[tuple[str, str]]:
    """Collection and name of the tenant's webhooks, contacts and notices, deleted ones too."""
    found = await connection.execute(
        sa.select(records.c.collection, records.c.name)
        .where(records.c.tenant_id == tenant_id, records.c.collection.in_(keys.OF_TENANTS))
        .order_by(records.c.collection, records.c.name)
    )
    return [(row.collection, row.name) for row in found]


async def forget_configured(connection: Connection, names: Sequence[tuple[str, str]]) -> None:
    for collection, name in names:
        await connection.execute(sa.delete(records).where(records.c.collection == collection, records.c.name == name))
