"""Pools and limits of extraction, as S4 has them but for what a test changes."""

from typing import Any

from s4.engine.extraction import ExtractionPool, Limits
from s4.entrypoints.bootstrap import make_extraction, reading_limits
from s4.kernel.settings import Settings


def make_pool(**changes: Any) -> ExtractionPool:
    """`memory_bytes=…` changes the setting `extraction_memory_bytes`, `ocr_languages=…` that of this name."""
    return make_extraction(_settings(changes))


def make_limits(**changes: Any) -> Limits:
    """`archive_depth_max=…` changes the setting `extraction_archive_depth_max`."""
    return reading_limits(_settings(changes))


def _settings(changes: dict[str, Any]) -> Settings:
    names = {name: name if name.startswith("ocr_") else f"extraction_{name}" for name in changes}
    return Settings(**{names[name]: value for name, value in changes.items()})
