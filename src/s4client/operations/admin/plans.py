"""Plans, as the administrator edits them."""

from s4client.flow import Flow, Request, operation
from s4client.models import Plan, PlanList
from s4client.operations.common import API, ServerOperations, segment


class PlansOperations(ServerOperations):
    """Make, change, delete plans."""

    @operation
    def list_all_plans(self) -> Flow[PlanList]:
        """All plans, those too that are not on offer."""
        reply = yield from self.send(Request(method="GET", path=f"{API}/admin/plans", repeatable=True))
        return reply.parse(PlanList)

    @operation
    def get_plan(self, plan_id: str) -> Flow[Plan]:
        """A plan by its id."""
        reply = yield from self.send(Request(method="GET", path=_path(plan_id), repeatable=True))
        return reply.parse(Plan)

    @operation
    def create_plan(self, plan: Plan) -> Flow[Plan]:
        """A new plan; limits that are None do not bind."""
        body = plan.model_dump(mode="json")
        reply = yield from self.send(Request(method="POST", path=f"{API}/admin/plans", json=body, repeatable=False))
        return reply.parse(Plan)

    @operation
    def replace_plan(self, plan: Plan) -> Flow[Plan]:
        """Change the plan of that id for all its tenants at once."""
        body = plan.model_dump(mode="json", exclude={"id"})
        reply = yield from self.send(Request(method="PUT", path=_path(plan.id), json=body, repeatable=True))
        return reply.parse(Plan)

    @operation
    def delete_plan(self, plan_id: str) -> Flow[None]:
        """Delete a plan that no tenant is on."""
        yield from self.send(Request(method="DELETE", path=_path(plan_id), repeatable=False))


def _path(plan_id: str) -> str:
    return f"{API}/admin/plans/{segment(plan_id)}"
