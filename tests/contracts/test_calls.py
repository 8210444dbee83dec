"""The month's calls: no call beyond the limit, from however many processes, and none lost but a killed one's block."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s4.domains.calls import CallBudget, Month, MonthlyCalls, queries
from s4.domains.calls.service import BLOCK_CALLS_MAX, HELD_MAX, IDLE, WRITTEN_OFF_AFTER
from s4.kernel.context import TenantContext
from s4.kernel.errors import LimitReached
from s4.kernel.ids import TenantId, new_tenant_id
from s4.kernel.permissions import TENANT_SCOPES
from s4.kernel.plans import PlanLimits
from s4.platform.database import Database

TENANT = TenantId("ten_" + "a" * 26)


class Clock:
    """The machine's, pushed forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def on_plan(limit: int | None, tenant_id: str = TENANT) -> TenantContext:
    plan = PlanLimits("test", calls_per_month_max=limit)
    return TenantContext(TenantId(tenant_id), None, TENANT_SCOPES, plan)


def processes(catalog: Database, count: int, clock: Clock | None = None) -> list[CallBudget]:
    return [CallBudget(catalog, clock or Clock(), owner=f"process-{number}") for number in range(count)]


async def admitted(budget: CallBudget, context: TenantContext, attempts: int) -> int:
    done = 0
    for _ in range(attempts):
        try:
            await budget.admit(context)
        except LimitReached:
            continue
        done += 1
    return done


async def test_processes_together_admit_the_limit_and_not_one_call_more(catalog: Database) -> None:
    budgets = processes(catalog, 3)
    context = on_plan(250)
    counts = await asyncio.gather(*(admitted(budget, context, 50) for budget in budgets for _ in range(6)))
    for budget in budgets:
        await budget.aclose()  # what lay in other processes' blocks is there for whoever asks next
    rest = await admitted(processes(catalog, 1)[0], context, 250)
    assert sum(counts) + rest == 250
    assert await budgets[0].state(TENANT) == MonthlyCalls(debited=250, held=0, lost=0)


async def test_a_refusal_says_what_the_limit_is_and_when_it_is_new(catalog: Database) -> None:
    budget, context = processes(catalog, 1)[0], on_plan(1)
    await budget.admit(context)
    with pytest.raises(LimitReached) as refused:
        await budget.admit(context)
    assert (refused.value.status, refused.value.code) == (403, "quota_exceeded")
    resets_at = datetime.fromisoformat(refused.value.details["resets_at"])
    assert resets_at == Month.of(datetime.now(UTC)).ends
    assert refused.value.details["api_calls_limit"] == 1


async def test_counting_does_not_write_for_every_call(catalog: Database) -> None:
    budget, writes = processes(catalog, 1)[0], 0
    transact = catalog.transact

    async def counted(work: object) -> object:
        nonlocal writes
        writes += 1
        return await transact(work)  # type: ignore[arg-type]

    catalog.transact = counted  # type: ignore[method-assign,assignment]
    assert await admitted(budget, on_plan(1_000_000), 1000) == 1000
    assert writes == 1000 // BLOCK_CALLS_MAX


async def test_a_plan_without_a_limit_is_not_counted(catalog: Database) -> None:
    budget = processes(catalog, 1)[0]
    assert await admitted(budget, on_plan(None), 5) == 5
    assert await budget.state(TENANT) == MonthlyCalls()


async def test_tenants_do_not_share(catalog: Database) -> None:
    budget = processes(catalog, 1)[0]
    assert await admitted(budget, on_plan(3), 9) == 3
    assert await admitted(budget, on_plan(4, "ten_" + "b" * 26), 9) == 4


async def test_a_changed_plan_applies_to_the_next_call(catalog: Database) -> None:
    budget = processes(catalog, 1)[0]
    assert await admitted(budget, on_plan(10_000), 30) == 30
    assert await admitted(budget, on_plan(20), 5) == 0
    assert await admitted(budget, on_plan(35), 9) == 5


async def test_what_lies_idle_goes_back_for_others(catalog: Database) -> None:
    clock = Clock()
    first, second = processes(catalog, 2, clock)
    context = on_plan(400)
    await first.admit(context)
    assert (await first.state(TENANT)).debited == 400 // 20
    await first.sweep()
    assert (await first.state(TENANT)).debited == 400 // 20, "it was drawn on just now"
    clock.ahead += IDLE + timedelta(seconds=1)
    await first.sweep()
    assert await first.state(TENANT) == MonthlyCalls(debited=1, held=0, lost=0)
    assert await admitted(second, context, 500) == 399


