"""What was handed out, and to whom."""

import sqlalchemy as sa

from s4.platform.database import UtcDateTime, metadata

call_budgets = sa.Table(
    "call_budgets",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("month", sa.String(7), primary_key=True, comment="2026-11, in UTC."),
    sa.Column("debited", sa.BigInteger, nullable=False, comment="Handed out and not given back."),
    sa.Column("lost", sa.BigInteger, nullable=False, comment="Of these, with processes that were killed."),
)

call_blocks = sa.Table(
    "call_blocks",
    metadata,
    sa.Column("owner", sa.String(40), primary_key=True, comment="A process."),
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("month", sa.String(7), primary_key=True),
    sa.Column("calls", sa.BigInteger, nullable=False, comment="Of the block that it counts down."),
    sa.Column("taken_at", UtcDateTime, nullable=False, index=True),
)
