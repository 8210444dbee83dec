"""The part of the settings that says how long documents stay, and where."""

from pydantic import BaseModel, Field


class KeepingSettings(BaseModel):
    """A part of `Settings`."""

    # -- keeping
    retention_every_seconds: float = Field(
        3600.0,
        gt=0,
        description="How often workers delete what was kept for as long as tenant or plan says, and archive what "
        "nobody reads. Both count days.",
    )
    archive_restore_on_access: bool = Field(
        True,
        description="Who reads an archived document is refused with 409, and has it brought back by that. False: only "
        "`POST …/restore` does; then a crawler restores nothing.",
    )
    archive_storage_class: str | None = Field(
        None,
        pattern=r"^[A-Z][A-Z_]{2,40}$",
        description="Storage class in the bucket that the bytes of archived documents are moved to: of S3 "
        "`STANDARD_IA`, `ONEZONE_IA`, `GLACIER_IR`; of Google's `NEARLINE`, `COLDLINE`, `ARCHIVE`. Cheaper to keep, "
        "dearer to read, each with a shortest time that is paid for. Unset: they stay where they are.",
    )
    reads_flush_seconds: float = Field(
        60.0,
        gt=0,
        description="How long a process keeps in memory which documents its searches found, before it notes them of "
        "tenants that archive what nobody reads. What a `kill -9` forgets.",
    )
    old_versions_days: int = Field(
        30,
        ge=1,
        le=36_500,
        description="How many days a bucket with versions keeps what S4 deleted, by the rules of `s4 lifecycle`, where "
        "a tenant's plan says no other number.",
    )
