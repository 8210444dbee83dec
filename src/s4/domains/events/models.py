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
    sa.Index("ix_events_at", "at"),
)

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column("delivery_id", sa.String(40), primary_key=True, comment="The same for every attempt."),
    sa.Column("tenant_id", sa.String(40), nullable=False),
    sa.Column("webhook_id", sa.String(40), nullable=False),
    sa.Column("event_id", sa.String(40), nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("state", sa.String(10), nullable=False, comment="pending, delivered, dead"),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("due_since", UtcDateTime, nullable=False, comment="Patience is counted from here; a replay sets it."),
    sa.Column("next_at", UtcDateTime, nullable=False, comment="Of a claimed one: when its claim expires."),
    sa.Column("claim", sa.String(40), comment="Random per attempt: fences a process that overslept."),
    sa.Column("last_at", UtcDateTime),
    sa.Column("last_status", sa.Integer),
    sa.Column("last_error", sa.String(200)),
    sa.Index("ix_webhook_deliveries_due", "state", "webhook_id", "next_at"),
    sa.Index("ix_webhook_deliveries_listing", "webhook_id", "created_at", "delivery_id"),
    sa.Index("ix_webhook_deliveries_created_at", "created_at"),
)
