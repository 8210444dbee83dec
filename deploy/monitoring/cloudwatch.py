"""What CloudWatch is given, as templates of CloudFormation: `monitoring.yaml` makes topics and alarms, `metrics.yaml`
what publishes S4's own metrics (`cloudwatch_metrics`), and a dashboard. Two: the service takes 51,200 bytes at once.

What only the operator knows are parameters. An alarm about something that is not there (a balancer, a database, a log
group) is not made while its parameter is empty.
"""

import json
import re
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from deploy.monitoring import cloudwatch_metrics, rules
from deploy.monitoring.alerts import ALERTS, Alert, CloudWatch, Severity
from deploy.monitoring.cloudwatch_dashboard import DEPLOYMENT, NAMESPACE
from deploy.monitoring.events import EVENTS, LoggedEvent
from deploy.monitoring.names import kebab, plain

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")

PARAMETERS = {
    "Cluster": "The ECS cluster. Empty: S4 does not run on ECS.",
    "ApiService": "The ECS service of the API.",
    "WorkerService": "The ECS service of the workers.",
    "LoadBalancer": "The balancer's name, as the end of its ARN has it: app/s4/0123456789abcdef.",
    "TargetGroup": "The target group's, likewise: targetgroup/s4/0123456789abcdef.",
    "Database": "The identifier of PostgreSQL's instance in RDS.",
    "Bucket": "S4's bucket, with a metrics configuration named EntireBucket.",
    "LogGroup": "Where the processes' logs go, as JSON lines.",
    "PageEmail": "Who is woken.",
    "TicketEmail": "Who reads it in the morning.",
    "MetricsToken": "S4_METRICS_TOKEN, if S4 has one. Whoever may read the agent's parameters may read it.",
}
_UNSHOWN = frozenset({"MetricsToken"})
TOPICS = {Severity.PAGE: "Pages", Severity.TICKET: "Tickets"}


def files(runbooks: str = rules.RUNBOOKS) -> dict[str, Any]:
    """What is written, by its path below `deploy/`. The agent's two are for other places than ECS."""
    alarms = _alarms(runbooks)
    shown = [each["Properties"]["AlarmName"]["Fn::Sub"] for each in alarms.values() if "Alarm" in each["Type"]]
    return {
        "aws/monitoring.yaml": _template(
            "S4's alarms, and whom they tell.",
            {**_topics(), **alarms},
            {name: (f"The topic of {name.lower()}.", name) for name in TOPICS.values()},
        ),
        "aws/metrics.yaml": _template(
            "What publishes S4's own metrics, and a dashboard.",
            cloudwatch_metrics.resources(shown),
            cloudwatch_metrics.OUTPUTS,
        ),
        "aws/agent/agent.json": cloudwatch_metrics.agent("s4", "/etc/cwagentconfig/prometheus.yaml"),
        "aws/agent/prometheus.yaml": cloudwatch_metrics.scraping(
            "s4", {"credentials_file": "/etc/cwagentconfig/metrics-token"}
        ),
    }


# -- templates


def _template(about: str, resources: Mapping[str, Any], outputs: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """`outputs`: by name, what it is and of which resource."""
    conditions = _conditions(resources)
    text = json.dumps([resources, conditions])
    used = [name for name in PARAMETERS if f'"Ref": "{name}"' in text or f"${{{name}}}" in text]
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": about,
        "Parameters": {
            DEPLOYMENT: {
                "Type": "String",
                "Default": "s4",
                "AllowedPattern": "[a-z0-9][a-z0-9-]{0,30}",
                "Description": "A name that all of this begins with, and a dimension of S4's own metrics.",
            },
            **{name: _parameter(name) for name in used},
        },
        **({"Conditions": conditions} if conditions else {}),
        "Resources": dict(resources),
        "Outputs": {
            name: {"Description": told, "Value": {"Ref": resource}} for name, (told, resource) in outputs.items()
        },
    }


