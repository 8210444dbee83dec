"""The chunk index: a LanceDB table per tenant and generation, written monotonically, read at a pinned
version.

The flow. A worker takes a `TableWriter` under a lease of the catalog and calls `apply` with the chunks of
finished documents. The version that it returns goes into the catalog, in the transaction that makes the
documents searchable. A search takes a `TableReader` at exactly the catalog's version, so what is found and
what the catalog knows never differ, however many writers are at work. `optimize` keeps tables short
(`tiers`), and `superseded` removes what no reader can still need.

Invariants:

- A write removes only rows of lower revisions of a document. A late writer can add rows that the catalog
  ignores and `prune` later drops; it can never take away newer ones.
- A repeated write doubles nothing: rows are merged by `chunk_id`, which names document, revision and ordinal.
- Nothing that a reader holds is removed within the grace period after it was superseded; afterwards the
  reader gets `VersionGone` and asks the catalog again.

This is the only room that imports lancedb and pyarrow, and only inside functions: the import takes seconds.
"""

from s4.engine.vectors.copies import CopyLimits, TableCopies
from s4.engine.vectors.errors import IndexDamaged, IndexFault, VersionGone
from s4.engine.vectors.files import FileSum, Sums, fragments_of, inspect, newest_version, turned, versions_in
from s4.engine.vectors.manifest import manifest_name
from s4.engine.vectors.model import ChunkRow, Hit, OptimizeReport, TableStats, chunk_id
from s4.engine.vectors.parquet import VectorGroup, chunk_rows, damaged_groups, read_vector_groups, vector_groups
from s4.engine.vectors.reader import APPROXIMATE_MAX, NARROWED_IDS_MAX, TableReader
from s4.engine.vectors.store import VectorStore
from s4.engine.vectors.superseded import remove_superseded
from s4.engine.vectors.writer import TableWriter

__all__ = [
    "APPROXIMATE_MAX",
    "NARROWED_IDS_MAX",
    "ChunkRow",
    "CopyLimits",
    "FileSum",
    "Hit",
    "IndexDamaged",
    "IndexFault",
    "OptimizeReport",
    "Sums",
    "TableCopies",
    "TableReader",
    "TableStats",
    "TableWriter",
    "VectorGroup",
    "VectorStore",
    "VersionGone",
    "chunk_id",
    "chunk_rows",
    "damaged_groups",
    "fragments_of",
    "inspect",
    "manifest_name",
    "newest_version",
    "read_vector_groups",
    "remove_superseded",
    "turned",
    "vector_groups",
    "versions_in",
]
