"""For those who receive webhooks: is it S4 that calls, and what does it say?"""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

from s4client.errors import SignatureInvalid
from s4client.models.webhooks import WebhookEvent

_TOLERANCE = timedelta(minutes=5)


def verify_webhook(
    body: bytes, header: str, secret: str, tolerance: timedelta = _TOLERANCE, *, now: datetime | None = None
) -> WebhookEvent:
    """What was sent, if `header` (`X-S4-Signature`) proves that it comes from S4 and is not older than `tolerance`.

    `body` are the bytes as they came, before any JSON was read. Raises `SignatureInvalid`. Compares in constant time.
    """
    stamp, signatures = _parts(header)
    age = (now or datetime.now(UTC)) - datetime.fromtimestamp(stamp, UTC)
    expected = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    if not any(hmac.compare_digest(expected.encode(), each.encode()) for each in signatures):
        raise SignatureInvalid("The signature is not one by this secret.")
    if abs(age) > tolerance:
        raise SignatureInvalid("The signature is too old, or from the future: compare the clocks.")
    return WebhookEvent.model_validate_json(body)


def _parts(header: str) -> tuple[int, list[str]]:
    named = [part.strip().partition("=") for part in header.split(",")]
    stamps = [value for name, _, value in named if name == "t"]
    signatures = [value for name, _, value in named if name == "v1"]
    if len(stamps) != 1 or not signatures or not (stamps[0].isascii() and stamps[0].isdigit() and len(stamps[0]) <= 10):
        raise SignatureInvalid("The header is not of the form t=<epoch>,v1=<signature>.")
    return int(stamps[0]), signatures
