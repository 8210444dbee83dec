"""What the operator configures (plans first of all), the audit trail, the outbox of events."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# As they were when this step was written; the models may move on.
MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
GIB = 2**30
MIB = 2**20


def _plan(name: str, storage: int, calls: int, file: int, monthly: int, yearly: int, rate: int, burst: int,
          webhooks: int, availability: float, p95_ms: int) -> dict[str, object]:  # fmt: skip
    features = ["keyword_search", "semantic_search", *(["webhooks"] if webhooks else [])]
    return {
        "name": name, "storage_limit": storage * GIB, "api_calls_limit": calls, "max_file_size": file * MIB,
        "features": features, "price_monthly": monthly, "price_yearly": yearly, "requests_per_second": rate,
        "burst": burst, "webhooks_limit": webhooks, "slo": {"availability": availability, "latency_p95_ms": p95_ms},
    }  # fmt: skip


PLANS = {
    "free": _plan("Free", 1, 100, 10, 0, 0, 2, 10, 0, 0.99, 2000),
    "basic": _plan("Basic", 10, 1_000, 50, 29, 299, 5, 20, 2, 0.995, 1500),
    "premium": _plan("Premium", 50, 10_000, 200, 99, 999, 20, 60, 10, 0.999, 1000),
    "enterprise": _plan("Enterprise", 500, 100_000, 1000, 499, 4999, 100, 300, 50, 0.9995, 500),
    "local": {"name": "Local", "features": ["keyword_search", "semantic_search", "webhooks"], "listed": False},
}


def upgrade() -> None:
    records = op.create_table(
        "records",
        sa.Column("collection", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("collection", "name", name="pk_records"),
    )
    op.create_index("ix_records_tenant_id", "records", ["collection", "tenant_id", "name"])
    op.bulk_insert(
        records,
        [
            {"collection": "plans", "name": plan_id, "tenant_id": "", "revision": 0, "state": "live", "body": body,
             "updated_at": "2026-01-01T00:00:00.000000Z"}
            for plan_id, body in PLANS.items()
        ],
    )  # fmt: skip
    op.create_table(
        "audit_entries",
        sa.Column("entry_id", sa.String(length=40), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("before", JSON, nullable=True),
        sa.Column("after", JSON, nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("entry_id", name="pk_audit_entries"),
    )
    op.create_index("ix_audit_entries_at", "audit_entries", ["at"])
    op.create_table(
        "events",
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_events"),
    )
    op.create_index("ix_events_tenant_id", "events", ["tenant_id", "at"])
