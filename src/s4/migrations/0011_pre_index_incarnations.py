"""Index tables can be made anew: which making counts, what its files are, and how often it was repaired."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# As they were when this step was written; the models may move on.
MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column(
        "index_tables", sa.Column("incarnation", sa.String(length=16), nullable=False, server_default=sa.text("''"))
    )
    op.add_column("index_tables", sa.Column("files", JSON, nullable=True))
    op.add_column("index_tables", sa.Column("checked_at", MOMENT, nullable=True))
    op.add_column("index_tables", sa.Column("remade_since", MOMENT, nullable=True))
    op.add_column("index_tables", sa.Column("repairs", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("index_tables", sa.Column("repaired_at", MOMENT, nullable=True))
