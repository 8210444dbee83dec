"""Object keys: the one place that makes and reads them.

`tenants/` holds what a tenant gave, `system/` what the operator configured, `indices/` what is derived and can
be made again, `backups/` copies of all of that. Whoever needs a key calls a function here; whoever meets a key in a
listing calls `parse`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from s4.kernel.ids import (
    FIRST_INCARNATION,
    DocumentId,
    GenerationId,
    Incarnation,
    TenantId,
    VersionId,
    is_document_id,
    is_generation_id,
    is_incarnation,
    is_tenant_id,
    is_version_id,
)

ObjectKey = NewType("ObjectKey", str)
ObjectPrefix = NewType("ObjectPrefix", str)
"""Ends with a slash."""

REVISION_DIGITS = 12

DEPLOYMENT = ObjectKey("system/deployment.json")
RESTORING = ObjectKey("system/restoring.json")
"""In a bucket that is being filled from a backup: from which."""
REPLICA = ObjectKey("system/replica.json")
"""In a copy of a bucket: of which one, and as of when."""
EVERYTHING = ObjectPrefix("")
"""The whole bucket, as far as it is this deployment's."""
TENANTS = ObjectPrefix("tenants/")
SYSTEM = ObjectPrefix("system/")
INDICES = ObjectPrefix("indices/")
INDEX_TABLE = "chunks"
"""The one table in what LanceDB takes for a database."""
STRANDED = ObjectPrefix("stranded/")
"""What a former first region accepted when another served already."""
TERMS = ObjectPrefix("system/terms/")
PROBES = ObjectPrefix("system/probes/")
AUDIT = ObjectPrefix("system/audit/")
EMBEDDING_MODELS = ObjectPrefix("system/embedding-models/")
BACKUPS = ObjectPrefix("backups/")
"""Of this bucket, or of the one that backups go to."""
BACKUP_DATA = ObjectPrefix("backups/data/")
"""What all backups of a place share."""
BACKUP_ERASED = ObjectPrefix("backups/erased/")
"""Who was erased, beside the backups: for whoever restores one of before."""
BACKUP_READERS = ObjectPrefix("backups/readers/")
"""Who reads backups, and has no catalog in which to say so."""
SYSTEM_USAGE = ObjectPrefix("system/usage/")


def term(number: int) -> ObjectKey:
    """Says that the deployment was promoted, for the second time and onwards; the first term has none."""
    return ObjectKey(f"{TERMS}{number:0{REVISION_DIGITS}d}.json")


def stranded(term: int, key: ObjectKey) -> ObjectKey:
    """Where what lay under `key` is put aside, by the term that it came too late for."""
    return ObjectKey(f"{STRANDED}{term:0{REVISION_DIGITS}d}/{key}")


def stranded_part(term: ObjectPrefix, part: ObjectPrefix) -> ObjectPrefix:
    """Of what was put aside in a term (a child of `STRANDED`), what lay below `part`."""
    return ObjectPrefix(f"{term}{part}")


def probe(name: str) -> ObjectKey:
    return ObjectKey(f"{PROBES}{name}")


def probes(examination: str) -> ObjectPrefix:
    """What one examination of the store writes, index tables among it."""
    return ObjectPrefix(f"{PROBES}{examination}/")


def usage_rollup(tenant_id: TenantId, month: str) -> ObjectKey:
    """What a tenant used in a month (`2026-11`), as of the last roll-up."""
    return ObjectKey(f"{usage_rollups(tenant_id)}{month}.json")


def usage_rollups(tenant_id: TenantId) -> ObjectPrefix:
    return ObjectPrefix(f"{TENANTS}{tenant_id}/usage/")


def system_usage_rollup(month: str) -> ObjectKey:
    """The same of everybody together."""
    return ObjectKey(f"{SYSTEM_USAGE}{month}.json")


