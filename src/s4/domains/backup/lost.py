"""What a bucket had lost when it was backed up, and how far that explains what a restored deployment has not.

No restore can do better, so it keeps nothing else back.
"""

from dataclasses import dataclass, field

from s4.domains.backup.model import LACKING_MAX, Entry, Erased, Manifest, Sample
from s4.kernel import keys
from s4.kernel.keys import Collection, KeyKind


@dataclass(slots=True)
class Lost:
    """Of those who were not erased since."""

    tenants: set[str] = field(default_factory=set)
    documents: set[tuple[str, str]] = field(default_factory=set)
    plans: bool = False
    is_open: bool = False
    """The backup lacked more than it could name, or the bytes of what was erased since, whose sizes nobody knows."""

    @classmethod
    def of(cls, manifest: Manifest, erased: Erased) -> "Lost":
        lost = cls(is_open=len(manifest.lacking) >= LACKING_MAX)
        for key in manifest.lacking:
            named, parsed = keys.parse_system_head(key), keys.parse(key)
            if named is not None:
                lost.plans |= named[0] is Collection.PLANS
            elif parsed is None or parsed.tenant_id is None:
                continue
            elif erased.covers(parsed.tenant_id, parsed.document_id):
                lost.is_open |= parsed.kind is KeyKind.CONTENT
            elif parsed.kind is KeyKind.TENANT_HEAD:
                lost.tenants.add(parsed.tenant_id)
            elif parsed.kind is KeyKind.DOCUMENT_HEAD and parsed.document_id is not None:
                lost.documents.add((parsed.tenant_id, parsed.document_id))
        return lost

    def note(self, entry: Entry) -> None:
        """Every entry of the backup, in any order: a lost tenant's documents are lost with it."""
        if not self.tenants:
            return
        parsed = keys.parse(entry.key)
        if parsed is not None and parsed.kind is KeyKind.CONTENT and parsed.tenant_id in self.tenants:
            self.documents.add((parsed.tenant_id, parsed.document_id or ""))

    def explains(self, what: str, missing: int) -> bool:
        """Whether so many may be missing of `tenants`, `documents` or `stored_bytes`. A document whose newest head is
        lost may have gone back to one before, with fewer bytes or more."""
        if self.is_open:
            return True
        if what == "stored_bytes":
            return bool(self.documents)
        return 0 < missing <= len(self.tenants if what == "tenants" else self.documents)

    def explains_silence(self, sample: Sample) -> bool:
        """Whether a search may not find it. A tenant without a plan is not served until it has one again."""
        is_lost = sample.tenant_id in self.tenants or (sample.tenant_id, sample.document_id) in self.documents
        return self.is_open or self.plans or is_lost
