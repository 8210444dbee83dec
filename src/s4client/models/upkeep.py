"""What keeps a deployment well."""

from collections.abc import Sequence
from datetime import datetime

from s4client.models.base import Model


class ScheduledTask(Model):
    """`outcome`: ok, never, waiting, running, retrying, failed."""

    task: str
    every_seconds: float | None
    last_started_at: datetime | None
    last_succeeded_at: datetime | None
    next_at: datetime
    outcome: str
    error: str | None
    overdue: bool


class Schedule(Model):
    """By name."""

    tasks: Sequence[ScheduledTask]


class TaskRequested(Model):
    """A success after `requested_at` is one of this."""

    task: str
    requested_at: datetime


class ChecklistItem(Model):
    """`done_by`: who said so; `s4` for what the catalog itself has."""

    item: str
    title: str
    every_days: float
    how: str
    last_done_at: datetime | None
    done_by: str | None
    evidence: str | None
    due_at: datetime
    overdue: bool


class Checklist(Model):
    """In the order in which it is shown."""

    items: Sequence[ChecklistItem]
