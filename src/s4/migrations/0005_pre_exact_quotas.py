"""Documents are reserved as bytes are; which threshold of storage was told; what the bucket holds by class."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# As it was when this step was written; the models may move on.
MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    for table, name, kind in (
        ("usage_balances", "reserved_documents", sa.BigInteger()),
        ("usage_balances", "storage_notified", sa.Integer()),
        ("upload_reservations", "reserved_documents", sa.BigInteger()),
    ):
        op.add_column(table, sa.Column(name, kind, nullable=False, server_default="0"))
    op.add_column("upload_reservations", sa.Column("key_hash", sa.String(length=64), nullable=True))
    op.create_index("ix_upload_reservations_tenant_id", "upload_reservations", ["tenant_id", "key_hash"])
    op.create_table(
        "storage_classes",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("storage_class", sa.String(length=16), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("objects", sa.BigInteger(), nullable=False),
        sa.Column("listed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "storage_class", name="pk_storage_classes"),
    )
