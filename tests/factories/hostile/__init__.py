"""Files that a stranger sends in anger, or by mistake. Each is made when a test asks for it; nothing big is kept.

`corpus()` lists them. A `HostileFile` says in `ends` how it may end: `ready`, or codes of a failed document. More than
one where the answer rests with a parser, whose next release may be braver.
"""

from tests.factories.hostile import containers, pdfs, texts
from tests.factories.hostile.model import HostileFile

__all__ = ["HostileFile", "corpus"]


def corpus() -> list[HostileFile]:
    """All of them, by name."""
    found = [*containers.FILES, *pdfs.FILES, *texts.FILES]
    assert len({one.name for one in found}) == len(found), "names tell the files apart"
    return found
