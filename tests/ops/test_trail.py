"""The trails of what is changed: whose changes are told, and who may touch the logs."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clouds.cloudtrail import BUCKET, CHANGES, EVERYDAY, ROLE
from tests.clouds.log_filters import metric_filter
from tests.clouds.programs import CLOUDS, calls
from tests.clouds.templates import made, read
from tests.servers import amazon
from tests.unit.test_cloud_monitoring import AWS

pytestmark = pytest.mark.ops

WATCHED = {name: f"{name}Filter" for name in CHANGES}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with amazon(CLOUDS) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    template = made(read(AWS / "trail.yaml"), BucketName=BUCKET, RoleName=ROLE, Topic="arn:topic")
    return {name: each["Properties"] for name, each in template.items()}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_seen_by_its_filter_alone(change: str, resources: dict[str, Any]) -> None:
    filters = {name: metric_filter(resources[each]["FilterPattern"]) for name, each in WATCHED.items()}
    for event in CHANGES[change]:
        seen = {name for name, passes in filters.items() if passes(event)}
        assert seen == {change}, event["eventName"]


def test_everyday_calls_are_seen_by_none(resources: dict[str, Any]) -> None:
    for each in WATCHED.values():
        passes = metric_filter(resources[each]["FilterPattern"])
        assert [event["eventName"] for event in EVERYDAY if passes(event)] == []


def test_each_filter_has_its_alarm(resources: dict[str, Any]) -> None:
    for change, each in WATCHED.items():
        (made_of,) = resources[each]["MetricTransformations"]
        alarm = resources[change]
        assert (alarm["Namespace"], alarm["MetricName"]) == (made_of["MetricNamespace"], made_of["MetricName"])


def test_who_and_what_is_told_of_the_same_changes(resources: dict[str, Any]) -> None:
    pattern = resources["Told"]["EventPattern"]

    def told(event: dict[str, Any]) -> bool:
        source = event["eventSource"].replace("amazonaws.com", "").strip(".")
        return _matches(
            pattern, {"source": f"aws.{source}", "detail-type": "AWS API Call via CloudTrail", "detail": event}
        )

    # Of read-only calls EventBridge delivers none unless a rule asks for them.
    assert [event["eventName"] for event in EVERYDAY if not event["readOnly"] and told(event)] == ["PutBucketTagging"]
    untold = {(name, event["eventSource"]) for name, each in CHANGES.items() for event in each if not told(event)}
    assert untold == {("TrailChanges", "logs.amazonaws.com")}


def test_the_trails_log_what_they_should(endpoint: str, resources: dict[str, Any]) -> None:
    """The server's CloudFormation makes no trails; so they are made by the same values, and asked."""
    made_ones = []
    for name in ("Changes", "Objects"):
        trail = dict(resources[name])
        bucket = f"{name.lower()}-logs"
        selectors = trail.pop("AdvancedEventSelectors")
        assert trail.pop("IsLogging") is True
        for role in ("CloudWatchLogsLogGroupArn", "CloudWatchLogsRoleArn"):
            trail.pop(role, None)  # the server looks for them
        arguments = {
            "Name": trail.pop("TrailName"),
            "EnableLogFileValidation": trail.pop("EnableLogFileValidation"),
            **trail,
            "S3BucketName": bucket,
        }
        selected = {"TrailName": arguments["Name"], "AdvancedEventSelectors": selectors}
        answers = calls(
            endpoint,
            ("s3", "create_bucket", {"Bucket": bucket}),
            ("cloudtrail", "create_trail", arguments),
            ("cloudtrail", "put_event_selectors", selected),
            ("cloudtrail", "get_event_selectors", {"TrailName": arguments["Name"]}),
        )
        assert answers[-1]["AdvancedEventSelectors"] == selectors
        made_ones.append(answers[1])
    changes, objects = made_ones
    assert (changes["LogFileValidationEnabled"], objects["LogFileValidationEnabled"]) == (True, True)
    assert (changes["IsMultiRegionTrail"], changes["IncludeGlobalServiceEvents"]) == (True, True)


def test_data_events_are_of_the_bucket_alone() -> None:
    def fields(**parameters: str) -> dict[str, Any]:
        given = {"BucketName": BUCKET, "RoleName": ROLE, "Topic": "arn:topic"} | parameters
        (selector,) = made(read(AWS / "trail.yaml"), **given)["Objects"]["Properties"]["AdvancedEventSelectors"]
        return {each.pop("Field"): each for each in selector["FieldSelectors"]}

    objects = {
        "eventCategory": {"Equals": ["Data"]},
        "resources.type": {"Equals": ["AWS::S3::Object"]},
        "resources.ARN": {"StartsWith": [f"arn:aws:s3:::{BUCKET}/"]},
    }
    assert fields() == objects | {"readOnly": {"Equals": ["false"]}}
    assert fields(DataEvents="all") == objects


def test_nobody_deletes_logs_and_s4_does_not_touch_them(endpoint: str, resources: dict[str, Any]) -> None:
    bucket = resources["LogBucket"]
    retention = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert (bucket["ObjectLockEnabled"], retention["Mode"]) == (True, "GOVERNANCE")
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    policy = resources["LogBucketPolicy"]["PolicyDocument"]
    calls(
        endpoint,
        ("s3", "create_bucket", {"Bucket": "logs", "ObjectLockEnabledForBucket": True}),
        ("s3", "put_bucket_policy", {"Bucket": "logs", "Policy": json.dumps(policy)}),
    )

    s4 = f"arn:aws:iam::123456789012:role/{ROLE}"
    for action in ("s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:PutBucketPolicy", "s3:ListBucket"):
        assert _denied(policy, action, s4), action
    anybody = "arn:aws:iam::123456789012:role/admin"
    for action in ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"):
        assert _denied(policy, action, anybody), action
    assert not _denied(policy, "s3:GetObject", anybody)
    # A role of S4's under a path is S4's, another that ends alike is not.
    assert _denied(policy, "s3:GetObject", f"arn:aws:iam::123456789012:role/services/{ROLE}")
    assert not _denied(policy, "s3:GetObject", f"arn:aws:iam::123456789012:role/not-{ROLE}")


# -- as Amazon decides


def _matches(pattern: Any, event: Any) -> bool:
    """EventBridge's patterns, as much of them as ours has: every key must be there with one of its values."""
    if isinstance(pattern, list):
        return event in pattern
    if not isinstance(event, dict):
        return False
    return all(
        any(_matches(each, event) for each in value) if key == "$or" else _matches(value, event.get(key))
        for key, value in pattern.items()
    )


def _denied(policy: dict[str, Any], action: str, principal: str) -> bool:
    """By an encrypted connection."""
    return any(
        statement["Effect"] == "Deny"
        and (statement["Action"] == "s3:*" or action in statement["Action"])
        and _applies(statement.get("Condition", {}), principal)
        for statement in policy["Statement"]
    )


def _applies(condition: dict[str, Any], principal: str) -> bool:
    if "Bool" in condition:
        return bool(condition["Bool"]["aws:SecureTransport"] == "true")
    patterns = condition.get("ArnLike", {}).get("aws:PrincipalArn", ["*"])
    return any(_like(principal, each) for each in patterns)


def _like(principal: str, pattern: str) -> bool:
    head, star, tail = pattern.partition("*")
    return principal == pattern if not star else principal.startswith(head) and principal.endswith(tail)
