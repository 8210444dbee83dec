"""What publishes S4's own metrics in CloudWatch, and the dashboard that shows them.

CloudWatch's agent runs beside each process, scrapes `/metrics` as Prometheus does, and hands on what `declarations`
names: what alarms and dashboard read, by the labels by which they read it, and nothing else, for each combination is
billed. It drops histograms; durations are the balancer's. To each series it adds the label `deployment`, so that two
of them in one account are told apart, and counters arrive as what was added since the last scrape: their statistic is
`Sum`.
"""

import json
from typing import Any

from deploy.monitoring import cloudwatch_dashboard, scrape
from deploy.monitoring.alerts import ALERTS
from deploy.monitoring.cloudwatch_dashboard import DEPLOYMENT, NAMESPACE
from deploy.monitoring.names import kebab

OUTPUTS = {
    "AgentConfiguration": ("For the agent's container, as its secret CW_CONFIG_CONTENT.", "AgentConfiguration"),
    "AgentScraping": ("As its secret PROMETHEUS_CONFIG_CONTENT.", "AgentScraping"),
    "AgentPolicy": ("For the task's role and its execution role.", "AgentPolicy"),
}


def resources(alarms: list[str]) -> dict[str, Any]:
    """Of the template. `alarms`: names as the other template gives them."""
    return {
        **_agent_resources(),
        "Dashboard": {
            "Type": "AWS::CloudWatch::Dashboard",
            "Properties": {
                "DashboardName": {"Fn::Sub": f"${{{DEPLOYMENT}}}"},
                "DashboardBody": {"Fn::Sub": json.dumps(cloudwatch_dashboard.body(alarms), separators=(",", ":"))},
            },
        },
    }


# -- the agent


def declarations() -> dict[tuple[str, ...], list[str]]:
    """S4's metrics that alarms and dashboard read, by the labels (sorted, without `deployment`) by which they do."""
    read = set(cloudwatch_dashboard.read())
    for alert in ALERTS:
        condition = alert.cloudwatch
        if condition is not None and condition.namespace == NAMESPACE:
            read.add((condition.metric, tuple(sorted(condition.dimensions))))
            if condition.share_of is not None:
                read.add((condition.share_of, tuple(sorted(condition.share_of_dimensions))))
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


def scraping(deployment: str, authorization: dict[str, str]) -> dict[str, Any]:
    """What the agent scrapes: the processes beside it, each minute. Of a job that is not there it logs an error, and
    goes on. What is not read is dropped before it is billed. `authorization`: in Prometheus' form; empty credentials do
    where S4 asks for none."""
    kept = sorted({name for names in declarations().values() for name in names})
    return {
        "global": {"scrape_interval": "1m", "scrape_timeout": "10s"},
        "scrape_configs": [
            {
                "job_name": job.name,
                "authorization": authorization,
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
        "AgentScraping": scraping(name, {"credentials": "${MetricsToken}"}),  # JSON is YAML
    }
    return {
        "AgentLogs": {
            "Type": "AWS::Logs::LogGroup",
            "DeletionPolicy": "Delete",
            "UpdateReplacePolicy": "Delete",
            "Properties": {"LogGroupName": {"Fn::Sub": f"/{name}/metrics"}, "RetentionInDays": 3},
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
