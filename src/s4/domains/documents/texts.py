"""The extracted text of a document, kept beside its bytes: compressed JSON under the version that it was taken from.

The first text stored for a revision is the text of that revision: a second worker reads it instead of replacing it, so
that offsets in index rows and in answers speak of the same characters.
"""

import asyncio

import zstandard

from s4.domains.documents.model import Document
from s4.engine.extraction.model import ExtractedText
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt
from s4.kernel.ids import DocumentId
from s4.kernel.keys import ObjectKey
from s4.platform.objects import CreateOutcome, ObjectMissing, ObjectStore

_LEVEL = 3  # zstd's default: text shrinks to about a third at some 300 MB/s


def _key(document: Document) -> ObjectKey:
    return keys.text(document.tenant_id, document.document_id, document.version_id, document.content_revision)


async def load(store: ObjectStore, document: Document) -> ExtractedText | None:
    """The text of the document's current content; None when it has not been extracted. Raises `DataCorrupt`."""
    try:
        packed = await store.get(_key(document))
    except ObjectMissing:
        return None
    return await asyncio.to_thread(_unpack, packed, document.document_id)


async def load_at(store: ObjectStore, key: ObjectKey, document_id: DocumentId) -> ExtractedText | None:
    """The text under a key that a listing showed; None when it is gone, or cannot be read: it can be made again."""
    try:
        return await asyncio.to_thread(_unpack, await store.get(key), document_id)
    except (ObjectMissing, DataCorrupt):
        return None


async def save(
    store: ObjectStore, document: Document, text: ExtractedText, *, over_damage: bool = False
) -> ExtractedText:
    """Stores the text unless there is one already, and answers with the one that is stored. With `over_damage` what is
    there cannot be read, and is replaced."""
    packed = await asyncio.to_thread(_pack, text)
    if over_damage:
        await store.put(_key(document), packed)
        return text
    if await store.create(_key(document), packed, commit_id=None) is CreateOutcome.CREATED:
        return text
    stored = await load(store, document)
    return stored if stored is not None else text


def _pack(text: ExtractedText) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(text.to_json_bytes())


def _unpack(packed: bytes, document_id: DocumentId) -> ExtractedText:
    try:
        return ExtractedText.from_json_bytes(zstandard.ZstdDecompressor().decompress(packed))
    except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise DataCorrupt(f"The stored text of {document_id} cannot be read.") from error
