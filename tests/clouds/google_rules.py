"""Rules for alert policies and dashboards of Google Cloud. Each fault found here parses into Google's own types.

What an aligner or reducer may be applied to: the comments of `google.monitoring.v3.Aggregation`. Managed Service for
Prometheus stores counters and histograms as cumulative, numbers as doubles.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.clouds.catalogue import Own

_NUMBER, _DISTRIBUTION = "number", "distribution"
_OWN_KINDS = {
    "counter": ("CUMULATIVE", _NUMBER),
    "gauge": ("GAUGE", _NUMBER),
    "histogram": ("CUMULATIVE", _DISTRIBUTION),
}
GOOGLES: Mapping[str, tuple[str, str, set[str]]] = {
    "run.googleapis.com/container/cpu/utilizations": ("DELTA", _DISTRIBUTION, set()),
    "run.googleapis.com/container/memory/utilizations": ("DELTA", _DISTRIBUTION, set()),
    "run.googleapis.com/container/instance_count": ("GAUGE", _NUMBER, {"state"}),
    "run.googleapis.com/container/network/sent_bytes_count": ("DELTA", _NUMBER, {"kind"}),
    "run.googleapis.com/container/network/received_bytes_count": ("DELTA", _NUMBER, {"kind"}),
    "run.googleapis.com/request_count": ("DELTA", _NUMBER, {"response_code", "response_code_class"}),
    "run.googleapis.com/request_latencies": ("DELTA", _DISTRIBUTION, {"response_code", "response_code_class"}),
    "storage.googleapis.com/api/request_count": ("DELTA", _NUMBER, {"response_code", "method"}),
    "storage.googleapis.com/storage/v2/total_bytes": ("GAUGE", _NUMBER, {"storage_class", "type"}),
    "cloudsql.googleapis.com/database/cpu/utilization": ("GAUGE", _NUMBER, set()),
    "cloudsql.googleapis.com/database/memory/utilization": ("GAUGE", _NUMBER, set()),
    "cloudsql.googleapis.com/database/disk/utilization": ("GAUGE", _NUMBER, set()),
    "cloudsql.googleapis.com/database/postgresql/num_backends": ("GAUGE", _NUMBER, {"database"}),
}
"""What Google publishes of what we use: kind, what a point is, labels; from its list of metrics."""

_ALIGNERS = {
    "ALIGN_DELTA": ({"CUMULATIVE", "DELTA"}, {_NUMBER, _DISTRIBUTION}),
    "ALIGN_RATE": ({"CUMULATIVE", "DELTA"}, {_NUMBER}),
    "ALIGN_MIN": ({"GAUGE", "DELTA"}, {_NUMBER}),
    "ALIGN_MAX": ({"GAUGE", "DELTA"}, {_NUMBER}),
    "ALIGN_MEAN": ({"GAUGE", "DELTA"}, {_NUMBER}),
    "ALIGN_SUM": ({"GAUGE", "DELTA"}, {_NUMBER, _DISTRIBUTION}),
    "ALIGN_COUNT": ({"GAUGE", "DELTA"}, {_NUMBER}),
    **{f"ALIGN_PERCENTILE_{each}": ({"GAUGE", "DELTA"}, {_DISTRIBUTION}) for each in ("99", "95", "50", "05")},
}
_KEEPS_DISTRIBUTIONS = {"ALIGN_DELTA", "ALIGN_SUM"}
_REDUCERS = {
    "REDUCE_NONE": {_NUMBER, _DISTRIBUTION},
    "REDUCE_SUM": {_NUMBER, _DISTRIBUTION},
    "REDUCE_MEAN": {_NUMBER, _DISTRIBUTION},
    "REDUCE_MIN": {_NUMBER},
    "REDUCE_MAX": {_NUMBER},
    **{f"REDUCE_PERCENTILE_{each}": {_NUMBER, _DISTRIBUTION} for each in ("99", "95", "50", "05")},
}
_MAKES_NUMBERS = {"REDUCE_MEAN", *(name for name in _REDUCERS if "PERCENTILE" in name)}

_METRIC = re.compile(r'metric\.type ?= ?"([^"]+)"')
_LABEL = re.compile(r"metric\.labels?\.(\w+)")
_HOURS_25_SECONDS = 25 * 3600  # beyond that the service looks back no further


def policy_faults(policy: Mapping[str, Any], own: Mapping[str, Own]) -> list[str]:
    """What is wrong with an alert policy."""
    return [*_policy(policy, own)]


def _policy(policy: Mapping[str, Any], own: Mapping[str, Own]) -> Iterator[str]:
    if not policy.get("documentation", {}).get("content"):
        yield "does not say what to do"
    if policy.get("severity") not in ("CRITICAL", "WARNING"):
        yield "does not say how bad it is"
    for condition in policy["conditions"]:
        if "conditionThreshold" in condition:
            yield from _threshold(condition["conditionThreshold"], own)
        elif "conditionMatchedLog" in condition:
            if len(policy["conditions"]) > 1:
                yield "has a condition beside one of the log"
            if not policy.get("alertStrategy", {}).get("notificationRateLimit"):
                yield "is opened by the log, and has no bound for messages"
        else:
            yield "has a condition of a kind that we do not know"


def _threshold(condition: Mapping[str, Any], own: Mapping[str, Own]) -> Iterator[str]:
    if "thresholdValue" not in condition:
        yield "has no threshold"
    yield from _queried(condition["filter"], condition.get("aggregations", []), own)
    if "denominatorFilter" in condition:
        yield from _queried(condition["denominatorFilter"], condition.get("denominatorAggregations", []), own)
        if condition.get("denominatorAggregations") != condition.get("aggregations"):
            yield "divides what is not aligned alike"
    duration = _seconds(condition.get("duration", "0s"))
    aligned = sum(_seconds(each.get("alignmentPeriod", "0s")) for each in condition.get("aggregations", []))
    if duration % 60:
        yield "must hold for whole minutes"
    if duration + aligned > _HOURS_25_SECONDS:
        yield "looks back too far"
    if "instance_count" in condition["filter"] and "evaluationMissingData" not in condition:
        yield "is silent when what should be there is not"
    if "evaluationMissingData" in condition and duration < 60:
        yield "counts missing data at once, which the service refuses"


def dashboard_faults(dashboard: Mapping[str, Any], own: Mapping[str, Own]) -> list[str]:
    """What is wrong with a dashboard."""
    faults = []
    taken: set[tuple[int, int]] = set()
    layout = dashboard["mosaicLayout"]
    for tile in layout["tiles"]:
        x, y, widget = tile.get("xPos", 0), tile.get("yPos", 0), tile["widget"]
        places = {(x + right, y + down) for right in range(tile["width"]) for down in range(tile["height"])}
        if places & taken or x + tile["width"] > layout["columns"]:
            faults.append(f"{widget['title']}: lies on another or outside")
        taken |= places
        for data in widget.get("xyChart", {}).get("dataSets", ()):
            series = data["timeSeriesQuery"]["timeSeriesFilter"]
            found = _queried(series["filter"], [series["aggregation"]], own)
            faults += [f"{widget['title']}: {fault}" for fault in found]
    return faults


def _queried(text: str, aggregations: list[Mapping[str, Any]], own: Mapping[str, Own]) -> Iterator[str]:
    found = _METRIC.findall(text)
    if len(found) != 1:
        yield f"looks at {len(found)} metrics"
        return
    known = _known(found[0], own)
    if known is None:
        yield f"looks at {found[0]}, which there is not"
        return
    if "resource.type" not in text:
        yield "does not say of which resource"
    kind, point, labels = known
    grouped = [field for each in aggregations for field in each.get("groupByFields", ())]
    for label in _LABEL.findall(" ".join([text, *grouped])):
        if label not in labels:
            yield f"{found[0]} has no label {label}"
    yield from _aligned(found[0], kind, point, aggregations)


def _aligned(name: str, kind: str, point: str, aggregations: list[Mapping[str, Any]]) -> Iterator[str]:
    for each in aggregations:
        aligner, reducer = each.get("perSeriesAligner", "ALIGN_NONE"), each.get("crossSeriesReducer", "REDUCE_NONE")
        kinds, points = _ALIGNERS.get(aligner, (set(), set()))
        period = _seconds(each.get("alignmentPeriod", "0s"))
        if kind not in kinds or point not in points:
            yield f"{aligner} is not for {name}: {kind.lower()}, {point}"
            return
        if period < 60 or period % 60:
            yield f"aligns by {period} s"
        kind, point = "GAUGE", point if aligner in _KEEPS_DISTRIBUTIONS else _NUMBER
        if point not in _REDUCERS.get(reducer, set()):
            yield f"{reducer} is not for {name}, aligned a {point}"
            return
        if reducer == "REDUCE_NONE" and each.get("groupByFields"):
            yield "groups without a reducer"
        if reducer in _MAKES_NUMBERS:
            point = _NUMBER
    if point == _DISTRIBUTION:
        yield f"compares {name}, a distribution, with a number: it has no aligner or reducer that makes one of it"


def _known(metric: str, own: Mapping[str, Own]) -> tuple[str, str, set[str]] | None:
    ours = re.fullmatch(r"prometheus\.googleapis\.com/(\w+)/(\w+)", metric)
    if not ours:
        return GOOGLES.get(metric)
    name, kind = ours.groups()
    if name not in own or own[name].kind != kind:
        return None
    return (*_OWN_KINDS[kind], set(own[name].labels))


def _seconds(text: str) -> int:
    return int(text.removesuffix("s"))
