"""Compose, ECS, Elastic Beanstalk and Cloud Run: each file keeps its maker's rules as far as a validator knows them,
and says nothing that S4 does not know; what scales, scales on something; who is stopped has the time that S4 takes.

Needs `make clouds`, and Debian's `haproxy`."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.monitoring.scrape import JOBS
from s4.entrypoints.doctor.store.actions import Place, policy
from s4.kernel.settings import Settings
from tests.clouds.templates import made, read
from tests.factories.compose import FILE as COMPOSE
from tests.factories.compose import composed, made_secrets
from tests.factories.deployed import declared_settings, parse
from tests.factories.pages import executed_blocks, page, run_blocks
from tests.servers import amazon

pytestmark = pytest.mark.ops

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CLOUDS = ROOT / ".venv-clouds" / "bin"
BEANSTALK = [DEPLOY / "aws" / "beanstalk" / part for part in ("s4-api", "s4-worker")]
TWO_DAYS = str(2 * 86_400)
CLOUD_RUN = DEPLOY / "google" / "cloud-run"
PORTS = {"serve": 8000, "worker": 9464, "exporter": 9465}


@dataclass(frozen=True)
class Process:
    """One process of S4 as a file has it. `grace_seconds`: from SIGTERM to SIGKILL; None where nobody says."""

    where: str
    arguments: list[str]
    settings: dict[str, str] = field(default_factory=dict)
    grace_seconds: float | None = None

    def seconds(self, name: str) -> float:
        said = self.settings.get(f"S4_{name.upper()}", Settings.model_fields[name].default)
        return float(said)


# -- reading


def compose_processes() -> Iterator[Process]:
    for name, service in composed(COMPOSE)["services"].items():
        if service["image"].startswith("s4:"):
            grace = float(service.get("stop_grace_period", "10s").removesuffix("s"))
            yield Process(f"compose {name}", service["command"], service["environment"], grace)


def ecs(**parameters: str) -> dict[str, Any]:
    return made(read(DEPLOY / "aws" / "ecs.yaml"), BucketName="my-bucket", Image="s4", **parameters)


def ecs_processes() -> Iterator[Process]:
    for name, task in ecs().items():
        for container in task["Properties"].get("ContainerDefinitions", ()):
            if container["Image"] == "s4":
                settings = {each["Name"]: each["Value"] for each in container["Environment"]}
                settings |= {each["Name"]: "" for each in container["Secrets"]}
                where = f"ecs {name} {container['Name']}"
                yield Process(where, container["Command"], settings, container.get("StopTimeout"))


def beanstalk_settings(folder: Path) -> dict[str, str]:
    options: dict[str, str] = {}
    for file in sorted((folder / ".ebextensions").glob("*.config")):
        said = yaml.safe_load(file.read_text())["option_settings"]
        for namespace in ("environment", "environmentsecrets"):
            options |= said.get(f"aws:elasticbeanstalk:application:{namespace}", {})
    return options


def beanstalk_processes() -> Iterator[Process]:
    for folder in BEANSTALK:
        for name, service in composed(folder / "docker-compose.yml")["services"].items():
            if "/s4:" in service["image"]:
                grace = float(service.get("stop_grace_period", "10s").removesuffix("s"))
                yield Process(f"beanstalk {name}", service["command"], beanstalk_settings(folder), grace)


def cloud_run() -> dict[str, dict[str, Any]]:
    """By file name, without the collectors' own."""
    files = [file for file in CLOUD_RUN.glob("*.yaml") if not file.stem.startswith("scrape")]
    return {file.stem: yaml.safe_load(file.read_text()) for file in files}


def cloud_run_processes() -> Iterator[Process]:
    for name, each in cloud_run().items():
        spec = each["spec"]["template"]["spec"]
        for container in spec.get("containers") or spec["template"]["spec"]["containers"]:
            if "/s4:" in container["image"]:
                settings = {variable["name"]: variable.get("value", "") for variable in container["env"]}
                # Cloud Run's own, and not to be changed.
                yield Process(f"cloud-run {name}", container["args"], settings, 10)


PROCESSES = [*compose_processes(), *ecs_processes(), *beanstalk_processes(), *cloud_run_processes()]


# -- S4's own rules, for all of them


@pytest.mark.parametrize("target", ["compose", "ecs", "beanstalk", "cloud-run"])
def test_every_target_runs_api_workers_and_migration(target: str) -> None:
    commands = {each.arguments[0] for each in PROCESSES if each.where.startswith(target)}
    assert commands >= {"serve", "worker", "migrate"}


