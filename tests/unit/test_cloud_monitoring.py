"""What the clouds are given to watch S4 with, held against rules that their own validators do not know."""

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from deploy.monitoring import table
from deploy.monitoring.alerts import ALERTS, Alert
from deploy.monitoring.events import EVENTS, LoggedEvent
from tests.clouds import aws_rules, google_rules
from tests.clouds.catalogue import ROOT, own_metrics
from tests.clouds.log_filters import logging_filter, metric_filter
from tests.clouds.templates import made, read

AWS = ROOT / "deploy" / "aws"
GOOGLE = ROOT / "deploy" / "google"
EVERYTHING = {
    name: f"my-{name.lower()}"
    for name in read(AWS / "monitoring.yaml")["Parameters"]
    if name != "Deployment"  # has a default
}
TEMPLATE_BYTES_MAX = 51_200  # of one that is not put into a bucket first: CloudFormation's quotas
TEMPLATES = sorted(AWS.glob("*.yaml"))
POLICIES = sorted(GOOGLE.glob("*/policies/*/*.json"))


@pytest.fixture(scope="module")
def published() -> aws_rules.Published:
    return aws_rules.published(json.loads((AWS / "agent" / "agent.json").read_text()), own_metrics())


# -- Amazon


def test_every_alarm_reads_what_is_published_and_tells_somebody(published: aws_rules.Published) -> None:
    resources = made(read(AWS / "monitoring.yaml"), **EVERYTHING)
    assert aws_rules.alarm_faults(resources, published) == []
    trails = made(read(AWS / "trail.yaml"), BucketName="my-bucket", RoleName="s4", Topic="arn:topic")
    assert aws_rules.alarm_faults(trails, published) == []


def test_the_agent_publishes_only_what_there_is() -> None:
    agent = json.loads((AWS / "agent" / "agent.json").read_text())
    assert [*aws_rules.unpublished(agent, own_metrics())] == []


def test_the_dashboard_shows_what_is_published_and_every_alarm(published: aws_rules.Published) -> None:
    alarms = {
        each["Properties"]["AlarmName"]
        for each in made(read(AWS / "monitoring.yaml"), **EVERYTHING).values()
        if each["Type"] == "AWS::CloudWatch::Alarm"
    }
    body = made(read(AWS / "metrics.yaml"))["Dashboard"]["Properties"]["DashboardBody"]
    assert aws_rules.dashboard_faults(body, alarms, published) == []
    assert "${PROP('Dim.code')}" in body  # CloudWatch's own: not the template's to fill in


def test_the_template_carries_the_agents_own_configuration() -> None:
    """The files beside it are the same, for other places than ECS."""
    resources = made(read(AWS / "metrics.yaml"), MetricsToken="a-token")
    carried = json.loads(resources["AgentConfiguration"]["Properties"]["Value"])
    prometheus = carried["logs"]["metrics_collected"]["prometheus"]
    assert prometheus["prometheus_config_path"] == "env:PROMETHEUS_CONFIG_CONTENT"
    prometheus["prometheus_config_path"] = "/etc/cwagentconfig/prometheus.yaml"
    assert carried == json.loads((AWS / "agent" / "agent.json").read_text())
    scraping = json.loads(resources["AgentScraping"]["Properties"]["Value"])
    for job in scraping["scrape_configs"]:
        assert job["authorization"] == {"credentials": "a-token"}
        job["authorization"] = {"credentials_file": "/etc/cwagentconfig/metrics-token"}
    assert scraping == yaml.safe_load((AWS / "agent" / "prometheus.yaml").read_text())


def test_what_is_not_there_is_not_watched() -> None:
    """Without a balancer, a database, a cluster and a log group there is nothing that could be missing."""
    resources = made(read(AWS / "monitoring.yaml"))
    alarms = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    assert {each.get("Namespace", "S4") for each in alarms} == {"S4"}
    assert not [each for each in resources.values() if each["Type"] == "AWS::SNS::Subscription"]


def test_the_guide_says_how_many_alarms_are_billed() -> None:
    resources = made(read(AWS / "monitoring.yaml"), **EVERYTHING)
    alarms = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    metrics = sum(sum("MetricStat" in each for each in alarm.get("Metrics", ())) or 1 for alarm in alarms)
    guide = (ROOT / "docs" / "guide" / "clouds.md").read_text()
    assert f"{len(alarms)} alarms, which read {metrics} metrics" in " ".join(guide.split())


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_can_be_deployed_without_a_bucket_for_it(path: Any) -> None:
    assert path.stat().st_size <= TEMPLATE_BYTES_MAX


