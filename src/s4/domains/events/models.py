"""The outbox."""

import sqlalchemy as sa

from s4.platform.database import JsonValue, UtcDateTime, metadata

events = sa.Table(
    "events",
    metadata,
    sa.Column("event_id", sa.String(40), primary_key=True),
    sa.Column("tenant_id", sa.String(40), nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("data", JsonValue, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Index("ix_events_tenant_id", "tenant_id", "at"),
)
