"""Which titles say something about a document.

A title goes in front of every chunk before it is embedded, so a wrong one ("Microsoft Word -
scan_0042.doc") pulls all chunks of a document away from what they say. When in doubt there is no title.
"""

import re
from pathlib import PurePosixPath

_CHARS_MAX = 200  # a longer "title" is a paragraph in the wrong field
_FILE_NAME = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_MADE_BY_PROGRAMS = re.compile(
    r"microsoft (word|powerpoint|excel)\b|untitled\b|unnamed\b|(document|presentation|slide) ?\d*$",
    re.IGNORECASE,
)


def real_title(candidate: str | None, *, file_name: str | None = None) -> str | None:
    """`candidate` with single spaces if it reads like a title of at least two words, else None."""
    title = " ".join((candidate or "").split())
    words = [word for word in title.split(" ") if sum(map(str.isalpha, word)) >= 2]
    if len(words) < 2 or len(title) > _CHARS_MAX:
        return None
    if _FILE_NAME.search(title) or _MADE_BY_PROGRAMS.match(title):
        return None
    if file_name is not None and _plain(title) == _plain(PurePosixPath(file_name).stem):
        return None
    return title


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
