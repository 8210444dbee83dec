"""PDFs, set by reportlab and locked by pypdf."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw
from pypdf import PdfReader, PdfWriter
from reportlab.lib.colors import grey
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    FrameBreak,
    PageBreak,
    PageTemplate,
    Paragraph,
    SimpleDocTemplate,
    Table,
)

_STYLES = getSampleStyleSheet()


def prose(topic: str, sentences: int = 6) -> str:
    """As many sentences, numbered, so that their order can be read off."""
    return " ".join(
        f"Sentence {number} on {topic} explains how the pump is serviced before winter begins and what is logged."
        for number in range(1, sentences + 1)
    )


def _title(text: str) -> Paragraph:
    return Paragraph(text, _STYLES["Title"])


def _heading(level: int, text: str) -> Paragraph:
    return Paragraph(text, _STYLES[f"Heading{level}"])


def _body(text: str) -> Paragraph:
    return Paragraph(text, _STYLES["BodyText"])


def _built(story: Sequence[Flowable], *, title: str | None = None) -> bytes:
    target = io.BytesIO()
    SimpleDocTemplate(target, pagesize=A4, title=title, invariant=1).build(list(story))
    return target.getvalue()


def manual() -> bytes:
    """A title, headings of two levels, three pages."""
    return _built(
        [
            _title("Service manual"),
            _heading(1, "Safety"),
            _body(prose("safety")),
            _heading(2, "Electrical safety"),
            _body("Only a turquoise isolator may be opened by hand. " + prose("electricity")),
            PageBreak(),
            _heading(1, "Maintenance"),
            _body(prose("maintenance")),
            PageBreak(),
            _heading(1, "Repair"),
            _body(prose("repair")),
        ],
        title="Manual of the FH-800",
    )


def table() -> bytes:
    """Ruled cells; one of them breaks over several lines."""
    rows: list[list[str | Paragraph]] = [["Part", "Description", "Stock", "Price"]]
    rows += [[f"FH-{n}", f"Compressor gasket {n}", f"{n}0", f"{n}9.50"] for n in range(1, 9)]
    rows[3][1] = _body("Vermilion gasket, which is described at such length that it needs lines of its own")
    grid = Table(rows, colWidths=[60, 140, 60, 60], style=[("GRID", (0, 0), (-1, -1), 0.5, grey)])
    return _built([_heading(1, "Spare parts"), _body(prose("parts")), grid, _body("Prices are without tax.")])


def two_columns() -> bytes:
    """A title over two columns, which fill a page and begin a second one."""
    width = (A4[0] - 120) / 2
    target = io.BytesIO()
    document = BaseDocTemplate(target, pagesize=A4, invariant=1)
    top = Frame(50, A4[1] - 110, A4[0] - 100, 60)
    columns = [Frame(left, 50, width, A4[1] - 170) for left in (50, 50 + width + 20)]
    document.addPageTemplates([PageTemplate(frames=[top, *columns])])
    story: list[Flowable] = [_title("Journal of cochineal pumps"), FrameBreak()]
    for number in range(1, 9):
        story += [_heading(2, f"Section {number}"), _body(prose(f"section {number}"))]
    document.build(story)
    return target.getvalue()


def drawn(lines: Sequence[tuple[float, str]], *, scaled: bool = False) -> bytes:
    """One page of lines with their sizes. `scaled`: the font has size 1 and the page scales it, as browsers print."""
    target = io.BytesIO()
    canvas = Canvas(target, pagesize=A4, invariant=1)
    text = canvas.beginText()
    for number, (size, line) in enumerate(lines):
        text.setFont("Helvetica", 1 if scaled else size)
        factor = size if scaled else 1
        text.setTextTransform(factor, 0, 0, factor, 50, 790 - 22 * number)
        text.textOut(line)
    canvas.drawText(text)
    canvas.save()
    return target.getvalue()


def encrypted(*, opening_password: str) -> bytes:
    """Without an opening password anyone may read it, but not print it: what many offices send."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(manual())))
    writer.encrypt(opening_password, "the owner's", algorithm="RC4-128")
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


def scan(pages: int = 2) -> bytes:
    """Pages that are pictures of text."""
    picture = Image.new("L", (600, 800), 255)
    ImageDraw.Draw(picture).text((60, 60), "words that only a picture shows")
    target = io.BytesIO()
    canvas = Canvas(target, pagesize=A4, invariant=1)
    for _ in range(pages):
        canvas.drawImage(ImageReader(picture), 0, 0, *A4)
        canvas.showPage()
    canvas.save()
    return target.getvalue()


def damaged() -> bytes:
    """Cut off in the middle, as by a broken transfer."""
    whole = manual()
    return whole[: len(whole) // 2]
