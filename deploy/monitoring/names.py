"""How the clouds call an alert."""

import re

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def kebab(name: str) -> str:
    """`S4QueueOld` is `queue-old`."""
    return _WORDS.sub("-", name.removeprefix("S4")).lower()


def plain(summary: str) -> str:
    """A summary without Prometheus' labels: an alarm of a cloud is one series, and has none."""
    told = re.sub(r"\s*\{\{.*?\}\}", "", summary).strip()
    return told[:1].upper() + told[1:]
