"""`s4 archive …`, `s4 hold …`, `s4 retention …`: what stays, for how long, and where."""

from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.options import (
    DATA_DIR,
    DEFAULT_URL,
    AdminKey,
    CaFile,
    DataDir,
    Json,
    Server,
    TenantKey,
    Url,
    admin_client,
    examples,
    tenant_client,
)
from s4.entrypoints.cli.output import print_json, print_line, print_table
from s4.kernel.units import human_size

if TYPE_CHECKING:
    from s4client import DocumentDetail, Due

_ACME = "$(s4 tenant list | head -1 | cut -f 1)"
_NEVER = "never"

Documents = Annotated[list[str], typer.Argument(metavar="ID", help="Ids of the documents.")]
TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="Id of the tenant.")]
DocumentArgument = Annotated[
    str | None, typer.Argument(metavar="[DOCUMENT]", help="Id of one document; the whole tenant without it.")
]
TenantOption = Annotated[str | None, typer.Option("--tenant", metavar="ID", help="Of this tenant only.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    archive = typer.Typer(help="Take documents out of search, keep their bytes, bring them back.", no_args_is_help=True)
    archive.command("put", epilog=examples("s4 archive put $(s4 ls --prefix papers/ | cut -f 1)"))(put)
    archive.command("restore", epilog=examples("s4 archive restore $(s4 ls --status archived | cut -f 1)"))(restore)
    app.add_typer(archive, name="archive")
    hold = typer.Typer(help="Legal holds: what nobody may delete or replace.", no_args_is_help=True)
    hold.command("place", epilog=examples(f"s4 hold place {_ACME} --reason 'Case 7'"))(place)
    hold.command("lift", epilog=examples(f"s4 hold lift {_ACME}"))(lift)
    hold.command("list", epilog=examples("s4 hold list", "s4 hold list --json"))(list_holds)
    app.add_typer(hold, name="hold")
    retention = typer.Typer(help="How long documents are kept, and what goes when.", no_args_is_help=True)
    retention.command("set", epilog=examples(f"s4 retention set {_ACME} --days 3650 --archive-after 90"))(set_days)
    retention.command("show", epilog=examples("s4 retention show", "s4 retention show --ahead 30 --json"))(show)
    retention.command("run", epilog=examples("s4 retention run --json"))(run)
    app.add_typer(retention, name="retention")


def put(
    document_ids: Documents,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Archive documents: out of every search at once; their bytes are kept, and count."""
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        _show([s4.archive(document_id) for document_id in document_ids], as_json=as_json)


def restore(
    document_ids: Documents,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Bring documents back from the archive. They are found when they are `ready`."""
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        _show([s4.restore(document_id) for document_id in document_ids], as_json=as_json)


def place(
    tenant_id: TenantArgument,
    reason: Annotated[str, typer.Option(help="A matter's name or number; stands in the audit trail.")],
    document_id: DocumentArgument = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Place a tenant, or one document, under a legal hold."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        if document_id is None:
            said = s4.hold_tenant(tenant_id, reason=reason).model_dump(mode="json")
        else:
            said = s4.hold_document(tenant_id, document_id, reason=reason).model_dump(mode="json")
    if as_json:
        print_json(said)
    else:
        print_line(f"{document_id or tenant_id} is held: {reason}.")


def lift(
    tenant_id: TenantArgument,
    document_id: DocumentArgument = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Lift the hold of a tenant as a whole, or the operator's of one document. Others stay."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        if document_id is None:
            said = s4.lift_tenant_hold(tenant_id).model_dump(mode="json")
        else:
            said = s4.lift_document_hold(tenant_id, document_id).model_dump(mode="json")
    if as_json:
        print_json(said)
    else:
        print_line(f"The hold of {document_id or tenant_id} is lifted.")


def list_holds(
    tenant: TenantOption = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List what is held: tenants as a whole, and documents."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        documents = [*s4.iter_holds(tenant_id=tenant)]
        tenants = [each for each in s4.iter_tenants() if each.legal_hold is not None and tenant in (None, each.id)]
    if as_json:
        listed = {"tenants": [each.model_dump(mode="json") for each in tenants]}
        print_json(listed | {"documents": [each.model_dump(mode="json") for each in documents]})
        return
    rows = [(each.id, "", "operator", each.legal_hold.reason) for each in tenants if each.legal_hold is not None]
    rows += [
        (each.tenant_id, each.document_id, holder, hold.reason)
        for each in documents
        for holder, hold in each.holds.items()
    ]
    print_table(("tenant", "document", "by", "reason"), rows)


def set_days(
    tenant_id: TenantArgument,
    days: Annotated[
        int | None,
        typer.Option(min=0, max=36_500, help="Days that documents are kept; 0: for ever. As the plan says if absent."),
    ] = None,
    archive_after: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=36_500,
            help="Days without a reader after which they are archived; 0: never. As the plan says if absent.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Say how long a tenant's documents are kept, whatever its plan says."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        tenant = s4.set_keeping(tenant_id, retention_days=days, archive_after_days=archive_after)
    if as_json:
        print_json(tenant.model_dump(mode="json"))
        return
    of_plan = "as its plan says"
    print_line(
        f"{tenant.id}: kept {_said(days, 'for ever', of_plan)}; archived {_said(archive_after, _NEVER, of_plan)}."
    )


def show(
    tenant: TenantOption = None,
    ahead: Annotated[int, typer.Option(metavar="DAYS", min=0, max=36_500, help="As it will be in so many days.")] = 0,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """What the next run deletes and archives, by tenant: a dry run."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        due = s4.retention_due(tenant_id=tenant, ahead_days=ahead)
    if as_json:
        print_json(due.model_dump(mode="json"))
        return
    headings = ("tenant", "kept", "deleted", "bytes", "held", "archived")
    print_table(headings, [_row(each) for each in due.tenants])


def run(
    tenant: TenantOption = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Delete and archive what is due, at once; workers do it every hour. Interrupted, it goes on when called again."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        done = s4.run_retention(tenant_id=tenant)
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    print_line(
        f"Deleted {done.deleted} documents ({human_size(done.deleted_bytes)}), archived {done.archived}; "
        f"{done.held} are held."
    )


def _show(documents: "list[DocumentDetail]", *, as_json: bool) -> None:
    if as_json:
        print_json({"documents": [document.model_dump(mode="json") for document in documents]})
        return
    print_table(("id", "status", "name"), [(each.document_id, each.status, each.filename) for each in documents])


def _row(due: "Due") -> tuple[str, ...]:
    return (
        due.tenant_id,
        _said(due.retention_days, "for ever", "for ever"),
        str(due.expired.documents),
        human_size(due.expired.bytes),
        str(due.held.documents),
        str(due.unread.documents),
    )


def _said(days: int | None, zero: str, none: str) -> str:
    return none if days is None else f"{days} days" if days else zero
