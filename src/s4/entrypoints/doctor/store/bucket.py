"""What a bucket is and how it is kept: whether it answers, its clock, versions, encryption, lifecycle.

The last three S4 does not depend on, and least privilege does not let it ask; where the identity may not, or the store
does not know the question, the answer is `unknown` and no reason to wait.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from xml.etree.ElementTree import Element

from s4.entrypoints.doctor.report import Check, failed, ok, unknown, warning
from s4.entrypoints.doctor.store.bench import Bench
from s4.kernel import keys
from s4.kernel.setting_values import CLASSES_AT_REST, StoreEncryption
from s4.platform.objects import SignedRequests, StoreAnswer, StoreUnavailable

_SKEW_REFUSED = timedelta(minutes=15)  # beyond it S3 refuses signatures (RequestTimeTooSkewed)
# Where time is kept, clocks are milliseconds apart: a minute means that nobody keeps one of them, and it will be more.
_SKEW_WARNED = timedelta(minutes=1)

_EXPLAINED = {
    "NoSuchBucket": ("There is no bucket of this name.", "Create it, or correct S4_STORE_URL."),
    "InvalidAccessKeyId": (
        "The store does not know the access key.",
        "Correct the access key, or see whether it was deleted or belongs to another store.",
    ),
    "SignatureDoesNotMatch": ("The secret key is not that of the access key.", "Correct the secret key."),
    "ExpiredToken": ("The session token has expired.", "Renew it, or give S4 a role that renews itself."),
    "InvalidToken": (
        "The session token does not belong to the access key.",
        "Correct or unset AWS_SESSION_TOKEN: it comes with the key and the secret of the environment.",
    ),
    "RequestTimeTooSkewed": (
        "This machine's clock is too far from the store's, so that it refuses every signature.",
        "Keep the time of this machine by NTP.",
    ),
    "AuthorizationHeaderMalformed": ("The bucket is in another region.", "Correct S4_STORE_REGION."),
    "AuthorizationQueryParametersError": ("The bucket is in another region.", "Correct S4_STORE_REGION."),
    "PermanentRedirect": ("The bucket is in another region.", "Correct S4_STORE_REGION."),
    "NoCredentials": (
        "There are no credentials: none are set, and neither the container nor the instance has a role.",
        "Set S4_STORE_ACCESS_KEY_ID and S4_STORE_SECRET_ACCESS_KEY, or give the machine a role.",
    ),
}
"""By S3's code: what it means, and what to do. All the rest would fail with it."""


async def answers(bench: Bench) -> tuple[Check, StoreAnswer | None]:
    """Whether anything else is worth asking, and the answer that says so."""
    name = "answers"
    assert bench.signed is not None
    try:
        answer = await bench.signed.ask("GET", None, query={"list-type": "2", "max-keys": "1"})
    except StoreUnavailable as error:
        code = str(error.details.get("code"))
        known = _EXPLAINED.get(code)
        if known is not None:
            return failed(name, *known), None
        return failed(
            name,
            f"The store does not answer ({code}).",
            "Look at S4_STORE_ENDPOINT and S4_STORE_REGION, and whether this machine reaches that address.",
        ), None
    if answer.ok or answer.denied:
        return ok(name, "The store answers, and knows the identity."), answer
    known = _EXPLAINED.get(answer.code or "")
    if known is not None:
        return failed(name, *known), answer
    message = f"The store answers {answer.status} {answer.code or ''}".rstrip() + f": {answer.message or 'no reason'}."
    return failed(name, message, "Look at S4_STORE_URL and S4_STORE_ENDPOINT: is this an S3 store?"), answer


def clock(answer: StoreAnswer, *, of_google: bool = False) -> Check:
    """By how much this machine's clock and the store's differ, as far as whole seconds show it."""
    name, advice = "clock", "Keep the time of this machine by NTP, and ask who keeps the store's."
    if answer.date is None:
        return unknown(name, "The store does not say what time it has.", "Look at its clock yourself.", needed=False)
    ahead = answer.asked_at - answer.date
    behind = answer.date - answer.answered_at
    skew = max(ahead, behind, timedelta(0))
    if skew <= _SKEW_WARNED:
        return ok(name, "This machine and the store agree about the time.")
    said = f"This machine is {round(skew.total_seconds())} s {'ahead of' if ahead > behind else 'behind'} the store."
    if of_google:
        return warning(
            name,
            f"{said} The age of garbage is told by these two clocks, and a token that a key signed in another hour is "
            "refused.",
            advice,
        )
    if skew > _SKEW_REFUSED:
        return failed(name, f"{said} S3 refuses signatures that are more than 15 minutes off.", advice)
    return warning(
        name,
        f"{said} Beyond 15 minutes S3 refuses signatures, and the age of garbage is told by these two clocks.",
        advice,
    )


async def versioning(signed: SignedRequests) -> tuple[Check, bool]:
    """And whether deleted objects live on."""
    name = "versioning"
    answer = await signed.ask("GET", None, query={"versioning": ""})
    document = answer.document() if answer.ok else None
    if document is None:
        return _unanswered(name, answer, "s3:GetBucketVersioning", "keeps versions of objects"), False
    if document.findtext("{*}Status") == "Enabled":
        return ok(name, "On: what S4 deletes lives on as an old version, until a lifecycle rule removes it."), True
    return ok(name, "Off: S4 needs none: what it writes over it can make again, or writes with the same bytes."), False


