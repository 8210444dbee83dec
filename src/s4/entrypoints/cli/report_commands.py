"""`s4 report …`: the monthly reviews. Asks the catalog, not the API."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.backup_commands import operator_context
from s4.entrypoints.cli.options import ConfigFile, ServerDataDir, configuration, deployed, examples
from s4.entrypoints.cli.output import print_note, print_page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s4.domains.reports import Page, ReportService
    from s4.kernel.settings import Settings

Month = Annotated[str | None, typer.Option(help="`2026-11`, in UTC. Default: the running month.")]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html", dir_okay=False, show_default=False, help="Also a page with charts, complete in this one file."
    ),
]
Done = Annotated[
    bool,
    typer.Option("--done", help="You have read it: tick the checklist's item, with the report's first sentence."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    report = typer.Typer(help="Write the month's review of performance, or of costs.", no_args_is_help=True)
    lines = (
        "s4 report performance --data-dir s4-data",
        "s4 report performance --month 2026-01 --html performance.html",
    )
    report.command(epilog=examples(*lines))(performance)
    lines = ("s4 report cost --data-dir s4-data > cost.md", "s4 report cost --html cost.html --billing bill.csv")
    report.command(epilog=examples(*lines))(cost)
    app.add_typer(report, name="report")


def performance(
    context: typer.Context,
    month: Month = None,
    html: Html = None,
    done: Done = False,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
) -> None:
    """Availability, latency, error budgets, tenants, growth, queue and freshness, as Markdown."""
    from s4.domains.usage.periods import month_of

    start = month_of(month) if month is not None else None
    settings, ticked = _settings(context, config, data_dir), "performance-review" if done else None
    _write(asyncio.run(_made(settings, lambda reports: reports.performance(start), ticked)), html)


def cost(
    context: typer.Context,
    month: Month = None,
    html: Html = None,
    billing: Annotated[
        Path | None,
        typer.Option(
            "--billing",
            exists=True,
            dir_okay=False,
            show_default=False,
            help="A bill to lay beside the model, as CSV: AWS's Cost and Usage report, or Google's billing export.",
        ),
    ] = None,
    done: Done = False,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
) -> None:
    """What each tenant cost by the model, what was billed, and the three largest savings, as Markdown."""
    from s4.domains.reports import read_bill
    from s4.domains.usage.periods import month_of

    start = month_of(month) if month is not None else None
    settings = _settings(context, config, data_dir)
    with ExitStack() as opened:
        # utf-8-sig: spreadsheets put a mark before the first heading
        bill = read_bill(opened.enter_context(billing.open(encoding="utf-8-sig", newline=""))) if billing else None
        ticked = "cost-review" if done else None
        page = asyncio.run(_made(settings, lambda reports: reports.cost(start, bill), ticked))
    _write(page, html)


def _settings(context: typer.Context, config: Path | None, data_dir: Path | None) -> "Settings":
    from s4.platform.telemetry import logs

    settings = deployed(configuration(context, config, data_dir=data_dir))
    logs.configure(level="critical", log_format=settings.log_format, service="report")
    return settings


async def _made(settings: "Settings", make: "Callable[[ReportService], Awaitable[Page]]", ticked: str | None) -> "Page":
    """`ticked`: the item of the checklist that is done by that."""
    from s4.domains.upkeep import Checklist
    from s4.entrypoints.bootstrap import make_reports, open_core

    async with open_core(settings) as core:
        page = await make(make_reports(core))
        if ticked is not None:
            note = f"{page.title}: {page.lead}"
            await Checklist(core.database).done(await operator_context(core), ticked, note)
        return page


def _write(page: "Page", html: Path | None) -> None:
    from s4.domains.reports import as_html

    print_page(page.markdown())
    if html is not None:
        html.write_text(as_html(page), encoding="utf-8")
        print_note(f"Written to {html}.")
