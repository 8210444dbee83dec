"""`s4 usage …`: what a tenant used, and for the administrator what everybody did."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4.entrypoints.cli.options import (
    DATA_DIR,
    DEFAULT_URL,
    AdminKey,
    CaFile,
    Csv,
    DataDir,
    Json,
    Server,
    TenantKey,
    Url,
    admin_client,
    examples,
    tenant_client,
)
from s4.entrypoints.cli.output import print_json, print_line, print_rows

if TYPE_CHECKING:
    from s4client import Usage

_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%SZ"]


class Granularity(StrEnum):
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class Period(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class By(StrEnum):
    CALLS = "calls"
    STORAGE = "storage"


From = Annotated[datetime | None, typer.Option("--from", formats=_TIMES, help="In UTC.")]
To = Annotated[datetime | None, typer.Option("--to", formats=_TIMES, help="In UTC, not included. Default: now.")]
Days = Annotated[datetime | None, typer.Option(formats=_TIMES[:1], help="In UTC, included.")]
By_ = Annotated[Granularity, typer.Option("--by", help="Hours, days or months.")]
Since = Annotated[Period, typer.Option(help="Today, the last seven days, or this calendar month, in UTC.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many, the most first.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    usage = typer.Typer(help="What was used, and what it cost: by a tenant, by all, by endpoint.")
    usage.callback(invoke_without_command=True)(_own_if_alone)
    usage.command(epilog=examples("s4 usage own", "s4 usage own --by hour --csv", "s4 usage own --by month --json"))(
        own
    )
    usage.command(epilog=examples("s4 usage tenant $(s4 tenant list | head -1 | cut -f 1) --by month"))(tenant)
    usage.command(epilog=examples("s4 usage top", "s4 usage top --by storage --limit 3 --csv"))(top)
    usage.command(epilog=examples("s4 usage endpoints", "s4 usage endpoints --period week --json"))(endpoints)
    usage.command(epilog=examples("s4 usage system", "s4 usage system --period month --csv"))(system)
    app.add_typer(usage, name="usage")


def _own_if_alone(context: typer.Context) -> None:
    """What was used, and what it cost: by a tenant, by all, by endpoint. Alone: `s4 usage own`."""
    if context.invoked_subcommand is None:
        assert isinstance(context.command, typer.core.TyperGroup), "commands are registered below it"
        context.command.commands["own"].main(args=[], prog_name=f"{context.command_path} own", standalone_mode=False)


def own(
    since: From = None,
    until: To = None,
    by: By_ = Granularity.DAY,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """What you used, with an estimate of what it cost the operator."""
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        _print(s4.usage(since=_utc(since), until=_utc(until), granularity=by.value), as_csv=as_csv, as_json=as_json)


def tenant(
    tenant_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the tenant.")],
    since: From = None,
    until: To = None,
    by: By_ = Granularity.DAY,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """What a tenant used."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        used = s4.tenant_usage(tenant_id, since=_utc(since), until=_utc(until), granularity=by.value)
    _print(used, as_csv=as_csv, as_json=as_json)


def top(
    period: Since = Period.MONTH,
    by: Annotated[By, typer.Option(help="API calls, or bytes stored now.")] = By.CALLS,
    limit: Limit = 10,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """The tenants that use the most."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        found = s4.top_tenants(period=period.value, limit=limit)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    shares: Sequence[Any] = found.top_tenants_by_api_calls if by is By.CALLS else found.top_tenants_by_storage
    print_rows([share.model_dump(mode="json") for share in shares], as_csv=as_csv)


def endpoints(
    period: Since = Period.DAY,
    first_day: Days = None,
    last_day: Days = None,
    tenant_id: Annotated[str | None, typer.Option("--tenant", help="Of this tenant alone.")] = None,
    limit: Limit = 50,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """The routes that tenants ask the most."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        found = s4.endpoint_analytics(
            period=period.value, start_date=_utc(first_day), end_date=_utc(last_day), tenant_id=tenant_id, limit=limit
        )
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    print_rows([each.model_dump(mode="json", exclude={"hourly_breakdown"}) for each in found.endpoints], as_csv=as_csv)


def system(
    period: Since = Period.DAY,
    first_day: Days = None,
    last_day: Days = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """All tenants together; `--csv` has a line for each hour."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        found = s4.system_analytics(period=period.value, start_date=_utc(first_day), end_date=_utc(last_day))
    said = found.model_dump(mode="json")
    if as_json:
        print_json(said)
    elif as_csv:
        print_rows(said["hourly_breakdown"], as_csv=True)
    else:
        for name, value in said.items():
            if name != "hourly_breakdown":
                print_line(f"{name}: {value}")


def _print(used: "Usage", *, as_csv: bool, as_json: bool) -> None:
    if as_json:
        print_json(used.model_dump(mode="json", by_alias=True))
        return
    rows = []
    for use in used.series:
        shown = use.model_dump(mode="json", include=_COLUMNS)
        rows.append(shown | {"cost": use.cost_estimate.total, "currency": use.cost_estimate.currency})
    print_rows([{"start": row.pop("start"), **row} for row in rows], as_csv=as_csv)


_COLUMNS = {
    "start", "calls", "searches", "bytes_in", "bytes_out", "bytes_stored", "documents", "chunks",
    "embedding_tokens_paid", "embedding_tokens_cached",
}  # fmt: skip


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None else None
