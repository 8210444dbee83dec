"""What `s4 doctor`, `s4 schedule` and `s4 checklist` look at."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# As it was when this step was written; the models may move on.
MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    # NULL: the release before this one writes none of them.
    op.add_column("schedule", sa.Column("every_seconds", sa.Float(), nullable=True))
    op.add_column("schedule", sa.Column("first_at", MOMENT, nullable=True))
    op.add_column("schedule", sa.Column("seen_at", MOMENT, nullable=True))
    op.add_column("jobs", sa.Column("claimed_at", MOMENT, nullable=True))
    op.create_table(
        "usage_errors",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "hour", "code", name="pk_usage_errors"),
    )
    op.create_index("ix_usage_errors_hour", "usage_errors", ["hour"])
    op.create_table(
        "checklist",
        sa.Column("item", sa.String(length=64), nullable=False),
        sa.Column("done_at", MOMENT, nullable=False),
        sa.Column("done_by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("item", name="pk_checklist"),
    )
