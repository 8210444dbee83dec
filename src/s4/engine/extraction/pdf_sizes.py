"""How large the lines of a PDF are set: the witness for headings. PDFium alone says so, by way of pypdfium2.

Three questions a line, not one a letter: reading the sizes takes about as long as reading the text.
"""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
from pypdfium2 import raw

from s4.engine.extraction.decode import clean


def line_sizes(path: Path) -> list[dict[str, float]]:
    """For each page the size, in points, of each line that is set in one size. Pages that fail have none."""
    sizes: list[dict[str, float]] = []
    with contextlib.suppress(pypdfium2.PdfiumError), contextlib.closing(pypdfium2.PdfDocument(path)) as document:
        for index in range(len(document)):
            sizes.append({})
            with contextlib.suppress(pypdfium2.PdfiumError), contextlib.closing(document[index]) as page:
                sizes[-1] = _of_page(page)
    return sizes


def _of_page(page: pypdfium2.PdfPage) -> dict[str, float]:
    with contextlib.closing(page.get_textpage()) as text:
        return {
            line: size
            for line, first, last in _lines(text.get_text_range())
            if (size := _size(text, first)) and size == _size(text, last)
        }


def _lines(text: str) -> Iterator[tuple[str, int, int]]:
    """Each line as the reader of text has it, and where its first and last letters stand."""
    start = 0
    for line in text.split("\n"):
        shown = clean(line.rstrip("\r")).strip()
        if shown:
            yield shown, start + len(line) - len(line.lstrip()), start + len(line.rstrip()) - 1
        start += len(line) + 1


def _size(text: pypdfium2.PdfTextPage, position: int) -> float:
    """To half a point; 0 if unknown. The font's size counts in the units of the letter's matrix."""
    index = raw.FPDFText_GetCharIndexFromTextIndex(text, position)
    matrix = raw.FS_MATRIX()
    if index < 0 or not raw.FPDFText_GetMatrix(text, index, matrix):
        return 0.0
    points = float(raw.FPDFText_GetFontSize(text, index)) * math.hypot(matrix.b, matrix.d)
    return round(2 * points) / 2
