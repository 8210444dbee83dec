"""Use cases on plans."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from s4.domains import audit
from s4.domains.plans.model import Plan, plan_body, plan_from
from s4.kernel.context import AdminContext
from s4.kernel.errors import Conflict, InvalidRequest, NotFound
from s4.kernel.permissions import Permission
from s4.platform.chains import Record, Records
from s4.platform.chains.records import Decide
from s4.platform.database import Connection, Database

CountUsers = Callable[[Connection, str], Awaitable[int]]
"""How many tenants are on a plan."""


class PlanService:
    """Lists, makes, changes and deletes plans."""

    def __init__(self, database: Database, records: Records, count_users: CountUsers) -> None:
        self._database = database
        self._records = records
        self._count_users = count_users

    async def all(self) -> list[Plan]:
        """From the cheapest to the dearest."""
        async with self._database.read() as connection:
            found = [_plan(record) for record in await self._records.all(connection)]
        return sorted(found, key=lambda plan: (plan.price_monthly, plan.id))

    async def get(self, plan_id: str) -> Plan:
        """Raises `NotFound`."""
        async with self._database.read() as connection:
            return _found(await self._records.get(connection, plan_id))

    async def require(self, connection: Connection, plan_id: str) -> Plan:
        """The plan that somebody wants for a tenant; it stays until the transaction ends. Raises `InvalidRequest`."""
        await self._database.exclude(connection, f"plan/{plan_id}")
        record = await self._records.get(connection, plan_id)
        if record is None:
            known = ", ".join(sorted(record.name for record in await self._records.all(connection)))
            raise InvalidRequest(f"There is no plan {plan_id!r}. There are: {known}.", details={"plan_id": plan_id})
        return _plan(record)

    async def create(self, context: AdminContext, plan: Plan) -> Plan:
        """Raises `Conflict` when there is one of that id."""

        async def decide(_c: Connection, _n: datetime, current: Record | None) -> dict[str, Any]:
            if current is not None:
                raise Conflict(f"There is a plan {plan.id!r}; PUT changes it.")
            return plan_body(plan)

        return _found(await self._change(context, "plan.create", plan.id, decide))

    async def replace(self, context: AdminContext, plan: Plan) -> Plan:
        """Applies to its tenants at once, and deletes nothing of those that hold more. Raises `NotFound`."""

        async def decide(_c: Connection, _n: datetime, current: Record | None) -> dict[str, Any]:
            _found(current)
            return plan_body(plan)

        return _found(await self._change(context, "plan.update", plan.id, decide))

    async def delete(self, context: AdminContext, plan_id: str) -> None:
        """Raises `NotFound`, `Conflict` while tenants are on it."""

        async def decide(connection: Connection, _: datetime, current: Record | None) -> None:
            _found(current)
            await self._database.exclude(connection, f"plan/{plan_id}")
            users = await self._count_users(connection, plan_id)
            if users:
                raise Conflict(
                    f"{users} tenants are on this plan; move them to another first.", details={"tenants": users}
                )

        await self._change(context, "plan.delete", plan_id, decide)

    async def _change(self, context: AdminContext, action: str, plan_id: str, decide: Decide) -> Record | None:
        context.require(Permission.ADMIN_WRITE)

        async def noted(connection: Connection, before: Record | None, after: Record | None) -> None:
            await audit.record(
                connection,
                context.actor,
                action,
                f"plan/{plan_id}",
                before=before.body if before is not None else None,
                after=after.body if after is not None else None,
            )

        return await self._records.change(plan_id, decide, noted=noted)


def _plan(record: Record) -> Plan:
    return plan_from(record.name, record.body)


def _found(record: Record | None) -> Plan:
    if record is None:
        raise NotFound("No such plan.")
    return _plan(record)
