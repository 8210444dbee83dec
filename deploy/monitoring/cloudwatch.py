"""What CloudWatch is given: a template of topics, alarms, the agent's configuration and a dashboard.

S4's own metrics come by CloudWatch's agent beside each process, which scrapes `/metrics` as Prometheus does and hands
on what `declarations` names: what alarms and dashboard read, by the labels by which they read it, and nothing else, for
each combination is billed. The agent drops histograms; durations are the balancer's. To each series it adds the label
`deployment`, so that two of them in one account are told apart, and counters arrive as what was added since the last
scrape: their statistic is `Sum`.

What only the operator knows are parameters. An alarm about something that is not there (a balancer, a database, a log
group) is not made while its parameter is empty.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from deploy.monitoring import cloudwatch_dashboard, rules, scrape
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
}
TOPICS = {Severity.PAGE: "Pages", Severity.TICKET: "Tickets"}
_AGENT_LOGS = {"Fn::Sub": f"/${{{DEPLOYMENT}}}/metrics"}


def files(runbooks: str = rules.RUNBOOKS) -> dict[str, Any]:
    """What is written, by its path below `deploy/`. The agent's two are for other places than ECS."""
    return {
        "aws/monitoring.yaml": template(runbooks),
        "aws/agent/agent.json": agent("s4", "/etc/cwagentconfig/prometheus.yaml"),
        "aws/agent/prometheus.yaml": scraping("s4"),
    }


# -- the template


def template(runbooks: str = rules.RUNBOOKS) -> dict[str, Any]:
    watched = [alert for alert in ALERTS if alert.cloudwatch is not None]
    resources = {
        **_topics(),
        **_agent_resources(),
        **{alert.name.removeprefix("S4"): alarm(alert, runbooks) for alert in watched},
        **_event_resources(),
        "Dashboard": _dashboard([kebab(alert.name) for alert in watched]),
    }
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "S4's alarms, dashboard, and what publishes its metrics.",
        "Parameters": {
            DEPLOYMENT: {
                "Type": "String",
                "Default": "s4",
                "AllowedPattern": "[a-z0-9][a-z0-9-]{0,30}",
                "Description": "A name that all of this begins with, and a dimension of S4's own metrics.",
            },
            **{name: {"Type": "String", "Default": "", "Description": about} for name, about in PARAMETERS.items()},
        },
        "Conditions": _conditions(resources),
        "Resources": resources,
        "Outputs": {
            **{
                name: {"Description": f"The topic of {name.lower()}.", "Value": {"Ref": name}}
                for name in TOPICS.values()
            },
            "AgentConfiguration": {
                "Description": "For the agent's container, as its secret CW_CONFIG_CONTENT.",
                "Value": {"Ref": "AgentConfiguration"},
            },
            "AgentScraping": {
                "Description": "As its secret PROMETHEUS_CONFIG_CONTENT.",
                "Value": {"Ref": "AgentScraping"},
            },
            "AgentPolicy": {
                "Description": "For the task's role and its execution role.",
                "Value": {"Ref": "AgentPolicy"},
            },
        },
    }


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
        **(_share(condition) if condition.share_of else _single(condition)),
    }
    needed = _condition(name for value in condition.dimensions.values() for name in _PLACEHOLDER.findall(value))
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


def _metric(condition: CloudWatch, name: str) -> dict[str, Any]:
    dimensions = dict(condition.dimensions)
    if condition.namespace == NAMESPACE:
        dimensions = {"deployment": f"${{{DEPLOYMENT}}}", **dimensions}
    return {
        "Namespace": condition.namespace,
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": _value(value)} for key, value in dimensions.items()],
    }


def _single(condition: CloudWatch) -> dict[str, Any]:
    percentile = condition.statistic.startswith("p")
    return {
        **_metric(condition, condition.metric),
        "ExtendedStatistic" if percentile else "Statistic": condition.statistic,
        "Period": int(condition.period.total_seconds()),
    }


def _share(condition: CloudWatch) -> dict[str, Any]:
    """The quotient of two metrics. Where the whole is 0 or missing there is none, which counts as missing data; a part
    that is missing is none: services publish such counters only when something was counted."""
    assert condition.share_of is not None
    queries = [
        {
            "Id": key,
            "ReturnData": False,
            "MetricStat": {
                "Metric": _metric(condition, name),
                "Stat": condition.statistic,
                "Period": int(condition.period.total_seconds()),
            },
        }
        for key, name in (("part", condition.metric), ("whole", condition.share_of))
    ]
    share = {
        "Id": "share",
        "ReturnData": True,
        "Expression": "FILL(part, 0) / whole",
        "Label": f"{condition.metric} / {condition.share_of}",
    }
    return {"Metrics": [share, *queries]}


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