def embedding_model(name: str) -> ObjectKey:
    """What is known of a provider's model; `name` is of `[a-z0-9.-]`."""
    return ObjectKey(f"{EMBEDDING_MODELS}{name}.json")


def audit_batch(sequence: int) -> ObjectKey:
    """A sealed piece of the audit trail."""
    return ObjectKey(f"{AUDIT}{sequence:0{REVISION_DIGITS}d}.json.zst")


class Collection(StrEnum):
    """What the operator configured, each thing a chain of heads: `system/{collection}/{name}/head/{revision}.json`."""

    PLANS = "plans"
    ADMINS = "admins"
    WEBHOOKS = "webhooks"
    NOTICES = "notices"
    ERASURES = "erasures"


OF_TENANTS = (Collection.WEBHOOKS, Collection.NOTICES)
"""Of which a thing may be a tenant's, though its name need not say so."""


SYSTEM_NAME = r"[a-z0-9][a-z0-9_-]{0,39}"


def is_system_name(text: str) -> bool:
    return re.fullmatch(SYSTEM_NAME, text) is not None


def collection(of: Collection) -> ObjectPrefix:
    return ObjectPrefix(f"{SYSTEM}{of.value}/")


def system_heads(of: Collection, name: str) -> ObjectPrefix:
    """Raises `ValueError` for a name that `is_system_name` refuses."""
    if not is_system_name(name):
        raise ValueError(f"{name!r} cannot stand in an object's key")
    return ObjectPrefix(f"{collection(of)}{name}/head/")


def system_head(of: Collection, name: str, revision: int) -> ObjectKey:
    return ObjectKey(f"{system_heads(of, name)}{revision:0{REVISION_DIGITS}d}.json")


def parse_system_head(key: str) -> tuple[Collection, str, int] | None:
    """Collection, name and revision of a `system_head`; None for what is none."""
    found = _SYSTEM_HEAD.fullmatch(key)
    return (Collection(found[1]), found[2], int(found[3])) if found is not None else None


def tenant(tenant_id: TenantId) -> ObjectPrefix:
    return ObjectPrefix(f"{TENANTS}{tenant_id}/")


def tenant_heads(tenant_id: TenantId) -> ObjectPrefix:
    return ObjectPrefix(f"{TENANTS}{tenant_id}/head/")


def tenant_head(tenant_id: TenantId, revision: int) -> ObjectKey:
    return ObjectKey(f"{tenant_heads(tenant_id)}{revision:0{REVISION_DIGITS}d}.json")


def documents(tenant_id: TenantId) -> ObjectPrefix:
    return ObjectPrefix(f"{TENANTS}{tenant_id}/documents/")


def document(tenant_id: TenantId, document_id: DocumentId) -> ObjectPrefix:
    return ObjectPrefix(f"{documents(tenant_id)}{document_id}/")


def document_heads(tenant_id: TenantId, document_id: DocumentId) -> ObjectPrefix:
    return ObjectPrefix(f"{document(tenant_id, document_id)}head/")


def document_head(tenant_id: TenantId, document_id: DocumentId, revision: int) -> ObjectKey:
    return ObjectKey(f"{document_heads(tenant_id, document_id)}{revision:0{REVISION_DIGITS}d}.json")


def version(tenant_id: TenantId, document_id: DocumentId, version_id: VersionId) -> ObjectPrefix:
    return ObjectPrefix(f"{document(tenant_id, document_id)}{version_id}/")


def content(tenant_id: TenantId, document_id: DocumentId, version_id: VersionId) -> ObjectKey:
    return ObjectKey(f"{version(tenant_id, document_id, version_id)}content")


def text(tenant_id: TenantId, document_id: DocumentId, version_id: VersionId, revision: int) -> ObjectKey:
    return ObjectKey(f"{version(tenant_id, document_id, version_id)}text/{revision:0{REVISION_DIGITS}d}.json.zst")


