"""Every format in which S4 stores something that a later release must read.

A format has a number, which stands in what is stored. A release writes one version of each and reads all that were
ever written (`reads`); of each of them the tests keep what a release wrote. A new version is a new reader beside the
old one, never instead of it. What may be added without a new number: fields that older readers pass over.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import zstandard

from s4.domains.audit import model as audit_model
from s4.domains.audit.model import Batch
from s4.domains.backup import model as backup_model
from s4.domains.backup.model import Manifest, entries_of, samples_of
from s4.domains.indexing import generation, model_memory
from s4.domains.leaving import erasure_model
from s4.domains.maintenance import deployment
from s4.domains.usage import rollups
from s4.engine.embedding.groups import FORMAT as VECTORS_FORMAT
from s4.engine.embedding.groups import decode_vectors, shape_of
from s4.engine.extraction import model as extraction_model
from s4.engine.extraction.model import ExtractedText
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt
from s4.kernel.keys import Collection, KeyKind, ObjectKey, ParsedKey
from s4.platform.chains import Head, Subject
from s4.platform.chains.head import HEAD_FORMAT
from s4.platform.security import vault

_UNPACKED_BYTES_MAX = 1 << 30  # a small object must not fill the memory


@dataclass(frozen=True, slots=True)
class Format:
    """`where`: which objects. `reads`: versions; the last is the one that is written."""

    name: str
    where: str
    reads: tuple[int, ...]
    read: Callable[[str, bytes], None]
    """Raises `DataCorrupt` for what this release cannot read."""


def format_of(key: str) -> Format | None:
    """That of an object by its key; None for what has no format of S4's: the bytes of documents, files that LanceDB
    writes, short-lived probes, and keys that this release does not know."""
    parsed = keys.parse(key)
    if parsed is None:
        return None
    if parsed.kind is KeyKind.SYSTEM:
        return next((each for start, each in _BELOW_SYSTEM.items() if key.startswith(start)), None)
    if parsed.kind is KeyKind.BACKUP:
        return _of_backup(key)
    if parsed.kind is KeyKind.INDEX and not key.endswith("/generation.json"):
        return None
    return _BY_KIND.get(parsed.kind)


def read_stored(key: str, data: bytes) -> Format | None:
    """The format that `data` was read as; None where there is none. Raises `DataCorrupt`."""
    found = format_of(key)
    if found is not None:
        found.read(key, data)
    return found


def _parsed(key: str) -> ParsedKey:
    parsed = keys.parse(key)
    assert parsed is not None, "its format is known"
    return parsed


def _read_head(key: str, data: bytes) -> None:
    parsed = _parsed(key)
    if parsed.kind is KeyKind.SYSTEM:
        _, collection, name, *_ = key.split("/")
        subject = Subject(collection, "", name)
    elif parsed.kind is KeyKind.TENANT_HEAD:
        subject = Subject("tenant", str(parsed.tenant_id), str(parsed.tenant_id))
    else:
        subject = Subject("document", str(parsed.tenant_id), str(parsed.document_id))
    Head.from_bytes(data, expected=subject)


def _read_audit(_: str, data: bytes) -> None:
    Batch.from_bytes(data)


def _read_text(_: str, data: bytes) -> None:
    try:
        unpacked = zstandard.ZstdDecompressor().decompress(data, max_output_size=_UNPACKED_BYTES_MAX)
    except zstandard.ZstdError as error:
        raise DataCorrupt("A kept text cannot be unpacked.") from error
    ExtractedText.from_json_bytes(unpacked)


def _read_manifest(_: str, data: bytes) -> None:
    Manifest.from_bytes(data)


def _read_list(_: str, data: bytes) -> None:
    for _entry in entries_of(_listed(data)):
        pass


def _read_samples(_: str, data: bytes) -> None:
    for _sample in samples_of(_listed(data)):
        pass


def _listed(data: bytes) -> bytes:
    """Empty for what is encrypted: of that no more is read than the envelope says of itself."""
    if vault.encrypted_under(data) is not None:
        return b""
    try:
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=_UNPACKED_BYTES_MAX)
    except zstandard.ZstdError as error:
        raise DataCorrupt("A list of a backup cannot be unpacked.") from error


def _read_envelope(_: str, data: bytes) -> None:
    if vault.encrypted_under(data) is None:
        raise DataCorrupt(f"This is no encrypted object of format {vault.FORMAT}.")


def _of_backup(key: str) -> Format | None:
    """The bytes in `backups/data/` are those of other objects; nobody reads what is in a note of a reader."""
    if key.startswith(keys.BACKUP_ERASED):
        return _ERASED
    if key.endswith("/manifest.json"):
        return _MANIFEST
    if key.startswith((keys.BACKUP_DATA, keys.BACKUP_READERS)):
        return None
    return _SAMPLES if key.endswith("/parts/000000.jsonl.zst") else _LIST


def _read_vectors(_: str, data: bytes) -> None:
    count, dimension = shape_of(data)
    decode_vectors(data, count, dimension)


def _numbered(name: str, reads: tuple[int, ...]) -> Callable[[str, bytes], None]:
    """Reads JSON that says its format's number."""

    def read(_: str, data: bytes) -> None:
        try:
            said = json.loads(data)["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataCorrupt(f"{name} cannot be read.") from error
        if said not in reads:
            raise DataCorrupt(f"{name} has format {said}; this release reads {', '.join(map(str, reads))}.")

    return read


_DEPLOYMENT = Format(
    "deployment",
    "`system/deployment.json`, `system/terms/*.json`, `system/replica.json`, `system/restoring.json`",
    (deployment.FORMAT,),
    _numbered("A mark of the deployment", (deployment.FORMAT,)),
)
_USAGE = Format(
    "rolled-up use",
    "`tenants/…/usage/*.json`, `system/usage/*.json`",
    (rollups.FORMAT,),
    _numbered("Rolled-up use", (rollups.FORMAT,)),
)
_HEAD = Format("head", "`…/head/*.json`: documents, tenants, what the operator configured", (HEAD_FORMAT,), _read_head)
_AUDIT = Format("audit batch", "`system/audit/*.json.zst`", (audit_model.FORMAT,), _read_audit)
_MODEL = Format(
    "embedding model",
    "`system/embedding-models/*.json`",
    (model_memory.FORMAT,),
    _numbered("An embedding model", (model_memory.FORMAT,)),
)
_TEXT = Format("text", "`tenants/…/text/*.json.zst`", (extraction_model.FORMAT,), _read_text)
_VECTORS = Format("vectors", "`indices/…/embeddings/…`", (VECTORS_FORMAT,), _read_vectors)
_GENERATION = Format(
    "generation",
    "`indices/…/generation.json`",
    (generation.FORMAT,),
    _numbered("A generation's description", (generation.FORMAT,)),
)
_MANIFEST = Format("backup manifest", "`backups/…/manifest.json`", (backup_model.FORMAT,), _read_manifest)
_LIST = Format(
    "backup list",
    "`backups/…/parts/*.jsonl.zst`, from the first on; numbered by its manifest",
    (backup_model.FORMAT,),
    _read_list,
)
_SAMPLES = Format(
    "backup samples",
    "`backups/…/parts/000000.jsonl.zst`; numbered by its manifest",
    (backup_model.FORMAT,),
    _read_samples,
)
_ERASED = Format(
    "note of an erasure",
    "`backups/erased/*.json`",
    (erasure_model.FORMAT,),
    _numbered("A note of an erasure", (erasure_model.FORMAT,)),
)
_ENVELOPE = Format(
    "encrypted object",
    f"`S4V{vault.FORMAT}…`: lists and data of backups under `S4_BACKUP_ENCRYPTION_KEY`, around what they are in plain",
    (vault.FORMAT,),
    _read_envelope,
)
BACKUPS = (_MANIFEST, _LIST, _SAMPLES, _ERASED, _ENVELOPE)
FORMATS = (_DEPLOYMENT, _HEAD, _USAGE, _AUDIT, _MODEL, _TEXT, _VECTORS, _GENERATION, *BACKUPS)

_BELOW_SYSTEM: dict[str, Format] = {
    str(keys.DEPLOYMENT): _DEPLOYMENT,
    str(keys.TERMS): _DEPLOYMENT,
    str(keys.REPLICA): _DEPLOYMENT,
    str(keys.RESTORING): _DEPLOYMENT,
    str(keys.SYSTEM_USAGE): _USAGE,
    str(keys.AUDIT): _AUDIT,
    str(keys.EMBEDDING_MODELS): _MODEL,
    **{str(keys.collection(each)): _HEAD for each in Collection},
}
_BY_KIND = {
    KeyKind.TENANT_HEAD: _HEAD,
    KeyKind.DOCUMENT_HEAD: _HEAD,
    KeyKind.TEXT: _TEXT,
    KeyKind.USAGE: _USAGE,
    KeyKind.EMBEDDING: _VECTORS,
    KeyKind.INDEX: _GENERATION,
}


def read_object(key: ObjectKey, data: bytes) -> str | None:
    """What is wrong with an object, as a sentence; None when it can be read, or needs no reader."""
    try:
        read_stored(key, data)
    except DataCorrupt as error:
        return error.message
    return None
