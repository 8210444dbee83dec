"""Tables of tenants, their keys' hashes, what each holds of the index, and Idempotency-Keys that made tenants."""

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
    sa.Column("external_id", sa.String(200), index=True),
    sa.Column("plan_id", sa.String(64), nullable=False),
    sa.Column("plan_expires_at", UtcDateTime, comment="From then on the tenant is on then_plan_id."),
    sa.Column("then_plan_id", sa.String(64)),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("delete_after", UtcDateTime),
    sa.Column("settings", JsonValue, nullable=False),
    sa.Column("held", sa.Boolean, nullable=False, server_default=sa.false(), comment="Under a legal hold as a whole."),
    sa.Column("retention_days", sa.Integer, comment="NULL: as the plan says; 0: for ever."),
    sa.Column("archive_after_days", sa.Integer, comment="NULL: as the plan says; 0: never."),
    sa.Column("served_generation", sa.String(40), comment="NULL: as each process indexes by itself."),
    sa.Column("body", JsonValue, comment="Of the head; NULL of one that a release before 0004 applied."),
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

tenant_generations = sa.Table(
    "tenant_generations",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("generation_id", sa.String(40), primary_key=True, index=True),
    sa.Column("model", sa.String(40), nullable=False, comment="Its name when the tenant was moved."),
    sa.Column("role", sa.String(16), nullable=False, comment="served, building, kept"),
    sa.Column("since", UtcDateTime, nullable=False),
    sa.Column("budget_tokens", sa.BigInteger, comment="That may be paid while it is built; NULL: as many as it takes."),
    sa.Column("tokens_spent", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("stopped", sa.Boolean, nullable=False, server_default=sa.false(), comment="The budget is spent."),
    sa.Column(
        "awaited",
        sa.Boolean,
        nullable=False,
        server_default=sa.false(),
        comment="No document is ready before it is here.",
    ),
)
"""What a tenant holds of the index, as its head says, if it was ever moved; the last three columns no head has."""

tenant_claims = sa.Table(
    "tenant_claims",
    metadata,
    sa.Column("key_hash", sa.String(64), primary_key=True, comment="Of the Idempotency-Key."),
    sa.Column("fingerprint", sa.String(64), nullable=False, comment="Hash of everything that the request said."),
    sa.Column("tenant_id", sa.String(40), nullable=False),
    sa.Column("seed", sa.String(64), comment="The first key comes of it, among others; NULL: it is lost."),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
)
