"""Tables of tenants and of their keys' hashes."""

import sqlalchemy as sa

from s4.platform.database import JsonValue, PlainText, UtcDateTime, metadata

tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False, comment="Of the head chain."),
    sa.Column("state", sa.String(16), nullable=False, comment="live, tombstone, void"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("email", sa.Text),
    sa.Column("company", sa.Text),
    sa.Column("plan_id", sa.String(64), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("settings", JsonValue, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index("ix_tenants_created_at", "created_at", "tenant_id"),
)

tenant_keys = sa.Table(
    "tenant_keys",
    metadata,
    sa.Column("prefix", sa.String(32), primary_key=True, comment="The public part of the key."),
    sa.Column("tenant_id", sa.String(40), nullable=False, index=True),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("scopes", JsonValue, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("revoked_at", UtcDateTime),
    sa.Column("key_prefix", PlainText, comment="Bound to documents whose key begins so."),
    sa.Column("fields", JsonValue, comment="Bound to documents with these values in these metadata fields."),
    sa.Column("parent", sa.String(32), comment="Of a child key, which is in no head and dies with its parent."),
)
