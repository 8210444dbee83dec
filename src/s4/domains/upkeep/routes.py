"""`/admin/schedule` and `/admin/checklist`."""

from s4.domains.upkeep.checklist import Checklist
from s4.domains.upkeep.schedule import ScheduleService
from s4.domains.upkeep.schemas import ChecklistOut, DoneIn, ItemOut, ScheduleOut, TaskOut, TaskRequestedOut
from s4.kernel.permissions import Permission
from s4.platform.http.errors import error_responses
from s4.platform.http.routing import CurrentAdmin, DomainRouter


def upkeep_router(schedule: ScheduleService, checklist: Checklist) -> DomainRouter:
    """For administrators."""
    router = DomainRouter(prefix="/admin", tags=["upkeep"])
    read, write = Permission.ADMIN_READ, Permission.ADMIN_WRITE

    @router.get("/schedule", permission=read, response_model=ScheduleOut)
    async def list_schedule(admin: CurrentAdmin) -> ScheduleOut:
        """Everything regular: when it last succeeded, when it is due, and what is overdue."""
        return ScheduleOut(tasks=[TaskOut.of(state) for state in await schedule.tasks(admin)])

    @router.get("/schedule/{task}", permission=read, response_model=TaskOut, responses=error_responses(404))
    async def get_task(admin: CurrentAdmin, task: str) -> TaskOut:
        """How one task stands; of one that is not regular, how it ended when it was last asked for."""
        return TaskOut.of(await schedule.task(admin, task))

    @router.post(
        "/schedule/{task}/run",
        permission=write,
        response_model=TaskRequestedOut,
        status_code=202,
        responses=error_responses(404),
    )
    async def run_task(admin: CurrentAdmin, task: str) -> TaskRequestedOut:
        """Has a worker run a regular task before its time. Asked again before that, it runs once."""
        return TaskRequestedOut(task=task, requested_at=await schedule.run(admin, task))

    @router.get("/checklist", permission=read, response_model=ChecklistOut)
    async def get_checklist(admin: CurrentAdmin) -> ChecklistOut:
        """What has to be done again and again: when it last was, what shows it, and when it is due."""
        return ChecklistOut(items=[ItemOut.of(state) for state in await checklist.items(admin)])

    @router.post("/checklist/{item}/done", permission=write, response_model=ItemOut, responses=error_responses(404))
    async def mark_item_done(admin: CurrentAdmin, item: str, done: DoneIn) -> ItemOut:
        """Notes that something was done."""
        return ItemOut.of(await checklist.done(admin, item, done.note))

    return router