def _parameter(name: str) -> dict[str, Any]:
    unshown = {"NoEcho": True} if name in _UNSHOWN else {}
    return {"Type": "String", "Default": "", **unshown, "Description": PARAMETERS[name]}


def _alarms(runbooks: str) -> dict[str, Any]:
    watched = [alert for alert in ALERTS if alert.cloudwatch is not None]
    return {**{alert.name.removeprefix("S4"): alarm(alert, runbooks) for alert in watched}, **_event_resources()}


def _condition(names: Iterable[str]) -> str | None:
    """The condition that all of these parameters are given."""
    wanted = sorted(set(names) - {DEPLOYMENT})
    return f"Has{'And'.join(wanted)}" if wanted else None


def _conditions(resources: Mapping[str, Any]) -> dict[str, Any]:
    used = sorted({each["Condition"] for each in resources.values() if "Condition" in each})
    conditions = {}
    for name in used:
        given = [
            {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}
            for parameter in name.removeprefix("Has").split("And")
        ]
        conditions[name] = given[0] if len(given) == 1 else {"Fn::And": given}
    return conditions


def _value(text: str) -> Any:
    """A dimension's value: what stands for a parameter alone is a reference to it."""
    alone = _PLACEHOLDER.fullmatch(text)
    if alone:
        return {"Ref": alone[1]}
    return {"Fn::Sub": text} if _PLACEHOLDER.search(text) else text


# -- topics


def _topics() -> dict[str, Any]:
    resources: dict[str, Any] = {}
    for topic in TOPICS.values():
        email = f"{topic.removesuffix('s')}Email"
        resources[topic] = {
            "Type": "AWS::SNS::Topic",
            "Properties": {"TopicName": {"Fn::Sub": f"${{{DEPLOYMENT}}}-{topic.lower()}"}},
        }
        resources[f"{topic}Policy"] = {
            "Type": "AWS::SNS::TopicPolicy",
            "Properties": {"Topics": [{"Ref": topic}], "PolicyDocument": _publishing(topic)},
        }
        resources[f"{topic}ByEmail"] = {
            "Type": "AWS::SNS::Subscription",
            "Condition": _condition([email]),
            "Properties": {"TopicArn": {"Ref": topic}, "Protocol": "email", "Endpoint": {"Ref": email}},
        }
    return resources


def _publishing(topic: str) -> dict[str, Any]:
    """Alarms of this account may publish, and rules as those of trail.yaml."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "AlarmsAndRules",
                "Effect": "Allow",
                "Principal": {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]},
                "Action": "sns:Publish",
                "Resource": {"Ref": topic},
                "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
            }
        ],
    }


# -- alarms


def alarm(alert: Alert, runbooks: str = rules.RUNBOOKS) -> dict[str, Any]:
    """The alert's alarm, as a resource."""
    condition = alert.cloudwatch
    assert condition is not None
    properties = {
        **_named(kebab(alert.name), f"{plain(alert.summary)}. {runbooks}/{alert.runbook}", alert.severity),
        "ComparisonOperator": condition.comparison,
        "Threshold": condition.threshold,
        "EvaluationPeriods": condition.evaluation_periods,
        "TreatMissingData": condition.treat_missing,
        **_measured(condition),
    }
    values = (*condition.dimensions.values(), *condition.share_of_dimensions.values())
    needed = _condition(name for value in values for name in _PLACEHOLDER.findall(value))
    return {
        "Type": "AWS::CloudWatch::Alarm",
        **({"Condition": needed} if needed else {}),
        "Properties": properties,
    }


def _named(name: str, about: str, severity: Severity) -> dict[str, Any]:
    topic = {"Ref": TOPICS[severity]}
    return {
        "AlarmName": {"Fn::Sub": f"${{{DEPLOYMENT}}}-{name}"},
        "AlarmDescription": about,
        "AlarmActions": [topic],
        "OKActions": [topic],
    }


