"""How vectors are kept in the bucket: in groups whose borders follow the content.

Paying for a vector twice is waste, and one object per vector is waste too. So a document's chunks are put
into groups of about thirty, and a group is stored under the hash of what it holds. Where a group ends is
decided by the text of the chunk itself (its hash is divisible by a number), never by counting from the
start of the document: after an edit on page one, the groups from a few chunks later on are the same as
before and their vectors are found again.

The stored form carries a checksum; whatever does not match is `DataCorrupt`, and for a cache that is a miss.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from s4.engine.embedding.base import Vectors
from s4.kernel.errors import DataCorrupt

_MODULUS = 24  # with GROUP_MIN a mean of about 32 chunks: 48 KiB of 384 dimensions, one request each
GROUP_MIN = 8  # a document of equal lines would otherwise be one object per line
GROUP_MAX = 128  # bounds what one changed chunk costs

_MAGIC = b"S4EV"
FORMAT = 1
_HEADER = struct.Struct("<4sHHII32s")  # magic, format, zero, count, dimension, sha256 of the payload


@dataclass(frozen=True, slots=True)
class Group:
    """Chunks `start` to `end` (exclusive), and a hash of their texts, hex."""

    start: int
    end: int
    hash: str


def groups(embed_texts: Sequence[str]) -> list[Group]:
    """Groups that cover `embed_texts` in order without gaps. Equal runs of texts get equal hashes."""
    found: list[Group] = []
    start = 0
    content = hashlib.sha256()
    for position, text in enumerate(embed_texts):
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        content.update(digest)
        size = position + 1 - start
        border = size >= GROUP_MIN and int.from_bytes(digest[:8], "big") % _MODULUS == 0
        if border or size == GROUP_MAX or position + 1 == len(embed_texts):
            found.append(Group(start, position + 1, content.hexdigest()))
            start = position + 1
            content = hashlib.sha256()
    return found


def encode_vectors(vectors: Vectors) -> bytes:
    """Rows as little-endian float32 behind a header with a checksum."""
    count, dimension = vectors.shape
    payload = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
    return _HEADER.pack(_MAGIC, FORMAT, 0, count, dimension, hashlib.sha256(payload).digest()) + payload


def shape_of(stored: bytes) -> tuple[int, int]:
    """Rows and dimension, as stored vectors themselves say. Raises `DataCorrupt`."""
    if len(stored) < _HEADER.size:
        raise DataCorrupt("Stored vectors are cut short.")
    _, _, _, count, dimension, _ = _HEADER.unpack_from(stored)
    return int(count), int(dimension)


def decode_group(stored: bytes) -> Vectors:
    """What `encode_vectors` was given, of whatever shape. Raises `DataCorrupt` unless whole."""
    if len(stored) < _HEADER.size:
        raise DataCorrupt("Stored vectors are cut short.")
    _, _, _, count, dimension, _ = _HEADER.unpack_from(stored)
    return decode_vectors(stored, count, dimension)


def decode_vectors(stored: bytes, count: int, dimension: int) -> Vectors:
    """What `encode_vectors` was given. Raises `DataCorrupt` unless whole and of this shape."""
    if len(stored) < _HEADER.size:
        raise DataCorrupt("Stored vectors are cut short.")
    magic, version, _, stored_count, stored_dimension, checksum = _HEADER.unpack_from(stored)
    payload = stored[_HEADER.size :]
    if (magic, version) != (_MAGIC, FORMAT):
        raise DataCorrupt("Stored vectors have an unknown format.")
    if (stored_count, stored_dimension) != (count, dimension) or len(payload) != 4 * count * dimension:
        raise DataCorrupt("Stored vectors have another shape than their chunks.")
    if hashlib.sha256(payload).digest() != checksum:
        raise DataCorrupt("Stored vectors do not match their checksum.")
    return np.frombuffer(payload, dtype="<f4").astype(np.float32).reshape(count, dimension)
