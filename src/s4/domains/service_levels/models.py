"""What tenants were told of their service level."""

import sqlalchemy as sa

from s4.platform.database import UtcDateTime, metadata

service_level_notices = sa.Table(
    "service_level_notices",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("month", UtcDateTime, primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True, comment="at_risk, breached"),
    sa.Column("at", UtcDateTime, nullable=False),
)