ALARM_FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no statistic": (lambda alarm: alarm.pop("Statistic"), "has no statistic"),
    "no action": (lambda alarm: alarm.pop("AlarmActions"), "tells nobody"),
    "an empty action": (lambda alarm: alarm.update(AlarmActions=[]), "tells nobody"),
    "no description": (lambda alarm: alarm.pop("AlarmDescription"), "does not say what to do"),
    "missing data": (lambda alarm: alarm.pop("TreatMissingData"), "does not say what missing data counts as"),
    "no threshold": (lambda alarm: alarm.pop("Threshold"), "has no threshold"),
    "another metric": (
        lambda alarm: alarm.update(MetricName="s4_queue_oldest_seconds"),
        "reads s4_queue_oldest_seconds by ['deployment'], which the agent does not publish",
    ),
    "another dimension": (
        lambda alarm: alarm["Dimensions"].append({"Name": "kind", "Value": "documents.index"}),
        "reads s4_queue_oldest_ready_seconds by ['deployment', 'kind'], which the agent does not publish",
    ),
    "no dimension": (
        lambda alarm: alarm.update(Dimensions=[]),
        "reads s4_queue_oldest_ready_seconds by [], which the agent does not publish",
    ),
    "Amazon's by another dimension": (
        lambda alarm: alarm.update(Namespace="AWS/ECS", MetricName="CPUUtilization"),
        "reads AWS/ECS CPUUtilization by ['deployment'], by which Amazon does not publish it",
    ),
    "Amazon's by another name": (
        lambda alarm: alarm.update(Namespace="AWS/ECS", MetricName="CPUUtilisation"),
        "reads AWS/ECS CPUUtilisation, which Amazon does not publish",
    ),
    "a pattern": (
        lambda alarm: alarm["Dimensions"][0].update(Value="a|b"),
        "has the dimension deployment='a|b', which is one value and no pattern",
    ),
    "too long ago": (lambda alarm: alarm.update(EvaluationPeriods=300), "looks back too far"),
}
"""What a person may get wrong in an alarm, and what is said then. `tests/ops` shows that cfn-lint takes each."""


@pytest.mark.parametrize("fault", ALARM_FAULTS)
def test_a_wrong_alarm_is_found_out(fault: str, published: aws_rules.Published) -> None:
    alarm = made(read(AWS / "monitoring.yaml"))["QueueOld"]
    assert aws_rules.alarm_faults({"QueueOld": alarm}, published) == []
    spoil, told = ALARM_FAULTS[fault]
    spoil(alarm["Properties"])
    assert aws_rules.alarm_faults({"QueueOld": alarm}, published) == [f"QueueOld: {told}"]


def test_a_wrong_dashboard_is_found_out(published: aws_rules.Published) -> None:
    body = {
        "widgets": [
            {
                "type": "metric",
                "x": 0,
                "y": 0,
                "width": 12,
                "height": 6,
                "properties": {
                    "title": "one",
                    "metrics": [
                        ["S4", "s4_http_requests_total", "deployment", "s4", {"stat": "Sum"}],
                        ["S4", "s4_queue_oldest_ready_seconds", "deployment", "s4"],
                        [{"expression": "SEARCH('{S4,deployment,code} MetricName=\"s4_jobs_total\"', 'Sum', 300)"}],
                    ],
                },
            },
            {
                "type": "alarm",
                "x": 6,
                "y": 5,
                "width": 6,
                "height": 6,
                "properties": {"alarms": ["arn:aws:cloudwatch:us-east-1:1:alarm:s4-no-more"]},
            },
        ]
    }
    assert aws_rules.dashboard_faults(json.dumps(body), {"s4-queue-old"}, published) == [
        "one: reads s4_http_requests_total by ['deployment'], which the agent does not publish",
        "one: s4_queue_oldest_ready_seconds has no statistic",
        "one: reads s4_jobs_total by ['code', 'deployment'], which the agent does not publish",
        "one: has lines that cannot be told apart",
        "shows the alarm s4-no-more, which is not made",
        "does not show the alarm s4-queue-old",
        "a widget at 6, 5 lies on another or outside",
    ]


