"""The ledger: its balance sheet, what the bucket holds, and what was used by the hour."""

import sqlalchemy as sa

from s4.domains.usage.ledger import ADDED, LEVELS
from s4.platform.database import UtcDateTime, metadata

usage_balances = sa.Table(
    "usage_balances",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False, comment="Sum of the live versions' sizes."),
    sa.Column("reserved_bytes", sa.BigInteger, nullable=False, comment="Promised to uploads under way."),
    sa.Column("documents", sa.BigInteger, nullable=False, comment="Number of live documents."),
    sa.Column(
        "reserved_documents",
        sa.BigInteger,
        nullable=False,
        server_default="0",
        comment="Promised to uploads that will create one.",
    ),
    sa.Column(
        "storage_notified",
        sa.Integer,
        nullable=False,
        server_default="0",
        comment="Highest threshold, in percent of the plan's storage, that was told and is not armed again.",
    ),
)

storage_classes = sa.Table(
    "storage_classes",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True, comment="Empty for what is nobody's."),
    sa.Column("storage_class", sa.String(16), primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("objects", sa.BigInteger, nullable=False),
    sa.Column("listed_at", UtcDateTime, nullable=False, comment="When the listing began."),
)

usage_ledger = sa.Table(
    "usage_ledger",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True, comment="Or a shard of everybody: `*` and a character."),
    sa.Column("grain", sa.String(5), primary_key=True, comment="hour, day, month"),
    sa.Column("start", UtcDateTime, primary_key=True, comment="Of the hour, day or month, in UTC."),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in (*ADDED, *LEVELS)),
    sa.Index("ix_usage_ledger_start", "grain", "start"),
)

usage_endpoints = sa.Table(
    "usage_endpoints",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True, comment="Or everybody: `*`; nobody, not proved: `-`."),
    sa.Column("hour", UtcDateTime, primary_key=True),
    sa.Column("method", sa.String(8), primary_key=True),
    sa.Column("route", sa.String(200), primary_key=True, comment="The template, never a raw path."),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("refusals", sa.BigInteger, nullable=False, comment="Answers 4xx."),
    sa.Column("failures", sa.BigInteger, nullable=False, comment="Answers 5xx, those of a draining process excepted."),
    sa.Column("microseconds", sa.BigInteger, nullable=False, comment="Sum of the durations."),
    sa.Column("bytes_in", sa.BigInteger, nullable=False),
    sa.Column("bytes_out", sa.BigInteger, nullable=False),
    sa.Index("ix_usage_endpoints_hour", "hour"),
)

usage_errors = sa.Table(
    "usage_errors",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True, comment="Or everybody: `*`; nobody, not proved: `-`."),
    sa.Column("hour", UtcDateTime, primary_key=True),
    sa.Column("code", sa.String(64), primary_key=True, comment="Of the answer's error, such as rate_limited."),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Index("ix_usage_errors_hour", "hour"),
)

usage_marks = sa.Table(
    "usage_marks",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True),
    sa.Column("last_activity_at", UtcDateTime),
    sa.Column("month", UtcDateTime, nullable=False, comment="That the next three columns speak of."),
    sa.Column("calls_before", sa.BigInteger, nullable=False, comment="Calls of the month that a reset took away."),
    sa.Column("told_percent", sa.Integer, nullable=False, comment="Highest threshold of calls that was told."),
    sa.Column("told_limit", sa.BigInteger, nullable=False, comment="The limit that it was a part of."),
)

usage_flushes = sa.Table(
    "usage_flushes",
    metadata,
    sa.Column("meter_id", sa.String(40), primary_key=True, comment="One process's."),
    sa.Column("sequence", sa.BigInteger, nullable=False, comment="Of its last batch in the ledger."),
    sa.Column("at", UtcDateTime, nullable=False),
)

usage_samples = sa.Table(
    "usage_samples",
    metadata,
    sa.Column("hour", UtcDateTime, primary_key=True, comment="Whose balances are in the ledger."),
)

usage_rollups = sa.Table(
    "usage_rollups",
    metadata,
    sa.Column("tenant_id", sa.String(40), primary_key=True, comment="Or everybody: `*`."),
    sa.Column("month", UtcDateTime, primary_key=True),
    sa.Column("rolled_at", UtcDateTime, nullable=False, comment="What was in the ledger then is in the bucket."),
)
