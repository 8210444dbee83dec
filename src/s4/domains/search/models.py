"""Queries that tenants let be kept, to compare two generations of the index by. In no backup, and in no bucket."""

import sqlalchemy as sa

from s4.platform.database import UtcDateTime, metadata

logged_queries = sa.Table(
    "logged_queries",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("query_hash", sa.String(64), primary_key=True, comment="SHA-256 of the text."),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("asked", sa.BigInteger, nullable=False, comment="How often."),
    sa.Column("asked_at", UtcDateTime, nullable=False, comment="Last."),
    sa.Index("ix_logged_queries_asked_at", "tenant_id", "asked_at"),
)
