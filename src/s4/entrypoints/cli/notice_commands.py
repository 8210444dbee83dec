"""`s4 maintenance …` and `s4 incident …`: what the operator tells everybody."""

from datetime import UTC, datetime, timedelta
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
    moment,
)
from s4.entrypoints.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from s4client import Incident, MaintenanceWindow
    from s4client.operations.admin.notices import IncidentImpact, IncidentState

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_NEXT = "next"
_LATEST = "latest"

WindowId = Annotated[str, typer.Argument(metavar="ID", help="Id of the window; `next` is the one that begins first.")]
IncidentId = Annotated[str, typer.Argument(metavar="ID", help="Id of the incident; `latest` is the newest.")]
Said = Annotated[str | None, typer.Option("--message", "-m", help="What to say; a template speaks if absent.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    maintenance = typer.Typer(help="Announce maintenance windows.", no_args_is_help=True)
    maintenance.command(
        epilog=examples(
            "s4 maintenance schedule --from 2036-12-01T02:00Z --for 2h -m 'New disks'",
            "s4 maintenance schedule --from 2036-12-24T22:00Z --for 30m --read-only --lead 7d --json",
        )
    )(schedule)
    maintenance.command("list", epilog=examples("s4 maintenance list", "s4 maintenance list --past --json"))(
        list_windows
    )
    maintenance.command(epilog=examples("s4 maintenance end next"))(end)
    maintenance.command(epilog=examples("s4 maintenance cancel next"))(cancel)
    app.add_typer(maintenance, name="maintenance")
    incident = typer.Typer(help="Say on the status page what is wrong.", no_args_is_help=True)
    incident.command("open", epilog=examples("s4 incident open 'Searches are slow' --impact major"))(open_)
    incident.command("list", epilog=examples("s4 incident list", "s4 incident list --json"))(list_incidents)
    incident.command(epilog=examples("s4 incident update latest identified -m 'A disk is failing'"))(update)
    incident.command(epilog=examples("s4 incident resolve latest"))(resolve)
    app.add_typer(incident, name="incident")


def schedule(
    length: Annotated[str, typer.Option("--for", metavar="LENGTH", help="How long: 30m, 2h, 1d.")],
    starts_at: Annotated[
        datetime | None, typer.Option("--from", parser=moment, metavar="TIME", help="When; now if absent.")
    ] = None,
    message: Annotated[str, typer.Option("--message", "-m", help="What tenants are told.")] = "",
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse what tenants write while it runs.")] = False,
    tenant: Annotated[list[str] | None, typer.Option("--tenant", help="Only this tenant (id); repeatable.")] = None,
    lead: Annotated[str, typer.Option(metavar="LENGTH", help="How long before it is announced.")] = "1d",
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Schedule a window. Tenants are told now and when its lead time begins; it begins and ends by itself."""
    begins = starts_at if starts_at is not None else datetime.now(UTC)
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        window = s4.schedule_maintenance(
            begins,
            begins + _length(length),
            mode="read_only" if read_only else "announce",
            message=message,
            tenants=tenant or None,
            lead_seconds=int(_length(lead).total_seconds()),
        )
    _show_window(window, as_json=as_json)


def list_windows(
    past: Annotated[bool, typer.Option("--past", help="Also those that are over or cancelled.")] = False,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List the windows, by their start."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        windows = s4.list_maintenance_windows(past=past).windows
    if as_json:
        print_json({"windows": [window.model_dump(mode="json") for window in windows]})
        return
    rows = [
        (each.id, each.state, each.mode, f"{each.starts_at:%Y-%m-%d %H:%M}", f"{each.ends_at:%Y-%m-%d %H:%M}",
         "everybody" if each.tenants is None else f"{len(each.tenants)} tenants", each.message)
        for each in windows
    ]  # fmt: skip
    print_table(("id", "state", "mode", "from", "to", "for", "message"), rows)


def end(
    window_id: WindowId,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """End a window now; one that has not begun is cancelled."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        if window_id == _NEXT:
            window_id = _first("window", [each.id for each in s4.list_maintenance_windows().windows])
        window = s4.end_maintenance(window_id)
    _show_window(window, as_json=as_json)


def cancel(
    window_id: WindowId,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Cancel a window that has not begun; one that runs is ended."""
    end(window_id, url, admin_key, data_dir, ca_file, as_json)


def open_(
    title: Annotated[str, typer.Argument(help="What is wrong, in a few words.")],
    impact: Annotated[str, typer.Option(help="minor, major or critical.")] = "minor",
    message: Said = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Open an incident on the status page."""
    wanted: IncidentImpact = impact  # type: ignore[assignment]  # the server says which there are
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        incident = s4.open_incident(title, impact=wanted, message=message)
    _show_incident(incident, as_json=as_json)


def list_incidents(
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List the incidents, newest first."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        incidents = s4.list_incidents().incidents
    if as_json:
        print_json({"incidents": [incident.model_dump(mode="json") for incident in incidents]})
        return
    rows = [
        (each.id, each.state, each.impact, f"{each.updates[0].at:%Y-%m-%d %H:%M}", each.title) for each in incidents
    ]
    print_table(("id", "state", "impact", "since", "title"), rows)


def update(
    incident_id: IncidentId,
    state: Annotated[str, typer.Argument(help="investigating, identified, monitoring or resolved.")],
    message: Said = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Say how an incident stands now."""
    wanted: IncidentState = state  # type: ignore[assignment]  # the server says which there are
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        if incident_id == _LATEST:
            incident_id = _first("incident", [each.id for each in s4.list_incidents().incidents])
        incident = s4.update_incident(incident_id, wanted, message=message)
    _show_incident(incident, as_json=as_json)


def resolve(
    incident_id: IncidentId,
    message: Said = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Say that an incident is over. It stays on the status page for a day."""
    update(incident_id, "resolved", message, url, admin_key, data_dir, ca_file, as_json)


def _first(what: str, ids: list[str]) -> str:
    if not ids:
        raise WrongUsage(f"There is no {what}.")
    return ids[0]


def _length(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in _UNITS:
        raise WrongUsage(f"{text!r} is not a length such as 30m, 2h or 1d.")
    return timedelta(seconds=int(number) * _UNITS[unit])


def _show_window(window: "MaintenanceWindow", *, as_json: bool) -> None:
    if as_json:
        print_json(window.model_dump(mode="json"))
        return
    print_line(f"{window.id} is {window.state}: {window.starts_at:%Y-%m-%d %H:%M} to {window.ends_at:%Y-%m-%d %H:%M}, "
               f"{window.mode}.")  # fmt: skip


def _show_incident(incident: "Incident", *, as_json: bool) -> None:
    if as_json:
        print_json(incident.model_dump(mode="json"))
        return
    print_line(f"{incident.id} is {incident.state}: {incident.updates[-1].message}")