# -- the agent


def declarations() -> dict[tuple[str, ...], list[str]]:
    """S4's metrics that alarms and dashboard read, by the labels (sorted, without `deployment`) by which they do."""
    read = set(cloudwatch_dashboard.read())
    for alert in ALERTS:
        condition = alert.cloudwatch
        if condition is not None and condition.namespace == NAMESPACE:
            labels = tuple(sorted(condition.dimensions))
            read |= {(name, labels) for name in (condition.metric, condition.share_of) if name is not None}
    by_labels: dict[tuple[str, ...], list[str]] = {}
    for name, labels in sorted(read, key=lambda each: (each[1], each[0])):
        by_labels.setdefault(labels, []).append(name)
    return by_labels


def agent(deployment: str, scraping_path: str) -> dict[str, Any]:
    """The agent's own configuration. `scraping_path`: where it finds what it scrapes."""
    return {
        "logs": {
            "force_flush_interval": 30,
            "metrics_collected": {
                "prometheus": {
                    "log_group_name": f"/{deployment}/metrics",
                    "prometheus_config_path": scraping_path,
                    "emf_processor": {
                        "metric_namespace": NAMESPACE,
                        "metric_declaration_dedup": True,
                        "metric_declaration": [
                            {
                                "source_labels": ["deployment"],
                                "label_matcher": f"^{deployment}$",
                                "dimensions": [["deployment", *labels]],
                                "metric_selectors": [f"^({'|'.join(names)})$"],
                            }
                            for labels, names in declarations().items()
                        ],
                    },
                }
            },
        }
    }


def scraping(deployment: str) -> dict[str, Any]:
    """What the agent scrapes: the processes beside it, each minute. Of a job that is not there it logs an error, and
    goes on. What is not read is dropped before it is billed."""
    kept = sorted({name for names in declarations().values() for name in names})
    return {
        "global": {"scrape_interval": "1m", "scrape_timeout": "10s"},
        "scrape_configs": [
            {
                "job_name": job.name,
                "static_configs": [{"targets": [f"localhost:{job.port}"], "labels": {"deployment": deployment}}],
                "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": "|".join(kept), "action": "keep"}],
            }
            for job in scrape.JOBS
            if job.name != "s4-exporter"  # a tenant's series each: too many for CloudWatch's prices
        ],
    }


def _agent_resources() -> dict[str, Any]:
    name = f"${{{DEPLOYMENT}}}"
    contents = {
        "AgentConfiguration": agent(name, "env:PROMETHEUS_CONFIG_CONTENT"),
        "AgentScraping": scraping(name),  # JSON is YAML
    }
    return {
        "AgentLogs": {
            "Type": "AWS::Logs::LogGroup",
            "DeletionPolicy": "Delete",
            "UpdateReplacePolicy": "Delete",
            "Properties": {"LogGroupName": _AGENT_LOGS, "RetentionInDays": 3},
        },
        **{
            resource: {
                "Type": "AWS::SSM::Parameter",
                "Properties": {
                    "Name": {"Fn::Sub": f"/{name}/{kebab(resource)}"},
                    "Type": "String",
                    "Tier": "Intelligent-Tiering",  # more than 4 KiB cost a little
                    "Value": {"Fn::Sub": json.dumps(content, separators=(",", ":"))},
                },
            }
            for resource, content in contents.items()
        },
        "AgentPolicy": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"PolicyDocument": _agent_policy()},
        },
    }


def _agent_policy() -> dict[str, Any]:
    def own(service: str, kind: str, names: str) -> dict[str, str]:
        account = "${AWS::Region}:${AWS::AccountId}"
        return {"Fn::Sub": f"arn:${{AWS::Partition}}:{service}:{account}:{kind}/${{{DEPLOYMENT}}}/{names}"}

    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                "Resource": own("logs", "log-group:", "metrics:*"),
            },
            {
                "Effect": "Allow",
                "Action": "ssm:GetParameters",
                "Resource": own("ssm", "parameter", "agent-*"),
            },
        ],
    }


# -- the dashboard


def _dashboard(alarms: list[str]) -> dict[str, Any]:
    names = [*alarms, *(f"{event.name}-logged" for event in EVENTS)]
    return {
        "Type": "AWS::CloudWatch::Dashboard",
        "Properties": {
            "DashboardName": {"Fn::Sub": f"${{{DEPLOYMENT}}}"},
            "DashboardBody": {"Fn::Sub": json.dumps(cloudwatch_dashboard.body(names), separators=(",", ":"))},
        },
    }
