"""After a rebuild PostgreSQL knows what its tables hold: nobody's first filters wait for its own processes to look."""

from pathlib import Path

import sqlalchemy as sa

from s4.platform.database import Database
from tests.factories.house import open_house
from tests.servers import PostgresServer


async def estimates(database: Database) -> set[float]:
    """How many rows the planner takes what a filter reads for."""
    statement = sa.text("SELECT reltuples FROM pg_class WHERE relname IN ('documents', 'document_fields')")
    async with database.read() as connection:
        return set((await connection.execute(statement)).scalars())


async def test_a_rebuilt_catalog_is_analyzed_before_it_serves(tmp_path: Path, postgres_server: PostgresServer) -> None:
    lost, rebuilt = postgres_server.new_database(), postgres_server.new_database()
    async with open_house(tmp_path, database_url=lost) as house:
        tenant = await house.tenant()
        await house.put(tenant, "tides", "Tides follow the moon.", {"year": 2026})
        await house.work()
        assert await estimates(house.core.database) != {1}, "it would look by itself at so little"
    async with open_house(tmp_path, database_url=rebuilt) as house:
        await house.work()
        assert await estimates(house.core.database) == {1}
    for url in (lost, rebuilt):
        postgres_server.drop_database(url)
