"""S4's metrics as the reference lists them, which a test holds equal to the code."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| `(s4_\w+)` \| (counter|gauge|histogram) \| (.*?) \|", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Own:
    """One of S4's metrics."""

    kind: str
    labels: frozenset[str]


def own_metrics() -> dict[str, Own]:
    """Every metric of `GET /metrics` by its name; each has the label `process` besides."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    return {
        name: Own(kind, frozenset(re.findall(r"`(\w+)`", labels)) | {"process"})
        for name, kind, labels in _ROW.findall(page)
    }
