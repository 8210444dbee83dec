"""Files of an index that vanish from the bucket or change in it: the table is made anew, and nothing is lost."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from obstore.store import S3Store

from s4.domains.documents import DocumentStatus
from s4.domains.indexing.queries import TableRecord, table_record
from s4.engine.ranking import Mode as SearchMode
from s4.kernel import keys
from s4.kernel.errors import Unavailable
from s4.platform.telemetry import metrics
from tests.factories.house import House, Tenant, open_house
from tests.factories.index_damage import DAMAGES, flip, index_objects, vanish
from tests.servers import S3Server

WORDS = ("walrus", "falcon", "lighthouse")


class Bucket:
    """Where the house's objects lie, reached behind its back."""

    def __init__(self, server: S3Server, name: str) -> None:
        self.store: S3Store = server.client(name)
        self.prefix = secrets.token_hex(8)
        self.settings = {
            "store_url": f"s3://{name}/{self.prefix}",
            "store_endpoint": server.endpoint,
            "store_access_key_id": server.access_key,
            "store_secret_access_key": server.secret_key,
        }

    async def damage(self, house: House, tenant: Tenant, folder: str, how: Callable[[S3Store, str], None]) -> None:
        """A file of the version that searches open."""
        prefix, table = await state(house, tenant)
        name = next(name for name in sorted(table.sums) if name.startswith(f"{folder}/"))
        await asyncio.to_thread(how, self.store, f"{self.prefix}/{keys.index_file(prefix, name)}")


async def state(house: House, tenant: Tenant) -> tuple[str, TableRecord]:
    """Where the tenant's table lies, and what the catalog knows of it."""
    generation, tenant_id = house.core.generation, tenant.context.tenant_id
    async with house.core.database.read() as connection:
        table = await table_record(connection, tenant_id, generation.id)
    assert table is not None
    return generation.prefix(tenant_id, table.state.incarnation), table


@pytest.fixture
def bucket(s3_server: S3Server, s3_shared_bucket: str) -> Bucket:
    return Bucket(s3_server, s3_shared_bucket)


@pytest.fixture
async def house(tmp_path: Path, bucket: Bucket) -> AsyncIterator[House]:
    async with open_house(tmp_path, **bucket.settings) as opened:
        yield opened


async def furnished(house: House) -> Tenant:
    """A tenant whose table has data, deletions and filled indices, and was not searched yet."""
    acme = await house.tenant()
    for word in (*WORDS, "gone"):
        await house.put(acme, word, f"a text about one {word}")
    await house.work()
    await house.parts.maintenance._optimize_table(acme.context.tenant_id)
    for document in await house.all(acme):
        if document.key == "gone":
            await house.core.documents.delete(acme.context, document.document_id)
    await house.work()
    return acme


async def search(house: House, tenant: Tenant) -> set[str | None] | None:
    """Keys of what a search finds that all documents answer; None when it is told to come again."""
    keys_of = {document.document_id: document.key for document in await house.all(tenant)}
    try:
        found = await house.found(tenant, "text about one", SearchMode.HYBRID)
    except Unavailable:
        return None
    assert len(found) == len(set(found)), "no document twice"
    return {keys_of[document_id] for document_id in found}


def paid() -> float:
    """Texts that the embedder was asked for."""
    return metrics.EMBEDDING_CACHE.labels("miss")._value.get()


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("folder", ["data", "_indices", "_deletions", "_versions"])
async def test_a_damaged_index_is_made_anew_and_nothing_is_paid_again(
    house: House, bucket: Bucket, folder: str, how: str
) -> None:
    acme = await furnished(house)
    before = paid()
    await bucket.damage(house, acme, folder, DAMAGES[how])
    assert await search(house, acme) is None
    await house.work()
    assert await search(house, acme) == set(WORDS)
    assert paid() == before
    assert {document.status for document in await house.all(acme)} == {DocumentStatus.READY}
