"""A bucket's replication is held against what S4 needs; the answers are as S3's API reference shows them."""

from typing import Any

from s4.entrypoints.replication_policy import policy, unmet
from s4.kernel.settings import Settings

_RULE = """<Rule><ID>{prefix}</ID><Priority>1</Priority><Filter>{filter}</Filter><Status>{status}</Status>
<Destination><Bucket>arn:aws:s3:::{bucket}</Bucket></Destination>
<DeleteMarkerReplication><Status>{deletes}</Status></DeleteMarkerReplication></Rule>"""


def wanted() -> dict[str, Any]:
    found = policy(Settings(store_url="s3://first/s4", replica_store_url="s3://second/s4"), "a-role")
    assert found is not None
    return found


def rule(prefix: str, *, status: str = "Enabled", bucket: str = "second", deletes: str = "Disabled") -> str:
    return _RULE.format(
        prefix=prefix, filter=f"<Prefix>{prefix}</Prefix>", status=status, bucket=bucket, deletes=deletes
    )


def told(*rules: str) -> bytes:
    whole = f"<ReplicationConfiguration xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>{''.join(rules)}"
    return f"{whole}</ReplicationConfiguration>".encode()


def test_a_rule_for_each_area_is_enough_and_so_is_one_for_all() -> None:
    assert unmet(wanted(), told(rule("s4/indices/"), rule("s4/system/"), rule("s4/tenants/"))) == []
    assert unmet(wanted(), told(rule(""))) == []


def test_an_area_that_is_not_copied_is_named() -> None:
    lacking = ["No rule that is enabled copies s4/tenants/ into arn:aws:s3:::second."]
    others = rule("s4/indices/"), rule("s4/system/")
    assert unmet(wanted(), told(*others)) == lacking
    assert unmet(wanted(), told(*others, rule("s4/tenants/", status="Disabled"))) == lacking
    assert unmet(wanted(), told(*others, rule("s4/tenants/", bucket="third"))) == lacking
    assert unmet(wanted(), told(*others, rule("s4/tenants/acme/"))) == lacking


def test_deletions_that_are_copied_are_named() -> None:
    assert unmet(wanted(), told(rule("s4/indices/"), rule("s4/system/"), rule("s4/tenants/", deletes="Enabled"))) == [
        "A rule copies deletions of s4/tenants/: what is deleted by mistake is deleted in both."
    ]
