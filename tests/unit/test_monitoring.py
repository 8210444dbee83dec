"""What is watched of S4 (`deploy/monitoring`) names what there is and has a page for whoever is woken, and its files
say what the code says. That alerts fire and panels fill, `tests/ops/test_prometheus.py` shows with a real Prometheus.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.monitoring import generate, scrape
from deploy.monitoring.alerts import ALERTS, Alert
from deploy.monitoring.dashboards import BOARDS
from deploy.monitoring.records import GROUPS
from deploy.monitoring.table import WATCHED
from s4.platform.telemetry import metrics

REPOSITORY = Path(__file__).parents[2]
RUNBOOKS = REPOSITORY / "docs" / "runbooks"
SECTIONS = ("What it means", "Who is affected", "Look at", "Do", "Prevent")
OF_PROMETHEUS = {
    "up": (),
    "scrape_samples_scraped": (),
    "scrape_duration_seconds": (),
    "ALERTS": ("alertname", "alertstate", "severity", "area"),
}
OF_THE_SCRAPE = {"process", "job", "instance"}
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}
SELECTOR = re.compile(r"\b((?:[a-z0-9_]+:)*[a-zA-Z_][a-zA-Z0-9_]*(?::[a-z0-9_]+)*)(?:\{([^}]*)\})")
NAME = re.compile(r"(?<![\w:\"])(?:[a-z]+:)?s4_[a-z0-9_]+(?::[a-z0-9_]+)?|\bs4:[a-z0-9_]+:[a-z0-9_]+")
GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")


def declared() -> dict[str, set[str]]:
    """The labels of every series that can be asked for, by its name."""
    found = {name: set(labels) for name, labels in OF_PROMETHEUS.items()}
    for value in vars(metrics).values():
        if not hasattr(value, "describe") or isinstance(value, type):
            continue
        (family,) = value.describe()
        labels = set(value.labels if isinstance(value, metrics.Read) else value._labelnames)
        for suffix in SUFFIXES[family.type]:
            found[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


def recorded() -> dict[str, str]:
    return {record.name: record.expression for group in GROUPS for record in group.records}


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression with the name of what it belongs to."""
    for name, expression in recorded().items():
        yield f"record {name}", expression
    for alert in ALERTS:
        yield f"alert {alert.name}", alert.expression
    for board in BOARDS:
        for row in board.rows:
            for panel in row.panels:
                for number, expression in enumerate(panel.queries.values()):
                    yield f"panel {board.uid}: {panel.title} {number}", expression


EXPRESSIONS = list(expressions())


def test_every_expression_names_declared_metrics_and_their_labels_only() -> None:
    series, records = declared(), recorded()
    labels_of_all = set().union(*series.values()) | OF_THE_SCRAPE | {"class"}
    wrong = []
    for owner, expression in EXPRESSIONS:
        bare = re.sub(r'"[^"]*"', '""', expression)
        wrong += [f"{owner}: {name}" for name in NAME.findall(bare) if name not in series and name not in records]
        for name, matchers in SELECTOR.findall(bare):
            allowed = series.get(name, labels_of_all) | OF_THE_SCRAPE
            named = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            wrong += [f"{owner}: {name} has no {label}" for label in named - allowed]
        for grouped in GROUPING.findall(bare):
            named = {label.strip() for label in grouped.split(",") if label.strip()}
            wrong += [f"{owner}: by {label}" for label in named - labels_of_all]
    assert not wrong, "\n".join(wrong)


def test_a_metric_that_is_not_there_is_noticed() -> None:
    """The test above can fail."""
    assert NAME.findall("sum(rate(s4_gone_total[5m]))") == ["s4_gone_total"]
    assert "s4_gone_total" not in declared()
    assert SELECTOR.findall('s4_ready{zone="a"}') == [("s4_ready", 'zone="a"')]


