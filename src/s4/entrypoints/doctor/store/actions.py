"""What S4's identity must be allowed to do in a bucket: the one list, of which the policy is printed and the probes are
made.

Each probe is one operation that needs this action and, as far as there is such a thing, no other. S3 answers 403 to
what is not allowed and, without s3:ListBucket, to a question about an object that is missing, too.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from s4.entrypoints.doctor.report import Check, failed, ok, unknown
from s4.entrypoints.doctor.store.bench import Bench, upload_begun
from s4.platform.objects import SignedRequests, StoreAnswer


@dataclass(frozen=True, slots=True)
class Place:
    """Where in AWS: for the resources of the policy."""

    bucket: str
    prefix: str
    """Empty, or ending with a slash."""
    region: str

    @property
    def bucket_arn(self) -> str:
        partition = next((name for start, name in _PARTITIONS.items() if self.region.startswith(start)), "aws")
        return f"arn:{partition}:s3:::{self.bucket}"

    @property
    def objects_arn(self) -> str:
        return f"{self.bucket_arn}/{self.prefix}*"


_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}


@dataclass(frozen=True, slots=True)
class Found:
    """What a probe says: allowed, not allowed, or (None) neither, and why."""

    allowed: bool | None
    answer: StoreAnswer | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a probe works with. `found`: what the probes before it found, by action."""

    bench: Bench
    signed: SignedRequests
    found: dict[str, Found] = field(default_factory=dict)

    def allowed(self, action: str) -> bool:
        return bool(self.found[action].allowed)


@dataclass(frozen=True, slots=True)
class Action:
    """`purpose`: what S4 does by it."""

    name: str
    of_bucket: bool
    purpose: str
    probe: Callable[[Trial], Awaitable[Found]]

    def resource(self, place: Place) -> str:
        return place.bucket_arn if self.of_bucket else place.objects_arn


def policy(place: Place) -> dict[str, Any]:
    """The least that S4 and LanceDB need, as IAM reads it."""
    objects = {
        "Sid": "S4Objects",
        "Effect": "Allow",
        "Action": [action.name for action in ACTIONS if not action.of_bucket],
        "Resource": place.objects_arn,
    }
    listing: dict[str, Any] = {
        "Sid": "S4Listings",
        "Effect": "Allow",
        "Action": [action.name for action in ACTIONS if action.of_bucket],
        "Resource": place.bucket_arn,
    }
    if not place.prefix:
        return {"Version": "2012-10-17", "Statement": [objects, listing]}
    # A question about one object bears no prefix, and is answered 404 only to whom may list without one.
    missing = {**listing, "Sid": "S4MissingObjects", "Condition": {"Null": {"s3:prefix": "true"}}}
    listing["Condition"] = {"StringLike": {"s3:prefix": f"{place.prefix}*"}}
    return {"Version": "2012-10-17", "Statement": [objects, listing, missing]}


async def permissions(bench: Bench, place: Place) -> list[Check]:
    """One check for each action, in the order of the list."""
    assert bench.signed is not None
    trial = Trial(bench, bench.signed)
    for action in ACTIONS:
        trial.found[action.name] = await action.probe(trial)
    return [_check(action, trial.found[action.name], place) for action in ACTIONS]


def _check(action: Action, found: Found, place: Place) -> Check:
    if found.allowed:
        return ok(action.name, f"Allowed: {action.purpose}.")
    if found.allowed is None:
        return unknown(action.name, found.why, "Mend what is named above, then run this again.")
    missing = (found.answer.named_action if found.answer is not None else None) or action.name
    user = found.answer.named_user if found.answer is not None else None
    return failed(
        action.name,
        f"{missing} is missing{f' for {user}' if user else ''}. S4 needs it: {action.purpose}."
        + (f" {found.why}" if found.why else ""),
        f"Allow {missing} on {action.resource(place)}: `s4 doctor store --print-policy` prints all that S4 needs.",
    )


