"""Tables of the queue, the leases and the schedule."""

import sqlalchemy as sa

from s4.platform.database import JsonValue, UtcDateTime, metadata

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("job_id", sa.String(40), primary_key=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("tenant_id", sa.String(40), nullable=False, comment="Empty for the system's own jobs."),
    sa.Column("subject", sa.String(200), nullable=False, comment="One job per kind, tenant and subject."),
    sa.Column("payload", JsonValue, nullable=False),
    sa.Column("state", sa.String(10), nullable=False, comment="ready, running, failed"),
    sa.Column("run_at", UtcDateTime, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("crashes", sa.Integer, nullable=False, default=0),
    sa.Column("again", sa.Boolean, nullable=False, default=False, comment="Enqueued anew while it ran."),
    sa.Column("lease_owner", sa.String(40)),
    sa.Column("lease_token", sa.String(40), comment="Random per claim: fences a worker that lost its lease."),
    sa.Column("lease_until", UtcDateTime),
    sa.Column("claimed_at", UtcDateTime, comment="When it was last claimed."),
    sa.Column("last_error", sa.Text),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("kind", "tenant_id", "subject"),
    sa.Index("ix_jobs_ready", "state", "tenant_id", "run_at"),
    sa.Index("ix_jobs_lease", "state", "lease_until"),
)

job_turns = sa.Table(
    "job_turns",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("claimed_at", UtcDateTime, nullable=False, comment="When a job of this tenant was last claimed."),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("owner", sa.String(40), nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False, comment="Grows with every change of owner."),
    sa.Column("until", UtcDateTime, nullable=False),
)

schedule = sa.Table(
    "schedule",
    metadata,
    sa.Column("task", sa.String(64), primary_key=True),
    sa.Column("next_at", UtcDateTime, nullable=False),
    sa.Column("last_started_at", UtcDateTime),
    sa.Column("last_finished_at", UtcDateTime),
    sa.Column("last_outcome", sa.String(16)),
    sa.Column("every_seconds", sa.Float, comment="How often, as the last scheduler has it."),
    sa.Column("first_at", UtcDateTime, comment="Since when it is regular, without a break."),
    sa.Column("seen_at", UtcDateTime, comment="When a scheduler last had it; roughly."),
    sa.Column("drift_bytes", sa.BigInteger, comment="That its last run found, of a task that compares."),
)
