"""From where administrators come, on both databases, with two processes that ask the same trail."""

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from s4.domains.audit.model import Entry
from s4.domains.audit.models import audit_entries
from s4.domains.audit.queries import add
from s4.kernel.context import Origin
from s4.kernel.permissions import AdminRole
from s4.kernel.settings import Settings
from s4.platform.database import Database
from s4.platform.http.routing import Credentials
from s4.platform.objects import open_store
from s4.platform.telemetry.metrics import ADMIN_NEW_ADDRESSES
from tests.contracts.test_key_service import HERE, Replica
from tests.factories.process import OWNER


@pytest.fixture
async def store() -> AsyncIterator[Any]:
    opened = open_store(Settings(store_url="memory://"))
    yield opened
    await opened.aclose()


async def test_an_administrator_from_where_he_never_was_is_told_once_and_a_new_one_is_not(
    catalog: Database, store: Any
) -> None:
    here, there = Replica(catalog, store), Replica(catalog, store)
    _, key = await here.administrators.create(OWNER, "ada", AdminRole.AUDITOR, expires_at=None)
    told_before = ADMIN_NEW_ADDRESSES._value.get()

    async def enters(replica: Replica, address: str) -> list[tuple[str, str]]:
        """Who has been told of since the beginning, once that replica has written."""
        await replica.access.admin(Credentials(tenant_key=None, admin_key=key, origin=Origin(address)))
        await replica.access.notes.flush()
        async with catalog.read() as connection:
            rows = await connection.execute(
                audit_entries.select().where(audit_entries.c.action == "access.new_address")
            )
            return [(row.actor, row.address) for row in rows]

    async def acts(address: str) -> None:
        """As the trail has a call, some time ago."""
        moment = datetime.now(UTC) - timedelta(minutes=5)
        entry = Entry(
            entry_id="aud_" + secrets.token_hex(8),
            at=moment,
            actor_kind="admin",
            actor="ada",
            action="http.get",
            subject="/",
            address=address,
        )
        await catalog.transact(lambda connection: add(connection, [entry]))

    assert await enters(here, HERE) == [], "was nowhere yet"
    await acts(HERE)
    assert await enters(there, HERE) == [], "was here"
    assert await enters(here, "203.0.113.9") == [("ada", "203.0.113.9")]
    assert await enters(here, "203.0.113.9") == [("ada", "203.0.113.9")], "once"
    assert await enters(there, "203.0.113.9") == [("ada", "203.0.113.9")], "by one process"
    assert ADMIN_NEW_ADDRESSES._value.get() - told_before == 1
