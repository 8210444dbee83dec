"""Rules for alarms and dashboards of CloudWatch. Each fault that is found here passes Amazon's own schemas.

Resources come with their references filled in (`templates.made`).
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.clouds.catalogue import Own

_SERVICE = [{"ClusterName", "ServiceName"}]
_BALANCER = [{"LoadBalancer"}, {"LoadBalancer", "TargetGroup"}]
_FILTERED = [{"BucketName", "FilterId"}]
_INSTANCE = [{"DBInstanceIdentifier"}]
AMAZONS: Mapping[str, tuple[list[set[str]], str]] = {
    "AWS/ECS": (_SERVICE, "CPUUtilization MemoryUtilization"),
    "ECS/ContainerInsights": (
        _SERVICE,
        "RunningTaskCount DesiredTaskCount NetworkRxBytes NetworkTxBytes EphemeralStorageUtilized",
    ),
    "AWS/ApplicationELB": (
        _BALANCER,
        "RequestCount HTTPCode_Target_4XX_Count HTTPCode_Target_5XX_Count TargetResponseTime HealthyHostCount "
        "UnHealthyHostCount",
    ),
    "AWS/S3": (
        [*_FILTERED, {"BucketName", "StorageType"}],
        "AllRequests 4xxErrors 5xxErrors FirstByteLatency TotalRequestLatency BucketSizeBytes NumberOfObjects",
    ),
    "AWS/RDS": (
        _INSTANCE,
        "CPUUtilization DatabaseConnections FreeStorageSpace FreeableMemory ReadLatency WriteLatency DiskQueueDepth",
    ),
}
"""What Amazon publishes of what we use: dimensions, one set of them, and metrics; from the services' manuals."""

PATTERN_CHARS_MAX = (
    1024  # of a metric filter; CloudFormation's schema says the same and cfn-lint does not see through Sub
)
_STATISTIC = re.compile(r"Sum|Average|Maximum|Minimum|SampleCount|p\d{1,2}(\.\d+)?")
_SEARCH = re.compile(r"SEARCH\('\{(?P<schema>[^}]*)\} (?P<terms>[^']*)', '(?P<statistic>\w+)', (?P<period>\d+)\)")
_TERM = re.compile(r'(\w+)="([^"]*)"')

Published = Mapping[str, set[frozenset[str]]]
"""Metrics of S4's by the sets of dimensions by which the agent publishes them."""


def published(agent: Mapping[str, Any], own: Mapping[str, Own]) -> Published:
    """What the agent makes of S4's metrics, by its declarations; histograms it drops."""
    found: dict[str, set[frozenset[str]]] = {}
    emf = agent["logs"]["metrics_collected"]["prometheus"]["emf_processor"]
    for declaration in emf["metric_declaration"]:
        for name, metric in own.items():
            if metric.kind == "histogram" or not any(re.search(each, name) for each in declaration["metric_selectors"]):
                continue
            for dimensions in declaration["dimensions"]:
                if set(dimensions) <= metric.labels | {"deployment"}:
                    found.setdefault(name, set()).add(frozenset(dimensions))
    return found


def unpublished(agent: Mapping[str, Any], own: Mapping[str, Own]) -> Iterator[str]:
    """Declarations by which nothing is published."""
    emf = agent["logs"]["metrics_collected"]["prometheus"]["emf_processor"]
    for declaration in emf["metric_declaration"]:
        for selector in declaration["metric_selectors"]:
            for name in selector.strip("^()$").split("|"):
                if name not in own:
                    yield f"the agent: {name} is no metric of S4's"
                elif own[name].kind == "histogram":
                    yield f"the agent: {name} is a histogram, which it drops"
                elif not set(declaration["dimensions"][0]) <= own[name].labels | {"deployment"}:
                    yield f"the agent: {name} has no labels {declaration['dimensions'][0]}"


# -- alarms


def alarm_faults(resources: Mapping[str, Any], known: Published) -> list[str]:
    """What is wrong with the alarms."""
    filtered = {
        (each["MetricNamespace"], each["MetricName"])
        for resource in resources.values()
        if resource["Type"] == "AWS::Logs::MetricFilter"
        for each in resource["Properties"]["MetricTransformations"]
    }
    return [
        f"{name}: {fault}"
        for name, resource in resources.items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
        for fault in _alarm(resource["Properties"], known, filtered)
    ]


def _alarm(alarm: Mapping[str, Any], known: Published, filtered: set[tuple[str, str]]) -> Iterator[str]:
    if not alarm.get("AlarmActions"):
        yield "tells nobody"
    if not alarm.get("AlarmDescription"):
        yield "does not say what to do"
    if "TreatMissingData" not in alarm:
        yield "does not say what missing data counts as"
    if alarm.get("TreatMissingData") == "breaching" and not alarm["ComparisonOperator"].startswith("LessThan"):
        yield "fires when there is nothing to measure"
    if "Threshold" not in alarm:
        yield "has no threshold"
    queries = [each["MetricStat"] for each in alarm.get("Metrics", ()) if "MetricStat" in each]
    if queries:
        yield from _math(alarm["Metrics"])
    else:
        queries = [
            {
                "Metric": alarm,
                "Stat": alarm.get("Statistic") or alarm.get("ExtendedStatistic"),
                "Period": alarm.get("Period", 0),
            }
        ]
    for query in queries:
        yield from _queried(query, alarm["EvaluationPeriods"], known, filtered)


