"""Pictures of text: what a scanner makes of a page, and what a camera makes of a sign."""

import io
from pathlib import Path

import reportlab
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.pagesizes import A6
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen import canvas

_DPI = 200


def page(lines: list[str]) -> Image.Image:
    """A small page, white, in letters of 12 points."""
    width, height = (round(points / 72 * _DPI) for points in A6)
    image = Image.new("L", (width, height), 255)
    font = ImageFont.truetype(Path(reportlab.__file__).parent / "fonts" / "Vera.ttf", 12 * _DPI / 72)
    for number, line in enumerate(lines):
        ImageDraw.Draw(image).text((_DPI // 3, _DPI // 3 + number * 60), line, fill=0, font=font)
    return image


def picture(lines: list[str], kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    page(lines).save(file, kind)
    return file.getvalue()


def scanned_pdf(*pages: list[str] | str) -> bytes:
    """A list is a page that was scanned; a text one that was printed into the file; an empty one is a blank page."""
    file = io.BytesIO()
    drawn = canvas.Canvas(file, pagesize=A6)
    for content in pages:
        if isinstance(content, list):
            drawn.drawImage(ImageReader(page(content)), 0, 0, *A6)
        else:
            drawn.drawString(72, 700, content)
        drawn.showPage()
    drawn.save()
    return file.getvalue()
