"""The ledger of use by hour, day and month, use by endpoint, and what was told of service levels."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# As they were when this step was written; the models may move on.
MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
AMOUNTS = (
    "calls", "calls_search", "calls_upload", "calls_read", "calls_download", "calls_change", "calls_delete",
    "calls_account", "requests", "failures", "bytes_in", "bytes_out", "documents_uploaded", "documents_deleted",
    "chunks", "embedding_tokens_paid", "embedding_tokens_cached", "store_writes", "store_reads", "store_bytes_written",
    "store_bytes_read", "stored_byte_hours", *(f"searches_le_{number:02}" for number in range(15)), "stored_bytes",
    "documents",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "usage_ledger",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("grain", sa.String(length=5), nullable=False),
        sa.Column("start", MOMENT, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in AMOUNTS),
        sa.PrimaryKeyConstraint("tenant_id", "grain", "start", name="pk_usage_ledger"),
    )
    op.create_index("ix_usage_ledger_start", "usage_ledger", ["grain", "start"])
    op.create_table(
        "usage_endpoints",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("method", sa.String(length=8), nullable=False),
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("refusals", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("microseconds", sa.BigInteger(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "hour", "method", "route", name="pk_usage_endpoints"),
    )
    op.create_index("ix_usage_endpoints_hour", "usage_endpoints", ["hour"])
    op.create_table(
        "usage_marks",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("last_activity_at", MOMENT, nullable=True),
        sa.Column("month", MOMENT, nullable=False),
        sa.Column("calls_before", sa.BigInteger(), nullable=False),
        sa.Column("told_percent", sa.Integer(), nullable=False),
        sa.Column("told_limit", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_usage_marks"),
    )
    op.create_table(
        "usage_flushes",
        sa.Column("meter_id", sa.String(length=40), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("meter_id", name="pk_usage_flushes"),
    )
    op.create_table(
        "usage_samples",
        sa.Column("hour", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("hour", name="pk_usage_samples"),
    )
    op.create_table(
        "service_level_notices",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("month", MOMENT, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "month", "kind", name="pk_service_level_notices"),
    )
