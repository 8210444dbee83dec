"""`s4 tenant …`: what the administrator does with tenants."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.options import DEFAULT_URL, AdminKey, CaFile, DataDir, Json, Url, admin_client, examples
from s4.entrypoints.cli.output import print_json, print_line, print_table
from s4.kernel.units import human_size

if TYPE_CHECKING:
    from s4client import Tenant

_DATA_DIR = Path("s4-data")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    tenant = typer.Typer(help="Create and look at tenants.", no_args_is_help=True)
    tenant.command(
        epilog=examples("s4 tenant create Acme", "s4 tenant create 'Acme Ltd' --email office@acme.example --json")
    )(create)
    tenant.command("list", epilog=examples("s4 tenant list", "s4 tenant list --query acme --json"))(list_tenants)
    tenant.command(epilog=examples("s4 tenant get $(s4 tenant list | head -1 | cut -f 1)"))(get)
    app.add_typer(tenant, name="tenant")


def create(
    name: Annotated[str, typer.Argument(help="Name of the tenant.")],
    email: Annotated[str | None, typer.Option(help="Address of the tenant's contact.")] = None,
    company: Annotated[str | None, typer.Option(help="The tenant's company.")] = None,
    plan: Annotated[str | None, typer.Option(help="Id of the plan; the server's default if absent.")] = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = _DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Create a tenant and show its key, once."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        tenant = s4.create_tenant(name, email=email, company=company, plan_id=plan)
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
    data_dir: DataDir = _DATA_DIR,
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
    tenant_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the tenant.")],
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = _DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Show a tenant."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        tenant = s4.get_tenant(tenant_id)
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
