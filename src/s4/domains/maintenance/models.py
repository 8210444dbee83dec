"""Which bucket this catalog belongs to."""

import sqlalchemy as sa

from s4.platform.database import UtcDateTime, metadata

deployment = sa.Table(
    "deployment",
    metadata,
    sa.Column("singleton", sa.Integer, primary_key=True, comment="Always 1."),
    sa.Column("epoch", sa.String(40), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, comment="rebuilding, serving"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("term", sa.BigInteger, nullable=False, server_default="1", comment="Of the epoch; grows when promoted."),
)

replica_deletions = sa.Table(
    "replica_deletions",
    metadata,
    sa.Column("object_key", sa.Text, primary_key=True),
    sa.Column("seen_at", UtcDateTime, nullable=False, comment="Since when the copy has what the bucket has not."),
)
