"""`s4 sla …`: what plans promise of a month, and whether it was kept."""

from typing import Annotated

import typer

from s4.entrypoints.cli.options import (
    DATA_DIR,
    DEFAULT_URL,
    AdminKey,
    CaFile,
    Csv,
    DataDir,
    Json,
    Url,
    admin_client,
    examples,
)
from s4.entrypoints.cli.output import print_json, print_page, print_rows

_SHOWN = ("state", "requests", "failures", "availability", "budget_spent_percent", "searches", "search_p95_ms")

Month = Annotated[str | None, typer.Option(help="`2026-11`, in UTC. Default: the running month.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    sla = typer.Typer(help="Service levels: availability, error budget, latency of searches.", no_args_is_help=True)
    sla.command(epilog=examples("s4 sla show", "s4 sla show --plans", "s4 sla show --month 2026-01 --json"))(show)
    sla.command(
        epilog=examples(
            "s4 sla report $(s4 tenant list | head -1 | cut -f 1) --month 2026-01 > report.md",
        )
    )(report)
    app.add_typer(sla, name="sla")


def show(
    tenant_id: Annotated[str | None, typer.Option("--tenant", help="Of this tenant alone.")] = None,
    month: Month = None,
    plans: Annotated[bool, typer.Option("--plans", help="By plan instead of by tenant.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Of tenants, the worst first.")] = 100,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """The tenants that spent the most of their error budget."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        found = s4.service_levels(tenant_id=tenant_id, month=month, limit=limit)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    named = ("plan_id", "tenants") if plans else ("tenant_id", "name", "plan_id")
    levels = [level.model_dump(mode="json") for level in (found.plans if plans else found.tenants)]
    print_rows([{name: level[name] for name in (*named, *_SHOWN)} for level in levels], as_csv=as_csv)


def report(
    tenant_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the tenant.")],
    month: Month = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """A tenant's month as Markdown, to be sent to it."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        found = s4.service_level_report(tenant_id, month=month)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_page(found.markdown)
