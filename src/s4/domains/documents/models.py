"""Tables of documents. All but `upload_reservations` can be rebuilt from the bucket."""

import sqlalchemy as sa

from s4.platform.database import JsonValue, PlainText, UtcDateTime, metadata

documents = sa.Table(
    "documents",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("document_id", sa.String(40), primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False, comment="Of the head chain; the ETag."),
    sa.Column("state", sa.String(16), nullable=False, comment="live, tombstone, void"),
    sa.Column("key", PlainText),
    sa.Column("version_id", sa.String(40)),
    sa.Column(
        "content_revision",
        sa.BigInteger,
        nullable=False,
        comment="Revision that set or reprocesses the bytes.",
    ),
    sa.Column("searchable_floor", sa.BigInteger, nullable=False, comment="Index rows up to here were deleted."),
    sa.Column("filename", PlainText, nullable=False),
    sa.Column("content_type", PlainText, nullable=False, comment="As declared."),
    sa.Column("detected_type", PlainText, comment="As the bytes are, once they have been read."),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("metadata", JsonValue, nullable=False),
    sa.Column("uploaded_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("status", sa.String(16), nullable=False, comment="processing, ready, failed, archived"),
    sa.Column("stage", sa.String(16), comment="While processing: what is being done."),
    sa.Column("error_code", sa.String(40)),
    sa.Column("error_message", sa.Text),
    sa.Column("chunks", sa.Integer),
    sa.Column("pages", sa.Integer),
    sa.Column("indexed_at", UtcDateTime),
    sa.Column("last_accessed_at", UtcDateTime),
    sa.Column("archived_at", UtcDateTime, comment="Out of every index since; NULL of one that is not archived."),
    sa.Column(
        "restoring", sa.Boolean, nullable=False, server_default=sa.false(), comment="Processing, after an archive."
    ),
    sa.Column("held", sa.Boolean, nullable=False, server_default=sa.false(), comment="Whether `holds` has any."),
    sa.Column("holds", JsonValue, comment="Legal holds, by who placed them: tenant, operator."),
    sa.Index("ix_documents_listing", "tenant_id", "state", "uploaded_at", "document_id"),
    sa.Index("ix_documents_key", "tenant_id", "key"),
    sa.Index(None, "held", "tenant_id"),
)

document_fields = sa.Table(
    "document_fields",
    metadata,
    # One row per metadata value (a list has one per element), so that filters are plain typed comparisons that both
    # databases can index. `prefix` is the start of the text: an index over whole values would exceed a page.
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("document_id", sa.String(40), primary_key=True),
    sa.Column("field", sa.String(512), primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True),
    sa.Column("type", sa.String(8), nullable=False, comment="text, number, boolean, null"),
    sa.Column("in_list", sa.Boolean, nullable=False),
    sa.Column("text_value", PlainText),
    sa.Column("text_prefix", PlainText),
    sa.Column("number_value", sa.Float(53)),
    sa.Index("ix_document_fields_text", "tenant_id", "field", "text_prefix"),
    sa.Index("ix_document_fields_number", "tenant_id", "field", "number_value"),
)

upload_reservations = sa.Table(
    "upload_reservations",
    metadata,
    sa.Column("version_id", sa.String(40), primary_key=True),
    sa.Column("tenant_id", sa.String(40), nullable=False),
    sa.Column("document_id", sa.String(40), nullable=False),
    sa.Column("reserved_bytes", sa.BigInteger, nullable=False),
    sa.Column(
        "reserved_documents", sa.BigInteger, nullable=False, server_default="0", comment="1 if it will create one."
    ),
    sa.Column("key_hash", sa.String(64), comment="Of the Idempotency-Key that the request bears."),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False, index=True),
    sa.Index("ix_upload_reservations_tenant_id", "tenant_id", "key_hash"),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("key_hash", sa.String(64), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False, comment="Hash of everything that the request said."),
    sa.Column("document_id", sa.String(40), nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("answer", JsonValue, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
)
