"""As whom S4 comes to the bucket, from where it has that, and until when it lasts.

In the order in which obstore looks: what S4 was told, the environment's keys, a web identity, the container's role, the
instance's role. Roles are asked where the machine itself asks them, which is no further than the host; whatever only
AWS's token service knows is said to be unknown.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from s4.entrypoints.configuration import Configuration
from s4.entrypoints.doctor.report import Check, failed, ok, warning
from s4.kernel.clock import parse_rfc3339, rfc3339
from s4.platform.objects import SignedRequests

_INSTANCE = "http://169.254.169.254"
_CONTAINER = "http://169.254.170.2"
_ROLES = "/latest/meta-data/iam/security-credentials/"
_ASK_SECONDS = 2.0  # it is on this host
_SHOWN_CHARS = 4
_SOON = timedelta(hours=24)  # who looks in the morning has the day to renew it


@dataclass(frozen=True, slots=True)
class Origin:
    """Where credentials come from. `renewed`: by obstore, before they expire."""

    where: str
    renewed: bool
    expires_at: datetime | None = None
    by_token: bool = False
    """Expiry is that of something temporary, known or not."""


async def identity(configuration: Configuration, signed: SignedRequests) -> Check:
    """Raises `StoreUnavailable` when there are no credentials at all."""
    name = "identity"
    environment = configuration.machine
    signature = await signed.signature()
    origin = await _origin(configuration, environment, temporary=signature.temporary)
    said = f"The access key …{signature.access_key_id[-_SHOWN_CHARS:]}, from {origin.where}."
    if not origin.by_token:
        return ok(name, f"{said} It does not expire by itself.")
    if origin.renewed:
        until = f" These expire at {rfc3339(origin.expires_at)}." if origin.expires_at else ""
        return ok(name, f"{said} S4 fetches new ones before they expire.{until}")
    return _not_renewed(name, said, origin.expires_at)


def _not_renewed(name: str, said: str, expires_at: datetime | None) -> Check:
    advice = "Give the machine a role, whose credentials are renewed; or restart S4 with new ones in time."
    if expires_at is None:
        return warning(name, f"{said} It expires with its session token; when, the token does not say.", advice)
    if expires_at <= datetime.now(UTC):
        return failed(name, f"{said} It expired at {rfc3339(expires_at)}.", advice)
    when = f"{said} It expires at {rfc3339(expires_at)}"
    soon = expires_at - datetime.now(UTC) < _SOON
    return warning(name, f"{when}, and S4 cannot renew it{': within a day' if soon else ''}.", advice)


async def _origin(configuration: Configuration, environment: Mapping[str, str], *, temporary: bool) -> Origin:
    if configuration.settings.store_access_key_id is not None:
        source = configuration.sources.get("store_access_key_id")
        return Origin(source.place if source is not None else "the settings", renewed=False)
    if "AWS_ACCESS_KEY_ID" in environment:
        expires_at = _moment(environment.get("AWS_CREDENTIAL_EXPIRATION"))
        return Origin("AWS_ACCESS_KEY_ID", renewed=False, expires_at=expires_at, by_token=temporary)
    token_file = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE")
    if token_file is not None and (role := environment.get("AWS_ROLE_ARN")) is not None:
        until = _token_expiry(Path(token_file))
        token = f", by a token that is valid until {rfc3339(until)}" if until is not None else ""
        return Origin(f"the web identity {role}{token}", renewed=True, by_token=True)
    async with httpx.AsyncClient(timeout=_ASK_SECONDS, trust_env=False) as client:
        if (address := _container(environment)) is not None:
            headers = _container_token(environment)
            told = await _asked(client, address, headers)
            return Origin("the container's role", True, _moment(told.get("Expiration")), by_token=True)
        return await _instance(client, environment.get("AWS_METADATA_ENDPOINT", _INSTANCE))


def _container(environment: Mapping[str, str]) -> str | None:
    if (path := environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")) is not None:
        return f"{_CONTAINER}{path}"
    if "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" in environment:  # obstore takes the other only with it
        return environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    return None


def _container_token(environment: Mapping[str, str]) -> dict[str, str]:
    path = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    try:
        return {} if path is None else {"Authorization": Path(path).read_text().strip()}
    except OSError:
        return {}


async def _instance(client: httpx.AsyncClient, endpoint: str) -> Origin:
    """By version 2 of the metadata service: a token first."""
    where = "the instance's role"
    try:
        wanted = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = (await client.put(f"{endpoint}/latest/api/token", headers=wanted)).raise_for_status().text
        headers = {"X-aws-ec2-metadata-token": token}
        role = (await client.get(f"{endpoint}{_ROLES}", headers=headers)).raise_for_status().text.strip()
    except httpx.HTTPError:
        return Origin(where, renewed=True, by_token=True)
    told = await _asked(client, f"{endpoint}{_ROLES}{role}", headers)
    return Origin(f"{where} {role}", renewed=True, expires_at=_moment(told.get("Expiration")), by_token=True)


async def _asked(client: httpx.AsyncClient, address: str, headers: Mapping[str, str]) -> dict[str, Any]:
    try:
        told = (await client.get(address, headers=headers)).raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _token_expiry(file: Path) -> datetime | None:
    """`exp` of a JSON web token. It is shown, not believed: nothing is decided by it."""
    try:
        claims = file.read_text().split(".")[1]
        until = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
        return datetime.fromtimestamp(int(until), UTC)
    except (OSError, ValueError, LookupError, TypeError, binascii.Error, OverflowError):
        return None


def _moment(text: object) -> datetime | None:
    try:
        return parse_rfc3339(text) if isinstance(text, str) else None
    except ValueError:
        return None
