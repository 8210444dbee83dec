"""Tickets: who is between sealing and settling. At most one per subject."""

import sqlalchemy as sa

from s4.platform.database import UtcDateTime, metadata

commit_tickets = sa.Table(
    "commit_tickets",
    metadata,
    sa.Column("subject", sa.String(120), primary_key=True, comment="kind/tenant/id"),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("tenant_id", sa.String(40), nullable=False),
    sa.Column("subject_id", sa.String(40), nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("commit_id", sa.String(40), nullable=False),
    sa.Column("sealed_at", UtcDateTime, nullable=False),
    sa.Index("ix_commit_tickets_sealed_at", "sealed_at"),
)
