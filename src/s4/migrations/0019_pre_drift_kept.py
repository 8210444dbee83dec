"""What the last recount and the last listing found to differ."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # NULL: the release before this one does not write it.
    op.add_column("schedule", sa.Column("drift_bytes", sa.BigInteger(), nullable=True))
