"""Which hits are true: those of the revision that was searchable when the catalog named the table they are read from.

A verdict comes after its read. A document that was replaced between the two has its old rows in what was read, and
another revision in the verdict: by that alone it would be found in neither. But the verdict before, which named the
table, told of the same moment which revisions count in it. So whatever is replaced while a search goes on, the search
finds as it was, and only what a read meets for the first time and was replaced at that very moment is read once more.
"""

from collections.abc import Iterable, Mapping

from s4.domains.indexing.queries.tables import TableState
from s4.domains.search.queries import Found, Verdict
from s4.engine.vectors import Hit


class Snapshot:
    """Of one search: a table, the documents that may be answered, and in which revision."""

    def __init__(self, table: TableState, named_by: Verdict | None = None) -> None:
        """`named_by` is the verdict that named `table`, if one did."""
        self.table = table
        self.found: dict[str, Found] = {}
        self._revisions = _revisions(named_by) if named_by is not None else {}

    def judge(self, hits: Iterable[Hit], verdict: Verdict) -> None:
        """Takes what the catalog says of the documents of `hits`, which were read from the table."""
        judged = {hit.document_id for hit in hits}
        self.found = {name: known for name, known in self.found.items() if name not in judged} | verdict.found
        if verdict.table == self.table:
            self._revisions |= _revisions(verdict)

    def overtaken(self, hits: Iterable[Hit]) -> dict[str, int]:
        """Documents of which a newer revision is searchable by now, while nobody said which one was before; with the
        newest that was read."""
        newest: dict[str, int] = {}
        for hit in hits:
            if hit.document_id in self.found and hit.document_id not in self._revisions:
                newest[hit.document_id] = max(hit.revision, newest.get(hit.document_id, 0))
        return {name: read for name, read in newest.items() if read < self.found[name].searchable_revision}

    def settle(self, overtaken: Mapping[str, int]) -> None:
        """These count in the revision that was read."""
        self._revisions |= overtaken

    def confirmed(self, hits: Iterable[Hit], without: str | None) -> list[Hit]:
        """The true ones, but for those of the document `without`."""
        return [
            hit
            for hit in hits
            if hit.document_id != without
            and (document := self.found.get(hit.document_id)) is not None
            and hit.revision == self._revision(document)
        ]

    def _revision(self, document: Found) -> int:
        """What was deleted meanwhile does not count, even if the document is there again."""
        named = self._revisions.get(document.document_id, 0)
        return named if named > document.floor else document.searchable_revision


def _revisions(verdict: Verdict) -> dict[str, int]:
    return {name: document.searchable_revision for name, document in verdict.found.items()}