@pytest.mark.parametrize("process", PROCESSES, ids=lambda each: each.where)
def test_commands_and_settings_are_s4s(process: Process) -> None:
    parse(process.arguments)
    assert {name for name in process.settings if name.startswith("S4_")} <= declared_settings()
    assert process.settings["S4_ENVIRONMENT"] == "production"
    for name in ("S4_ADMIN_API_KEY", "S4_SECRET_KEY", "S4_DATABASE_URL"):
        assert name in process.settings or f"{name}_FILE" in process.settings
    if process.arguments[0] == "worker":
        assert process.arguments[1:] == ["--metrics-port", str(PORTS["worker"])]


def test_ports_are_those_that_prometheus_asks() -> None:
    assert {job.name.removeprefix("s4-"): job.port for job in JOBS} == {
        "api": PORTS["serve"], "worker": PORTS["worker"], "exporter": PORTS["exporter"]
    }  # fmt: skip


@pytest.mark.parametrize(
    "process", [each for each in PROCESSES if each.arguments[0] in ("serve", "worker")], ids=lambda each: each.where
)
def test_who_is_stopped_has_the_time_that_s4_takes(process: Process) -> None:
    drain = process.seconds("drain_seconds") if process.arguments[0] == "serve" else 0
    assert process.grace_seconds is not None
    spare = 2 if process.where.startswith("cloud-run") else 10
    assert process.grace_seconds >= drain + process.seconds("shutdown_seconds") + spare


# -- compose


