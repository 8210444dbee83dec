"""HTTP shapes of backups."""

from datetime import datetime

from pydantic import BaseModel, Field

from s4.domains.backup.service import Listed


class BackupOut(BaseModel):
    """A backup. Of one that is damaged only id and problem are known."""

    id: str
    ok: bool
    problem: str | None = Field(description="Why it cannot be used, or what it lacks.")
    point: datetime | None = Field(None, description="The moment that it holds.")
    encrypted: bool | None = None
    tenants: int | None = None
    documents: int | None = None
    stored_bytes: int | None = Field(None, description="Of documents.")
    objects: int | None = None
    object_bytes: int | None = Field(None, description="Of all objects, index and vectors too.")
    bytes_copied: int | None = Field(None, description="What was new, and had to be copied.")
    requests: int | None = Field(None, description="To either store, while it was made.")
    seconds: float | None = Field(None, description="How long it took.")

    @classmethod
    def of(cls, listed: Listed) -> "BackupOut":
        manifest = listed.manifest
        if manifest is None:
            return cls(id=listed.backup_id, ok=False, problem=listed.problem)
        lacking = f"The bucket lacked {manifest.lacking[0]}." if manifest.lacking else None
        return cls(
            id=manifest.backup_id,
            ok=not manifest.lacking,
            problem=lacking,
            point=manifest.point,
            encrypted=manifest.encrypted_under is not None,
            tenants=manifest.counts.tenants,
            documents=manifest.counts.documents,
            stored_bytes=manifest.counts.stored_bytes,
            objects=manifest.counts.objects,
            object_bytes=manifest.counts.object_bytes,
            bytes_copied=manifest.work.bytes_copied,
            requests=manifest.work.requests,
            seconds=manifest.work.seconds,
        )


class BackupsOut(BaseModel):
    """Every backup, oldest first."""

    backups: list[BackupOut]


class BackupRequestedOut(BaseModel):
    """A worker makes it as soon as one is free."""

    status: str = "requested"
