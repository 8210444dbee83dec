"""Text in images and scanned pages, recognised by the Tesseract that kreuzberg has inside.

The operator says in which languages, and installs their data. Recognition is slow, so it has a budget of pages and of
time for each document: what is beyond stays unread, and the document's warnings say so.
"""

import time
from pathlib import Path

import kreuzberg

from s4.engine.extraction.decode import clean
from s4.engine.extraction.failures import parsing
from s4.engine.extraction.kreuzberg_config import configuration
from s4.engine.extraction.limits import OcrLimits
from s4.kernel.errors import DocumentRejected

_DPI = 200  # letters of 10 points are 28 pixels high; at 300, Tesseract's own advice, a page takes twice as long


class Recogniser:
    """Of one document. Without limits it recognises nothing."""

    def __init__(self, limits: OcrLimits | None) -> None:
        self._limits = limits
        self._give_up_at = time.monotonic() + (limits.seconds_max if limits is not None else 0.0)
        self._done = 0
        self._left = 0

    @property
    def is_on(self) -> bool:
        return self._limits is not None

    def page(self, path: Path, index: int) -> str:
        """Of a PDF, from 0. Empty when there is none, and when the page cannot be drawn or read."""
        if not self._may_go_on():
            return ""
        try:
            with parsing():
                return self._recognised(kreuzberg.render_pdf_page(str(path), index, dpi=_DPI), "image/png")
        except DocumentRejected:
            return ""

    def image(self, path: Path, content_type: str) -> str:
        """Raises `DocumentRejected` for an image that is damaged."""
        if not self._may_go_on():
            return ""
        with parsing():
            return self._recognised(path.read_bytes(), content_type)

    def warnings(self) -> tuple[str, ...]:
        done = (f"Text in images was recognised ({self._done:,} of them) and may have mistakes.",) if self._done else ()
        left = (f"{self._left:,} scanned pages or images were not read: recognising them takes too long.",)
        return (*done, *(left if self._left else ()))

    def _may_go_on(self) -> bool:
        limits = self._limits
        if limits is None:
            return False
        if self._done >= limits.pages_max or time.monotonic() > self._give_up_at:
            self._left += 1
            return False
        return True

    def _recognised(self, data: bytes, content_type: str) -> str:
        assert self._limits is not None
        self._done += 1
        language = self._limits.languages
        ocr = kreuzberg.OcrConfig(
            backend="tesseract",
            language=language,
            tesseract_config=kreuzberg.TesseractConfig(language=language, use_cache=False),
        )
        config = configuration(plain=True, ocr=ocr)
        return clean(kreuzberg.extract_bytes_sync(data, content_type, config).content).strip()
