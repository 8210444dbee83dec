"""Bound and child keys of tenants; when a credential was last used."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# As they were when this step was written; the models may move on.
MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
PLAIN = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("tenant_keys", sa.Column("key_prefix", PLAIN, nullable=True))
    op.add_column("tenant_keys", sa.Column("fields", JSON, nullable=True))
    op.add_column("tenant_keys", sa.Column("parent", sa.String(length=32), nullable=True))
    op.create_table(
        "credential_uses",
        sa.Column("prefix", sa.String(length=32), nullable=False),
        sa.Column("last_used_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("prefix", name="pk_credential_uses"),
    )