def generation(tenant_id: TenantId, generation_id: GenerationId, incarnation: Incarnation) -> ObjectPrefix:
    """What LanceDB opens as a database; its table is `INDEX_TABLE`."""
    name = f"{generation_id}.{incarnation}" if incarnation else generation_id
    return ObjectPrefix(f"{INDICES}{tenant_id}/{name}/")


def generation_manifest(tenant_id: TenantId, generation_id: GenerationId) -> ObjectKey:
    """Describes every incarnation."""
    return ObjectKey(f"{generation(tenant_id, generation_id, FIRST_INCARNATION)}generation.json")


def index_table(table_prefix: str) -> ObjectPrefix:
    """The table of an incarnation; what is below is named by LanceDB."""
    return ObjectPrefix(f"{table_prefix.rstrip('/')}/{INDEX_TABLE}.lance/")


def index_manifests(table_prefix: str) -> ObjectPrefix:
    """Where LanceDB says which files each version consists of."""
    return ObjectPrefix(f"{index_table(table_prefix)}_versions/")


def index_file(table_prefix: str, name: str) -> ObjectKey:
    return ObjectKey(f"{index_table(table_prefix)}{name}")


def indices(tenant_id: TenantId) -> ObjectPrefix:
    """Every generation of a tenant's index, and its vectors."""
    return ObjectPrefix(f"{INDICES}{tenant_id}/")


def parse_generation(prefix: str) -> tuple[TenantId, GenerationId, Incarnation] | None:
    """Whose table lies there; None for what is no prefix of `generation`."""
    parts = prefix.removesuffix("/").split("/")
    name, dot, incarnation = parts[-1].partition(".")
    if len(parts) != 3 or f"{parts[0]}/" != INDICES or not is_tenant_id(parts[1]) or not is_generation_id(name):
        return None
    if dot and not is_incarnation(incarnation):
        return None
    return TenantId(parts[1]), GenerationId(name), Incarnation(incarnation)


def embeddings(tenant_id: TenantId) -> ObjectPrefix:
    return ObjectPrefix(f"{INDICES}{tenant_id}/embeddings/")


def embedding_space(tenant_id: TenantId, space: str) -> ObjectPrefix:
    """Vectors of one space. Raises `ValueError`."""
    if not (_SPACE.fullmatch(space) and space.strip(".")):
        raise ValueError(f"{space!r} names no space of embeddings")
    return ObjectPrefix(f"{embeddings(tenant_id)}{space}/")


def embedding_part(tenant_id: TenantId, space: str, part: str) -> ObjectPrefix:
    """Of one space the groups whose hash begins with `part`, two hexadecimal digits. Raises `ValueError`."""
    if not re.fullmatch(r"[0-9a-f]{2}", part):
        raise ValueError(f"{part!r} names no part of the embeddings")
    return ObjectPrefix(f"{embedding_space(tenant_id, space)}{part}/")


def embedding_group(tenant_id: TenantId, space: str, group_hash: str) -> ObjectKey:
    """Vectors of a run of chunks, by embedding space and by the hash of what was embedded."""
    return ObjectKey(f"{embeddings(tenant_id)}{space}/{group_hash[:2]}/{group_hash}")


def embedding_for(into: TenantId, key: ObjectKey) -> ObjectKey:
    """The same group of vectors as another tenant's own. Raises `ValueError` for a key of something else."""
    parsed = parse(key)
    if parsed is None or parsed.kind is not KeyKind.EMBEDDING or parsed.tenant_id is None:
        raise ValueError(f"{key!r} holds no vectors")
    return ObjectKey(f"{embeddings(into)}{key.removeprefix(embeddings(parsed.tenant_id))}")


def backup(backup_id: str) -> ObjectPrefix:
    """Raises `ValueError` for what `is_backup_id` refuses."""
    if not is_backup_id(backup_id):
        raise ValueError(f"{backup_id!r} is not a backup's id")
    return ObjectPrefix(f"{BACKUPS}{backup_id}/")