async def test_a_block_that_is_drawn_on_slowly_goes_back_too(catalog: Database) -> None:
    clock = Clock()
    budget, context = processes(catalog, 1, clock)[0], on_plan(4000)
    step = timedelta(seconds=4)
    for _ in range(HELD_MAX // step):
        await budget.admit(context)
        clock.ahead += step
        await budget.sweep()
    assert await budget.state(TENANT) == MonthlyCalls(debited=HELD_MAX // step, held=0, lost=0)


@pytest.mark.processes
async def test_a_killed_process_costs_its_block_and_the_ledger_says_so(catalog: Database) -> None:
    killed, living = processes(catalog, 2)
    context = on_plan(1000)
    assert await admitted(killed, context, 7) == 7
    month = Month.of(datetime.now(UTC))
    assert await living.write_off() == 0, "it may be alive"

    async def later(connection: object) -> int:
        now = await catalog.now(connection)  # type: ignore[arg-type]
        return await queries.write_off(connection, before=now + timedelta(seconds=1))  # type: ignore[arg-type]

    assert await catalog.transact(later) == 50
    assert await living.state(TENANT) == MonthlyCalls(debited=50, held=0, lost=50)
    assert await admitted(living, context, 2000) == 950
    await killed.aclose()  # it was only frozen, and wakes: what was written off is not given back
    async with catalog.read() as connection:
        assert (await queries.state(connection, TENANT, month)).debited == 1000
    assert WRITTEN_OFF_AFTER > HELD_MAX


async def test_a_call_that_was_refused_after_all_is_taken_back(catalog: Database) -> None:
    budget, context = processes(catalog, 1)[0], on_plan(1)
    for _ in range(3):
        await budget.admit(context)
        budget.take_back(context)
    await budget.admit(context)
    with pytest.raises(LimitReached):
        await budget.admit(context)


async def test_several_calls_are_admitted_all_or_none(catalog: Database) -> None:
    first, second = processes(catalog, 2)
    context = on_plan(50)
    await first.admit(context, 20)
    await second.admit(context, 20)
    for budget in (first, second):
        with pytest.raises(LimitReached, match="fewer than 20"):
            await budget.admit(context, 20)
    await first.aclose()
    assert await admitted(second, context, 20) == 10, "what was refused took nothing"


async def test_the_one_that_let_in_those_who_are_refused_more_is_taken_back(catalog: Database) -> None:
    budget, context = processes(catalog, 1)[0], on_plan(3)
    assert await admitted(budget, context, 2) == 2
    for _ in range(3):
        await budget.admit(context)
        with pytest.raises(LimitReached):
            await budget.admit(context, 2)
        budget.take_back(context)
    assert await admitted(budget, context, 2) == 1
    await budget.aclose()
    assert await budget.state(TENANT) == MonthlyCalls(debited=3, held=0, lost=0)


async def test_a_reset_month_begins_anew(catalog: Database) -> None:
    budget, context = processes(catalog, 1)[0], on_plan(5)
    assert await admitted(budget, context, 9) == 5
    month = Month.of(datetime.now(UTC))
    await catalog.transact(lambda connection: queries.reset(connection, TENANT, month))
    assert await budget.state(TENANT) == MonthlyCalls()
    assert await admitted(budget, context, 9) == 5


def test_months_are_calendar_months_in_utc() -> None:
    tokyo_midnight = datetime.fromisoformat("2026-12-01T08:59:59+09:00")
    assert str(Month.of(tokyo_midnight)) == "2026-11"
    december = Month.of(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert december.ends == datetime(2027, 1, 1, tzinfo=UTC)
    assert Month.of(december.ends).begins == december.ends


Step = tuple[str, int]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(0, 120),
    steps=st.lists(
        st.tuples(st.sampled_from(["admit", "refuse", "sweep", "stop", "kill"]), st.integers(0, 2)), max_size=40
    ),
)
async def test_whatever_happens_no_call_is_too_many(catalog: Database, limit: int, steps: list[Step]) -> None:
    tenant_id = new_tenant_id(secrets.token_bytes)
    context, clock, made = on_plan(limit, tenant_id), Clock(), 0
    budgets = processes(catalog, 3, clock)
    for step, which in steps:
        if step == "admit":
            made += await admitted(budgets[which], context, 5)
        elif step == "refuse":
            if await admitted(budgets[which], context, 1):
                budgets[which].take_back(context)
        elif step == "sweep":
            clock.ahead += IDLE + timedelta(seconds=1)
            await budgets[which].sweep()
        elif step == "stop":
            await budgets[which].aclose()
        else:
            budgets[which] = CallBudget(catalog, clock, owner=f"{tenant_id}-{len(steps)}-{made}-{which}")
        assert made <= limit
        state = await budgets[which].state(tenant_id)
        assert made <= state.debited <= limit
