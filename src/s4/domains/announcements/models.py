"""Whom was told what."""

import sqlalchemy as sa

from s4.platform.database import UtcDateTime, metadata

notices_told = sa.Table(
    "notices_told",
    metadata,
    sa.Column("notice", sa.String(40), primary_key=True),
    sa.Column("occasion", sa.String(40), primary_key=True, comment="scheduled:1, upcoming:2; the number is the plan's"),
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("told_at", UtcDateTime, nullable=False),
)
