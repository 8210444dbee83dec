"""Roll-ups of use in the bucket; the term of a deployment, and what a copy of its bucket has come to."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# As it was when this step was written; the models may move on.
MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "usage_rollups",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("month", MOMENT, nullable=False),
        sa.Column("rolled_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "month", name="pk_usage_rollups"),
    )
    op.create_table(
        "replica_deletions",
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("object_key", name="pk_replica_deletions"),
    )
    with op.batch_alter_table("deployment") as table:
        table.add_column(sa.Column("term", sa.BigInteger(), nullable=False, server_default="1"))
