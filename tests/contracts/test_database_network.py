"""The catalog's database behind a network that forgets connections without a word to either end."""

import asyncio

import pytest
import sqlalchemy as sa

from s4.kernel.errors import Unavailable
from s4.platform.database import Connection, Database, open_database
from tests.servers import PostgresServer
from tests.tcp_proxy import Trouble, tcp_proxy

pytestmark = pytest.mark.processes

TIMEOUT_SECONDS = 1
BOUND_SECONDS = 30
"""A transaction's deadline, what the driver takes to give up, and the server to end the session, with ample room."""


@pytest.mark.parametrize("trouble", [Trouble.FORGET, Trouble.HALF])
async def test_a_transaction_whose_connection_is_forgotten_does_not_keep_its_locks(
    postgres_url: str, postgres_server: PostgresServer, trouble: Trouble
) -> None:
    """Between two statements, or in the middle of one, for the rest of which the server waits."""
    async with tcp_proxy("127.0.0.1", postgres_server.port) as line:
        through = postgres_url.replace(f":{postgres_server.port}/", f":{line.port}/")
        lost = open_database(through, pool_size=1, timeout_seconds=TIMEOUT_SECONDS)
        other = open_database(postgres_url, pool_size=1, timeout_seconds=BOUND_SECONDS)
        await other.transact(lambda c: c.execute(sa.text("CREATE TABLE things AS SELECT 1 AS thing")))

        async def locks_and_loses(connection: Connection) -> None:
            await connection.execute(sa.text("SELECT thing FROM things FOR UPDATE"))
            line.begin(trouble)
            await asyncio.sleep(0)
            # Half of this is the statement and a part of its parameter: the server has begun with it.
            await connection.execute(sa.text("SELECT length(CAST(:long AS text))"), {"long": "x" * 20_000})

        with pytest.raises(Unavailable):
            await lost.transact(locks_and_loses)
        line.heal()

        async with asyncio.timeout(BOUND_SECONDS):
            await other.transact(lambda c: c.execute(sa.text("UPDATE things SET thing = 2")))
            assert await _reads(lost) == 2, "and the pool connects anew"
        for database in (lost, other):
            await database.aclose()


async def _reads(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(sa.text("SELECT thing FROM things"))).scalar_one())
