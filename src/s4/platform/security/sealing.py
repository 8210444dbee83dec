"""Secrets that must be read again (a webhook's, to sign with it) are sealed before they reach bucket or catalog.

`s1.{key id}.{nonce and ciphertext}`, both parts url-safe base64 or hex. AES-256-GCM under a key that is derived from
`S4_SECRET_KEY`; the key's id, derived likewise, says which key opens it, so that several can be held while one
replaces another. What a secret belongs to is authenticated with it: sealed for one webhook, it opens for no other.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

from s4.kernel.errors import DataCorrupt
from s4.kernel.ids import RandomBytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORM = "s1"
_NONCE_BYTES = 12  # what GCM is defined for; random ones are safe for 2^32 secrets under one key
_KEY_ID_CHARS = 8  # tells a handful of keys apart


class Sealer:
    """Seals under the first of `secret_keys`, opens what was sealed under any of them."""

    def __init__(self, secret_keys: Sequence[str], random: RandomBytes) -> None:
        self._random = random
        self._keys = {key_id(key): _derived(key, "seal") for key in secret_keys}
        self._current = next(iter(self._keys))

    def seal(self, plaintext: str, *, belongs_to: str) -> str:
        nonce = self._random(_NONCE_BYTES)
        sealed = _cipher(self._keys[self._current]).encrypt(nonce, plaintext.encode(), _bound(belongs_to))
        return f"{FORM}.{self._current}.{base64.urlsafe_b64encode(nonce + sealed).decode('ascii')}"

    def is_current(self, sealed: str) -> bool:
        """Whether it is sealed under the key that new secrets are sealed under."""
        return sealed.startswith(f"{FORM}.{self._current}.")

    def open(self, sealed: str, *, belongs_to: str) -> str:
        """Raises `DataCorrupt` for what was changed, belongs to something else, or was sealed under another key."""
        from cryptography.exceptions import InvalidTag

        form, _, rest = sealed.partition(".")
        key_id, _, encoded = rest.partition(".")
        key = self._keys.get(key_id)
        if form != FORM or key is None:
            raise DataCorrupt("A secret was sealed under another S4_SECRET_KEY; start S4 with that one.")
        try:
            raw = base64.b64decode(encoded, altchars=b"-_", validate=True)
            opened = _cipher(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _bound(belongs_to))
        except (binascii.Error, ValueError, InvalidTag) as error:
            raise DataCorrupt("A sealed secret is damaged or belongs to something else.") from error
        return opened.decode()


def key_id(secret_key: str) -> str:
    """Tells which key it is, and nothing of it."""
    return _derived(secret_key, "id").hex()[:_KEY_ID_CHARS]


def _cipher(key: bytes) -> "AESGCM":
    """OpenSSL takes 9 MB of a process: those that seal nothing go without."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _derived(secret_key: str, purpose: str) -> bytes:
    """The secret has 128 random bits or more, so that no slow derivation is needed: one HMAC tells purposes apart."""
    return hmac.new(secret_key.encode(), f"s4/sealing/{purpose}/1".encode(), hashlib.sha256).digest()


def _bound(belongs_to: str) -> bytes:
    return f"s4/sealed/{belongs_to}".encode()
