"""The trail, its sealed batches, and what the last verification found."""

import sqlalchemy as sa

from s4.platform.database import JsonValue, UtcDateTime, metadata

audit_entries = sa.Table(
    "audit_entries",
    metadata,
    sa.Column("entry_id", sa.String(40), primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False, index=True),
    sa.Column("actor_kind", sa.String(16), nullable=False, comment="admin, tenant, system, stranger, anonymous"),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.String(64), nullable=False, comment="plan.update, tenant.suspend, http.get"),
    sa.Column("subject", sa.Text, nullable=False, comment="plan/free, tenant/ten_…; of a call its path"),
    sa.Column("tenant_id", sa.String(40), nullable=False, comment="Whom it concerns; empty for nobody."),
    sa.Column("before", JsonValue),
    sa.Column("after", JsonValue),
    sa.Column("address", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("status", sa.Integer, comment="Of a call: what it was answered."),
    sa.Column("count", sa.Integer, nullable=False, server_default="1", comment="More: that many of one minute."),
    sa.Column("batch", sa.BigInteger, comment="The sealed batch that holds it; null until then."),
    sa.Column("position", sa.BigInteger, comment="In the chain, from 1."),
    sa.Column("hash", sa.String(64), comment="Of the entry before and of this one."),
    sa.Index("ix_audit_entries_batch", "batch", "position"),
    sa.Index("ix_audit_entries_tenant_id", "tenant_id", "at"),
)

audit_batches = sa.Table(
    "audit_batches",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False, comment="From 1, without gaps."),
    sa.Column("last_position", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False, comment="Of its last entry: the head of the chain."),
    sa.Column("sealed_at", UtcDateTime, nullable=False),
    sa.Column("pruned_at", UtcDateTime, comment="When its entries left the catalog because of their age."),
)

audit_checks = sa.Table(
    "audit_checks",
    metadata,
    sa.Column("singleton", sa.Integer, primary_key=True, autoincrement=False, comment="Always 1."),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("batches", sa.BigInteger, nullable=False),
    sa.Column("problem", sa.Text, comment="Null: the chain held."),
)
