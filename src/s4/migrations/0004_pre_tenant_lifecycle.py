"""Tenants whose plan ends, that are leaving, and that were created with an Idempotency-Key."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# As they were when this step was written; the models may move on.
MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("tenants", sa.Column("external_id", sa.String(length=200), nullable=True))
    op.add_column("tenants", sa.Column("plan_expires_at", MOMENT, nullable=True))
    op.add_column("tenants", sa.Column("then_plan_id", sa.String(length=64), nullable=True))
    op.add_column("tenants", sa.Column("delete_after", MOMENT, nullable=True))
    op.add_column("tenants", sa.Column("body", JSON, nullable=True))
    op.create_index("ix_tenants_external_id", "tenants", ["external_id"])
    op.create_table(
        "tenant_claims",
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("seed", sa.String(length=64), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name="pk_tenant_claims"),
    )
    op.create_index("ix_tenant_claims_created_at", "tenant_claims", ["created_at"])
