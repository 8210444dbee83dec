"""`s4 index rebuild|generations|compare|switch|rollback|release|log-queries`: a tenant moves to another model.

Beside the server, with its settings: they ask catalog and bucket. The work is the workers'.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4.entrypoints.cli.options import ConfigFile, Json, ServerDataDir, WrongUsage, configuration, deployed, examples
from s4.entrypoints.cli.output import print_json, print_line, print_note, print_page, print_table

if TYPE_CHECKING:
    from s4.domains.indexing import Standing
    from s4.domains.indexing.estimates import Estimate
    from s4.domains.search import Comparison
    from s4.entrypoints.bootstrap import Core
    from s4.kernel.ids import GenerationId, TenantId

_POLL_SECONDS = 0.5
_NOTE_SECONDS = 2.0  # between two lines of progress
_LOGGED_MAX = 1000
_ACME = "$(s4 tenant list --query acme | head -1 | cut -f 1)"
_SMALL = """S4_INDEX_MODELS='{"small": {"chunk_tokens_max": 128}}'"""

Tenant = Annotated[str, typer.Option("--tenant", metavar="ID", help="Which tenant.")]
Wait = Annotated[
    float, typer.Option(metavar="SECONDS", min=0, help="How long documents that are on their way are waited for.")
]


def add_to(index: typer.Typer) -> None:
    """Adds the commands."""
    index.command(
        epilog=examples(f"{_SMALL} s4 index rebuild --data-dir s4-data --tenant {_ACME} --model small --plan")
    )(rebuild)
    index.command(
        epilog=examples("s4 index generations --data-dir s4-data", f"s4 index generations --tenant {_ACME} --json")
    )(generations)
    index.command(epilog=examples("s4 index compare --help"))(compare)
    index.command(epilog=examples("s4 index switch --help"))(switch)
    index.command(epilog=examples("s4 index rollback --help"))(rollback)
    index.command(epilog=examples("s4 index release --help"))(release)
    index.command("log-queries", epilog=examples(f"s4 index log-queries --tenant {_ACME} --days 7"))(log_queries)


def rebuild(
    context: typer.Context,
    tenant: Tenant,
    model: Annotated[str, typer.Option(help="A name of S4_INDEX_MODELS, or `default`.")],
    budget_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, show_default=False, help="Stop before more are paid, in all. Again with a larger one: go on."
        ),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would take.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once: workers go on by themselves.")] = False,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    as_json: Json = False,
) -> None:
    """Build what a model makes of a tenant's texts beside the index that is served.

    Workers do it; interrupting the command stops only its looking on. Asked for again, it goes on looking. Exits with 1
    when it stopped before every document was there: the budget is spent, or documents failed.
    """

    async def act(core: "Core", tenant_id: "TenantId") -> None:
        from s4.domains.indexing.estimates import Estimator
        from s4.kernel.context import SYSTEM_ACTOR

        if plan:
            estimator = Estimator(core.database, core.store, chunks_max=core.settings.chunks_max)
            found = await estimator.estimate(tenant_id, core.models.by_name(model))
            _print_estimate(found, core.settings.price_currency, as_json=as_json)
            return
        holding = await core.moves.rebuild(SYSTEM_ACTOR, tenant_id, model, budget_tokens=budget_tokens)
        standing = await _standing(core, tenant_id, holding.generation)
        if not no_wait:
            standing = await _followed(core, tenant_id, standing)
        _print_standings(core, [standing], as_json=as_json)
        if not no_wait and standing.lacking:
            said = "its budget is spent" if standing.is_stopped else f"{standing.failed} documents failed"
            print_note(f"{standing.lacking} documents are not in it: {said}.")
            raise typer.Exit(1)

    _run(context, config, data_dir, tenant, act)


def generations(
    context: typer.Context,
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", metavar="ID", show_default=False, help="Which tenant; else all moved ones."),
    ] = None,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    as_json: Json = False,
) -> None:
    """What a tenant holds of the index, and how far it is; or from what each tenant that was moved is served."""

    async def of_one(core: "Core", tenant_id: "TenantId") -> None:
        _print_standings(core, await core.moves.standings(tenant_id), as_json=as_json)

    async def of_all(core: "Core") -> None:
        found = await core.moves.moved()
        rows = [
            (tenant_id, each.generation, core.models.name_of(each.generation) or "", each.since)
            for tenant_id, each in found
        ]
        if as_json:
            names = ("tenant_id", "generation", "model", "since")
            print_json([dict(zip(names, (*row[:3], row[3].isoformat()), strict=True)) for row in rows])
        else:
            print_table(("tenant", "generation", "model", "since"), [(*row[:3], f"{row[3]:%F %R}") for row in rows])

    if tenant is None:
        _run_all(context, config, data_dir, of_all)
    else:
        _run(context, config, data_dir, tenant, of_one)


def compare(
    context: typer.Context,
    tenant: Tenant,
    queries: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, show_default=False, help="A file of questions, a line each."),
    ] = None,
    logged: Annotated[
        int,
        typer.Option(
            min=0, max=_LOGGED_MAX, help="So many of what the tenant asked most often, if it lets that be kept."
        ),
    ] = 0,
    other: Annotated[
        str | None,
        typer.Option("--with", metavar="GENERATION", show_default=False, help="Default: the other one that it holds."),
    ] = None,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    as_json: Json = False,
) -> None:
    """Ask the generation that is served and another one the same questions, and lay the answers side by side.

    Nothing of it is counted or kept. The other one should be built to its end.
    """

    async def act(core: "Core", tenant_id: "TenantId") -> None:
        from s4.domains.search import compare as compared

        asked = await _asked(core, tenant_id, queries, logged)
        served, *others = await core.moves.standings(tenant_id)
        second = _one_of(others, other)
        reader = await core.access.for_job(tenant_id)
        found = await compared(core.search, reader, asked, served.holding.generation, second.holding.generation)
        if as_json:
            print_json(_comparison_json(found, served, second))
        else:
            _print_comparison(found, served, second)

    _run(context, config, data_dir, tenant, act)


def switch(
    context: typer.Context,
    tenant: Tenant,
    to: Annotated[
        str | None,
        typer.Option(metavar="GENERATION", show_default=False, help="Default: the other one that the tenant holds."),
    ] = None,
    wait: Wait = 30.0,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
) -> None:
    """Have a tenant's searches read another generation. Refused while a document that is served is not there."""

    async def act(core: "Core", tenant_id: "TenantId") -> None:
        from s4.kernel.context import SYSTEM_ACTOR

        generation = await _other(core, tenant_id, to)
        await core.moves.switch(SYSTEM_ACTOR, tenant_id, generation, patience=timedelta(seconds=wait))
        print_line(f"{tenant_id} is served from {generation}.")

    _run(context, config, data_dir, tenant, act)


