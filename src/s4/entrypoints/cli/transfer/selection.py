"""Which files of a directory count, decided by their paths in it alone.

So the same question can be asked of a document whose file is gone: what was left out on purpose is not missing.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Selection:
    """Globs; `*` crosses slashes too. One without a slash is held against names, one with a slash against paths."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    hidden: bool = False

    def takes(self, relative: str) -> bool:
        """Whether the file at that path counts."""
        if not self.enters(relative):
            return False
        name = relative.rpartition("/")[2]
        return not self.include or any(
            fnmatchcase(relative if "/" in pattern else name, pattern) for pattern in self.include
        )

    def enters(self, relative: str) -> bool:
        """Whether a directory at that path is looked into: neither it nor what it lies in is left out."""
        parts = relative.split("/")
        if not self.hidden and any(part.startswith(".") for part in parts):
            return False
        return not any(
            fnmatchcase(candidate, pattern)
            for pattern in self.exclude
            for candidate in (itertools.accumulate(parts, "{}/{}".format) if "/" in pattern else parts)
        )
