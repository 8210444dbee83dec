"""`s4 key …`: a tenant's keys, by one of them, or with `--tenant` by the administrator."""

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
    Server,
    TenantKey,
    Url,
    admin_client,
    examples,
    parse_duration,
    parse_metadata,
    tenant_client,
)
from s4.entrypoints.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from s4client import KeyList, NewKey
    from s4client import TenantKey as KeyOfTenant


OfTenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="ID", show_default=False, help="As the administrator, the keys of this tenant."),
]
Prefix = Annotated[str, typer.Argument(metavar="PREFIX", help="The key's public part, as `s4 key list` shows it.")]
Scope = Annotated[
    list[str],
    typer.Option(
        "--scope", "-s", help="documents:read, documents:write, search, usage:read or keys:manage; several are allowed."
    ),
]
KeyPrefix = Annotated[
    str | None,
    typer.Option(show_default=False, help="Bind the key to documents whose key begins so."),
]
Fields = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="NAME=VALUE", help="Bind the key to documents with this metadata."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    key = typer.Typer(help="Make, list, rotate and revoke a tenant's keys.", no_args_is_help=True)
    newest = "$(s4 key list | tail -1 | cut -f 1)"
    key.command("list", epilog=examples("s4 key list", "s4 key list --json"))(list_keys)
    key.command(
        epilog=examples(
            "s4 key create website --scope search --scope documents:read",
            "s4 key create sales -s documents:read -s documents:write --key-prefix sales/ --expires-in 90d",
            "s4 key create reports -s search --tenant $(s4 tenant list | head -1 | cut -f 1)",
        )
    )(create)
    key.command(epilog=examples("s4 key child --scope search --ttl 15m --field department=sales"))(child)
    key.command(epilog=examples(f"s4 key rotate {newest} --overlap 1d"))(rotate)
    key.command(epilog=examples(f"s4 key revoke {newest}"))(revoke)
    app.add_typer(key, name="key")


def list_keys(
    tenant: OfTenant = None,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List the keys, those too that ended lately."""
    found: KeyList
    if tenant is not None:
        with admin_client(url, admin_key, data_dir, ca_file) as administrator:
            found = administrator.list_tenant_keys(tenant)
    else:
        with tenant_client(Server(url, tenant_key, ca_file)) as s4:
            found = s4.list_keys()
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    headings = ("prefix", "name", "status", "scopes", "bound to", "expires", "last used")
    print_table(headings, [_row(key) for key in found.keys])


def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Scope,
    key_prefix: KeyPrefix = None,
    field: Fields = None,
    expires_in: ExpiresIn = None,
    tenant: OfTenant = None,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Make a key and show it, once."""
    expires_at = datetime.now(UTC) + parse_duration(expires_in) if expires_in else None
    fields = parse_metadata(field) if field else None
    if tenant is not None:
        with admin_client(url, admin_key, data_dir, ca_file) as administrator:
            made = administrator.create_tenant_key(
                tenant, name, scope, expires_at=expires_at, key_prefix=key_prefix, filter=fields
            )
    else:
        with tenant_client(Server(url, tenant_key, ca_file)) as s4:
            made = s4.create_key(name, scope, expires_at=expires_at, key_prefix=key_prefix, filter=fields)
    _show(made, as_json=as_json)


def child(
    scope: Scope,
    ttl: Annotated[str, typer.Option(help="How long it lives, an hour at most: 900s, 15m.")] = "15m",
    key_prefix: KeyPrefix = None,
    field: Fields = None,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Make a key for a short time, for a browser, say; it dies with the key that makes it."""
    seconds = int(parse_duration(ttl).total_seconds())
    fields = parse_metadata(field) if field else None
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        made = s4.create_child_key(scope, ttl_seconds=seconds, key_prefix=key_prefix, filter=fields)
    _show(made, as_json=as_json)


def rotate(
    prefix: Prefix,
    overlap: Overlap = "0s",
    tenant: OfTenant = None,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Make a key's successor and show it, once; the old key expires after the overlap."""
    seconds = int(parse_duration(overlap).total_seconds())
    if tenant is not None:
        with admin_client(url, admin_key, data_dir, ca_file) as administrator:
            made = administrator.rotate_tenant_key(tenant, prefix, overlap_seconds=seconds)
    else:
        with tenant_client(Server(url, tenant_key, ca_file)) as s4:
            made = s4.rotate_key(prefix, overlap_seconds=seconds)
    _show(made, as_json=as_json)


def revoke(
    prefix: Prefix,
    force: Annotated[bool, typer.Option(help="Also the last key that can make keys.")] = False,
    tenant: OfTenant = None,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Revoke a key: no server accepts it when the command ends."""
    if tenant is not None:
        with admin_client(url, admin_key, data_dir, ca_file) as administrator:
            administrator.revoke_tenant_key(tenant, prefix)
    else:
        with tenant_client(Server(url, tenant_key, ca_file)) as s4:
            s4.revoke_key(prefix, force=force)
    if as_json:
        print_json({"prefix": prefix, "status": "revoked"})
    else:
        print_line(f"Revoked {prefix}.")


def _show(made: "NewKey", *, as_json: bool) -> None:
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    until = f", until {made.expires_at:%Y-%m-%d %H:%M} UTC" if made.expires_at else ""
    print_line(f"Made key {made.prefix} ({made.name}){until}.")
    print_line()
    print_line("It is shown only now; S4 keeps a hash of it:")
    print_line()
    print_line(f"  export S4_TENANT_KEY={made.api_key}")


def _row(key: "KeyOfTenant") -> tuple[str, ...]:
    bounds = [f"{name}={value}" for name, value in (key.filter or {}).items()]
    if key.key_prefix:
        bounds.insert(0, f"{key.key_prefix}…")
    return (
        key.prefix,
        key.name,
        key.status,
        " ".join(key.scopes),
        " ".join(bounds),
        f"{key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "",
        f"{key.last_used:%Y-%m-%d %H:%M}" if key.last_used else "",
    )