def rollback(
    context: typer.Context,
    tenant: Tenant,
    wait: Wait = 30.0,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
) -> None:
    """Have a tenant's searches read again what they read before, which is kept and written on."""

    async def act(core: "Core", tenant_id: "TenantId") -> None:
        from s4.kernel.context import SYSTEM_ACTOR

        generation = await core.moves.rollback(SYSTEM_ACTOR, tenant_id, patience=timedelta(seconds=wait))
        print_line(f"{tenant_id} is served from {generation}.")

    _run(context, config, data_dir, tenant, act)


def release(
    context: typer.Context,
    tenant: Tenant,
    generation: Annotated[
        str | None,
        typer.Option(metavar="GENERATION", show_default=False, help="Default: the only one that is not served."),
    ] = None,
    wait: Wait = 30.0,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
) -> None:
    """Give up a generation that is kept or being built: its table, and vectors that no other one uses."""

    async def act(core: "Core", tenant_id: "TenantId") -> None:
        from s4.kernel.context import SYSTEM_ACTOR

        released = await _other(core, tenant_id, generation)
        await core.moves.release(SYSTEM_ACTOR, tenant_id, released)
        gone = await _discarded(core, tenant_id, released, within=wait)
        print_line(f"{released} is released{'' if gone else '; a worker will remove its bytes'}.")

    _run(context, config, data_dir, tenant, act)