# -- Google


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_a_policy_compares_what_can_be_compared(path: Any) -> None:
    policy = json.loads(path.read_text())
    assert google_rules.policy_faults(policy, own_metrics()) == []
    assert policy["userLabels"]["s4_alert"] == path.stem  # by it the script finds what it made before
    assert policy["userLabels"]["severity"] == path.parent.name


def test_the_dashboards_series_are_aligned_as_they_may() -> None:
    dashboard = json.loads((GOOGLE / "monitoring" / "dashboard.json").read_text())
    assert google_rules.dashboard_faults(dashboard, own_metrics()) == []


CLOUD_RUN = {
    "Service": ("cloud_run_revision", "service_name"),
    "WorkerPool": ("cloud_run_worker_pool", "worker_pool_name"),
}


@pytest.mark.parametrize("name", ["api", "worker"])
def test_what_runs_on_cloud_run_is_watched_as_what_it_is(name: str) -> None:
    kind = yaml.safe_load((GOOGLE / "cloud-run" / f"{name}.yaml").read_text())["kind"]
    resource, label = CLOUD_RUN[kind]
    said = "".join(path.read_text() for path in (GOOGLE / "monitoring").rglob("*.json")).replace('\\"', '"')
    watched = f'resource.type = "{resource}" AND resource.labels.{label} = "${{{name}_service}}"'
    assert 1 < said.count(watched) == said.count(f"${{{name}_service}}")


GUIDES_POLICY = """
combiner: OR
conditions:
- conditionThreshold:
    comparison: COMPARISON_GT
    duration: 300s
    filter: resource.type = "cloud_run_revision" AND
            resource.labels.service_name = "s4-service" AND
            metric.type = "run.googleapis.com/container/memory/utilizations"
    thresholdValue: 0.8
displayName: S4 Service High Memory Utilization
"""


def test_the_guides_memory_policy_appears_corrected() -> None:
    guides = yaml.safe_load(GUIDES_POLICY)
    memory = "run.googleapis.com/container/memory/utilizations"
    assert google_rules.policy_faults(guides, {}) == [
        "does not say what to do",
        "does not say how bad it is",
        f"compares {memory}, a distribution, with a number: it has no aligner or reducer that makes one of it",
    ]
    ours = yaml.safe_load((GOOGLE / "monitoring" / "policy.yaml").read_text())
    assert google_rules.policy_faults(ours, own_metrics()) == []
    theirs, own = (each["conditions"][0]["conditionThreshold"] for each in (guides, ours))
    assert {key: own[key] for key in theirs} == theirs
    assert own["aggregations"][0]["perSeriesAligner"] == "ALIGN_PERCENTILE_99"


def _aligned(aligner: str, reducer: str = "REDUCE_MAX") -> Callable[[dict[str, Any]], None]:
    def spoil(condition: dict[str, Any]) -> None:
        condition["aggregations"][0].update(perSeriesAligner=aligner, crossSeriesReducer=reducer)

    return spoil


def _of(name: str) -> Callable[[dict[str, Any]], None]:
    def spoil(condition: dict[str, Any]) -> None:
        condition["filter"] = (
            f'resource.type = "prometheus_target" AND metric.type = "prometheus.googleapis.com/{name}"'
        )

    return spoil


_OLD = "prometheus.googleapis.com/s4_queue_oldest_ready_seconds/gauge"
_SLOW = "prometheus.googleapis.com/s4_http_request_duration_seconds/histogram"
POLICY_FAULTS: dict[str, tuple[list[Callable[[dict[str, Any]], Any]], str]] = {
    "a rate of a gauge": ([_aligned("ALIGN_RATE")], f"ALIGN_RATE is not for {_OLD}: gauge, number"),
    "a percentile of a number": (
        [_aligned("ALIGN_PERCENTILE_99")],
        f"ALIGN_PERCENTILE_99 is not for {_OLD}: gauge, number",
    ),
    "a mean of a counter": (
        [_of("s4_jobs_total/counter"), _aligned("ALIGN_MEAN")],
        "ALIGN_MEAN is not for prometheus.googleapis.com/s4_jobs_total/counter: cumulative, number",
    ),
    "a distribution's maximum": (
        [_of("s4_http_request_duration_seconds/histogram"), _aligned("ALIGN_DELTA")],
        f"REDUCE_MAX is not for {_SLOW}, aligned a distribution",
    ),
    "a distribution as a number": (
        [_of("s4_http_request_duration_seconds/histogram"), _aligned("ALIGN_DELTA", "REDUCE_SUM")],
        f"compares {_SLOW}, a distribution, with a number: it has no aligner or reducer that makes one of it",
    ),
    "a counter as a gauge": (
        [_of("s4_jobs_total/gauge")],
        "looks at prometheus.googleapis.com/s4_jobs_total/gauge, which there is not",
    ),
    "seconds": ([lambda each: each.update(duration="90s")], "must hold for whole minutes"),
    "a label": (
        [lambda each: each.update(filter=each["filter"] + ' AND metric.labels.tenant = "x"')],
        f"{_OLD} has no label tenant",
    ),
}


