"""What somebody has said to be done."""

import sqlalchemy as sa

from s4.platform.database import UtcDateTime, metadata

checklist = sa.Table(
    "checklist",
    metadata,
    sa.Column("item", sa.String(64), primary_key=True),
    sa.Column("done_at", UtcDateTime, nullable=False, comment="The last time."),
    sa.Column("done_by", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False, comment="What shows it."),
)
