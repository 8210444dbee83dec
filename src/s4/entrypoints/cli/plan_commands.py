"""`s4 plan …`: plans as the administrator edits them."""

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    pairs,
    scalar,
)
from s4.entrypoints.cli.output import print_json, print_line, print_table
from s4.kernel.units import human_size, parse_size

if TYPE_CHECKING:
    from s4client import Plan

_SIZES = ("storage_limit", "max_file_size")
_UNLIMITED = "unlimited"
_FIELDS_HELP = (
    "name=…, storage_limit=5GiB, max_file_size=50MiB, api_calls_limit=…, documents_limit=…, requests_per_second=…, "
    "burst=…, embedding_tokens_limit=…, webhooks_limit=…, retention_days=…, archive_after_days=…, "
    "old_versions_days=…, price_monthly=…, price_yearly=…, "
    "features=keyword_search,webhooks, listed=false, slo.availability=0.999, slo.latency_p95_ms=500. "
    "Limits may be "
    "`unlimited`."
)

PlanArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the plan.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    plan = typer.Typer(help="Look at plans and edit them.", no_args_is_help=True)
    plan.command("list", epilog=examples("s4 plan list", "s4 plan list --json"))(list_plans)
    plan.command(epilog=examples("s4 plan get free"))(get)
    plan.command(
        epilog=examples(
            "s4 plan create gold name=Gold storage_limit=5GiB api_calls_limit=5000 price_monthly=49 listed=false"
        )
    )(create)
    plan.command(epilog=examples("s4 plan update gold storage_limit=10GiB api_calls_limit=unlimited"))(update)
    plan.command(epilog=examples("s4 plan delete gold"))(delete)
    app.add_typer(plan, name="plan")


def list_plans(
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List all plans, from the cheapest to the dearest."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        plans = s4.list_all_plans().plans
    if as_json:
        print_json({"plans": [plan.model_dump(mode="json") for plan in plans]})
        return
    headings = ("id", "name", "a month", "storage", "calls a month", "file")
    print_table(headings, [_row(plan) for plan in plans])


def get(
    plan_id: PlanArgument,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Show a plan."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        _show(s4.get_plan(plan_id), as_json=as_json)


def create(
    plan_id: PlanArgument,
    fields: Annotated[list[str], typer.Argument(metavar="FIELD=VALUE...", help=_FIELDS_HELP)],
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Make a plan. A limit that is not named does not bind."""
    plan = _plan({"id": plan_id, "name": plan_id} | _values(fields))
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        _show(s4.create_plan(plan), as_json=as_json)


def update(
    plan_id: PlanArgument,
    fields: Annotated[list[str], typer.Argument(metavar="FIELD=VALUE...", help=_FIELDS_HELP)],
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Change what is named of a plan, for all its tenants at once. What they hold beyond it stays."""
    changed = _values(fields)
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        current = s4.get_plan(plan_id).model_dump()
        if changed.get("slo") and current["slo"]:
            changed["slo"] = current["slo"] | changed["slo"]
        plan = _plan(current | changed)
        _show(s4.replace_plan(plan), as_json=as_json)


def delete(
    plan_id: PlanArgument,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Delete a plan that no tenant is on, or will be."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        s4.delete_plan(plan_id)
    if as_json:
        print_json({"deleted": plan_id})
    else:
        print_line(f"Deleted plan {plan_id}.")


def _values(fields: list[str]) -> dict[str, Any]:
    """`slo.availability` and `slo.latency_p95_ms` are the two halves of `slo`."""
    values: dict[str, Any] = {}
    for name, text in pairs(fields, hint="FIELD=VALUE").items():
        whole, _, part = name.partition(".")
        if whole == "slo" and part:
            values["slo"] = (values.get("slo") or {}) | {part: _value(name, text)}
        else:
            values[name] = _value(name, text)
    return values


def _value(name: str, text: str) -> Any:
    if text == _UNLIMITED:
        return None
    if name == "name":
        return text
    if name == "features":
        return tuple(filter(None, text.split(",")))
    if name in _SIZES:
        try:
            return parse_size(text)
        except ValueError as error:
            raise typer.BadParameter(f"{error}.", param_hint=name) from None
    value = scalar(text)
    if isinstance(value, float) and not math.isfinite(value):
        raise typer.BadParameter(f"{text!r} is not a number that can be sent.", param_hint=name)
    return value


def _plan(fields: dict[str, Any]) -> "Plan":
    from pydantic import ValidationError

    from s4client import Plan

    if unknown := sorted(set(fields) - set(Plan.model_fields)):
        raise typer.BadParameter(f"A plan has no {', '.join(unknown)}.", param_hint="FIELD=VALUE")
    try:
        return Plan.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"{first['msg']}.", param_hint=str(first["loc"][0])) from None


def _show(plan: "Plan", *, as_json: bool) -> None:
    fields = plan.model_dump(mode="json")
    if as_json:
        print_json(fields)
        return
    for name, value in fields.items():
        print_line(f"{name}: {_UNLIMITED if value is None and name != 'slo' else value}")


def _row(plan: "Plan") -> tuple[str, ...]:
    def limit(value: int | None, *, is_size: bool = False) -> str:
        if value is None:
            return _UNLIMITED
        return human_size(value) if is_size else str(value)

    return (
        plan.id,
        plan.name,
        f"{plan.price_monthly:g}",
        limit(plan.storage_limit, is_size=True),
        limit(plan.api_calls_limit),
        limit(plan.max_file_size, is_size=True),
    )
