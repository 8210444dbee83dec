"""A bucket of Google's storage: who S4 is there, what it must be allowed, and what its clock says.

Google gives every permission by its own name and says in its refusals which one is missing, so each is tried through
the store as S4 uses it: there are no signed requests as for S3, which would need a permission to sign. Of the bucket
itself (versions, lifecycle) only another API tells, under a permission that S4 does not need: that is said, not asked.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from s4.entrypoints.configuration import Configuration
from s4.entrypoints.doctor.report import Check, failed, ok, unknown, warning
from s4.entrypoints.doctor.store.bench import PART_BYTES, Bench, random_bytes
from s4.kernel import keys
from s4.platform.objects import (
    NO_CREDENTIALS,
    ObjectMissing,
    StoreAnswer,
    StoreFault,
    StoreUnavailable,
    Upload,
    ask_unsigned,
)

_ENDPOINT = "https://storage.googleapis.com"
_METADATA_HOST = "metadata.google.internal"
_EMAIL = "/computeMetadata/v1/instance/service-accounts/default/email"
_ASK_SECONDS = 2.0  # it is on this host
_KEY_VARIABLES = ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "SERVICE_ACCOUNT")
_OF_GCLOUD = Path(".config/gcloud/application_default_credentials.json")
_MAY_NOT = ("AccessDenied", "403")
_REFUSAL = re.compile(r"([^\s<>]+) does not have (storage\.\w+\.\w+) access")


async def answers(bench: Bench) -> tuple[Check, StoreAnswer | None]:
    """Whether anything else is worth asking, and an answer that tells the store's time."""
    name = "answers"
    try:
        answer = await ask_unsigned(
            bench.settings.store_endpoint or _ENDPOINT, timeout_seconds=bench.settings.store_timeout_seconds
        )
    except StoreUnavailable as error:
        return failed(
            name,
            f"The store does not answer ({error.details.get('code')}).",
            "Look at S4_STORE_ENDPOINT, and whether this machine reaches that address.",
        ), None
    try:
        await bench.store.get(keys.DEPLOYMENT)
    except ObjectMissing:
        pass
    except StoreUnavailable as error:
        if error.fault is not StoreFault.DENIED or error.details.get("code") not in _MAY_NOT:
            return failed(name, *_explained(error)), answer
    return ok(name, "The store answers, and knows the identity."), answer


def _explained(error: StoreUnavailable) -> tuple[str, str]:
    """What it means, and what to do. All the rest would fail with it."""
    match str(error.details.get("code")):
        case "NoSuchBucket":
            return "There is no bucket of this name.", "Create it, or correct S4_STORE_URL."
        case code if code == NO_CREDENTIALS:
            return (
                "There are no credentials: no key is set, and no metadata service gives a token.",
                "Give the machine an identity (on GKE by workload identity), or set S4_STORE_GOOGLE_KEY_FILE.",
            )
        case code if error.fault is StoreFault.DENIED:
            return (
                f"The store does not know the identity ({code}).",
                "See whether the key of S4_STORE_GOOGLE_KEY_FILE was deleted, and whether this machine's clock is "
                "right.",
            )
        case code:
            return (
                f"{error.message} ({code})",
                "Look at S4_STORE_URL and S4_STORE_ENDPOINT: is this Google's storage?",
            )


# -- who S4 is


async def identity(configuration: Configuration) -> Check:
    """In the order in which obstore looks: a token, keys, what `gcloud` left, the machine's own identity."""
    name = "identity"
    environment = configuration.machine
    if "GOOGLE_BEARER_TOKEN" in environment:
        return failed(
            name,
            "GOOGLE_BEARER_TOKEN of the environment takes the place of every other identity, and is not renewed.",
            "Unset it for S4.",
        )
    if (file := configuration.settings.store_google_key_file) is not None:
        source = configuration.sources.get("store_google_key_file")
        return _by_key(name, file, source.place if source is not None else "the settings")
    for variable in _KEY_VARIABLES:
        if variable in environment:
            return _by_key(name, Path(environment[variable]), variable)
    if "GOOGLE_SERVICE_ACCOUNT_KEY" in environment:
        return ok(name, "A service account, by GOOGLE_SERVICE_ACCOUNT_KEY. Its key does not expire by itself.")
    if (named := environment.get("GOOGLE_APPLICATION_CREDENTIALS")) is not None:
        return _by_key(name, Path(named), "GOOGLE_APPLICATION_CREDENTIALS")
    if (left := Path(environment.get("HOME", "/")) / _OF_GCLOUD).exists():
        return warning(
            name,
            f"Whoever ran `gcloud auth application-default login` on this machine, by {left}.",
            "Give S4 an identity of its own: that of the machine, or a key.",
        )
    return await _of_the_machine(name, environment)


def _by_key(name: str, file: Path, where: str) -> Check:
    try:
        account = json.loads(file.read_text())["client_email"]
    except (OSError, ValueError, LookupError, TypeError):
        account = "of a user"
    return ok(name, f"The account {account}, by the key in {file}, from {where}. It does not expire by itself.")