def log_queries(
    context: typer.Context,
    tenant: Tenant,
    days: Annotated[
        int, typer.Option(min=0, max=3650, help="Forget a query so long after it was last asked; 0: keep none.")
    ],
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
) -> None:
    """Keep what a tenant asks, which has agreed to that, to compare generations by. Nobody's queries are kept by
    default; they are in no backup."""

    async def act(core: "Core", tenant_id: "TenantId") -> None:
        from s4.kernel.context import SYSTEM_ACTOR

        await core.query_log.set_days(SYSTEM_ACTOR, tenant_id, days)
        print_line(f"Queries of {tenant_id} are kept for {days} days." if days else "None are kept any more.")

    _run(context, config, data_dir, tenant, act)


# -- acting


def _run(
    context: typer.Context,
    config: Path | None,
    data_dir: Path | None,
    tenant: str,
    act: "Callable[[Core, TenantId], Awaitable[None]]",
) -> None:
    from s4.kernel.ids import parse_tenant_id

    tenant_id = parse_tenant_id(tenant)
    _run_all(context, config, data_dir, lambda core: act(core, tenant_id))


def _run_all(
    context: typer.Context,
    config: Path | None,
    data_dir: Path | None,
    act: "Callable[[Core], Awaitable[None]]",
) -> None:
    from s4.entrypoints.bootstrap import open_core
    from s4.platform.telemetry import logs

    settings = deployed(configuration(context, config, data_dir=data_dir))
    logs.configure(level="critical", log_format=settings.log_format, service="index")

    async def run() -> None:
        async with open_core(settings) as core:
            await act(core)

    asyncio.run(run())


async def _standing(core: "Core", tenant_id: "TenantId", generation: "GenerationId") -> "Standing":
    found = {each.holding.generation: each for each in await core.moves.standings(tenant_id)}
    if generation not in found:
        raise WrongUsage(f"{generation} was released meanwhile.")
    return found[generation]


async def _followed(core: "Core", tenant_id: "TenantId", standing: "Standing") -> "Standing":
    """Looks on until nothing is left to do, and says how it goes."""
    started, first, noted = time.monotonic(), standing.documents, 0.0
    while standing.lacking > standing.failed and not standing.is_stopped:
        if time.monotonic() - noted >= _NOTE_SECONDS:
            noted = time.monotonic()
            done = standing.documents - first
            left = standing.lacking * (noted - started) / done if done else None
            print_note(
                f"{standing.documents} documents are there, {standing.lacking} to go; {_spent(core, standing)}"
                + (f"; about {_duration(left)} left" if left is not None else "")
            )
            if not standing.has_workers:
                print_note("No worker knows this model: S4_INDEX_MODELS must name it in the settings of all of them.")
        await asyncio.sleep(_POLL_SECONDS)
        standing = await _standing(core, tenant_id, standing.holding.generation)
    return standing


async def _discarded(core: "Core", tenant_id: "TenantId", generation: "GenerationId", *, within: float) -> bool:
    give_up_at = time.monotonic() + within
    while True:
        if await core.moves.is_discarded(tenant_id, generation):
            return True
        if time.monotonic() >= give_up_at:
            return False
        await asyncio.sleep(_POLL_SECONDS)


async def _other(core: "Core", tenant_id: "TenantId", wanted: str | None) -> "GenerationId":
    """The one that is `wanted` of those that the tenant holds beside the served one, or the only one."""
    _, *others = await core.moves.standings(tenant_id)
    return _one_of(others, wanted).holding.generation


def _one_of(others: "list[Standing]", wanted: str | None) -> "Standing":
    found = [each for each in others if wanted is None or each.holding.generation == wanted]
    if len(found) == 1:
        return found[0]
    known = ", ".join(each.holding.generation for each in others)
    raise WrongUsage(f"Say which generation: the tenant holds {known} beside the served one."
                     if others else "The tenant holds no other generation: `s4 index rebuild` builds one.")  # fmt: skip


async def _asked(core: "Core", tenant_id: "TenantId", queries: Path | None, logged: int) -> list[str]:
    if (queries is None) == (logged == 0):
        raise WrongUsage("Say what to ask: --queries FILE, or --logged NUMBER.")
    if queries is not None:
        text = await asyncio.to_thread(queries.read_text, encoding="utf-8")
        asked = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        asked = await core.query_log.of(tenant_id, limit=logged)
    if not asked:
        raise WrongUsage(
            "There is nothing to ask: " + ("the file is empty." if queries else "see `s4 index log-queries`.")
        )
    return asked


