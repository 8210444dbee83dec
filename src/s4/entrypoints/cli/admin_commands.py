"""`s4 admin …`: who administers."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.options import (
    DATA_DIR,
    DEFAULT_URL,
    AdminKey,
    CaFile,
    DataDir,
    ExpiresIn,
    Json,
    Overlap,
    Url,
    admin_client,
    examples,
    parse_duration,
)
from s4.entrypoints.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from s4client import NewAdministrator


Name = Annotated[str, typer.Argument(help="The administrator's name, as the audit trail has it.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    admin = typer.Typer(help="Make, list and revoke administrators.", no_args_is_help=True)
    admin.command("list", epilog=examples("s4 admin list", "s4 admin list --json"))(list_administrators)
    admin.command(
        epilog=examples("s4 admin create ada --role auditor", "s4 admin create grace --role operator --expires-in 90d")
    )(create)
    admin.command(epilog=examples("s4 admin rotate ada --overlap 1h"))(rotate)
    admin.command(epilog=examples("s4 admin revoke ada", "s4 admin revoke grace"))(revoke)
    app.add_typer(admin, name="admin")


def list_administrators(
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List the administrators."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        found = s4.list_administrators()
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    rows = [
        (
            one.name,
            one.role,
            one.prefix or "",
            f"{one.expires_at:%Y-%m-%d %H:%M}" if one.expires_at else "",
            f"{one.last_used:%Y-%m-%d %H:%M}" if one.last_used else "",
        )
        for one in found.administrators
    ]
    print_table(("name", "role", "prefix", "expires", "last used"), rows)


def create(
    name: Name,
    role: Annotated[str, typer.Option(help="owner (everything), operator (all but administrators), auditor (looks).")],
    expires_in: ExpiresIn = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Make an administrator and show the key, once."""
    expires_at = datetime.now(UTC) + parse_duration(expires_in) if expires_in else None
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        made = s4.create_administrator(name, role, expires_at=expires_at)
    _show(made, as_json=as_json)


def rotate(
    name: Name,
    overlap: Overlap = "0s",
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Give an administrator a new key and show it, once; the old one expires after the overlap."""
    seconds = int(parse_duration(overlap).total_seconds())
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        made = s4.rotate_administrator(name, overlap_seconds=seconds)
    _show(made, as_json=as_json)


def revoke(
    name: Name,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Remove an administrator: no server accepts the key when the command ends."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        s4.revoke_administrator(name)
    if as_json:
        print_json({"name": name, "status": "revoked"})
    else:
        print_line(f"Revoked {name}.")


def _show(made: "NewAdministrator", *, as_json: bool) -> None:
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    print_line(f"Administrator {made.name}, {made.role}.")
    print_line()
    print_line("The key is shown only now; S4 keeps a hash of it:")
    print_line()
    print_line(f"  export S4_ADMIN_API_KEY={made.api_key}")
