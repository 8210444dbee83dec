"""When credentials were last used. Of the catalog alone: a rebuild forgets it."""

import sqlalchemy as sa

from s4.platform.database import UtcDateTime, metadata

credential_uses = sa.Table(
    "credential_uses",
    metadata,
    sa.Column("prefix", sa.String(32), primary_key=True, comment="Of a tenant's or an administrator's key."),
    sa.Column("last_used_at", UtcDateTime, nullable=False),
)
