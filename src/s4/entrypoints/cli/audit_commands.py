"""`s4 audit …`: who did what, and whether the trail is what it was."""

import contextlib
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

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
from s4.entrypoints.cli.output import print_json, print_line, print_note, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s4client import AuditEntry, AuditVerification, S4AdminClient

_STEP = 100  # batches of one request

Tenant = Annotated[str | None, typer.Option("--tenant", help="Only what concerns this tenant (id).")]
Who = Annotated[str | None, typer.Option("--actor", help="Only what this administrator did.")]
Action = Annotated[str | None, typer.Option(help="Only this action: `plan.update`, `http.get`.")]
Since = Annotated[datetime | None, typer.Option("--from", parser=moment, metavar="TIME", help="The first moment.")]
Until = Annotated[
    datetime | None, typer.Option("--to", parser=moment, metavar="TIME", help="The first moment after the last.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    audit = typer.Typer(help="Read and verify the audit trail.", no_args_is_help=True)
    audit.command("list", epilog=examples("s4 audit list", "s4 audit list --action tenant.create --limit 5 --json"))(
        list_entries
    )
    audit.command(epilog=examples("s4 audit verify", "s4 audit verify --json"))(verify)
    audit.command(epilog=examples("s4 audit export --from 2026-01-01 -o trail.jsonl"))(export)
    app.add_typer(audit, name="audit")


def list_entries(
    tenant: Tenant = None,
    actor: Who = None,
    action: Action = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List what was done, newest first."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        entries = s4.list_audit_page(
            tenant_id=tenant, actor=actor, action=action, since=since, until=until, limit=limit
        ).entries
    if as_json:
        print_json({"entries": [entry.model_dump(mode="json") for entry in entries]})
        return
    print_table(("time", "actor", "action", "subject", "status", "count", "address"), [_row(each) for each in entries])


def verify(
    anchor: Annotated[
        str | None,
        typer.Option(
            metavar="BATCH:HASH",
            help="What an earlier verification said of its end, kept elsewhere: it must still stand in the chain.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Compare the trail with its sealed batches, and the chain with itself. Exits with 1 when they disagree."""
    anchored = _anchor(anchor) if anchor is not None else None
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        found = _verified(s4)
        anchor_holds = anchored is None or (found.batch >= anchored[0] and _ends_with(s4, *anchored))
    ok = found.ok and anchor_holds
    if as_json:
        print_json({**found.model_dump(mode="json"), "ok": ok, "anchor_holds": anchor_holds})
    elif ok:
        print_line(f"The trail holds: {found.entries} entries in {found.batches} batches.")
        print_line(f"Keep this elsewhere, and later ask: s4 audit verify --anchor {found.batch}:{found.hash}")
    else:
        if found.problem is not None:
            print_note(f"The trail does not hold: {found.problem.message}.")
        if not anchor_holds:
            print_note(f"The trail does not hold: batch {(anchored or (0,))[0]} does not end as the anchor says.")
    if not ok:
        raise typer.Exit(1)


def export(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; stdout if absent.")] = None,
    tenant: Tenant = None,
    actor: Who = None,
    action: Action = None,
    since: Since = None,
    until: Until = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
) -> None:
    """Write the trail as JSON lines, newest first, with positions and hashes."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4, _opened(output) as file:
        for entry in s4.iter_audit(tenant_id=tenant, actor=actor, action=action, since=since, until=until):
            file.write(json.dumps(entry.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":")) + "\n")


def _verified(s4: "S4AdminClient") -> "AuditVerification":
    """All of the trail, step by step; what was found of it as one."""
    batches = entries = after = 0
    while True:
        found = s4.verify_audit(after=after, limit=_STEP)
        batches, entries, after = batches + found.batches, entries + found.entries, found.batch
        if found.complete or not found.ok:
            return found.model_copy(update={"batches": batches, "entries": entries})


def _anchor(text: str) -> tuple[int, str]:
    batch, _, digest = text.partition(":")
    if not batch.isdecimal() or int(batch) < 1 or not digest:
        raise WrongUsage("--anchor is BATCH:HASH, as `s4 audit verify` prints it.")
    return int(batch), digest


def _ends_with(s4: "S4AdminClient", batch: int, digest: str) -> bool:
    said = s4.verify_audit(after=batch - 1, limit=1)
    return (said.batch, said.hash) == (batch, digest)


@contextlib.contextmanager
def _opened(path: Path | None) -> "Iterator[TextIO]":
    if path is None:
        yield sys.stdout
        return
    with path.open("w", encoding="utf-8") as file:
        yield file


def _row(entry: "AuditEntry") -> tuple[str, ...]:
    return (
        f"{entry.at:%Y-%m-%d %H:%M:%S}",
        entry.actor or entry.actor_kind,
        entry.action,
        entry.subject,
        str(entry.status or ""),
        str(entry.count),
        entry.address or "",
    )
