"""From a file that nobody trusts to text with pages and headings.

Files are hostile until shown otherwise, and the parsers are native code. So they run in a child process
with limits on memory, time and file size, without S4's environment, that dies with its parent:

- `pool` is what the pipeline calls: it keeps children, hands each one file at a time, replaces those that
  fail; `lanes` keeps what takes long from standing before the rest;
- `process` is one child seen from the parent, `child` the same child from inside, `frames` what they say;
- `limits` says how much of a file is read;
- `sniff` decides what a file is from its bytes, `decode` turns bytes of text into text;
- `readers`, `pdf`, `pdf_headings`, `mail` and `markup` turn each format into `model.ExtractedText`;
  `failures` says why not;
- `recognition` reads text in images and scans where the operator wants that; `recognition_data` finds what it needs;
- `archives` hands out what is inside archives, and `parts` makes one text of the members.

The names below are loaded when they are first used: the child imports this package too and needs no pool.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s4.engine.extraction.limits import ArchiveLimits, Limits, OcrLimits
    from s4.engine.extraction.model import ExtractedText, HeadingSpan, PageSpan
    from s4.engine.extraction.pool import ExtractionPool

_MODULES = {
    "ArchiveLimits": "limits",
    "ExtractedText": "model",
    "ExtractionPool": "pool",
    "HeadingSpan": "model",
    "Limits": "limits",
    "OcrLimits": "limits",
    "PageSpan": "model",
}
__all__ = ["ArchiveLimits", "ExtractedText", "ExtractionPool", "HeadingSpan", "Limits", "OcrLimits", "PageSpan"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
