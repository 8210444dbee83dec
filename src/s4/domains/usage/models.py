"""The ledger's balance sheet, and what the bucket holds."""

import sqlalchemy as sa

from s4.platform.database import UtcDateTime, metadata

usage_balances = sa.Table(
    "usage_balances",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False, comment="Sum of the live versions' sizes."),
    sa.Column("reserved_bytes", sa.BigInteger, nullable=False, comment="Promised to uploads under way."),
    sa.Column("documents", sa.BigInteger, nullable=False, comment="Number of live documents."),
    sa.Column(
        "reserved_documents",
        sa.BigInteger,
        nullable=False,
        server_default="0",
        comment="Promised to uploads that will create one.",
    ),
    sa.Column(
        "storage_notified",
        sa.Integer,
        nullable=False,
        server_default="0",
        comment="Highest threshold, in percent of the plan's storage, that was told and is not armed again.",
    ),
)

storage_classes = sa.Table(
    "storage_classes",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True, comment="Empty for what is nobody's."),
    sa.Column("storage_class", sa.String(16), primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("objects", sa.BigInteger, nullable=False),
    sa.Column("listed_at", UtcDateTime, nullable=False, comment="When the listing began."),
)
