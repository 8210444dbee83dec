"""Makes documents searchable: extract, chunk, embed, write, publish.

A tenant's index is one table per **generation** (embedding space, chunker, schema). What is searchable is one row in
the catalog per document, `document_index.searchable_revision`, and the table's version, `index_tables.lance_version`;
both move in the transaction that ends the job. Rows in the table that the catalog does not name are ignored by
searches and pruned by `maintenance`. How two generations stand side by side tells `generations`, and how a tenant moves
from one to another tells `moves`.

A table that is damaged is made anew by `maintenance` (`repairs.py`), as another **incarnation**, in another place. Each
commit records the sums of the files that its version consists of, and finds out whether an older one has changed.
"""

from s4.domains.indexing.attachments import Attached, Attachments, Described, Living, description_of, lying_in
from s4.domains.indexing.dispatch import Dispatch
from s4.domains.indexing.generation import Generation
from s4.domains.indexing.generations import Coverage, Generations, ask_for_absent
from s4.domains.indexing.model import Model, Models
from s4.domains.indexing.moves import Moves, Standing
from s4.domains.indexing.publisher import COMMITS_BEFORE_OPTIMIZE, Publisher
from s4.domains.indexing.service import IndexingService
from s4.domains.indexing.suspicions import Suspicions

__all__ = [
    "COMMITS_BEFORE_OPTIMIZE",
    "Attached",
    "Attachments",
    "Coverage",
    "Described",
    "Dispatch",
    "Generation",
    "Generations",
    "IndexingService",
    "Living",
    "Model",
    "Models",
    "Moves",
    "Publisher",
    "Standing",
    "Suspicions",
    "ask_for_absent",
    "description_of",
    "lying_in",
]
