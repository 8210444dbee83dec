"""Identifiers. A type for each, made at one gate each: minted from randomness or parsed from outside.

An id is a short tag and 128 bits in lower-case base32 (26 characters), so that the keys built from it spread
evenly over the store's prefixes and nothing can be guessed from a neighbour's id. Ids are never reused.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from typing import NewType

from s4.kernel.errors import NotFound

TenantId = NewType("TenantId", str)
DocumentId = NewType("DocumentId", str)
VersionId = NewType("VersionId", str)
"""One upload's bytes. A document that is replaced keeps its id and gets a new version."""
KeyId = NewType("KeyId", str)
JobId = NewType("JobId", str)
CommitId = NewType("CommitId", str)
"""Random, carried by every head object: reading a head back tells whether a lost answer was a success."""
GenerationId = NewType("GenerationId", str)
"""One way of indexing: model, dimension, chunker, schema. Derived from them, so that two processes agree."""
Incarnation = NewType("Incarnation", str)
"""One making of a tenant's table of a generation. A table that is made anew is another one, in another place."""

RandomBytes = Callable[[int], bytes]
"""`secrets.token_bytes` in production, seeded in tests."""

_BODY = "[a-z2-7]{26}"
_TENANT = re.compile(f"ten_{_BODY}")
_DOCUMENT = re.compile(f"doc_{_BODY}")
_VERSION = re.compile(f"ver_{_BODY}")
_GENERATION = re.compile(f"gen_{_BODY}")
_INCARNATION = re.compile("[a-z2-7]{16}")

FIRST_INCARNATION = Incarnation("")
"""Of a table that was never made anew."""


def base32(raw: bytes) -> str:
    """Lower-case base32 without padding."""
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def new_tenant_id(random: RandomBytes) -> TenantId:
    return TenantId("ten_" + base32(random(16)))


def new_document_id(random: RandomBytes) -> DocumentId:
    return DocumentId("doc_" + base32(random(16)))


def document_id_for_key(tenant_id: TenantId, key: str) -> DocumentId:
    """The id of the document that a tenant addresses by its own `key`: two first uploads meet at one chain."""
    digest = hashlib.sha256(f"s4/document\x00{tenant_id}\x00{key}".encode()).digest()
    return DocumentId("doc_" + base32(digest[:16]))


def new_version_id(random: RandomBytes) -> VersionId:
    return VersionId("ver_" + base32(random(16)))


def new_commit_id(random: RandomBytes) -> CommitId:
    return CommitId(base32(random(16)))


def new_job_id(random: RandomBytes) -> JobId:
    return JobId("job_" + base32(random(16)))


def new_incarnation(random: RandomBytes) -> Incarnation:
    return Incarnation(base32(random(10)))


def generation_id(*parts: str | int) -> GenerationId:
    digest = hashlib.sha256("\x00".join(str(part) for part in parts).encode()).digest()
    return GenerationId("gen_" + base32(digest[:16]))


def derived_id(tag: str, *parts: str) -> str:
    """The same for the same parts, in every process."""
    digest = hashlib.sha256("\x00".join((f"s4/{tag}", *parts)).encode()).digest()
    return f"{tag}_{base32(digest[:16])}"


def parse_tenant_id(text: str) -> TenantId:
    if _TENANT.fullmatch(text) is None:
        raise NotFound("No such tenant.")
    return TenantId(text)


def parse_document_id(text: str) -> DocumentId:
    """A malformed id answers like an unknown one: what does not exist has no shape."""
    if _DOCUMENT.fullmatch(text) is None:
        raise NotFound("No such document.")
    return DocumentId(text)


def is_tenant_id(text: str) -> bool:
    return _TENANT.fullmatch(text) is not None


def is_document_id(text: str) -> bool:
    return _DOCUMENT.fullmatch(text) is not None


def is_version_id(text: str) -> bool:
    return _VERSION.fullmatch(text) is not None


def is_generation_id(text: str) -> bool:
    return _GENERATION.fullmatch(text) is not None


def is_incarnation(text: str) -> bool:
    return _INCARNATION.fullmatch(text) is not None
