"""Statements on who is to be told."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.announcements.models import mails, notices_told
from s4.domains.tenants.models import tenants
from s4.platform.database import Connection, upsert


async def untold(
    connection: Connection, notice: str, occasion: str, *, among: Sequence[str] | None, limit: int
) -> list[str]:
    """Live tenants, of `among` or of all, who do not know yet."""
    told = sa.exists().where(
        notices_told.c.notice == notice,
        notices_told.c.occasion == occasion,
        notices_told.c.tenant_id == tenants.c.tenant_id,
    )
    wanted = sa.select(tenants.c.tenant_id).where(tenants.c.state == "live", sa.not_(told))
    if among is not None:
        wanted = wanted.where(tenants.c.tenant_id.in_(among))
    return list((await connection.execute(wanted.order_by(tenants.c.tenant_id).limit(limit))).scalars())


async def note_told(connection: Connection, notice: str, occasion: str, tenant_id: str, *, at: datetime) -> bool:
    """Whether this is the first time."""
    values = {"notice": notice, "occasion": occasion, "tenant_id": tenant_id, "told_at": at}
    insert = upsert(connection, notices_told, values, conflict=["notice", "occasion", "tenant_id"])
    return (await connection.execute(insert.returning(notices_told.c.notice))).one_or_none() is not None


async def unknown(connection: Connection, tenant_ids: Sequence[str]) -> list[str]:
    """Those that are no live tenants."""
    found = await connection.execute(
        sa.select(tenants.c.tenant_id).where(tenants.c.tenant_id.in_(tenant_ids), tenants.c.state == "live")
    )
    known = set(found.scalars())
    return [tenant_id for tenant_id in tenant_ids if tenant_id not in known]


# -- mail


async def add_mail(connection: Connection, values: Mapping[str, Any]) -> None:
    await connection.execute(sa.insert(mails).values(**values, state="waiting", attempts=0))


async def waiting_mail(connection: Connection, mail_id: str) -> sa.Row[Any] | None:
    """None when it was sent or given up."""
    found = await connection.execute(sa.select(mails).where(mails.c.mail_id == mail_id, mails.c.state == "waiting"))
    row: sa.Row[Any] | None = found.one_or_none()
    return row


async def note_attempt(connection: Connection, mail_id: str, *, error: str | None) -> None:
    values = {"attempts": mails.c.attempts + 1, "error": error}
    await connection.execute(sa.update(mails).where(mails.c.mail_id == mail_id).values(values))


async def end_mail(connection: Connection, mail_id: str, *, state: str, error: str | None, at: datetime) -> None:
    ended = {"state": state, "error": error, "ended_at": at}
    await connection.execute(sa.update(mails).where(mails.c.mail_id == mail_id).values(ended))


async def newest_mails(connection: Connection, *, tenant_id: str | None, limit: int) -> list[sa.Row[Any]]:
    wanted = sa.select(mails).order_by(mails.c.created_at.desc(), mails.c.mail_id).limit(limit)
    if tenant_id is not None:
        wanted = wanted.where(mails.c.tenant_id == tenant_id)
    return list(await connection.execute(wanted))
