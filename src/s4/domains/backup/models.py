"""What is remembered of backups and drills, so that a process that just started can tell when the last good one was.
Not rebuilt from a bucket: the backups' own manifests say it better."""

import sqlalchemy as sa

from s4.platform.database import JsonValue, UtcDateTime, metadata

backup_runs = sa.Table(
    "backup_runs",
    metadata,
    sa.Column("run_id", sa.String(40), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False, comment="backup, drill, verify"),
    sa.Column("backup_id", sa.String(40), nullable=False, comment="Empty where it came to none."),
    sa.Column("outcome", sa.String(16), nullable=False, comment="ok, failed"),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime, nullable=False),
    sa.Column("point", UtcDateTime, comment="Of the backup."),
    sa.Column("said", JsonValue, nullable=False, comment="Figures, and the error of one that failed."),
    sa.Index("ix_backup_runs_ended_at", "kind", "ended_at"),
)
