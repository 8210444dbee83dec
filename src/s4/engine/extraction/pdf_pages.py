"""What PDFium says of a PDF: the text of each page, and how large its lines are set.

Kreuzberg, which reads everything else, has PDFium inside and gives the same text, at five times the cost, and no
sizes. Three questions are asked for a line, not one for a letter: sizes take as long again as the text.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pypdfium2
from pypdfium2 import raw

from s4.engine.extraction.decode import clean
from s4.engine.extraction.failures import corrupt, parsing, too_many_pages
from s4.engine.extraction.recognition import Recogniser


@dataclass(frozen=True, slots=True)
class PdfPage:
    """`sizes`: in points, of each line that is set in one size. `is_drawn`: there is something on it, a scan say."""

    text: str = ""
    sizes: dict[str, float] = field(default_factory=dict)
    is_drawn: bool = False


def read_pages(path: Path, *, pages_max: int, recogniser: Recogniser) -> tuple[list[PdfPage], str | None]:
    """The pages and the title that the file states. A page that cannot be read is blank. Raises `DocumentRejected`."""

    def read(document: pypdfium2.PdfDocument, index: int) -> PdfPage | None:
        page = _page(document, index)
        if page is not None and page.is_drawn and recogniser.is_on and not page.text.strip():
            return PdfPage(recogniser.page(path, index))
        return page

    with parsing():
        document = pypdfium2.PdfDocument(path)
    with contextlib.closing(document), parsing():
        if len(document) > pages_max:
            raise too_many_pages(len(document), pages_max)
        pages = [read(document, index) for index in range(len(document))]
        if not any(pages):
            raise corrupt()
        return [page or PdfPage() for page in pages], document.get_metadata_dict().get("Title")


def _page(document: pypdfium2.PdfDocument, index: int) -> PdfPage | None:
    try:
        with contextlib.closing(document[index]) as page, contextlib.closing(page.get_textpage()) as letters:
            text = letters.get_text_range()
            return PdfPage(text, _sizes(letters, text), is_drawn=raw.FPDFPage_CountObjects(page) > 0)
    except pypdfium2.PdfiumError:
        return None


def _sizes(letters: pypdfium2.PdfTextPage, text: str) -> dict[str, float]:
    return {
        line: size
        for line, first, last in _lines(text)
        if (size := _size(letters, first)) and size == _size(letters, last)
    }


def _lines(text: str) -> Iterator[tuple[str, int, int]]:
    """Each line as readers of the text have it, and where its first and last letters stand."""
    start = 0
    for line in text.split("\n"):
        shown = clean(line.rstrip("\r")).strip()
        if shown:
            yield shown, start + len(line) - len(line.lstrip()), start + len(line.rstrip()) - 1
        start += len(line) + 1


def _size(letters: pypdfium2.PdfTextPage, position: int) -> float:
    """To half a point; 0 if unknown. A font's size counts in the units of the letter's matrix."""
    index = raw.FPDFText_GetCharIndexFromTextIndex(letters, position)
    matrix = raw.FS_MATRIX()
    if index < 0 or not raw.FPDFText_GetMatrix(letters, index, matrix):
        return 0.0
    points = float(raw.FPDFText_GetFontSize(letters, index)) * math.hypot(matrix.b, matrix.d)
    return round(2 * points) / 2
