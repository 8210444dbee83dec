"""How the clouds call an alert."""

import re

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PROCESS = re.compile(
    r"(a process of )?\{\{ \$labels\.(process|instance) \}\}( of \{\{ \$labels\.(instance|job) \}\})?"
)
_OTHER = re.compile(r"(\s*\(|: | of kind | to )?\{\{.*?\}\}\)?")


def kebab(name: str) -> str:
    """`S4QueueOld` is `queue-old`."""
    return _WORDS.sub("-", name.removeprefix("S4")).lower()


def plain(summary: str) -> str:
    """A summary without the values of Prometheus' labels: an alarm of a cloud is one series, and has none."""
    told = " ".join(_OTHER.sub("", _PROCESS.sub("a process", summary)).split())
    return told[:1].upper() + told[1:]