@pytest.mark.parametrize("fault", POLICY_FAULTS)
def test_a_wrong_policy_is_found_out(fault: str) -> None:
    policy = json.loads((GOOGLE / "monitoring/policies/page/queue-old.json").read_text())
    spoils, told = POLICY_FAULTS[fault]
    spoiled = copy.deepcopy(policy)
    for spoil in spoils:
        spoil(spoiled["conditions"][0]["conditionThreshold"])
    assert google_rules.policy_faults(spoiled, own_metrics()) == [told]


# -- both


@pytest.mark.parametrize("alert", [each for each in ALERTS if each.cloudwatch is not None], ids=lambda each: each.name)
def test_cloudwatch_looks_at_all_values_of_a_label_that_prometheus_looks_at(alert: Alert) -> None:
    assert alert.cloudwatch is not None
    asked = {name: set(values.split("|")) for name, values in re.findall(r'(\w+)=~?"([a-z_|]+)"', alert.expression)}
    looked = {name: set(values.split("|")) for name, values in alert.cloudwatch.dimensions.items()}
    assert {name: looked[name] for name in looked.keys() & asked} == {
        name: asked[name] for name in looked.keys() & asked
    }


def test_nobody_is_woken_while_one_process_takes_requests() -> None:
    """The greatest of all is compared: one that drains is none of a page."""
    alarm = made(read(AWS / "monitoring.yaml"), **EVERYTHING)["NoneReady"]["Properties"]
    assert (alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"]) == ("Maximum", "LessThanThreshold", 1)
    policy = json.loads((GOOGLE / "monitoring/policies/page/none-ready.json").read_text())
    (condition,) = (each["conditionThreshold"] for each in policy["conditions"])
    (aligned,) = condition["aggregations"]
    assert (aligned["perSeriesAligner"], aligned["crossSeriesReducer"]) == ("ALIGN_MAX", "REDUCE_MAX")
    assert (condition["comparison"], condition["thresholdValue"]) == ("COMPARISON_LT", 1)


def test_what_the_table_says_of_cloudwatch_is_published(published: aws_rules.Published) -> None:
    """Of S4's own metrics under their own names, one at least of each line."""
    for each in table.WATCHED:
        if each.cloudwatch == table.OWN:
            assert set(each.metrics) & set(published), each.subject
        named = re.findall(r"`(s4_\w+)`", each.cloudwatch)
        assert set(named) <= set(published), each.subject


def test_events_that_somebody_is_told_of_are_logged() -> None:
    source = "".join(path.read_text() for path in (ROOT / "src" / "s4").rglob("*.py"))
    assert [event.event_type for event in EVENTS if f'("{event.event_type}"' not in source] == []


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_a_line_of_the_log_opens_its_alarm_alone(event: LoggedEvent) -> None:
    """The formats `json` and `google` both have the event's type at the top of a line."""
    line = {"event_type": event.event_type, "level": "error", "details": {}}
    filters = {
        name: each["Properties"]["FilterPattern"]
        for name, each in made(read(AWS / "monitoring.yaml"), **EVERYTHING).items()
        if each["Type"] == "AWS::Logs::MetricFilter"
    }
    seen = [name for name, pattern in filters.items() if metric_filter(pattern)(line)]
    assert [name.lower() for name in seen] == [f"{event.name}-filter".replace("-", "")]
    policy = GOOGLE / "monitoring" / "policies" / event.severity.value / f"{event.name}-logged.json"
    (condition,) = json.loads(policy.read_text())["conditions"]
    passes = logging_filter(condition["conditionMatchedLog"]["filter"])
    assert passes({"jsonPayload": line})
    assert not passes({"jsonPayload": line | {"event_type": "documents.uploaded"}})