def _parsed_by_compose(file: Path, tmp_path: Path) -> None:
    whole = tmp_path / "compose.yaml"  # merge keys are YAML's, and gone once it is read
    whole.write_text(yaml.safe_dump(composed(file)))
    program = "import sys, compose_spec; compose_spec.PyCompose.from_yaml(open(sys.argv[1]).read())"
    done = subprocess.run([CLOUDS / "python", "-c", program, whole], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", [COMPOSE, *(folder / "docker-compose.yml" for folder in BEANSTALK)], ids=str)
def test_compose_files_keep_the_specification(file: Path, tmp_path: Path) -> None:
    _parsed_by_compose(file, tmp_path)
    content = composed(file)
    for name, service in content["services"].items():
        assert set(service.get("depends_on", ())) <= content["services"].keys(), name
        assert not service["image"].endswith(":latest")
        assert ":" in service["image"]
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert source in content["volumes"] or source == "./agent" or (file.parent / source).exists(), mount


def test_compose_makes_every_secret_that_it_hands_over(tmp_path: Path) -> None:
    made_ = made_secrets(tmp_path)
    assert made_secrets(tmp_path) == made_, "what is there stays"
    content = composed(COMPOSE)
    assert content["secrets"] == {name: {"file": f"secrets/{name}"} for name in made_}
    assert made_["postgres-password"] in made_["database-url"]
    (identity,) = json.loads(made_["store-identities"])["identities"]
    assert identity["credentials"] == [
        {"accessKey": made_["store-access-key-id"], "secretKey": made_["store-secret-access-key"]}
    ]
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    for process in compose_processes():
        for name, path in process.settings.items():
            if name.endswith("_FILE"):
                assert path.removeprefix("/run/secrets/") in made_


def test_the_balancer_of_compose_does_what_the_tried_one_does() -> None:
    file = COMPOSE.parent / "haproxy.cfg"
    done = subprocess.run(["/usr/sbin/haproxy", "-c", "-f", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tried = (DEPLOY / "cluster" / "haproxy.cfg").read_text()
    about = re.compile(r"^ +(?:timeout|retr|option (?:redispatch|httpchk)|acl|http-|default-server|balance).*", re.M)
    ours = set(about.findall(file.read_text()))
    assert set(about.findall(tried)) <= ours


# -- ECS


def test_templates_keep_amazons_rules() -> None:
    files = [DEPLOY / "aws" / f"{name}.yaml" for name in ("data", "ecs")]
    done = subprocess.run([CLOUDS / "cfn-lint", *files], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_tasks_may_do_what_the_printed_policy_says_and_no_more() -> None:
    policies = ecs(Prefix="s4")["TaskRole"]["Properties"]["Policies"]
    (store,) = [each["PolicyDocument"] for each in policies if each["PolicyName"] == "store"]
    assert store == policy(Place("my-bucket", "s4/", "us-east-1"))


def test_each_service_scales_on_load_and_on_nothing_else() -> None:
    resources = ecs()
    targets = {name for name, each in resources.items() if each["Type"].endswith("ScalableTarget")}
    policies = {n: each["Properties"] for n, each in resources.items() if each["Type"].endswith("ScalingPolicy")}
    followed = {each["ScalingTargetId"].removeprefix("arn:") for each in policies.values()}
    assert followed == targets, "bounds alone scale nothing"
    assert {each["Properties"]["ResourceId"].rpartition("/")[2] for name, each in resources.items() if name in targets}
    for each in resources.values():
        if each["Type"] == "AWS::ECS::Service":
            assert "DesiredCount" not in each["Properties"], "every update would undo what scaling did"
    age = policies["WorkerByQueueAge"]["TargetTrackingScalingPolicyConfiguration"]["CustomizedMetricSpecification"]
    assert _published(age["Namespace"], age["MetricName"], {each["Name"] for each in age["Dimensions"]})


def _published(namespace: str, metric: str, dimensions: set[str]) -> bool:
    """Whether the agent that is shipped puts a metric into CloudWatch under these dimensions."""
    agent = json.loads((DEPLOY / "aws" / "agent" / "agent.json").read_text())
    processor = agent["logs"]["metrics_collected"]["prometheus"]["emf_processor"]
    return namespace == processor["metric_namespace"] and any(
        dimensions in map(set, each["dimensions"]) and any(re.match(one, metric) for one in each["metric_selectors"])
        for each in processor["metric_declaration"]
    )


@pytest.mark.parametrize("strategy", ["ROLLING", "BLUE_GREEN"])
def test_a_release_comes_without_fewer_tasks_and_goes_back(strategy: str) -> None:
    api = ecs(Strategy=strategy)["Api"]["Properties"]
    assert api["DeploymentConfiguration"]["MinimumHealthyPercent"] == 100
    if strategy == "ROLLING":
        assert api["DeploymentConfiguration"]["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    else:
        (balancer,) = api["LoadBalancers"]
        assert balancer["TargetGroupArn"] != balancer["AdvancedConfiguration"]["AlternateTargetGroupArn"]
        assert api["DeploymentConfiguration"]["BakeTimeInMinutes"] > 0


def test_what_eventbridge_begins_is_a_command_of_s4s() -> None:
    begun = [each for each in ecs(Clock="eventbridge").values() if each["Type"] == "AWS::Scheduler::Schedule"]
    assert len(begun) == 3
    for each in begun:
        (override,) = json.loads(each["Properties"]["Target"]["Input"])["containerOverrides"]
        assert override["name"] == "s4"
        parse(override["command"])
    assert not [each for each in ecs().values() if each["Type"] == "AWS::Scheduler::Schedule"]


@pytest.mark.parametrize("clock", ["s4", "eventbridge"])
def test_backups_are_begun_by_whichever_clock_and_may_be_written(clock: str) -> None:
    resources = ecs(Clock=clock, BackupBucketName="my-backups", BackupRegion="eu-west-1", Prefix="s4")
    policies = {each["PolicyName"]: each["PolicyDocument"] for each in resources["TaskRole"]["Properties"]["Policies"]}
    allowed = {(action, each["Resource"]) for each in policies["backups"]["Statement"] for action in each["Action"]}
    assert {("s3:PutObject", "arn:aws:s3:::my-backups/s4/*"), ("s3:ListBucket", "arn:aws:s3:::my-backups")} <= allowed
    assert not [action for action, _ in allowed if "Delete" in action]

    told = {name: _environment(resources[name]) for name in ("WorkerTask", "OnceTask")}
    for settings in told.values():
        assert (settings["S4_BACKUP_URL"], settings["S4_BACKUP_REGION"]) == ("s3://my-backups/s4", "eu-west-1")
    assert told["WorkerTask"]["S4_BACKUP_PRUNE"] == "false", "who may not delete does not try"
    begun = [each for each in resources.values() if each["Type"] == "AWS::Scheduler::Schedule"]
    assert bool(begun) != ("S4_BACKUP_EVERY_HOURS" in told["WorkerTask"]), "one clock, and one only"

    told["ApiTask"] = _environment(resources["ApiTask"])
    assert {name: settings["S4_RPO_TARGET_SECONDS"] for name, settings in told.items()} == dict.fromkeys(
        ("WorkerTask", "OnceTask", "ApiTask"), TWO_DAYS
    ), "by either clock each day, and somebody is told when two have passed"


def _environment(task: dict[str, Any]) -> dict[str, str]:
    (main,) = [each for each in task["Properties"]["ContainerDefinitions"] if each["Name"] in ("api", "worker", "s4")]
    return {each["Name"]: each["Value"] for each in main["Environment"]}


# -- Elastic Beanstalk


@pytest.mark.parametrize("folder", BEANSTALK, ids=lambda folder: folder.name)
def test_beanstalk_has_bounds_and_a_trigger(folder: Path) -> None:
    whole: dict[str, dict[str, str]] = {}
    resources: dict[str, Any] = {}
    for file in (folder / ".ebextensions").glob("*.config"):
        said = yaml.safe_load(file.read_text())
        whole |= said["option_settings"]
        resources |= said.get("Resources", {})
    group, trigger = whole["aws:autoscaling:asg"], whole["aws:autoscaling:trigger"]
    assert 2 <= int(group["MinSize"]) < int(group["MaxSize"])
    assert all(isinstance(value, str) for options in whole.values() for value in options.values())
    if folder.name == "s4-api":
        assert int(trigger["LowerThreshold"]) < int(trigger["UpperThreshold"]) < 100
    else:
        (scaling,) = resources.values()
        metric = scaling["Properties"]["TargetTrackingConfiguration"]["CustomizedMetricSpecification"]
        assert _published(metric["Namespace"], metric["MetricName"], {each["Name"] for each in metric["Dimensions"]})
        assert (trigger["LowerThreshold"], trigger["UpperThreshold"]) == ("0", "100"), "two would fight"


# -- Cloud Run


def _discovery() -> dict[str, Any]:
    (found,) = (CLOUDS.parent / "lib").glob("*/site-packages/googleapiclient/discovery_cache/documents/run.v1.json")
    document: dict[str, Any] = json.loads(found.read_text())
    schemas: dict[str, Any] = document["schemas"]
    return schemas


def _unknown(value: Any, schema: dict[str, Any], schemas: dict[str, Any], at: str) -> Iterator[str]:
    """What Google's own description of the API does not have."""
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    kind = schema.get("type")
    if kind == "object" and "additionalProperties" in schema:
        for name, each in value.items():
            yield from _unknown(each, schema["additionalProperties"], schemas, f"{at}.{name}")
    elif kind == "object":
        for name, each in value.items():
            if name in schema.get("properties", {}):
                yield from _unknown(each, schema["properties"][name], schemas, f"{at}.{name}")
            else:
                yield f"{at}.{name} is unknown"
    elif kind == "array":
        for number, each in enumerate(value):
            yield from _unknown(each, schema["items"], schemas, f"{at}[{number}]")
    elif kind == "string":
        if not isinstance(value, int if schema.get("format") == "int64" else str):  # as JSON has such numbers
            yield f"{at} is no text"
        elif "enum" in schema and value not in schema["enum"]:
            yield f"{at} is none of {schema['enum']}"
    elif kind in ("integer", "boolean") and not isinstance(value, {"integer": int, "boolean": bool}[kind]):
        yield f"{at} is no {kind}"


@pytest.mark.parametrize("name", sorted(cloud_run()))
def test_cloud_run_knows_every_field(name: str) -> None:
    each, schemas = cloud_run()[name], _discovery()
    assert list(_unknown(each, {"$ref": each["kind"]}, schemas, name)) == []
    told = schemas["ObjectMeta"]["properties"]["annotations"]["description"]
    places = dict(re.findall(r"\* `([\w./-]+)`: ([\w, ]+)", told))
    revision = "Execution" if each["kind"] == "Job" else "Revision"
    for annotation in each["metadata"].get("annotations", {}):
        # Of worker pools the description says nothing: what they have is what Services have.
        assert places[annotation].replace("Service", "Service, WorkerPool").find(each["kind"]) >= 0, annotation
    for annotation in each["spec"]["template"]["metadata"]["annotations"]:
        assert revision in places[annotation], annotation


def test_cloud_run_has_both_bounds_and_takes_no_larger_upload_than_it_passes_on() -> None:
    api = cloud_run()["api"]["spec"]["template"]
    least, most = (
        int(api["metadata"]["annotations"][f"autoscaling.knative.dev/{bound}Scale"]) for bound in ("min", "max")
    )
    assert 2 <= least < most
    (process,) = [each for each in cloud_run_processes() if each.arguments[0] == "serve"]
    assert process.settings["S4_UPLOAD_BYTES_MAX"] == "32 MiB"
    assert api["spec"]["containerConcurrency"] > 16, "waiting takes places and no processor"


@pytest.mark.parametrize(("name", "scrape"), [("api", "scrape"), ("worker", "scrape-worker")])
def test_the_collector_beside_a_process_asks_it(name: str, scrape: str) -> None:
    template = cloud_run()[name]["spec"]["template"]
    process, collector = template["spec"]["containers"]
    (mount,) = collector["volumeMounts"]
    secrets = {volume["name"]: volume["secret"] for volume in template["spec"]["volumes"] if "secret" in volume}
    assert (mount["mountPath"], secrets[mount["name"]]["items"][0]["path"]) == ("/etc/rungmp", "config.yaml")
    made = f"gcloud secrets create {secrets[mount['name']]['secretName']} --data-file={scrape}.yaml"
    assert made in page("deploy/google/cloud-run/README.md")
    (endpoint,) = yaml.safe_load((CLOUD_RUN / f"{scrape}.yaml").read_text())["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == (PORTS[process["args"][0]], "/metrics")
    waits = json.loads(template["metadata"]["annotations"]["run.googleapis.com/container-dependencies"])
    assert waits == {collector["name"]: [process["name"]]}


def test_a_backup_that_cloud_scheduler_does_not_begin_is_missed() -> None:
    """By whoever serves: it tells how old the last one is."""
    for process in cloud_run_processes():
        if process.arguments[0] in ("serve", "worker"):
            assert process.settings["S4_RPO_TARGET_SECONDS"] == TWO_DAYS
    assert '--schedule "30 1 * * *"' in page("deploy/google/cloud-run/README.md"), "each day"


# -- the guide


def test_what_the_guide_says_to_aws_is_taken_and_scales(tmp_path: Path) -> None:
    with amazon(CLOUDS) as endpoint:
        environment = {
            "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "an-identity", "AWS_SECRET_ACCESS_KEY": "its-key",
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "PATH": f"{CLOUDS}:/usr/bin:/bin",
        }  # fmt: skip
        task = json.dumps([{"name": "s4", "image": "s4", "memory": 512}])
        before = [
            "aws ecs create-cluster --cluster-name s4-cluster > made",
            f"aws ecs register-task-definition --family s4 --container-definitions '{task}' > made",
            "aws ecs create-service --cluster s4-cluster --service-name s4-service --task-definition s4 > made",
        ]
        ask = "aws application-autoscaling describe-scaling-policies --service-namespace ecs --output json"
        blocks = executed_blocks(page("docs/guide/deploying.md"), "bash")
        printed = run_blocks(["\n".join(before), *blocks, ask], tmp_path, "", environment)
    (policy_,) = json.loads(printed[-1])["ScalingPolicies"]
    assert policy_["ResourceId"] == "service/s4-cluster/s4-service"
    assert policy_["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 65


def test_the_guide_names_every_folder_and_its_arithmetic_is_right() -> None:
    told = page("docs/guide/deploying.md")
    for folder in ("docker", "compose", "kubernetes", "aws/beanstalk", "google/cloud-run"):
        assert folder in told
    row = re.compile(r"^\| (\d) CPU, \d GiB \| \d+ \| ([\d.]+) \| (\d+) \| (\d+) \|", re.MULTILINE)
    measured = row.findall(page("docs/guide/operations.md"))
    assert len(measured) == 2
    for column, (processors, documents, searches, milliseconds) in enumerate(measured, start=1):
        rows = {cells[0].strip(): cells[column].strip() for cells in _rows(told)}
        at_once = int(searches) * int(milliseconds) / 1000
        assert rows["searches a second, with 8 callers"] == searches
        assert rows["documents a second that become searchable"] == documents
        assert float(rows["so in work at once (searches a second × time)"]) == pytest.approx(at_once, abs=0.05)
        assert float(rows["load (`s4_api_load`) then"]) == pytest.approx(at_once / (8 * int(processors)), abs=0.01)


def _rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("| ") and line.count("|") == 4:
            yield line.strip("|").split("|")


@pytest.mark.parametrize("script", ["docker/scan.sh", "compose/secrets.sh"])
def test_scripts_have_no_fault(script: str) -> None:
    done = subprocess.run([CLOUDS / "shellcheck", DEPLOY / script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_scan_that_scanned_nothing_says_so() -> None:
    done = subprocess.run(
        ["/bin/sh", DEPLOY / "docker" / "scan.sh", "s4:0.1.0"],
        env={"PATH": "/nowhere"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "Nothing was scanned" in done.stderr) == (2, True)
