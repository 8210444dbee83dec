"""Keeping documents: legal holds, the archive, and how long they stay.

`Holds` places and lifts holds, `Archive` takes documents out of the index and back, `Retention` does both by the
calendar: deletes what has been kept for as long as tenant or plan says, archives what nobody reads. Whatever they do is
a head of the document's chain, so that a rebuilt catalog knows it, and each looks again at what allows it in the
transaction that seals it.
"""

from s4.domains.documents.keeping.archive import Archive, ArchivePlace
from s4.domains.documents.keeping.holds import Holds
from s4.domains.documents.keeping.retention import Retention, ServingSince

__all__ = ["Archive", "ArchivePlace", "Holds", "Retention", "ServingSince"]
