"""The part of the settings that says how backups are made, kept and tried (`domains/backup`)."""

from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, field_validator

from s4.kernel.setting_values import Secret, Size, hard_to_guess, names_a_store
from s4.kernel.units import GIB


class BackupSettings(BaseModel):
    """A part of `Settings`."""

    # -- backup
    backup_url: str | None = Field(
        None,
        description="Where backups go: `s3://bucket/prefix`, `gs://bucket/prefix` or `file:///path`, best in another "
        "account and region. Unset: `backups/` in the store itself, which is quick, costs no second bucket, and is "
        "lost with the first.",
    )
    backup_endpoint: str | None = Field(None, description="Of that store, where it is not `store_endpoint`.")
    backup_region: str | None = Field(None, description="Of that bucket, where it is not `store_region`.")
    backup_access_key_id: Annotated[str | None, Secret()] = Field(
        None,
        description="Credentials for that store alone: list, read and write are enough to make backups, and `s4 backup "
        "prune` can run with others that may delete. Unset: those of the store.",
    )
    backup_secret_access_key: SecretStr | None = None
    backup_encryption_key: SecretStr | None = Field(
        None,
        description="At least 32 random characters, under which backups are encrypted (AES-256-GCM). Keep it elsewhere "
        "than the backups: without it they are lost. Unset: not encrypted by S4.",
    )
    backup_every_hours: float = Field(
        0.0,
        ge=0,
        description="How often a worker makes a backup. What was written since the last one is what a lost bucket "
        "costs. 0: only when asked to (`s4 backup create`).",
    )
    backup_keep_days: float = Field(
        30.0, gt=0, description="A backup older than this goes, if enough newer ones are there."
    )
    backup_keep_count: int = Field(7, ge=1, description="So many of the newest stay, however old they are.")
    backup_prune: bool = Field(
        True,
        description="Workers remove what has expired after each backup. Off: `s4 backup prune` does, with credentials "
        "that may; then nobody who takes over a worker can delete backups.",
    )
    backup_verify_hours: float = Field(
        0.0, ge=0, description="How often a worker reads a part of the latest backup and compares its sums. 0: never."
    )
    backup_verify_bytes: Size = Field(
        GIB, description="How much of it each time, drawn at random. More: damage is found earlier, and read is paid."
    )
    backup_drill_hours: float = Field(
        0.0,
        ge=0,
        description="How often a worker restores the latest backup into `drill/` of the data directory, verifies it "
        "and measures how long it took. It needs the disk for it, and an index's work. 0: only `s4 backup drill`.",
    )
    rpo_target_seconds: float = Field(
        0.0,
        ge=0,
        description="How old the latest backup may be when a drill begins; beyond, the drill fails. 0: no target.",
    )
    rto_target_seconds: float = Field(
        0.0, ge=0, description="How long a drill may take from nothing to verified; beyond, it fails. 0: no target."
    )

    _backup_url = field_validator("backup_url")(names_a_store)
    _backup_key = field_validator("backup_encryption_key")(hard_to_guess)
