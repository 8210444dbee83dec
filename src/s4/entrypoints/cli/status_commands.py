"""`s4 status` and `s4 version`."""

from typing import TYPE_CHECKING

import typer

from s4.entrypoints.cli.options import DEFAULT_URL, CaFile, Json, TenantKey, Url, examples
from s4.entrypoints.cli.output import print_json, print_line

if TYPE_CHECKING:
    from s4client import S4Client

_STATES = ("processing", "ready", "failed", "archived", "restoring")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(epilog=examples("s4 status", "s4 status --json"))(status)
    app.command(epilog=examples("s4 version"))(version)


def status(url: Url = DEFAULT_URL, tenant_key: TenantKey = None, ca_file: CaFile = None, as_json: Json = False) -> None:
    """Whether the server is ready; with a key also how many documents are in which state."""
    from s4client import RetryPolicy, S4Client

    key = (tenant_key or "").strip() or None
    with S4Client(url, api_key=key, retry=RetryPolicy(attempts_max=1), ca_file=ca_file) as s4:
        health = s4.health()
        counts = _counts(s4) if key and health.ready else None
    if as_json:
        print_json({"url": url, "health": health.model_dump(mode="json"), "documents": counts})
    else:
        print_line(f"{url} is {health.status}.")
        for name, state in health.dependencies.items():
            print_line(f"  {name}: {state}")
        if counts is not None:
            print_line("Documents: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    if not health.ready:
        raise typer.Exit(1)


def version(as_json: Json = False) -> None:
    """The version of this program; `s4 --version` too."""
    from s4 import __version__

    if as_json:
        print_json({"version": __version__})
    else:
        print_line(f"s4 {__version__}")


def _counts(s4: "S4Client") -> dict[str, int]:
    return {state: s4.list_page(status=state, limit=1).total or 0 for state in _STATES}
