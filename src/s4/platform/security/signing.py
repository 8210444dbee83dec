"""What S4 signs, so that others can hold it against S4 later: Ed25519 over canonical JSON.

The key follows from `S4_SECRET_KEY`, which is kept beside the bucket anyway; the public half is for whoever gets a
signed document, and verifies without S4. A changed secret key makes another pair: keep the old public key with what it
has signed.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from s4.kernel.errors import InvalidRequest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE = "signature"
_PURPOSE = b"s4/signing/ed25519/1"
_KEY_BYTES = 32


class Signer:
    """Signs as this deployment."""

    def __init__(self, secret_key: str) -> None:
        self._seed = hmac.new(secret_key.encode(), _PURPOSE, hashlib.sha256).digest()

    @property
    def public_key(self) -> str:
        """In base64."""
        return base64.b64encode(self._key().public_key().public_bytes_raw()).decode("ascii")

    def signed(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document with `public_key` and `signature`."""
        said = {**document, "public_key": self.public_key}
        return said | {SIGNATURE: base64.b64encode(self._key().sign(canonical(said))).decode("ascii")}

    def _key(self) -> "Ed25519PrivateKey":
        """OpenSSL takes 9 MB of a process: those that sign nothing go without."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._seed)


def verifies(document: Mapping[str, Any], public_key: str) -> bool:
    """Whether whoever has the other half of `public_key` signed exactly this. Raises `InvalidRequest` for a key that is
    none."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        raw = base64.b64decode(public_key, validate=True)
        key = Ed25519PublicKey.from_public_bytes(raw)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"A public key is {_KEY_BYTES} bytes in base64.") from error
    said = {name: value for name, value in document.items() if name != SIGNATURE}
    try:
        key.verify(base64.b64decode(str(document.get(SIGNATURE, "")), validate=True), canonical(said))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def parsed(data: bytes) -> Any:
    """JSON that somebody says was signed. Raises `ValueError`, also where a name stands twice: of two readers each
    might believe another one, and the signature holds for one of them only."""
    return json.loads(data, object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) != len(pairs):
        raise ValueError("a name stands twice")
    return said


def canonical(document: Mapping[str, Any]) -> bytes:
    """JSON with sorted names, without blanks, in UTF-8: what is signed."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
