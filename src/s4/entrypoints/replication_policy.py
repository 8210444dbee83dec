"""The configuration by which a store copies the first bucket into the second by itself: generated, and held against
what the bucket says.

A store copies object by object, in no order. So a head may be there before its bytes: a document whose bytes are not
there when the copy is promoted ends `failed`, where `s4 replicate` would not have had it yet. S4 takes the store's
copying for granted only where both buckets keep versions, as S3 demands; deletions are not copied, for an error that
deletes would be copied in seconds.
"""

from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from s4.domains.maintenance.replication import AREAS
from s4.kernel.settings import Settings
from s4.platform.objects import open_signed

_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
_MINUTES = 15  # the only bound that S3 offers for its replication time control, and its metrics


def policy(settings: Settings, role: str) -> dict[str, Any] | None:
    """For `aws s3api put-bucket-replication --replication-configuration file://…`; None unless both are s3://."""
    first, second = urlsplit(settings.store_url or ""), urlsplit(settings.replica_store_url or "")
    if first.scheme != "s3" or second.scheme != "s3" or first.path.strip("/") != second.path.strip("/"):
        return None
    prefix = f"{first.path.strip('/')}/".lstrip("/")
    return {
        "Role": role,
        "Rules": [
            {
                "ID": f"s4-{area.rstrip('/')}",
                "Priority": number,
                "Status": "Enabled",
                "Filter": {"Prefix": f"{prefix}{area}"},
                "DeleteMarkerReplication": {"Status": "Disabled"},
                "Destination": {
                    "Bucket": f"arn:{_partition(settings.replica_store_region)}:s3:::{second.netloc}",
                    "ReplicationTime": {"Status": "Enabled", "Time": {"Minutes": _MINUTES}},
                    "Metrics": {"Status": "Enabled", "EventThreshold": {"Minutes": _MINUTES}},
                },
            }
            for number, area in enumerate(AREAS, start=1)
        ],
    }


async def shortcomings(settings: Settings) -> list[str]:
    """What the first bucket's configuration lacks, in sentences. Raises `StoreUnavailable`."""
    signed, wanted = open_signed(settings), policy(settings, "")
    assert signed is not None, "it is s3://"
    assert wanted is not None, "the caller has looked"
    versioning = await signed.ask("GET", None, query={"versioning": ""})
    found = [] if _text(versioning.body, "Status") == ["Enabled"] else [
        "The first bucket keeps no versions, without which a store copies nothing."
    ]  # fmt: skip
    answer = await signed.ask("GET", None, query={"replication": ""})
    if not answer.ok:
        return [*found, f"The first bucket says nothing of replication ({answer.code or answer.status})."]
    return [*found, *unmet(wanted, answer.body)]


def unmet(wanted: dict[str, Any], told: bytes) -> list[str]:
    """What a bucket's replication, as S3 tells it in XML, lacks of what `policy` wants."""
    found, rules = [], _rules(told)
    for rule in wanted["Rules"]:
        prefix, bucket = rule["Filter"]["Prefix"], rule["Destination"]["Bucket"]
        covering = [each for each in rules if prefix.startswith(each["prefix"]) and each["bucket"] == bucket]
        if not any(each["status"] == "Enabled" for each in covering):
            found.append(f"No rule that is enabled copies {prefix} into {bucket}.")
        elif any(each["deletes"] == "Enabled" for each in covering):
            found.append(f"A rule copies deletions of {prefix}: what is deleted by mistake is deleted in both.")
    return found


def _rules(body: bytes) -> list[dict[str, str]]:
    root = ElementTree.fromstring(body)  # noqa: S314 - the operator's own store; expat bounds expansion
    rules = [element for element in root.iter() if element.tag.rpartition("}")[2] == "Rule"]
    return [
        {
            "prefix": _first(rule, "Prefix"),
            "bucket": _first(rule, "Bucket"),
            "status": next((child.text or "" for child in rule if child.tag.rpartition("}")[2] == "Status"), ""),
            "deletes": _first(rule, "DeleteMarkerReplication", "Status"),
        }
        for rule in rules
    ]


def _first(element: ElementTree.Element, *path: str) -> str:
    for name in path:
        found = next((each for each in element.iter() if each.tag.rpartition("}")[2] == name), None)
        if found is None:
            return ""
        element = found
    return element.text or ""


def _text(body: bytes, name: str) -> list[str]:
    root = ElementTree.fromstring(body or b"<x/>")  # noqa: S314 - as above
    return [each.text or "" for each in root.iter() if each.tag.rpartition("}")[2] == name]


def _partition(region: str) -> str:
    return next((name for start, name in _PARTITIONS.items() if region.startswith(start)), "aws")
