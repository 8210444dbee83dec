"""The part of the settings that says how long S4 keeps what is its own, and what a tenant leaves behind."""

from pydantic import BaseModel, Field


class LeavingSettings(BaseModel):
    """A part of `Settings`."""

    # -- erasure and retention
    erasure_settle_seconds: float | None = Field(
        None,
        ge=0,
        description="How long after the bytes of a deleted tenant went the bucket is listed again, before the receipt "
        "says that nothing is left. Unset: as long as the longest upload and the longest lease.",
    )
    erasure_backups_days: float = Field(
        30.0,
        ge=0,
        description="How long copies of bucket and database that S4 does not make itself are kept: snapshots, dumps, "
        "superseded versions of objects. Receipts of erasures say until when something may remain there.",
    )
    audit_days: float = Field(
        400.0,
        ge=1,
        description="How many days the catalog keeps entries of the audit trail, once they are sealed. The sealed "
        "batches stay in the bucket and are verified as before.",
    )
    jobs_failed_days: float = Field(
        90.0, gt=0, description="How many days jobs that were given up are kept to be looked at and retried."
    )
    mails_days: float = Field(
        90.0, gt=0, description="How many days S4 remembers mails that it has sent, and who was told of what."
    )
