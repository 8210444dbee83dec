"""HTTP shapes of schedule and checklist."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from s4.domains.upkeep.checklist import ItemState
from s4.platform.jobs import Outcome, TaskState


class TaskOut(BaseModel):
    """A regular task."""

    task: str
    every_seconds: float | None = Field(description="Null until a worker of this release has scheduled it.")
    last_started_at: datetime | None = Field(description="When it was last asked for.")
    last_succeeded_at: datetime | None
    next_at: datetime
    outcome: Outcome = Field(
        description="`ok`, `never` (has not ended yet), `waiting` for a worker, `running`, `retrying` after an error, "
        "`failed` (given up until it is due again)."
    )
    error: str | None = Field(description="Of the last attempt, where that failed.")
    overdue: bool = Field(description="Its last success lies further back than twice its interval and two minutes.")

    @classmethod
    def of(cls, state: TaskState) -> "TaskOut":
        return cls(
            task=state.task,
            every_seconds=state.every.total_seconds() if state.every is not None else None,
            last_started_at=state.last_started_at,
            last_succeeded_at=state.last_succeeded_at,
            next_at=state.next_at,
            outcome=state.outcome,
            error=state.error,
            overdue=state.is_overdue,
        )


class ScheduleOut(BaseModel):
    """Everything regular, by name."""

    tasks: list[TaskOut]


class TaskRequestedOut(BaseModel):
    """A worker runs it as soon as one is free."""

    task: str
    requested_at: datetime = Field(description="A success after that is one of this.")


class ItemOut(BaseModel):
    """Something to be done again and again."""

    item: str
    title: str
    every_days: float
    how: str
    last_done_at: datetime | None
    done_by: str | None = Field(description="Who said so; `s4` for what the catalog itself has.")
    evidence: str | None
    due_at: datetime
    overdue: bool

    @classmethod
    def of(cls, state: ItemState) -> "ItemOut":
        item, last = state.item, state.last
        return cls(
            item=item.name,
            title=item.title,
            every_days=item.every.total_seconds() / 86_400,
            how=item.how,
            last_done_at=last.at if last is not None else None,
            done_by=last.by if last is not None else None,
            evidence=last.note if last is not None else None,
            due_at=state.due_at,
            overdue=state.is_overdue,
        )


class ChecklistOut(BaseModel):
    """The whole checklist."""

    items: list[ItemOut]


class DoneIn(BaseModel):
    """That something was done."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field("", description="What shows it; it stands in the audit trail.")