def _math(metrics: list[Mapping[str, Any]]) -> Iterator[str]:
    if sum(each.get("ReturnData", True) for each in metrics) != 1:
        yield "has not exactly one result"
    identifiers = {each["Id"] for each in metrics}
    for each in metrics:
        for word in re.findall(r"\b[a-z]\w*\b", each.get("Expression", "")):
            if word not in identifiers:
                yield f"computes with {word}, which there is not"


def _queried(query: Mapping[str, Any], periods: int, known: Published, filtered: set[tuple[str, str]]) -> Iterator[str]:
    if not _STATISTIC.fullmatch(query["Stat"] or ""):
        yield "has no statistic"
    period = query["Period"]
    # Ten and thirty seconds are for metrics of high resolution, which none of ours is.
    if period <= 0 or period % 60:
        yield f"looks each {period} s"
    if period * periods > (7 * 86_400 if period >= 3600 else 86_400):
        yield "looks back too far"
    metric = query["Metric"]
    dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions", ())}
    for key, value in dimensions.items():
        if not isinstance(value, str) or not value or re.search(r"[|*$\\]|\.\.", value):
            yield f"has the dimension {key}={value!r}, which is one value and no pattern"
    yield from _measured(metric["Namespace"], metric["MetricName"], set(dimensions), query["Stat"], known, filtered)


def _measured(
    namespace: str, name: str, dimensions: set[str], statistic: str, known: Published, filtered: set[tuple[str, str]]
) -> Iterator[str]:
    if namespace == "S4":
        if frozenset(dimensions) not in known.get(name, ()):
            yield f"reads {name} by {sorted(dimensions)}, which the agent does not publish"
        elif name.endswith("_total") and statistic != "Sum":
            yield f"takes the {statistic} of {name}, which arrives as what was added"
    elif namespace.startswith("S4/"):
        if (namespace, name) not in filtered or dimensions:
            yield f"reads {namespace} {name}, which no filter makes"
    elif namespace not in AMAZONS or name not in AMAZONS[namespace][1].split():
        yield f"reads {namespace} {name}, which Amazon does not publish"
    elif dimensions not in AMAZONS[namespace][0]:
        yield f"reads {namespace} {name} by {sorted(dimensions)}, by which Amazon does not publish it"


# -- dashboards


def dashboard_faults(text: str, alarms: set[str], known: Published) -> list[str]:
    """What is wrong with a dashboard's body: metrics that nobody publishes, alarms that are not made, panels that lie
    on each other. Amazon's services take each of these."""
    widgets = json.loads(text)["widgets"]
    faults = []
    for widget in widgets:
        about = widget["properties"]
        if widget["type"] == "metric":
            named = about["title"]
            faults += [f"{named}: {fault}" for line in about["metrics"] for fault in _line(line, known)]
        elif widget["type"] == "alarm":
            shown = {arn.rsplit(":alarm:", 1)[1] for arn in about["alarms"]}
            faults += [f"shows the alarm {name}, which is not made" for name in sorted(shown - alarms)]
            faults += [f"does not show the alarm {name}" for name in sorted(alarms - shown)]
    return [*faults, *_overlaps(widgets)]


def _line(line: list[Any], known: Published) -> Iterator[str]:
    options = line[-1] if isinstance(line[-1], dict) else {}
    if "expression" not in options:
        namespace, name, *rest = [each for each in line if isinstance(each, str)]
        yield from _measured(namespace, name, set(rest[::2]), options.get("stat", ""), known, set())
        if not _STATISTIC.fullmatch(options.get("stat", "")):
            yield f"{name} has no statistic"
        return
    search = _SEARCH.fullmatch(options["expression"])
    if not search:
        yield f"cannot read {options['expression']}"
        return
    namespace, *schema = search["schema"].split(",")
    terms = dict(_TERM.findall(search["terms"]))
    yield from _measured(namespace, terms.pop("MetricName", ""), set(schema), search["statistic"], known, set())
    if not set(terms) < set(schema):
        yield f"searches for {sorted(terms)} in {schema}"
    if set(re.findall(r"PROP\('Dim\.(\w+)'\)", options.get("label", ""))) != set(schema) - set(terms):
        yield "has lines that cannot be told apart"


def _overlaps(widgets: list[Mapping[str, Any]]) -> Iterator[str]:
    taken: set[tuple[int, int]] = set()
    for widget in widgets:
        places = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        if places & taken or max(x for x, _ in places) >= 24:
            yield f"a widget at {widget['x']}, {widget['y']} lies on another or outside"
        taken |= places
