"""The template of two regions: valid by Amazon's schemas, taken by a server, and of one mind with `s4 replicate`."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.factories.command_line import s4
from tests.servers import amazon

pytestmark = pytest.mark.ops

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "deploy" / "aws" / "two-regions.yaml"
CLOUDS = ROOT / ".venv-clouds" / "bin"
"""`make clouds` makes it."""
FIRST, SECOND = "my-bucket", "my-second-bucket"


@pytest.fixture
def endpoint() -> Iterator[str]:
    with amazon(CLOUDS) as endpoint:
        yield endpoint


def aws(endpoint: str, *arguments: str | Path, region: str = "us-east-1") -> str:
    done = subprocess.run(
        [CLOUDS / "aws", "--region", region, "--output", "json", *arguments],
        env={
            "AWS_ACCESS_KEY_ID": "an-identity",
            "AWS_SECRET_ACCESS_KEY": "its-key",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def settings(endpoint: str, prefix: str = "s4") -> dict[str, str]:
    return {
        "S4_STORE_URL": f"s3://{FIRST}/{prefix}",
        "S4_STORE_ENDPOINT": endpoint,
        "S4_STORE_ACCESS_KEY_ID": "an-identity",
        "S4_STORE_SECRET_ACCESS_KEY": "its-key",
        "S4_REPLICA_STORE_URL": f"s3://{SECOND}/{prefix}",
    }


def test_the_template_keeps_amazons_rules() -> None:
    done = subprocess.run([CLOUDS / "cfn-lint", TEMPLATE], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


def test_the_template_makes_both_buckets_as_the_guide_says(endpoint: str) -> None:
    deploy = ("cloudformation", "deploy", "--template-file", TEMPLATE, "--stack-name")
    aws(endpoint, *deploy, "s4-second", "--parameter-overrides", f"BucketName={SECOND}", region="eu-west-1")
    aws(
        endpoint, *deploy, "s4-first", "--capabilities", "CAPABILITY_IAM",
        "--parameter-overrides", f"BucketName={FIRST}", f"CopiesInto={SECOND}",
    )  # fmt: skip
    kinds = {
        name: {each["ResourceType"] for each in json.loads(told)["StackResourceSummaries"]} - {""}
        for name, region in (("s4-first", "us-east-1"), ("s4-second", "eu-west-1"))
        for told in [aws(endpoint, "cloudformation", "list-stack-resources", "--stack-name", name, region=region)]
    }
    assert kinds == {"s4-first": {"AWS::S3::Bucket", "AWS::IAM::Role"}, "s4-second": {"AWS::S3::Bucket"}}


def test_the_template_copies_what_the_printed_policy_copies(endpoint: str) -> None:
    printed = json.loads(s4("replicate", "--print-policy", **settings(endpoint)).stdout)
    bucket = _read(TEMPLATE)["Resources"]["Bucket"]["Properties"]
    _, replication, otherwise = bucket["ReplicationConfiguration"]
    names = {"${AWS::Partition}": "aws", "${CopiesInto}": SECOND, "${Prefix}": "s4/"}
    assert otherwise == "AWS::NoValue"
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert _filled(replication["Rules"], names) == [
        {("Id" if name == "ID" else name): value for name, value in rule.items()} for rule in printed["Rules"]
    ]


def test_the_printed_policy_is_what_the_check_asks_for(endpoint: str, tmp_path: Path) -> None:
    for name, region in ((FIRST, "us-east-1"), (SECOND, "us-east-1")):
        aws(endpoint, "s3api", "create-bucket", "--bucket", name, region=region)
    unfit = s4("replicate", "--check-policy", **settings(endpoint))
    assert (unfit.returncode, "keeps no versions" in unfit.stdout + unfit.stderr) == (1, True)
    for name in (FIRST, SECOND):
        aws(
            endpoint, "s3api", "put-bucket-versioning", "--bucket", name, "--versioning-configuration", "Status=Enabled"
        )
    policy = tmp_path / "policy.json"
    policy.write_text(s4("replicate", "--print-policy", "--role", "arn:aws:iam::1:role/x", **settings(endpoint)).stdout)
    put = ("s3api", "put-bucket-replication", "--bucket", FIRST, "--replication-configuration", f"file://{policy}")
    aws(endpoint, *put)
    fit = s4("replicate", "--check-policy", **settings(endpoint))
    assert fit.returncode == 0, fit.stdout + fit.stderr

    # The stand-in keeps neither a rule's prefix nor what it does with deletions: tests/unit/test_replication_policy.py.
    rules = json.loads(policy.read_text())
    for rule in rules["Rules"]:
        rule["Status"] = "Disabled"
    policy.write_text(json.dumps(rules))
    aws(endpoint, *put)
    idle = s4("replicate", "--check-policy", **settings(endpoint))
    assert idle.returncode == 1
    for area in ("indices", "system", "tenants"):
        assert f"No rule that is enabled copies s4/{area}/ into arn:aws:s3:::{SECOND}" in idle.stdout + idle.stderr


# -- reading a template


class _Loader(yaml.SafeLoader):
    """With Amazon's short forms, as the values that they are about."""


def _short_form(loader: _Loader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)  # type: ignore[arg-type]


_Loader.add_multi_constructor("!", _short_form)


def _read(template: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml.load(template.read_text(), _Loader)
    return read


def _filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, names) for each in value]
    if isinstance(value, str):
        for name, meaning in names.items():
            value = value.replace(name, meaning)
    return value
