"""The trail."""

import sqlalchemy as sa

from s4.platform.database import JsonValue, UtcDateTime, metadata

audit_entries = sa.Table(
    "audit_entries",
    metadata,
    sa.Column("entry_id", sa.String(40), primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False, index=True),
    sa.Column("actor_kind", sa.String(16), nullable=False, comment="admin, tenant, system, stranger"),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.String(64), nullable=False, comment="plan.update, tenant.suspend"),
    sa.Column("subject", sa.Text, nullable=False, comment="plan/free, tenant/ten_…"),
    sa.Column("tenant_id", sa.String(40), nullable=False, comment="Whom it concerns; empty for nobody."),
    sa.Column("before", JsonValue),
    sa.Column("after", JsonValue),
    sa.Column("address", sa.Text),
    sa.Column("request_id", sa.Text),
)
