"""Bytes that lie where others may read them, encrypted piece by piece, so that none of any size is held in memory.

    S4V1 | key id, 8 | salt, 16 | piece 0 | piece 1 | … | last piece

A piece is up to 1 MiB of plaintext and its tag, by AES-256-GCM under a key that is derived from the operator's and from
the salt, hence one of its own for each object. The nonce counts the pieces, and says of the last one that it is the
last: pieces that were swapped, left out or cut off do not open. What an object is (`belongs_to`) is authenticated, too:
under another name it does not open.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator

from s4.kernel.errors import DataCorrupt
from s4.kernel.ids import RandomBytes
from s4.kernel.units import MIB

FORMAT = 1
_MARK = b"S4V1"
_ID_CHARS = 8  # tells a handful of keys apart
_SALT_BYTES = 16
_TAG_BYTES = 16
_PIECE_BYTES = MIB
_HEADER_BYTES = len(_MARK) + _ID_CHARS + _SALT_BYTES
_DAMAGED = "An encrypted object is damaged, or is another than its name says."


class Vault:
    """Encrypts and decrypts under one key of the operator's."""

    def __init__(self, key: str, random: RandomBytes) -> None:
        self._key = key.encode()
        self._random = random
        self.key_id = _derived(self._key, b"id").hex()[:_ID_CHARS]

    async def encrypted(self, plain: AsyncIterator[bytes], *, belongs_to: str) -> AsyncIterator[bytes]:
        """What is to be stored, `encrypted_bytes` long."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        salt = self._random(_SALT_BYTES)
        cipher = AESGCM(_derived(self._key, b"object" + salt))
        yield _MARK + self.key_id.encode() + salt
        number, waiting = 0, bytearray()
        async for chunk in plain:
            waiting += chunk
            while len(waiting) > _PIECE_BYTES:  # not at equality: the last piece must be known as such
                yield cipher.encrypt(_nonce(number, last=False), bytes(waiting[:_PIECE_BYTES]), belongs_to.encode())
                del waiting[:_PIECE_BYTES]
                number += 1
        yield cipher.encrypt(_nonce(number, last=True), bytes(waiting), belongs_to.encode())

    async def decrypted(self, stored: AsyncIterator[bytes], *, belongs_to: str) -> AsyncIterator[bytes]:
        """The plaintext. Raises `DataCorrupt` for what was changed, cut, misplaced, or encrypted under another key."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        waiting, cipher, number = bytearray(), None, 0
        try:
            async for chunk in stored:
                waiting += chunk
                if cipher is None:
                    if len(waiting) < _HEADER_BYTES:
                        continue
                    cipher = AESGCM(self._opened(bytes(waiting[:_HEADER_BYTES])))
                    del waiting[:_HEADER_BYTES]
                while len(waiting) > _PIECE_BYTES + _TAG_BYTES:
                    piece = bytes(waiting[: _PIECE_BYTES + _TAG_BYTES])
                    yield cipher.decrypt(_nonce(number, last=False), piece, belongs_to.encode())
                    del waiting[: _PIECE_BYTES + _TAG_BYTES]
                    number += 1
            if cipher is None:
                raise DataCorrupt(_DAMAGED)
            yield cipher.decrypt(_nonce(number, last=True), bytes(waiting), belongs_to.encode())
        except (InvalidTag, ValueError) as error:
            raise DataCorrupt(_DAMAGED) from error

    def _opened(self, header: bytes) -> bytes:
        key_id, salt = header[len(_MARK) : -_SALT_BYTES], header[-_SALT_BYTES:]
        if not header.startswith(_MARK):
            raise DataCorrupt(_DAMAGED)
        if key_id != self.key_id.encode():
            raise DataCorrupt("This was encrypted under another key.")
        return _derived(self._key, b"object" + salt)


def encrypted_under(stored: bytes) -> str | None:
    """The id of the key under which a whole object was encrypted; None for one in plain. Raises `DataCorrupt` for one
    that no key opens."""
    if not stored.startswith(_MARK):
        return None
    key_id = stored[len(_MARK) : len(_MARK) + _ID_CHARS]
    if len(stored) < _HEADER_BYTES + _TAG_BYTES or not key_id.isalnum():
        raise DataCorrupt(_DAMAGED)
    return key_id.decode()


def encrypted_bytes(plain_bytes: int) -> int:
    """How long it is once it is encrypted."""
    return _HEADER_BYTES + plain_bytes + _TAG_BYTES * max(1, -(-plain_bytes // _PIECE_BYTES))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _derived(key: bytes, purpose: bytes) -> bytes:
    """The key has 128 random bits or more, so that no slow derivation is needed: one HMAC tells purposes apart."""
    return hmac.new(key, b"s4/vault/1/" + purpose, hashlib.sha256).digest()