async def encryption(signed: SignedRequests, asks: StoreEncryption) -> Check:
    """`asks`: what S4 itself asks for."""
    name = "encryption"
    answer = await signed.ask("GET", None, query={"encryption": ""})
    document = answer.document() if answer.ok else None
    if document is not None and (algorithm := document.findtext(".//{*}SSEAlgorithm")):
        if algorithm.startswith("aws:kms"):
            key = document.findtext(".//{*}KMSMasterKeyID") or "the account's key for S3"
            return ok(
                name,
                f"By default with {algorithm} under {key}: the identity also needs kms:GenerateDataKey and kms:Decrypt "
                "on a key of your own.",
            )
        return ok(name, f"By default with {algorithm}.")
    if asks is not StoreEncryption.BUCKET:
        return ok(name, f"S4 asks for {asks.value} with everything that it writes; the bucket itself has no default.")
    if answer.ok or answer.code == "ServerSideEncryptionConfigurationNotFoundError":
        return warning(
            name,
            "The bucket encrypts nothing by default.",
            "If disks of the store are not encrypted below it, set S4_STORE_ENCRYPTION, or a default of the bucket.",
        )
    return _unanswered(name, answer, "s3:GetEncryptionConfiguration", "encrypts by default")


@dataclass(frozen=True, slots=True)
class Rule:
    """A lifecycle rule that is in force and reaches some of S4's objects."""

    name: str
    prefix: str
    expires: bool
    archives_to: str | None
    aborts_uploads: bool
    ends_old_versions: bool


async def lifecycle(signed: SignedRequests, *, versioned: bool) -> Check:
    name = "lifecycle"
    answer = await signed.ask("GET", None, query={"lifecycle": ""})
    document = answer.document() if answer.ok else None
    if document is None and answer.code != "NoSuchLifecycleConfiguration":
        return _unanswered(name, answer, "s3:GetLifecycleConfiguration", "removes objects by itself")
    rules = list(_rules(document, signed)) if document is not None else []
    for rule in rules:
        if rule.expires:
            where = f"below {rule.prefix}" if rule.prefix else "of the whole bucket"
            return failed(
                name,
                f"The rule {rule.name} deletes objects {where}: S4 would lose documents.",
                "Take S4's prefix out of it. What is garbage, S4 finds itself.",
            )
        if rule.archives_to is not None:
            return warning(
                name,
                f"The rule {rule.name} moves objects to {rule.archives_to}, where they cannot be read at once.",
                "Take S4's prefix out of it, or choose a class that answers.",
            )
    if not any(rule.aborts_uploads for rule in rules):
        return warning(
            name,
            "No rule removes parts of unfinished uploads: those of a killed process stay for ever, and are paid for.",
            "Add a rule with AbortIncompleteMultipartUpload after 7 days.",
        )
    if versioned and not any(rule.ends_old_versions for rule in rules):
        return warning(
            name,
            "No rule removes old versions: what tenants delete stays in the bucket, for ever.",
            "Add a rule with NoncurrentVersionExpiration, as many days as you want to be able to go back.",
        )
    return ok(name, "Unfinished uploads are removed" + (", and old versions." if versioned else "."))


def _rules(document: Element, signed: SignedRequests) -> Iterator[Rule]:
    mine = signed.path(keys.EVERYTHING)
    for rule in document.iterfind("{*}Rule"):
        said = rule.findtext("{*}Prefix") or rule.findtext("{*}Filter/{*}Prefix")
        prefix = said or rule.findtext("{*}Filter/{*}And/{*}Prefix") or ""
        of_tagged = rule.find(".//{*}Tag") is not None  # S4 tags nothing
        of_probes = prefix.startswith(signed.path(keys.PROBES))
        reaches = prefix.startswith(mine) or mine.startswith(prefix)
        if rule.findtext("{*}Status") != "Enabled" or of_tagged or of_probes or not reaches:
            continue
        classes = [moved.text or "" for moved in rule.iterfind("{*}Transition/{*}StorageClass")]
        expiration = rule.find("{*}Expiration")
        yield Rule(
            name=rule.findtext("{*}ID") or "without a name",
            prefix=prefix,
            expires=expiration is not None and expiration.find("{*}ExpiredObjectDeleteMarker") is None,
            archives_to=next((name for name in classes if name in CLASSES_AT_REST), None),
            aborts_uploads=rule.find("{*}AbortIncompleteMultipartUpload") is not None,
            ends_old_versions=rule.find("{*}NoncurrentVersionExpiration") is not None,
        )


def _unanswered(name: str, answer: StoreAnswer, action: str, what: str) -> Check:
    if answer.denied:
        return unknown(
            name,
            f"Not shown whether the bucket {what}: {action} is missing, which S4 does not need.",
            f"Look yourself, or run this once as somebody who has {action}.",
            needed=False,
        )
    return unknown(
        name,
        f"The store does not say whether the bucket {what} ({answer.status} {answer.code or ''}".rstrip() + ").",
        "Look into its documentation.",
        needed=False,
    )