# -- probes


async def _puts(trial: Trial) -> Found:
    key = trial.bench.unwritten(_WRITTEN)
    answer = await trial.signed.ask("PUT", key, body=trial.bench.data(_WRITTEN))
    if not answer.denied:
        trial.bench.written.add(key)
    return _told(answer)


async def _gets(trial: Trial) -> Found:
    answer = await trial.signed.ask("GET", trial.bench.unwritten(_WRITTEN))
    if answer.status == 404:  # it could not be written, and we may know it
        return Found(True)
    if answer.denied and not trial.allowed(PUT) and not (await _listing(trial)).ok:
        return Found(None, why=f"Without {PUT} and {LIST} it does not show whether this is allowed.")
    return _told(answer)


async def _deletes(trial: Trial) -> Found:
    """Of what never was: S3 looks at the permission first, and finds nothing to do then."""
    answer = await trial.signed.ask("DELETE", trial.bench.unwritten(_NEVER_WRITTEN))
    return Found(True) if answer.status == 404 else _told(answer)


async def _aborts(trial: Trial) -> Found:
    key = trial.bench.unwritten("upload")
    begun = await trial.signed.ask("POST", key, query={"uploads": ""})
    upload_id = upload_begun(begun)
    if upload_id is None:
        return Found(None, begun, why=f"Without {PUT} no upload can be begun that could be broken off.")
    answer = await trial.signed.ask("DELETE", key, query={"uploadId": upload_id})
    if not answer.ok:
        await _complete(trial, upload_id)
    return _told(answer)


async def _complete(trial: Trial, upload_id: str) -> None:
    """What cannot be broken off is made an object, which can be deleted."""
    key = trial.bench.key("upload")
    part = await trial.signed.ask("PUT", key, query={"partNumber": "1", "uploadId": upload_id}, body=b"part")
    joined = (
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
        f"<ETag>{part.etag}</ETag></Part></CompleteMultipartUpload>"
    )
    await trial.signed.ask("POST", key, query={"uploadId": upload_id}, body=joined.encode())


async def _lists(trial: Trial) -> Found:
    answer = await _listing(trial)
    if not answer.ok or not trial.allowed(GET):
        return _told(answer)
    missing = await trial.signed.ask("HEAD", trial.bench.unwritten(_NEVER_WRITTEN))
    if missing.status == 403:
        return Found(
            False,
            why="It is there for listings below a prefix, but a question about a missing object is refused instead of "
            "answered 404: allow it also where s3:prefix is absent (Null), as S4MissingObjects in the policy does.",
        )
    return Found(True)


async def _listing(trial: Trial) -> StoreAnswer:
    prefix = trial.signed.path(trial.bench.place)
    return await trial.signed.ask("GET", None, query={"list-type": "2", "max-keys": "1", "prefix": prefix})


def _told(answer: StoreAnswer) -> Found:
    if answer.ok:
        return Found(True, answer)
    if answer.denied:
        return Found(False, answer)
    return Found(None, answer, f"The store answers {answer.status} {answer.code or ''}".rstrip() + ".")


PUT, GET, DELETE, LIST = "s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListBucket"
_WRITTEN, _NEVER_WRITTEN = "permission", "never-written"

ACTIONS: tuple[Action, ...] = (
    Action(PUT, False, "it writes objects and the engine's files, whole and in parts", _puts),
    Action(GET, False, "it reads objects and the engine's files", _gets),
    Action(DELETE, False, "it removes what is garbage, and the engine what is superseded", _deletes),
    Action("s3:AbortMultipartUpload", False, "it removes the parts of uploads that are broken off", _aborts),
    Action(
        LIST,
        True,
        "it finds garbage, rebuilds a lost catalog, and is told of a missing object that it is missing; the engine "
        "finds the versions of its tables",
        _lists,
    ),
)
"""In the order in which they are tried: each may use what the former have shown."""