# -- telling


def _spent(core: "Core", standing: "Standing") -> str:
    return f"{standing.tokens_spent} tokens, {_cost(core, standing):.4f} {core.settings.price_currency}"


def _cost(core: "Core", standing: "Standing") -> float:
    name = core.models.name_of(standing.holding.generation)
    return core.models.by_name(name).cost(standing.tokens_spent) if name else 0.0


def _print_standings(core: "Core", standings: "list[Standing]", *, as_json: bool) -> None:
    if as_json:
        print_json([_standing_json(core, each) for each in standings])
        return
    rows = [
        (
            each.holding.generation,
            each.holding.model,
            each.holding.role.value + (" (budget spent)" if each.is_stopped else ""),
            str(each.documents),
            str(each.lacking),
            str(each.failed),
            str(each.chunks),
            str(each.size_bytes),
            str(each.tokens_spent),
        )
        for each in standings
    ]
    headings = ("generation", "model", "role", "documents", "lacking", "failed", "chunks", "bytes", "tokens spent")
    print_table(headings, rows)


def _standing_json(core: "Core", standing: "Standing") -> dict[str, Any]:
    holding = standing.holding
    return {
        "generation": holding.generation,
        "model": holding.model,
        "role": holding.role.value,
        "since": holding.since.isoformat(),
        "documents": standing.documents,
        "documents_lacking": standing.lacking,
        "documents_failed": standing.failed,
        "chunks": standing.chunks,
        "size_bytes": standing.size_bytes,
        "budget_tokens": holding.budget_tokens,
        "tokens_spent": standing.tokens_spent,
        "cost": round(_cost(core, standing), 6),
        "currency": core.settings.price_currency,
        "stopped": standing.is_stopped,
        "has_workers": standing.has_workers,
    }


def _print_estimate(found: "Estimate", currency: str, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "documents": found.documents,
                "documents_sampled": found.sampled,
                "chunks": found.chunks,
                "tokens": found.tokens,
                "tokens_unpaid": found.unpaid_tokens,
                "cost": round(found.cost, 6),
                "currency": currency,
                "seconds": None if found.seconds is None else round(found.seconds, 1),
            }
        )
        return
    taken = "nothing is to be embedded" if found.seconds is None else f"about {_duration(found.seconds)}, one at a time"
    print_page(
        f"documents      {found.documents}, reckoned from {found.sampled} of them\n"
        f"chunks         {found.chunks}\n"
        f"tokens         {found.tokens}, of which {found.unpaid_tokens} are to be paid\n"
        f"cost           {found.cost:.4f} {currency}\n"
        f"time           {taken}"
    )


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def _print_comparison(found: "Comparison", served: "Standing", other: "Standing") -> None:
    for each in found.compared:
        print_line(f"{each.query}\toverlap {each.overlap:.2f}\ttau {_number(each.tau)}")
        for place in range(max(len(each.ones), len(each.others))):
            sides = [
                f"{side[place].score:.3f} {side[place].name}" if place < len(side) else ""
                for side in (each.ones, each.others)
            ]
            print_line(f"  {place + 1:2}  {sides[0]:<50.50}  {sides[1]:<50.50}".rstrip())
    print_line(
        f"{len(found.compared)} queries, {served.holding.model} beside {other.holding.model}: "
        f"overlap@10 {found.overlap:.2f}, tau {_number(found.tau)}, same first {found.same_first:.2f}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _comparison_json(found: "Comparison", served: "Standing", other: "Standing") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "served": served.holding.generation,
        "other": other.holding.generation,
        "overlap_at_10": round(found.overlap, 4),
        "tau": found.tau,
        "same_first": round(found.same_first, 4),
        "queries": [
            {
                "query": each.query,
                "overlap_at_10": round(each.overlap, 4),
                "tau": each.tau,
                "served": [asdict(placed) for placed in each.ones],
                "other": [asdict(placed) for placed in each.others],
            }
            for each in found.compared
        ],
    }
