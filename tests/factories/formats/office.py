"""Office files: Microsoft's by python-docx, python-pptx, openpyxl and xlwt; ODT, EPUB and RTF by hand."""

import io
from datetime import date
from urllib.parse import quote

import docx
import openpyxl
import pptx
import xlwt
from openpyxl.styles import Font
from pptx.util import Inches

from tests.factories.files import zipped

_ODF = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{prefix}:1.0"'
    for prefix in ("office", "text", "table", "meta")
)


def word() -> bytes:
    document = docx.Document()
    document.core_properties.title = "Travel policy 2026"
    document.sections[0].header.paragraphs[0].text = "Ferrenholt, internal"
    document.add_heading("Travel policy", level=1)
    document.add_paragraph("Mauve receipts are reimbursed within ten working days.")
    document.add_heading("Hotels & flights", level=2)
    document.add_paragraph("Book early", style="List Bullet")
    document.add_paragraph("Keep the invoice", style="List Bullet")
    table = document.add_table(rows=3, cols=3)
    for row, cells in zip(
        table.rows, (("City", "Hotel", "Limit"), ("Köln", "Dom", "120 €"), ("Basel", "Rhein", "180 €")), strict=True
    ):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.add_heading("Approval", level=1)
    document.add_paragraph("The head of the department signs.")
    return saved(document)


def slides() -> bytes:
    show = pptx.Presentation()
    first = show.slides.add_slide(show.slide_layouts[1])
    first.shapes.title.text = "Sales training"
    first.placeholders[1].text_frame.text = "Listen before you speak"
    first.placeholders[1].text_frame.add_paragraph().text = "Ask three questions"
    first.notes_slide.notes_text_frame.text = "Tell the anecdote of the ochre heat pump."
    second = show.slides.add_slide(show.slide_layouts[5])
    second.shapes.title.text = "Figures"
    table = second.shapes.add_table(2, 3, Inches(1), Inches(2), Inches(6), Inches(1)).table
    for y, row in enumerate((("Region", "2024", "2025"), ("North", "11", "12"))):
        for x, text in enumerate(row):
            table.cell(y, x).text = text
    show.slides.add_slide(show.slide_layouts[6])
    return saved(show)


def workbook() -> bytes:
    book = openpyxl.Workbook()
    prices = book.active
    prices.title = "Prices"
    prices.append(["Part", "Description", "Price", "Valid from"])
    prices.append(["FH-1", "Cerulean valve", 19.5, date(2026, 1, 31)])
    prices.append(["FH-2", "Pump | large", 1200, date(2026, 2, 28)])
    for cell in prices[1]:
        cell.font = Font(bold=True)
    stock = book.create_sheet("Stock")
    stock.append(["Part", "Pieces"])
    stock.append(["FH-1", 40])
    stock.append(["FH-2", 7])
    return saved(book)


def old_workbook() -> bytes:
    """As Excel wrote it until 2003."""
    book = xlwt.Workbook()
    sheets = {"Hoses": (("Part", "Hose", "Price"), ("SH-1", "Celadon hose", 12.5), ("SH-2", "Größe 7", 1200)),
              "Shelf": (("Part", "Pieces"), ("SH-1", 3))}  # fmt: skip
    for name, rows in sheets.items():
        sheet = book.add_sheet(name)
        for y, row in enumerate(rows):
            for x, value in enumerate(row):
                sheet.write(y, x, value)
    return saved(book)


def open_text() -> bytes:
    rows = "".join(
        "<table:table-row>"
        + "".join(f"<table:table-cell><text:p>{cell}</text:p></table:table-cell>" for cell in row)
        + "</table:table-row>"
        for row in (("Place", "Hours"), ("Kiel", "12"), ("Ulm", "7"))
    )
    body = (
        '<text:h text:outline-level="1">Incident report</text:h>'
        "<text:p>The magenta compressor stopped at noon &amp; was restarted.</text:p>"
        '<text:h text:outline-level="2">Causes</text:h>'
        f'<table:table table:name="t"><table:table-column table:number-columns-repeated="2"/>{rows}</table:table>'
        "<text:p>Nobody was hurt.</text:p>"
    )
    return zipped(
        {
            "mimetype": b"application/vnd.oasis.opendocument.text",
            "content.xml": f'<?xml version="1.0"?><office:document-content {_ODF} office:version="1.2">'
            f"<office:body><office:text>{body}</office:text></office:body></office:document-content>".encode(),
            "META-INF/manifest.xml": b'<?xml version="1.0"?><manifest:manifest '
            b'xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
            b'<manifest:file-entry manifest:full-path="/" '
            b'manifest:media-type="application/vnd.oasis.opendocument.text"/></manifest:manifest>',
        }
    )


def book(first: str = "one.xhtml") -> bytes:
    """`first`: the name of the first chapter's part."""
    chapters = {
        first: ("Arrival", "The indigo train arrives at seven."),
        "two.xhtml": ("Departure", "Nobody takes the last ferry."),
    }
    package = (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="i">'
        '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="i">x</dc:identifier>'
        "<dc:title>The long journey</dc:title><dc:language>en</dc:language></metadata><manifest>"
        + "".join(
            f'<item id="c{n}" href="{quote(name)}" media-type="application/xhtml+xml"/>'
            for n, name in enumerate(chapters)
        )
        + "</manifest><spine>"
        + "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
        + "</spine></package>"
    )
    container = (
        '<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
        '<rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles>'
        "</container>"
    )
    parts = {"mimetype": "application/epub+zip", "META-INF/container.xml": container, "OEBPS/book.opf": package}
    for name, (title, text) in chapters.items():
        parts[f"OEBPS/{name}"] = (
            '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title></head>'
            f"<body><h1>{title}</h1><p>{text}</p><h2>Later</h2><p>It rains.</p></body></html>"
        )
    return zipped({name: text.encode() for name, text in parts.items()})


def rich_text() -> bytes:
    """Bytes of Windows-1252 and Unicode escapes side by side, as Word writes them."""
    return (
        rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 Arial;}}{\info{\title Supply contract}}"
        rb"{\stylesheet{\s1\outlinelevel0 heading 1;}}"
        rb"\pard\s1\outlinelevel0\b Lieferung\b0\par"
        rb"\pard Die viridiangr\'fcne Pumpe kostet 300 \u8364? \'96 ohne Gew\'e4hr.\par"
        rb"\trowd\cellx2000\cellx4000\intbl Teil\cell Preis\cell\row"
        rb"\trowd\cellx2000\cellx4000\intbl Ventil\cell 12\cell\row"
        rb"\pard Ende.\par}"
    )


def saved(document: object) -> bytes:
    """Of python-docx, python-pptx, openpyxl or xlwt."""
    target = io.BytesIO()
    document.save(target)  # type: ignore[attr-defined]  # the libraries agree on this method
    return target.getvalue()
