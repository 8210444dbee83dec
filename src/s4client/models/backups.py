"""Backups of the whole deployment."""

from collections.abc import Sequence
from datetime import datetime

from s4client.models.base import Model


class Backup(Model):
    """Of one that is damaged only id and problem are known."""

    id: str
    ok: bool
    problem: str | None
    point: datetime | None = None
    encrypted: bool | None = None
    tenants: int | None = None
    documents: int | None = None
    stored_bytes: int | None = None
    objects: int | None = None
    object_bytes: int | None = None
    bytes_copied: int | None = None
    requests: int | None = None
    seconds: float | None = None


class BackupList(Model):
    """Oldest first."""

    backups: Sequence[Backup]
