"""Tenants that are moved from one generation of the index to another, and the queries by which two are compared."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# As it was when this step was written; the models may move on.
MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.add_column("tenants", sa.Column("served_generation", sa.String(length=40), nullable=True))
    op.add_column("generation_uses", sa.Column("by_tenant", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "tenant_generations",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("generation_id", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("budget_tokens", sa.BigInteger(), nullable=True),
        sa.Column("tokens_spent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("stopped", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("awaited", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "generation_id", name="pk_tenant_generations"),
    )
    op.create_index("ix_tenant_generations_generation_id", "tenant_generations", ["generation_id"])
    op.create_table(
        "logged_queries",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("query_hash", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("asked", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "query_hash", name="pk_logged_queries"),
    )
    op.create_index("ix_logged_queries_asked_at", "logged_queries", ["tenant_id", "asked_at"])
