"""Rules as the stores read and write them."""

from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from s4.entrypoints.lifecycle.rules import Rule

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def s3_document(rules: Sequence[Rule], *, foreign: Iterable[Element] = ()) -> bytes:
    """A LifecycleConfiguration. `foreign`: rules that are not S4's, and stay as they are."""
    root = Element("LifecycleConfiguration", {"xmlns": _NAMESPACE})
    root.extend(map(_plain, foreign))
    for rule in rules:
        element = SubElement(root, "Rule")
        SubElement(element, "ID").text = rule.name
        SubElement(SubElement(element, "Filter"), "Prefix").text = rule.prefix
        SubElement(element, "Status").text = "Enabled"
        if rule.old_versions_days is not None:
            old = SubElement(element, "NoncurrentVersionExpiration")
            SubElement(old, "NoncurrentDays").text = str(rule.old_versions_days)
        if rule.abort_uploads_days is not None:
            abort = SubElement(element, "AbortIncompleteMultipartUpload")
            SubElement(abort, "DaysAfterInitiation").text = str(rule.abort_uploads_days)
    return b'<?xml version="1.0" encoding="UTF-8"?>' + tostring(root)


def read_s3_rule(element: Element) -> Rule | None:
    """A rule of the kind that S4 makes; None for one that is off or does anything else."""
    if element.findtext("{*}Status") != "Enabled":
        return None
    known = {"ID", "Filter", "Prefix", "Status", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"}
    if {child.tag.rpartition("}")[2] for child in element} - known or element.find(".//{*}Tag") is not None:
        return None
    return Rule(
        element.findtext("{*}ID") or "",
        prefix_of(element),
        abort_uploads_days=_days(element, "{*}AbortIncompleteMultipartUpload/{*}DaysAfterInitiation"),
        old_versions_days=_days(element, "{*}NoncurrentVersionExpiration/{*}NoncurrentDays"),
    )


def prefix_of(element: Element) -> str:
    """Empty for a rule of the whole bucket."""
    return (
        element.findtext("{*}Filter/{*}Prefix")
        or element.findtext("{*}Filter/{*}And/{*}Prefix")
        or element.findtext("{*}Prefix")
        or ""
    )


def google_document(rules: Sequence[Rule]) -> dict[str, Any]:
    """The same for `gcloud storage buckets update --lifecycle-file`."""
    written = []
    for rule in rules:
        condition: dict[str, Any] = {"matchesPrefix": [rule.prefix]} if rule.prefix else {}
        if rule.abort_uploads_days is not None:
            age = condition | {"age": rule.abort_uploads_days}
            written.append({"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": age})
        if rule.old_versions_days is not None:
            old = condition | {"daysSinceNoncurrentTime": rule.old_versions_days}
            written.append({"action": {"type": "Delete"}, "condition": old})
    return {"rule": written}


def _days(element: Element, path: str) -> int | None:
    text = element.findtext(path)
    return int(text) if text is not None and text.strip().isdecimal() else None


def _plain(element: Element) -> Element:
    """Without the namespace in every tag: the root says it for all."""
    copy = Element(element.tag.rpartition("}")[2], element.attrib)
    copy.text = element.text
    copy.extend(map(_plain, element))
    return copy
