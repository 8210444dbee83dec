"""What goes into the index and what comes out of it."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


def chunk_id(document_id: str, revision: int, ordinal: int) -> str:
    """Names a row for ever: another revision of the document has other ids, a repeated write has the same."""
    return f"{document_id}:{revision}:{ordinal}"


def parse_chunk_id(text: str) -> tuple[str, int, int]:
    """Document, revision and ordinal: three columns that a search need not read."""
    document_id, revision, ordinal = text.rsplit(":", 2)
    return document_id, int(revision), int(ordinal)


@dataclass(frozen=True, slots=True, eq=False)
class ChunkRow:
    """One chunk of one revision of a document. Revisions count from 1, ordinals from 0.

    `char_start` and `char_end` are code points into the document's extracted text.
    """

    chunk_id: str
    document_id: str
    revision: int
    ordinal: int
    text: str
    vector: Vector
    page: int | None
    char_start: int
    char_end: int
    heading: str | None
    title: str | None = None
    """Of the document: keywords find the chunk by it. Rows that are read have none."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a search found. A score is None when its kind of search was not asked for.

    `semantic` is the cosine similarity in -1..1, known for every hit of a search with a vector. `keyword` is
    the BM25 score, 0 or more; a hit that only the vector found has 0, though its text may contain a term.
    """

    chunk_id: str
    document_id: str
    revision: int
    ordinal: int
    text: str
    page: int | None
    char_start: int
    char_end: int
    heading: str | None
    semantic: float | None
    keyword: float | None
    vector: Vector | None = field(default=None, compare=False, repr=False)
    """Of the chunk, for hits of a search by meaning and keywords."""


@dataclass(frozen=True, slots=True)
class TableStats:
    """A table at its latest version. All zero for a table that was never written."""

    version: int
    rows: int
    unindexed_rows: int
    """Rows that keyword search must still scan: many of them make it slow, `optimize` takes them in."""
    fragments: int
    size_bytes: int
    versions: int | None
    """None unless they were counted."""


@dataclass(frozen=True, slots=True)
class OptimizeReport:
    """What `optimize` did. The caller moves the catalog to `version` where it named the one before."""

    version: int
    rows: int
    unindexed_rows: int
    fragments_before: int
    fragments_after: int
