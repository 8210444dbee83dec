"""Everything regular, and the checklist."""

from s4client.flow import Flow, Request, operation
from s4client.models import Checklist, ChecklistItem, Schedule, ScheduledTask, TaskRequested
from s4client.operations.common import API, ServerOperations, segment


class UpkeepOperations(ServerOperations):
    """Look at what is regular and have it run; look at the checklist and tick it."""

    @operation
    def schedule(self) -> Flow[Schedule]:
        """Everything regular: when it last succeeded, when it is due, and what is overdue."""
        reply = yield from self.send(Request(method="GET", path=f"{API}/admin/schedule", repeatable=True))
        return reply.parse(Schedule)

    @operation
    def task(self, task: str) -> Flow[ScheduledTask]:
        """How one task stands."""
        path = f"{API}/admin/schedule/{segment(task)}"
        reply = yield from self.send(Request(method="GET", path=path, repeatable=True))
        return reply.parse(ScheduledTask)

    @operation
    def run_task(self, task: str) -> Flow[TaskRequested]:
        """Have a worker run a regular task before its time."""
        path = f"{API}/admin/schedule/{segment(task)}/run"
        reply = yield from self.send(Request(method="POST", path=path, repeatable=True))
        return reply.parse(TaskRequested)

    @operation
    def checklist(self) -> Flow[Checklist]:
        """What has to be done again and again: when it last was, what shows it, and when it is due."""
        reply = yield from self.send(Request(method="GET", path=f"{API}/admin/checklist", repeatable=True))
        return reply.parse(Checklist)

    @operation
    def mark_done(self, item: str, *, note: str = "") -> Flow[ChecklistItem]:
        """Note that an item of the checklist was done."""
        path = f"{API}/admin/checklist/{segment(item)}/done"
        reply = yield from self.send(Request(method="POST", path=path, json={"note": note}, repeatable=True))
        return reply.parse(ChecklistItem)
