"""`s4 erasure …`: what became of deleted tenants, and whether a receipt is true."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.options import (
    DATA_DIR,
    DEFAULT_URL,
    AdminKey,
    CaFile,
    DataDir,
    Json,
    Url,
    WrongUsage,
    admin_client,
    examples,
)
from s4.entrypoints.cli.output import print_json, print_line, print_note, print_table
from s4.kernel.units import human_size

if TYPE_CHECKING:
    from s4client import Erasure


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    erasure = typer.Typer(help="Receipts of what was erased.", no_args_is_help=True)
    erasure.command("list", epilog=examples("s4 erasure list", "s4 erasure list --json"))(list_erasures)
    erasure.command(epilog=examples("s4 erasure key"))(key)
    erasure.command(epilog=examples("s4 erasure list | grep proved | cut -f 1 | xargs -r -n 1 s4 erasure receipt"))(
        receipt
    )
    erasure.command(epilog=examples('s4 erasure verify receipt.json --public-key "$(cat s4.pub)"'))(verify)
    app.add_typer(erasure, name="erasure")


def list_erasures(
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List deleted tenants and how far their erasure is."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        found = s4.list_erasures()
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    print_table(("tenant", "state", "requested", "objects", "bytes", "rows"), [_row(each) for each in found.erasures])


def key(
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
) -> None:
    """Show the public key by which receipts are verified. Publish it: receipts are worth what is known of it."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        print_line(s4.list_erasures().public_key)


def receipt(
    tenant_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the deleted tenant.")],
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
) -> None:
    """Show a tenant's receipt, to be kept and given away as it is. Exit code 1 while there is none."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        found = s4.get_erasure(tenant_id)
    if found.receipt is None:
        print_note(f"The erasure of {tenant_id} is {found.state}; there is no receipt yet.{_next_look(found)}")
        raise typer.Exit(1)
    print_json(found.receipt)


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The receipt.")],
    public_key: Annotated[
        str | None,
        typer.Option(help="The deployment's public key, as `s4 erasure key` shows it; asked of the server if absent."),
    ] = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
) -> None:
    """Say whether the deployment has signed exactly this receipt; with a public key, ask nobody. Exit code 1 if not."""
    from s4.platform.security.signing import parsed, verifies

    try:
        said = parsed(file.read_bytes())
    except FileNotFoundError as error:
        raise WrongUsage(f"There is no file {file}.") from error
    except ValueError as error:
        raise WrongUsage(f"{file} is not JSON in which each name stands once: do not believe it.") from error
    if not isinstance(said, dict):
        raise WrongUsage(f"{file} is no receipt.")
    if public_key is None:
        with admin_client(url, admin_key, data_dir, ca_file) as s4:
            public_key = s4.list_erasures().public_key
    if not verifies(said, public_key):
        print_note("The signature is not that of this key over this receipt: do not believe it.")
        raise typer.Exit(1)
    objects = sum(each["objects"] for each in said["removed"]["objects"].values())
    print_line(
        f"Signed: of {said['tenant_id']} {objects} objects and {sum(said['removed']['rows'].values())} rows were "
        f"erased; at {said['proved_empty_at']} nothing was left."
    )
    for each in said["remains"]:
        print_line(f"  until {each['until'] or 'it ends by itself'}: {each['what']}")


def _next_look(erasure: "Erasure") -> str:
    if erasure.prove_after is None:
        return ""
    due = f"{erasure.prove_after:%Y-%m-%d %H:%M} UTC"
    if erasure.prove_after > datetime.now(UTC):
        return f" It is looked at again at {due}."
    return f" It has been due since {due}: a worker is at it, or tries again every S4_SWEEP_SECONDS and logs why."


def _row(erasure: "Erasure") -> tuple[str, ...]:
    return (
        erasure.tenant_id,
        erasure.state,
        f"{erasure.requested_at:%Y-%m-%d %H:%M}",
        str(sum(erasure.objects.values())),
        human_size(sum(erasure.bytes.values())),
        str(sum(erasure.rows.values())),
    )