def test_every_record_is_asked_for() -> None:
    asked = " ".join(expression for owner, expression in EXPRESSIONS)
    assert [name for name in recorded() if asked.count(name) == 0] == []


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_has_a_runbook_for_whoever_is_woken(alert: Alert) -> None:
    page = (RUNBOOKS / f"{alert.runbook}.md").read_text(encoding="utf-8")
    assert f"`{alert.name}`" in page
    assert f"({alert.severity.value}" in page
    assert [title for title in SECTIONS if f"\n## {title}\n" not in page] == []
    bodies = re.split(r"\n## [^\n]+\n", page)[1:]
    assert all(body.strip() for body in bodies), "a section is empty"
    assert f"s4-{alert.area}" in {board.uid for board in BOARDS}


@pytest.fixture(scope="module")
def commands() -> set[str]:
    known = set(re.findall(r"^## `s4 ([^`]+)`", (REPOSITORY / "docs/reference/cli.md").read_text(), re.MULTILINE))
    return known | {"doctor", "checklist", "logs top-errors"}


def unknown_commands(text: str, known: set[str]) -> list[str]:
    code = re.findall(r"`(s4 [a-z][^`]*)`|^(s4 [a-z].*)$", text, re.MULTILINE)
    named = [(inline or line).split() for inline, line in code]
    return [" ".join(words) for words in named if not {words[1], " ".join(words[1:3])} & known]


def test_every_command_of_a_runbook_exists(commands: set[str]) -> None:
    for path in RUNBOOKS.glob("*.md"):
        assert unknown_commands(path.read_text(encoding="utf-8"), commands) == [], path.name


def test_every_command_of_a_help_line_exists(commands: set[str]) -> None:
    """Or of a whole group: `s4 usage`."""
    groups = {command.partition(" ")[0] for command in commands}
    told = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert {command.removeprefix("s4 ") for command in unknown_commands(told, commands)} - groups == set()


def test_alertmanager_inhibits_alerts_that_there_are() -> None:
    """Each alternative of a pattern, too: one that matches nothing is a name that was changed."""
    names = [alert.name for alert in ALERTS]
    matchers = [
        re.fullmatch(r'alertname(=~|!~|!=|=)"(.+)"', matcher)
        for rule in scrape.alertmanager()["inhibit_rules"]
        for matcher in rule["source_matchers"] + rule["target_matchers"]
        if matcher.startswith("alertname")
    ]
    assert len(matchers) > 4
    patterns = [each for found in matchers if found is not None for each in found[2].split("|")]
    assert [each for each in patterns if not any(re.fullmatch(each, name) for name in names)] == []


def test_the_table_of_the_three_stacks_names_what_there_is() -> None:
    series = declared()
    titles = {(board.uid, panel.title) for board in BOARDS for row in board.rows for panel in row.panels}
    for each in WATCHED:
        assert each.panel in titles
        assert set(each.alerts) <= {alert.name for alert in ALERTS}
        assert all(name in series or f"{name}_bucket" in series for name in each.metrics), each.subject


def test_every_runbook_belongs_to_an_alert() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages - {alert.runbook for alert in ALERTS} == set()


def test_names_are_given_once() -> None:
    for names in ([alert.name for alert in ALERTS], list(recorded()), [board.uid for board in BOARDS]):
        assert len(set(names)) == len(names)
    for alert in ALERTS:
        assert all(cause.also <= {other.name for other in ALERTS} for cause in alert.causes)


def test_the_files_say_what_the_code_says() -> None:
    files = generate.written()
    there = {str(path.relative_to(generate.HERE)): path.read_text(encoding="utf-8") for path in generate.owned()}
    changed = [name for name in {*files, *there} if files.get(name) != there.get(name)]
    assert not changed, f"run `make monitoring`: {changed}"


def test_a_dashboard_can_be_imported() -> None:
    """Of each kind of panel what Grafana cannot do without; ids of queries apart within a panel."""
    for path in (generate.HERE / "grafana" / "dashboards").glob("*.json"):
        board = json.loads(path.read_text(encoding="utf-8"))
        for panel in board["panels"]:
            if panel["type"] == "row":
                continue
            assert panel["title"], path.name
            assert panel["description"], f"{path.name}: {panel['title']}"
            identifiers = [target["refId"] for target in panel["targets"]]
            assert len(set(identifiers)) == len(identifiers) > 0
        assert board["uid"] == path.stem
