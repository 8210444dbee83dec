"""The oldest PostgreSQL that S4 supports: the schema, an upload, a search. Needs Debian's `postgresql-15`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from s4.platform.database import migrate
from tests.factories.house import open_house
from tests.servers import PostgreSQL, PostgresServer

pytestmark = pytest.mark.ops


@pytest.fixture
def oldest() -> Iterator[PostgresServer]:
    server = PostgreSQL(binaries=Path(f"/usr/lib/postgresql/{migrate.POSTGRESQL_OLDEST}/bin"))
    try:
        yield server.wait()
    finally:
        server.stop()


async def test_the_oldest_supported_server_takes_the_schema_and_serves(oldest: PostgresServer, tmp_path: Path) -> None:
    url = oldest.new_database()
    assert migrate.upgrade(url)
    assert not migrate.pending(url)
    async with open_house(tmp_path, database_url=url) as house:
        acme = await house.tenant()
        document = await house.put(acme, "tides", "Tides follow the moon.", {"year": 2026})
        await house.work()
        assert await house.found(acme, "tides") == [document.document_id]
        assert [each.status for each in await house.all(acme)] == ["ready"]
