"""What a dashboard consists of, and its JSON.

A board is rows of panels, a panel one or more queries. The description of a panel says what to do or where to look when
it moves. Units are Grafana's: `s`, `bytes`, `Bps`, `reqps`, `percentunit`, `short`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import DataSourceRef, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

RATE = "$__rate_interval"
_DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_HEIGHT = {"graph": 8, "figure": 4, "table": 8}


class Kind(StrEnum):
    """How a panel shows its queries."""

    GRAPH = "graph"
    """Over time."""
    FIGURE = "figure"
    """The last values, large."""
    TABLE = "table"
    """The last values, one line each."""


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    about: str
    """What to do, or where to look, when it moves."""
    queries: Mapping[str, str]
    """Expressions by legend; `{{label}}` in a legend is the label's value."""
    unit: str
    kind: Kind
    span: int


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable at the head of a board. `query` as Grafana's `label_values(…)`."""

    name: str
    label: str
    query: str
    regex: str = ""
    all: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    uid: str
    """`s4-` and the area that alerts name."""
    title: str
    about: str
    rows: tuple[Row, ...]
    choices: tuple[Choice, ...] = ()


def graph(title: str, about: str, queries: Mapping[str, str], *, unit: str = "short", span: int = 8) -> Panel:
    return Panel(title, about, queries, unit, Kind.GRAPH, span)


def figure(title: str, about: str, query: str, *, unit: str = "short", span: int = 4) -> Panel:
    return Panel(title, about, {"": query}, unit, Kind.FIGURE, span)


def listing(title: str, about: str, query: str, *, unit: str = "short", span: int = 12) -> Panel:
    return Panel(title, about, {"": query}, unit, Kind.TABLE, span)


def rate(metric: str, by: str = "") -> str:
    """A counter's growth a second, in all processes together; 0 while nothing of it was ever counted."""
    grouped = f"sum by ({by})" if by else "sum"
    return or_zero(f"{grouped} (rate({metric}[{RATE}]))")


def or_zero(expression: str) -> str:
    """Of what is not there, such as a label's value that never came: 0, instead of an empty panel."""
    return f"{expression} or on () vector(0)"


def rendered(board: Board) -> dict[str, Any]:
    """The board as Grafana imports it."""
    made = (
        builders.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags(["s4"])
        .refresh("30s")
        .time("now-3h", "now")
        .readonly()
        .with_variable(builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .link(
            builders.DashboardLink("S4")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["s4"])
            .as_dropdown(True)
            .keep_time(True)
        )
    )
    for choice in board.choices:
        made = made.with_variable(_variable(choice))
    for row in board.rows:
        made = made.with_row(builders.Row(row.title))
        for panel in row.panels:
            made = made.with_panel(_panel(panel))
    return _plain(made.build())


def _plain(built: models.Dashboard) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(built, cls=JSONEncoder))
    return plain


def _variable(choice: Choice) -> builders.QueryVariable:
    variable = (
        builders.QueryVariable(choice.name)
        .label(choice.label)
        .datasource(_DATASOURCE)
        .query(choice.query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .regex(choice.regex)
    )
    return variable.include_all(True).multi(True).all_value(".+") if choice.all else variable


def _panel(panel: Panel) -> Any:
    made: Any
    match panel.kind:
        case Kind.GRAPH:
            made = (
                timeseries.Panel()
                .legend(
                    VizLegendOptions()
                    .display_mode(LegendDisplayMode.LIST)
                    .placement(LegendPlacement.BOTTOM)
                    .show_legend(True)
                )
                .fill_opacity(8)
                .min(0)
            )
        case Kind.FIGURE:
            made = stat.Panel().reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        case Kind.TABLE:
            made = table.Panel()
    made = (
        made.title(panel.title)
        .description(panel.about)
        .datasource(_DATASOURCE)
        .unit(panel.unit)
        .span(panel.span)
        .height(_HEIGHT[panel.kind.value])
    )
    for number, (legend, expression) in enumerate(panel.queries.items()):
        query = Dataquery().expr(expression).ref_id(chr(ord("A") + number)).datasource(_DATASOURCE)
        if panel.kind is Kind.TABLE:
            made = made.with_target(query.instant().format(PromQueryFormat.TABLE))
        else:
            made = made.with_target(query.legend_format(legend) if legend else query)
    return made
