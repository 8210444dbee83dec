"""Amazon's templates: kept to by two validators, put into a server by Amazon's own client, and read back."""

import copy
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clouds.aws_rules import alarm_faults
from tests.clouds.programs import CLOUDS, HERE, ROOT, aws, calls, run
from tests.clouds.templates import made, read
from tests.servers import amazon
from tests.unit.test_cloud_monitoring import ALARM_FAULTS, AWS, EVERYTHING

pytestmark = pytest.mark.ops

TEMPLATES = [AWS / f"{name}.yaml" for name in ("monitoring", "metrics", "trail", "two-regions")]
GUIDE = ROOT / "docs" / "guide" / "clouds.md"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with amazon(CLOUDS) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def alarms() -> dict[str, dict[str, Any]]:
    """Every alarm of both templates with everything there is to watch, by its resource's name."""
    resources = made(read(AWS / "monitoring.yaml"), **EVERYTHING) | made(
        read(AWS / "trail.yaml"), BucketName="my-bucket", RoleName="s4", Topic="arn:topic"
    )
    return {name: each["Properties"] for name, each in resources.items() if each["Type"] == "AWS::CloudWatch::Alarm"}


def test_the_templates_keep_amazons_rules() -> None:
    done = run("cfn-lint", *TEMPLATES)
    assert done.returncode == 0, done.stdout


def test_the_templates_are_read_by_a_second_validator(tmp_path: Path) -> None:
    done = run("python", HERE / "parse_template.py", *TEMPLATES)
    assert done.returncode == 0, done.stderr

    content = read(AWS / "monitoring.yaml")
    content["Resources"]["QueueOld"]["Properties"]["EvaluationPeriod"] = 1
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump(content))
    refused = run("python", HERE / "parse_template.py", wrong)
    assert refused.returncode != 0
    assert "EvaluationPeriod" in refused.stderr


def test_what_our_own_rules_find_cfn_lint_lets_pass(tmp_path: Path) -> None:
    """Else the rules would be there for nothing. The second validator asks for a statistic, and for nothing else."""
    content = read(AWS / "monitoring.yaml")
    names = {fault: f"Wrong{number}" for number, fault in enumerate(ALARM_FAULTS)}
    for fault, name in names.items():
        content["Resources"][name] = copy.deepcopy(content["Resources"]["QueueOld"])
        content["Resources"][name]["Properties"].pop("AlarmName")
        ALARM_FAULTS[fault][0](content["Resources"][name]["Properties"])
    template = tmp_path / "wrong.yaml"
    template.write_text(yaml.safe_dump(content))
    done = run("cfn-lint", template)
    assert done.returncode == 0, done.stdout
    refused = run("python", HERE / "parse_template.py", template)
    assert "Alarm: one of the following must be specified: ExtendedStatistic, Metrics, Statistic" in refused.stderr

    assert set(names.values()) <= {fault.split(":")[0] for fault in alarm_faults(made(content), {})}
    del content["Resources"][names["no statistic"]]
    template.write_text(yaml.safe_dump(content))
    done = run("python", HERE / "parse_template.py", template)
    assert done.returncode == 0, done.stderr


def test_alarms_are_put_and_read_back(endpoint: str, alarms: dict[str, dict[str, Any]]) -> None:
    """The server's CloudFormation makes no alarms, its CloudWatch does."""
    calls(endpoint, *(("cloudwatch", "put_metric_alarm", alarm) for alarm in alarms.values()))
    (answer,) = calls(
        endpoint,
        ("cloudwatch", "describe_alarms", {"AlarmNames": [alarm["AlarmName"] for alarm in alarms.values()]}),
    )
    kept = {alarm["AlarmName"]: alarm for alarm in answer["MetricAlarms"]}
    for alarm in alarms.values():
        theirs = kept[alarm["AlarmName"]]
        assert {key: theirs.get(key) for key in alarm if key != "Metrics"} == {
            key: each for key, each in alarm.items() if key != "Metrics"
        }
        for ours in alarm.get("Metrics", ()):
            (same,) = (each for each in theirs["Metrics"] if each["Id"] == ours["Id"])
            assert {key: same[key] for key in ours} == ours


def test_the_stacks_make_a_dashboard_topics_and_the_agents_configuration(endpoint: str) -> None:
    deploy = ("cloudformation", "deploy", "--capabilities", "CAPABILITY_IAM", "--template-file")
    given = [f"{name}={value}" for name, value in EVERYTHING.items()]
    for name in ("monitoring", "metrics"):
        known = read(AWS / f"{name}.yaml")["Parameters"]
        overrides = [each for each in given if each.split("=")[0] in known]
        aws(endpoint, *deploy, AWS / f"{name}.yaml", "--stack-name", name, "--parameter-overrides", *overrides)
    dashboard, configuration, topics = calls(
        endpoint,
        ("cloudwatch", "get_dashboard", {"DashboardName": "s4"}),
        ("ssm", "get_parameters", {"Names": ["/s4/agent-configuration", "/s4/agent-scraping"]}),
        ("sns", "list_topics", {}),
    )
    ours = made(read(AWS / "metrics.yaml"), **EVERYTHING)
    assert json.loads(dashboard["DashboardBody"]) == json.loads(
        ours["Dashboard"]["Properties"]["DashboardBody"].replace("arn:AWS", "arn:aws")
    )
    assert {each["Value"] for each in configuration["Parameters"]} == {
        ours[name]["Properties"]["Value"] for name in ("AgentConfiguration", "AgentScraping")
    }
    assert {each["TopicArn"].rsplit(":", 1)[1] for each in topics["Topics"]} == {"s4-pages", "s4-tickets"}


def test_the_guides_alarm_is_taken_as_this_guide_has_it(endpoint: str) -> None:
    """The operations guide's own has no statistic."""
    (command,) = re.findall(r"^aws cloudwatch put-metric-alarm .*?[^\\]\n", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    words = shlex.split(command.replace("\\\n", " "))
    aws(endpoint, *words[1:])
    (answer,) = calls(endpoint, ("cloudwatch", "describe_alarms", {"AlarmNames": ["s4-high-cpu"]}))
    (alarm,) = answer["MetricAlarms"]
    dimensions = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
    assert dimensions == {"ServiceName": "s4-service", "ClusterName": "s4-cluster"}
    assert alarm_faults({"Guides": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm}}, {}) == []

    # As the operations guide has it. Amazon refuses that; this server takes it, and our own rules do not.
    place = words.index("--statistic")
    aws(endpoint, *words[1:place], *words[place + 2 :], "--alarm-name", "guides")
    (answer,) = calls(endpoint, ("cloudwatch", "describe_alarms", {"AlarmNames": ["guides"]}))
    theirs = {key: each for key, each in answer["MetricAlarms"][0].items() if each is not None}
    assert alarm_faults({"Guides": {"Type": "AWS::CloudWatch::Alarm", "Properties": theirs}}, {}) == [
        "Guides: has no statistic"
    ]


def test_prometheus_reads_what_the_agent_scrapes() -> None:
    """The agent reads Prometheus' own configuration."""
    done = run("/usr/bin/promtool", "check", "config", "--syntax-only", AWS / "agent" / "prometheus.yaml")
    assert done.returncode == 0, done.stderr