def backup_manifest(backup_id: str) -> ObjectKey:
    """Written last: without it there is no backup."""
    return ObjectKey(f"{backup(backup_id)}manifest.json")


def backup_part(backup_id: str, number: int) -> ObjectKey:
    """A piece of the list of what is in a backup."""
    return ObjectKey(f"{backup(backup_id)}parts/{number:06d}.jsonl.zst")


def backup_data(name: str) -> ObjectKey:
    """Bytes of one object or of many small ones; `name` is 64 hexadecimal digits."""
    return ObjectKey(f"{BACKUP_DATA}{name[:2]}/{name}")


def backup_erased(tenant_id: TenantId) -> ObjectKey:
    """Says in a place of backups that a tenant was erased."""
    return ObjectKey(f"{BACKUP_ERASED}{tenant_id}.json")


def backup_reader(name: str) -> ObjectKey:
    """Says in a place of backups that somebody reads them; `name` is 26 characters of base32."""
    return ObjectKey(f"{BACKUP_READERS}{name}")


def is_backup_id(text: str) -> bool:
    return _BACKUP_ID.fullmatch(text) is not None


def owner(key: str) -> TenantId | None:
    """The tenant below whose part of the bucket a key or a prefix lies."""
    area, _, rest = key.partition("/")
    name = rest.partition("/")[0]
    return TenantId(name) if f"{area}/" in (TENANTS, INDICES) and is_tenant_id(name) else None


class KeyKind(StrEnum):
    """What an object is, by its key alone."""

    SYSTEM = "system"
    TENANT_HEAD = "tenant_head"
    DOCUMENT_HEAD = "document_head"
    CONTENT = "content"
    TEXT = "text"
    USAGE = "usage"
    INDEX = "index"
    EMBEDDING = "embedding"
    BACKUP = "backup"
    STRANDED = "stranded"


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """The parts of a key. Those that its kind does not have are None."""

    kind: KeyKind
    tenant_id: TenantId | None = None
    document_id: DocumentId | None = None
    version_id: VersionId | None = None
    revision: int | None = None
    generation_id: GenerationId | None = None
    incarnation: Incarnation | None = None
    """Of a file of an index table."""


_HEAD_NAME = re.compile(rf"(\d{{{REVISION_DIGITS}}})\.json")
_TEXT_NAME = re.compile(rf"(\d{{{REVISION_DIGITS}}})\.json\.zst")
_MONTH_NAME = re.compile(r"\d{4}-\d{2}\.json")
_SPACE = re.compile(r"[A-Za-z0-9._-]+")
_HASH = re.compile(r"([0-9a-f]{2})[0-9a-f]{62}")
_BACKUP_ID = re.compile(r"\d{8}T\d{6}Z")
_OF_BACKUPS = (
    re.compile(r"data/([0-9a-f]{2})/\1[0-9a-f]{62}"),
    re.compile(r"erased/ten_[a-z2-7]{26}\.json"),
    re.compile(r"readers/[a-z2-7]{26}"),
    re.compile(rf"{_BACKUP_ID.pattern}/(?:manifest\.json|parts/\d{{6}}\.jsonl\.zst)"),
)
"""Every form of a key below `backups/`."""
_SYSTEM_HEAD = re.compile(rf"{SYSTEM}({'|'.join(Collection)})/({SYSTEM_NAME})/head/(\d{{{REVISION_DIGITS}}})\.json")
_OF_SYSTEM = (
    re.compile(re.escape(DEPLOYMENT.removeprefix(SYSTEM))),
    re.compile(re.escape(RESTORING.removeprefix(SYSTEM))),
    re.compile(r"probes/[A-Za-z0-9_-]+(?:/.+)?"),
    re.compile(r"embedding-models/[a-z0-9.-]+\.json"),
    re.compile(re.escape(REPLICA.removeprefix(SYSTEM))),
    re.compile(rf"terms/\d{{{REVISION_DIGITS}}}\.json"),
    re.compile(r"usage/\d{4}-\d{2}\.json"),
    re.compile(rf"audit/\d{{{REVISION_DIGITS}}}\.json\.zst"),
    re.compile(rf"(?:{'|'.join(Collection)})/{SYSTEM_NAME}/head/\d{{{REVISION_DIGITS}}}\.json"),
)
"""Every form of a key below `system/`."""


