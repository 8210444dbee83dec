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
)
