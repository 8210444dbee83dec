"""The ledger's balance sheet."""

import sqlalchemy as sa

from s4.platform.database import metadata

usage_balances = sa.Table(
    "usage_balances",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False, comment="Sum of the live versions' sizes."),
    sa.Column("reserved_bytes", sa.BigInteger, nullable=False, comment="Promised to uploads under way."),
    sa.Column("documents", sa.BigInteger, nullable=False, comment="Number of live documents."),
)