def parse(key: str) -> ParsedKey | None:
    """What `key` names, or None when no function of this module could have made it."""
    parts = key.split("/")
    if len(parts) < 2 or not all(parts):
        return None
    if parts[0] == "system":
        known = any(form.fullmatch(key.removeprefix(SYSTEM)) for form in _OF_SYSTEM)
        return ParsedKey(KeyKind.SYSTEM) if known else None
    if parts[0] == "backups":
        known = any(form.fullmatch(key.removeprefix(BACKUPS)) for form in _OF_BACKUPS)
        return ParsedKey(KeyKind.BACKUP) if known else None
    if f"{parts[0]}/" == STRANDED:
        known = len(parts) > 2 and re.fullmatch(rf"\d{{{REVISION_DIGITS}}}", parts[1]) is not None
        return ParsedKey(KeyKind.STRANDED) if known else None
    if len(parts) < 3 or not is_tenant_id(parts[1]):
        return None
    tenant_id = TenantId(parts[1])
    if parts[0] == "indices":
        return _parse_in_indices(tenant_id, parts[2:])
    if parts[0] != "tenants":
        return None
    if parts[2] == "head" and len(parts) == 4:
        head = _HEAD_NAME.fullmatch(parts[3])
        return ParsedKey(KeyKind.TENANT_HEAD, tenant_id, revision=int(head[1])) if head else None
    if parts[2] == "usage" and len(parts) == 4:
        return ParsedKey(KeyKind.USAGE, tenant_id) if _MONTH_NAME.fullmatch(parts[3]) else None
    if parts[2] == "documents" and len(parts) >= 5 and is_document_id(parts[3]):
        return _parse_in_document(tenant_id, DocumentId(parts[3]), parts[4:])
    return None


def _parse_in_indices(tenant_id: TenantId, rest: list[str]) -> ParsedKey | None:
    """What the engine keeps within a table is named by the engine."""
    if rest[0] == "embeddings":
        digest = _HASH.fullmatch(rest[-1])
        known = len(rest) == 4 and _SPACE.fullmatch(rest[1]) and digest is not None and digest[1] == rest[2]
        return ParsedKey(KeyKind.EMBEDDING, tenant_id) if known else None
    name, dot, incarnation = rest[0].partition(".")
    if not is_generation_id(name) or (dot and not is_incarnation(incarnation)):
        return None
    if len(rest) > 2 and rest[1] == f"{INDEX_TABLE}.lance":
        return ParsedKey(
            KeyKind.INDEX, tenant_id, generation_id=GenerationId(name), incarnation=Incarnation(incarnation)
        )
    return ParsedKey(KeyKind.INDEX, tenant_id) if not dot and rest[1:] == ["generation.json"] else None


def _parse_in_document(tenant_id: TenantId, document_id: DocumentId, rest: list[str]) -> ParsedKey | None:
    if rest[0] == "head" and len(rest) == 2:
        head = _HEAD_NAME.fullmatch(rest[1])
        return ParsedKey(KeyKind.DOCUMENT_HEAD, tenant_id, document_id, revision=int(head[1])) if head else None
    if not is_version_id(rest[0]):
        return None
    version_id = VersionId(rest[0])
    if rest[1:] == ["content"]:
        return ParsedKey(KeyKind.CONTENT, tenant_id, document_id, version_id)
    if len(rest) == 3 and rest[1] == "text" and (name := _TEXT_NAME.fullmatch(rest[2])):
        return ParsedKey(KeyKind.TEXT, tenant_id, document_id, version_id, int(name[1]))
    return None
