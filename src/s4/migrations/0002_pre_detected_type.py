"""What a document's bytes are, beside what its owner said that they are.

Null until the document is indexed the next time; until then S4 does not know.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# As it was when this step was written; the models may move on.
PLAIN = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("documents", sa.Column("detected_type", PLAIN, nullable=True))
