"""What is searchable."""

import sqlalchemy as sa

from s4.platform.database import JsonValue, UtcDateTime, metadata

index_tables = sa.Table(
    "index_tables",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("generation_id", sa.String(40), primary_key=True),
    sa.Column("lance_version", sa.BigInteger, nullable=False, comment="The version that searches open; 0: none yet."),
    sa.Column("commits_since_optimize", sa.Integer, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column(
        "incarnation", sa.String(16), nullable=False, server_default=sa.text("''"), comment="Empty: never made anew."
    ),
    sa.Column("files", JsonValue, nullable=True, comment="Name to [size, MD5 or null], as of the last commit."),
    sa.Column("checked_at", UtcDateTime, nullable=True, comment="When its files were last held against `files`."),
    sa.Column("remade_since", UtcDateTime, nullable=True, comment="Null: it holds every ready document."),
    sa.Column("repairs", sa.Integer, nullable=False, server_default="0", comment="In a row."),
    sa.Column("repaired_at", UtcDateTime, nullable=True, comment="When it was last begun anew."),
)

document_index = sa.Table(
    "document_index",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("generation_id", sa.String(40), primary_key=True),
    sa.Column("document_id", sa.String(40), primary_key=True),
    sa.Column("searchable_revision", sa.BigInteger, nullable=False),
    sa.Column("chunks", sa.Integer, nullable=False),
)

generations = sa.Table(
    "generations",
    metadata,
    sa.Column("generation_id", sa.String(40), primary_key=True),
    sa.Column("complete", sa.Boolean, nullable=False, comment="No document is ready before it is in here as well."),
)

generation_uses = sa.Table(
    "generation_uses",
    metadata,
    sa.Column("process", sa.String(40), primary_key=True),
    sa.Column("generation_id", sa.String(40), nullable=False),
    sa.Column("works", sa.Boolean, nullable=False, comment="It indexes; otherwise it only searches."),
    sa.Column(
        "by_tenant", sa.Boolean, nullable=False, server_default=sa.false(), comment="Of tenants that were moved only."
    ),
    sa.Column("seen_at", UtcDateTime, nullable=False, comment="Said again and again, while the process lives."),
)