async def _of_the_machine(name: str, environment: Mapping[str, str]) -> Check:
    """The metadata service is no further than the host."""
    host = environment.get("GCE_METADATA_HOST", environment.get("GCE_METADATA_ROOT", _METADATA_HOST))
    try:
        async with httpx.AsyncClient(timeout=_ASK_SECONDS, trust_env=False) as client:
            answer = await client.get(f"http://{host}{_EMAIL}", headers={"Metadata-Flavor": "Google"})
        account = answer.raise_for_status().text.strip()
    except httpx.HTTPError:
        return unknown(
            name, "No key is set, and no metadata service says who this machine is.", "See `answers`.", needed=False
        )
    return ok(name, f"The machine's account {account}. S4 fetches new tokens before they expire.")


# -- what it may


@dataclass(frozen=True, slots=True)
class Permission:
    """`purpose`: what S4 does by it. `probe`: raises `StoreUnavailable` without it."""

    name: str
    purpose: str
    probe: Callable[[Bench], Awaitable[object]]


async def permissions(bench: Bench, bucket: str) -> list[Check]:
    """One check for each permission, in the order of the list."""
    return [await _tried(bench, permission, bucket) for permission in PERMISSIONS]


async def _tried(bench: Bench, permission: Permission, bucket: str) -> Check:
    name = permission.name
    try:
        await permission.probe(bench)
    except ObjectMissing:  # it could not be written, and we may know it
        return ok(name, f"Allowed: {permission.purpose}.")
    except StoreUnavailable as error:
        mend = "Mend what is named above, then run this again."
        if error.fault is not StoreFault.DENIED:
            return unknown(name, f"{error.message} ({error.details.get('code')})", mend)
        refusal = _REFUSAL.search(str(error.__cause__))
        if refusal is not None and refusal[2] != name:
            return unknown(name, f"Not shown, since {refusal[2]} is missing.", mend)
        return failed(
            name,
            f"{name} is missing{f' for {refusal[1]}' if refusal else ''}. S4 needs it: {permission.purpose}.",
            f"Grant a role with {name} on gs://{bucket}: `s4 doctor store --print-policy` prints one.",
        )
    return ok(name, f"Allowed: {permission.purpose}.")


def role(bucket: str) -> dict[str, Any]:
    """The least that S4 and LanceDB need, as `gcloud iam roles create --file` reads it."""
    return {
        "title": "S4",
        "description": f"What S4 needs in gs://{bucket}.",
        "stage": "GA",
        "includedPermissions": [permission.name for permission in PERMISSIONS],
    }


async def _creates(bench: Bench) -> None:
    await bench.store.create(bench.key(_WRITTEN), bench.data(_WRITTEN), commit_id=None)


async def _gets(bench: Bench) -> None:
    await bench.store.get(bench.unwritten(_WRITTEN))


async def _deletes(bench: Bench) -> None:
    """Of what never was: the permission comes first, and there is nothing to do then."""
    await bench.store.delete([bench.unwritten("never-written")])


async def _lists(bench: Bench) -> None:
    async for _ in bench.store.list(bench.place):
        pass


async def _sends_parts(bench: Bench) -> None:
    async with bench.store.upload(bench.key("parts-permission")) as upload:
        await _send_parts(upload)
        await upload.commit()


async def _aborts_parts(bench: Bench) -> None:
    async with bench.store.upload(bench.key("abort-permission")) as upload:
        await _send_parts(upload)
        await upload.abort()


async def _send_parts(upload: Upload) -> None:
    await upload.write(random_bytes(PART_BYTES + 1))


_WRITTEN = "permission"

PERMISSIONS = (
    Permission("storage.objects.create", "it writes objects and the engine's files", _creates),
    Permission("storage.objects.get", "it reads objects and the engine's files", _gets),
    Permission(
        "storage.objects.delete",
        "it removes what is garbage, and the engine what is superseded; what can be made again it writes anew",
        _deletes,
    ),
    Permission(
        "storage.objects.list",
        "it finds garbage, rebuilds a lost catalog, and is told of a missing object that it is missing; the engine "
        "finds the versions of its tables",
        _lists,
    ),
    Permission("storage.multipartUploads.create", "it writes large objects in parts", _sends_parts),
    Permission("storage.multipartUploads.abort", "it removes the parts of uploads that are broken off", _aborts_parts),
)
"""In the order in which they are tried: each may use what the former have shown."""


def unasked(bucket: str) -> Check:
    """What is not looked at, said once."""
    return unknown(
        "bucket_settings",
        "Versions, soft deletion, encryption and lifecycle are not looked at: Google tells them by another API, under "
        "storage.buckets.get, which S4 does not need.",
        f"Look yourself: `gcloud storage buckets describe gs://{bucket}`. No rule may delete or archive objects below "
        "S4's prefix; one should remove unfinished uploads (AbortIncompleteMultipartUpload).",
        needed=False,
    )
