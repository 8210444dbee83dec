"""The template of two regions: taken by a server, and of one mind with `s4 replicate`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clouds.programs import CLOUDS, ROOT, aws
from tests.clouds.templates import made, read
from tests.factories.command_line import s4
from tests.servers import amazon

pytestmark = pytest.mark.ops

TEMPLATE = ROOT / "deploy" / "aws" / "two-regions.yaml"
FIRST, SECOND = "my-bucket", "my-second-bucket"


@pytest.fixture
def endpoint() -> Iterator[str]:
    with amazon(CLOUDS) as endpoint:
        yield endpoint


def settings(endpoint: str, prefix: str = "s4") -> dict[str, str]:
    return {
        "S4_STORE_URL": f"s3://{FIRST}/{prefix}",
        "S4_STORE_ENDPOINT": endpoint,
        "S4_STORE_ACCESS_KEY_ID": "an-identity",
        "S4_STORE_SECRET_ACCESS_KEY": "its-key",
        "S4_REPLICA_STORE_URL": f"s3://{SECOND}/{prefix}",
    }


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
    bucket = made(read(TEMPLATE), BucketName=FIRST, CopiesInto=SECOND)["Bucket"]["Properties"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["ReplicationConfiguration"]["Rules"] == [
        {("Id" if name == "ID" else name): value for name, value in rule.items()} for rule in printed["Rules"]
    ]
    assert "ReplicationConfiguration" not in made(read(TEMPLATE), BucketName=SECOND)["Bucket"]["Properties"]


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
