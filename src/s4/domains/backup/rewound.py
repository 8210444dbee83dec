"""What going back has done."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Counted:
    documents: int = 0
    stored_bytes: int = 0

    def and_one(self, size_bytes: int) -> "Counted":
        return Counted(self.documents + 1, self.stored_bytes + size_bytes)


@dataclass(slots=True)
class Rewound:
    """What going back did with one tenant's documents, or would do. `lost`: their bytes are not kept any more."""

    tenant_id: str
    into: str
    unchanged: int = 0
    changed: int = 0
    brought_back: int = 0
    removed: int = 0
    erased: int = 0
    held: int = 0
    """Under a legal hold, and left as they are."""
    changed_meanwhile: int = 0
    lost: list[str] = field(default_factory=list)
    bytes_copied: int = 0
    then: Counted = Counted()
    """At the point, without what was erased since; of what is lost, as much as is known."""
    now: Counted = Counted()
    """When this was done; in place with what was held, or changed meanwhile."""
    searches: int = 0
    problems: list[str] = field(default_factory=list)
    """In sentences: what stays as it is, since nobody can say what it was, or its bytes are others. With any of them a
    new tenant stays suspended."""
    is_untouched: bool = False
    """Nobody can say what the tenant was: none of its documents was looked at."""
    suspended: bool = False
    api_key: str | None = field(default=None, repr=False)
    """Of a new tenant; shown once."""

    @property
    def ok(self) -> bool:
        return not self.lost and not self.changed_meanwhile and not self.problems
