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

mails = sa.Table(
    "mails",
    metadata,
    sa.Column("mail_id", sa.String(40), primary_key=True),
    sa.Column("tenant_id", sa.String(40), nullable=False, comment="To whom; empty for nobody's."),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("template", sa.String(40), nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, comment="waiting, sent, failed"),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Index("ix_mails_created_at", "created_at", "mail_id"),
)
