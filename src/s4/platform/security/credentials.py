"""Keys of tenants and of administrators: minting, reading, comparing.

A tenant key is `s4_{prefix}_{secret}{check}`:

- `prefix`, 12 characters of base32: public, names the key in lists and finds its row;
- `secret`, 43 characters of url-safe base64: 256 random bits;
- `check`, 6 characters of base32: a checksum of all that stands before it. A mistyped key is told apart from
  a revoked one without a look-up, and scanners for leaked secrets need not report look-alikes.

An administrator's key begins with `s4a_` instead; the one from the environment has a form of its operator's choice.

Only the SHA-256 of the whole key is stored. A slow hash would add nothing: 256 random bits cannot be guessed.
"""

import base64
import hashlib
import hmac
import itertools
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from s4.kernel.ids import RandomBytes, base32

_PREFIX_CHARS = 12
_PREFIX_BYTES = 8  # 64 bits are 13 characters of base32, of which 12 are taken
_SECRET_BYTES = 32
_CHECK_CHARS = 6  # 30 of the checksum's 32 bits: what six characters of base32 hold
_REST = r"_([a-z2-7]{12})_([A-Za-z0-9_-]{43})([a-z2-7]{6})"
_TENANT = "s4"
_ADMIN = "s4a"
_NOBODYS_HASH = hashlib.sha256(b"nobody's").hexdigest()


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key. `plaintext` is shown once and never stored."""

    prefix: str
    plaintext: str = field(repr=False)
    hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A text that has the form and the checksum of a key. Whether it is valid, its row says."""

    prefix: str
    plaintext: str = field(repr=False)


def mint(random: RandomBytes) -> MintedKey:
    """A tenant's key that nobody has held before."""
    return _mint(_TENANT, random)


def mint_admin(random: RandomBytes) -> MintedKey:
    """An administrator's key that nobody has held before."""
    return _mint(_ADMIN, random)


def _mint(kind: str, random: RandomBytes) -> MintedKey:
    prefix = base32(random(_PREFIX_BYTES))[:_PREFIX_CHARS]
    secret = base64.urlsafe_b64encode(random(_SECRET_BYTES)).decode("ascii").rstrip("=")
    body = f"{kind}_{prefix}_{secret}"
    plaintext = body + _check(body)
    return MintedKey(prefix, plaintext, hash_secret(plaintext))


def derived(*ingredients: str) -> RandomBytes:
    """Bytes for `mint` that only who has all `ingredients` can make again. As secret as the best of them."""
    state = hashlib.sha256("".join(f"{len(part)}:{part}" for part in ingredients).encode()).digest()
    counter = itertools.count()

    def random(size_bytes: int) -> bytes:
        blocks = -(-size_bytes // hashlib.sha256().digest_size)
        made = [hmac.new(state, str(next(counter)).encode(), hashlib.sha256).digest() for _ in range(blocks)]
        return b"".join(made)[:size_bytes]

    return random


def parse(text: str) -> ParsedKey | None:
    """The parts of a tenant's key, or None for what no `mint` can have made."""
    return _parse(_TENANT, text)


def parse_admin(text: str) -> ParsedKey | None:
    """The same of an administrator's."""
    return _parse(_ADMIN, text)


def _parse(kind: str, text: str) -> ParsedKey | None:
    match = re.fullmatch(kind + _REST, text)
    if match is None or _check(text[:-_CHECK_CHARS]) != match[3]:
        return None
    return ParsedKey(match[1], text)


def without_hash(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What may be told of a key, as the audit trail does: a head's entry but for its hash."""
    return {name: value for name, value in entry.items() if name != "hash"}


def hash_secret(plaintext: str) -> str:
    """SHA-256 of the whole key, in hex: what is stored."""
    return _digest(plaintext).hex()


def matches(plaintext: str, stored_hash: str | None) -> bool:
    """Whether `stored_hash` is this key's, in time that does not depend on where they differ, nor on whether there is
    one: None is compared too, and is nobody's."""
    expected = stored_hash if stored_hash is not None else _NOBODYS_HASH
    same = hmac.compare_digest(hash_secret(plaintext).encode(), expected.encode("utf-8", "replace"))
    return same and stored_hash is not None


def admin_key_matches(presented: str | None, expected: str) -> bool:
    """Whether this is the administrator's key. Digests are compared, so that not even the length shows."""
    if presented is None or not expected:
        return False
    return hmac.compare_digest(_digest(presented), _digest(expected))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _check(body: str) -> str:
    checksum = zlib.crc32(body.encode("ascii"))
    return base32(checksum.to_bytes(4, "big"))[:_CHECK_CHARS]
