"""Legal hold, archive, and how long documents are kept."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# As they were when this step was written; the models may move on.
MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    # Not NULL with a default of the server's: the release before this one inserts rows without them.
    op.add_column("documents", sa.Column("archived_at", MOMENT, nullable=True))
    op.add_column("documents", sa.Column("restoring", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("documents", sa.Column("held", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("documents", sa.Column("holds", JSON, nullable=True))
    op.add_column("tenants", sa.Column("held", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("tenants", sa.Column("retention_days", sa.Integer(), nullable=True))
    op.add_column("tenants", sa.Column("archive_after_days", sa.Integer(), nullable=True))
    op.create_index("ix_documents_held_tenant_id", "documents", ["held", "tenant_id"])
