"""What somebody has said to be done."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.upkeep.models import checklist
from s4.platform.database import Connection, upsert


async def all_done(connection: Connection) -> Sequence[sa.Row[Any]]:
    """item, done_at, done_by, note; the last time of each."""
    return (await connection.execute(sa.select(checklist))).all()


async def note_done(connection: Connection, item: str, *, by: str, note: str, now: datetime) -> None:
    said = {"done_at": now, "done_by": by, "note": note}
    await connection.execute(upsert(connection, checklist, {"item": item} | said, conflict=["item"], update=said))
