"""`s4 tenant …`: what the administrator does with tenants."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli import tenant_import
from s4.entrypoints.cli.leaving import export, load
from s4.entrypoints.cli.options import (
    DATA_DIR,
    DEFAULT_URL,
    AdminKey,
    CaFile,
    DataDir,
    Json,
    Url,
    admin_client,
    examples,
)
from s4.entrypoints.cli.output import print_json, print_line, print_table
from s4.kernel.units import human_size

if TYPE_CHECKING:
    from s4client import Tenant


_ACME = "$(s4 tenant list -q 'Acme Ltd' | head -1 | cut -f 1)"

TenantArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the tenant.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    tenant = typer.Typer(help="Create tenants and look after them.", no_args_is_help=True)
    tenant.command(
        epilog=examples("s4 tenant create Acme", "s4 tenant create 'Acme Ltd' --email office@acme.example --json")
    )(create)
    tenant.command("list", epilog=examples("s4 tenant list", "s4 tenant list --query acme --json"))(list_tenants)
    tenant.command(epilog=examples("s4 tenant get $(s4 tenant list | head -1 | cut -f 1)"))(get)
    tenant.command(epilog=examples(f"s4 tenant update {_ACME} --email ada@acme.example --company ''"))(update)
    tenant.command(
        epilog=examples(
            f"s4 tenant plan {_ACME} premium", f"s4 tenant plan {_ACME} premium --until 2099-12 --then basic --json"
        )
    )(plan)
    tenant.command(epilog=examples(f"s4 tenant suspend {_ACME} --reason 'Invoice 7 is open.'"))(suspend)
    tenant.command(epilog=examples(f"s4 tenant activate {_ACME}"))(activate)
    tenant.command("reset-usage", epilog=examples(f"s4 tenant reset-usage {_ACME}"))(reset_usage)
    tenant.command(epilog=examples(f"s4 tenant export {_ACME} --to acme-export"))(export.export)
    tenant.command(epilog=examples("s4 tenant load acme-export --keys keys.jsonl"))(load.load)
    tenant.command(epilog=examples(f"s4 tenant delete {_ACME}", f"s4 tenant delete {_ACME} --now"))(delete)
    tenant.command(
        "import",
        epilog=examples(
            "s4 tenant import customers.csv --keys keys.jsonl",
            """echo '{"name": "Acme Two"}' | s4 tenant import - --keys - --json""",
        ),
    )(tenant_import.import_tenants)
    app.add_typer(tenant, name="tenant")


def create(
    name: Annotated[str, typer.Argument(help="Name of the tenant.")],
    email: Annotated[str | None, typer.Option(help="Address of the tenant's contact.")] = None,
    company: Annotated[str | None, typer.Option(help="The tenant's company.")] = None,
    plan: Annotated[str | None, typer.Option(help="Id of the plan; the server's default if absent.")] = None,
    external_id: Annotated[str | None, typer.Option(help="Your own name for it; no two tenants share one.")] = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Create a tenant and show its key, once."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        tenant = s4.create_tenant(name, email=email, company=company, plan_id=plan, external_id=external_id)
    if as_json:
        print_json(tenant.model_dump(mode="json"))
        return
    print_line(f"Created tenant {tenant.name} ({tenant.id}).")
    print_line()
    print_line("Its key is shown only now; S4 keeps a hash of it:")
    print_line()
    print_line(f"  export S4_TENANT_KEY={tenant.api_key}")


def list_tenants(
    query: Annotated[str | None, typer.Option("--query", "-q", help="Part of name, e-mail or company.")] = None,
    status: Annotated[str | None, typer.Option(help="Only tenants in this state.")] = None,
    plan: Annotated[str | None, typer.Option(help="Only tenants on this plan.")] = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List the tenants."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        tenants = [*s4.iter_tenants(q=query, status=status, plan=plan)]
    if as_json:
        print_json({"tenants": [tenant.model_dump(mode="json") for tenant in tenants]})
        return
    headings = ("id", "name", "status", "plan", "stored", "created")
    print_table(headings, [_row(tenant) for tenant in tenants])


def get(
    tenant_id: TenantArgument,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Show a tenant."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        _show(s4.get_tenant(tenant_id), as_json=as_json)


def update(
    tenant_id: TenantArgument,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    email: Annotated[str | None, typer.Option(help="Another address; '' for none.")] = None,
    company: Annotated[str | None, typer.Option(help="Another company; '' for none.")] = None,
    external_id: Annotated[str | None, typer.Option(help="Another name of your own; '' for none.")] = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Change what is known of a tenant."""
    said = {"name": name, "email": email, "company": company, "external_id": external_id}
    fields = {field: value or None for field, value in said.items() if value is not None}
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        _show(s4.update_tenant(tenant_id, fields), as_json=as_json)


def plan(
    tenant_id: TenantArgument,
    plan_id: Annotated[str, typer.Argument(metavar="PLAN", help="Id of the plan.")],
    until: Annotated[
        str | None,
        typer.Option(metavar="MONTH|TIME", help="Ends with that calendar month in UTC (2026-12), or at that time."),
    ] = None,
    then: Annotated[str | None, typer.Option(help="The plan after that; free if absent.")] = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Move a tenant to another plan. Its next request goes by it."""
    expires_at = _end(until) if until is not None else None
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        _show(s4.change_plan(tenant_id, plan_id, expires_at=expires_at, then_plan_id=then), as_json=as_json)


def suspend(
    tenant_id: TenantArgument,
    reason: Annotated[str | None, typer.Option(help="The tenant is told it, by webhook.")] = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Refuse all requests of a tenant. Nothing is deleted."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        _show(s4.suspend_tenant(tenant_id, reason=reason), as_json=as_json)


def activate(
    tenant_id: TenantArgument,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Let a tenant in again that is suspended, or being deleted."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        _show(s4.activate_tenant(tenant_id), as_json=as_json)


def reset_usage(
    tenant_id: TenantArgument,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Count this month's calls from nothing again."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        _show(s4.reset_usage(tenant_id), as_json=as_json)


def delete(
    tenant_id: TenantArgument,
    now: Annotated[bool, typer.Option("--now", help="The second step at once: it cannot be brought back.")] = False,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Delete a tenant, in two steps. The first shuts it out; until `delete_after` it can be activated again."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        tenant = s4.delete_tenant(tenant_id)
        if not now:
            _show(tenant, as_json=as_json)
            return
        s4.confirm_deletion(tenant_id)
    if as_json:
        print_json({"deleted": tenant_id})
    else:
        print_line(f"Deleted tenant {tenant.name} ({tenant_id}).")


def _end(text: str) -> datetime:
    """`2026-12` ends when the next month begins, in UTC."""
    try:
        month = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except ValueError:
            raise typer.BadParameter(
                f"{text!r} is neither a month such as 2026-12 nor a time such as 2026-12-24T18:00:00Z.",
                param_hint="--until",
            ) from None
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def _show(tenant: "Tenant", *, as_json: bool) -> None:
    fields = tenant.model_dump(mode="json")
    if as_json:
        print_json(fields)
        return
    for name, value in fields.items():
        if value is not None:
            print_line(f"{name}: {value}")


def _row(tenant: "Tenant") -> tuple[str, ...]:
    return (
        tenant.id,
        tenant.name,
        tenant.status,
        tenant.plan_id or "",
        "" if tenant.storage_used is None else human_size(tenant.storage_used),
        f"{tenant.created_at:%Y-%m-%d %H:%M}",
    )