def _dimensions(condition: CloudWatch, dimensions: Mapping[str, str]) -> dict[str, str]:
    own = {"deployment": f"${{{DEPLOYMENT}}}"} if condition.namespace == NAMESPACE else {}
    return {**own, **dimensions}


def _metric(condition: CloudWatch, name: str, dimensions: Mapping[str, str]) -> dict[str, Any]:
    return {
        "Namespace": condition.namespace,
        "MetricName": name,
        "Dimensions": [
            {"Name": key, "Value": _value(value)} for key, value in _dimensions(condition, dimensions).items()
        ],
    }


def _measured(condition: CloudWatch) -> dict[str, Any]:
    """What an alarm looks at: a metric, or an expression of several.

    Where the whole of a quotient is 0 or missing there is none, which counts as missing data. A part that is missing is
    none: counters are published only when something was counted.
    """
    parts = _alternatives(condition.dimensions)
    if condition.share_of is None and len(parts) == 1:
        percentile = condition.statistic.startswith("p")
        return {
            **_metric(condition, condition.metric, parts[0]),
            "ExtendedStatistic" if percentile else "Statistic": condition.statistic,
            "Period": int(condition.period.total_seconds()),
        }
    queries = [_query(condition, f"part{place}", condition.metric, each) for place, each in enumerate(parts)]
    part = " + ".join(f"FILL({each['Id']}, 0)" for each in queries)
    result = {"Id": "result", "ReturnData": True, "Expression": part, "Label": condition.metric}
    if condition.share_of is not None:
        queries.append(_query(condition, "whole", condition.share_of, condition.share_of_dimensions))
        result |= {"Expression": f"({part}) / whole", "Label": f"{condition.metric} / {condition.share_of}"}
    return {"Metrics": [result, *queries]}


def _alternatives(dimensions: Mapping[str, str]) -> list[dict[str, str]]:
    """A value `a|b` is one of several; CloudWatch knows only one at a time."""
    values = [[(key, each) for each in value.split("|")] for key, value in dimensions.items()]
    return [dict(chosen) for chosen in product(*values)]


def _query(condition: CloudWatch, identifier: str, name: str, dimensions: Mapping[str, str]) -> dict[str, Any]:
    return {
        "Id": identifier,
        "ReturnData": False,
        "MetricStat": {
            "Metric": _metric(condition, name, dimensions),
            "Stat": condition.statistic,
            "Period": int(condition.period.total_seconds()),
        },
    }


# -- events of the log


def _event_resources() -> dict[str, Any]:
    resources = {}
    for event in EVENTS:
        name = "".join(word.capitalize() for word in event.name.split("-"))
        resources[f"{name}Filter"] = _event_filter(event)
        resources[f"{name}Logged"] = _event_alarm(event)
    return resources


def _event_metric(event: LoggedEvent) -> dict[str, Any]:
    return {
        "MetricNamespace": f"{NAMESPACE}/Events",
        "MetricName": {"Fn::Sub": f"${{{DEPLOYMENT}}}-{event.name}"},
    }


def _event_filter(event: LoggedEvent) -> dict[str, Any]:
    return {
        "Type": "AWS::Logs::MetricFilter",
        "Condition": _condition(["LogGroup"]),
        "Properties": {
            "LogGroupName": {"Ref": "LogGroup"},
            "FilterPattern": f'{{ $.event_type = "{event.event_type}" }}',
            "MetricTransformations": [{**_event_metric(event), "MetricValue": "1"}],
        },
    }


def _event_alarm(event: LoggedEvent) -> dict[str, Any]:
    metric = _event_metric(event)
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Condition": _condition(["LogGroup"]),
        "Properties": {
            **_named(f"{event.name}-logged", event.about, event.severity),
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "Threshold": 1,
            "EvaluationPeriods": 1,
            "TreatMissingData": "notBreaching",
            "Namespace": metric["MetricNamespace"],
            "MetricName": metric["MetricName"],
            "Statistic": "Sum",
            "Period": 300,
        },
    }
