# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "openpyxl==3.1.5",
#     "python-docx==1.2.0",
#     "python-pptx==1.0.2",
#     "reportlab==5.1.0",
# ]
# ///
"""Write the binary sample documents from the texts in `sources/`.

The demo uploads the files in `documents/`, which are committed; this script is needed only when a text changes, and its
packages are therefore no dependency of S4. Plain-text formats (Markdown, HTML, JSON, ...) are edited in `documents/` directly.

A second run changes no byte: every timestamp is `MOMENT`, zip members are rewritten in a fixed form, reportlab runs in its
invariant mode, and the e-mail carries a fixed boundary and message id.

Sources use a small part of Markdown: `# heading`, `---` for a page break, `| cells |`, `- bullet`, `Notes:` for speaker notes;
anything else is a paragraph. The first heading of a file is its title.
"""

import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from xml.sax.saxutils import escape

import docx
import openpyxl
import pptx
from openpyxl.styles import Font
from reportlab.lib import colors
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, ListFlowable, PageBreak, Paragraph, SimpleDocTemplate, Spacer
from reportlab.platypus import Table as PdfTable

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "sources"
DOCUMENTS = HERE / "documents"
MOMENT = datetime(2026, 3, 2, 9, 0, 0, tzinfo=UTC)
AUTHOR = "Ferrenholt Heat Pumps"


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Prose:
    text: str


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A table; its first row is the header."""

    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class NewPage:
    pass


Block = Heading | Prose | Bullets | Grid | NewPage


def read_blocks(name: str) -> list[Block]:
    """Parse one source file into blocks, which blank lines separate."""
    text = (SOURCES / name).read_text(encoding="utf-8")
    return [parse_block(part) for part in re.split(r"\n\s*\n", text.strip())]


def parse_block(part: str) -> Block:
    lines = [line.strip() for line in part.splitlines()]
    if lines == ["---"]:
        return NewPage()
    if lines[0].startswith("# "):
        return Heading(lines[0][2:])
    if lines[0].startswith("|"):
        return Grid(tuple(tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines))
    if lines[0].startswith("- "):
        return Bullets(tuple(line[2:] for line in lines))
    return Prose(" ".join(lines))


def title_of(blocks: Sequence[Block]) -> str:
    return next(block.text for block in blocks if isinstance(block, Heading))


def pack(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Zip the members in this order with one date; `mimetype` stays uncompressed, as ODT and EPUB demand."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, date_time=MOMENT.timetuple()[:6])
            info.compress_type = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def repack_office(content: bytes) -> bytes:
    """Give an Office file fixed dates inside and out: the libraries stamp it with the moment of saving."""
    stamp = MOMENT.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    members = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            if name == "docProps/core.xml":
                data = re.sub(rb"(<dcterms:(created|modified)[^>]*>)[^<]*", rb"\g<1>" + stamp, data)
            members.append((name, data))
    return pack(members)


def pdf_table(grid: Grid, body: ParagraphStyle, *, width: float) -> PdfTable:
    head = ParagraphStyle("head", parent=body, fontName="Helvetica-Bold")
    cells = [
        [Paragraph(escape(cell), head if number == 0 else body) for cell in row] for number, row in enumerate(grid.rows)
    ]
    # A column holds its longest word, so that no code is torn apart; the rest goes by the length of the cells.
    columns = list(zip(*grid.rows, strict=True))
    padding = 14  # left and right, in points
    words = [[word for cell in column for word in cell.split()] for column in columns]
    floors = [padding + max(stringWidth(word, head.fontName, head.fontSize) for word in column) for column in words]
    weights = [max(map(len, column)) for column in columns]
    widths = [
        floor + (width - sum(floors)) * weight / sum(weights) for floor, weight in zip(floors, weights, strict=True)
    ]
    style = [
        ("GRID", (0, 0), (-1, -1), 0.4, colors.grey),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ]
    return PdfTable(cells, colWidths=widths, style=style, repeatRows=1)


def write_pdf(source: str) -> bytes:
    """Set an A5 booklet in which every `---` starts a page and each page carries its number."""
    blocks = read_blocks(source)
    title = title_of(blocks)
    body = ParagraphStyle("body", fontName="Helvetica", fontSize=9.2, leading=12.4, spaceAfter=6)
    small = ParagraphStyle("small", parent=body, fontSize=7.6, leading=9.4, spaceAfter=0)
    heading = ParagraphStyle("heading", parent=body, fontName="Helvetica-Bold", fontSize=14, leading=18, spaceAfter=9)
    buffer = io.BytesIO()
    template = SimpleDocTemplate(
        buffer,
        pagesize=A5,
        leftMargin=16 * mm,
        rightMargin=16 * mm,
        topMargin=15 * mm,
        bottomMargin=17 * mm,
        title=title,
        author=AUTHOR,
        invariant=1,
    )
    story: list[Flowable] = []
    for block in blocks:
        match block:
            case Heading(text):
                story.append(Paragraph(escape(text), heading))
            case Prose(text):
                story.append(Paragraph(escape(text), body))
            case Bullets(items):
                story.append(ListFlowable([Paragraph(escape(item), body) for item in items], bulletType="bullet"))
            case Grid():
                story += [pdf_table(block, small, width=template.width), Spacer(1, 7)]
            case NewPage():
                story.append(PageBreak())

    def footer(canvas: Canvas, _: object) -> None:
        canvas.setFont("Helvetica", 7)
        canvas.drawCentredString(A5[0] / 2, 9 * mm, f"{title}  ·  {canvas.getPageNumber()}")

    template.build(story, onFirstPage=footer, onLaterPages=footer)
    return buffer.getvalue()


def write_damaged_pdf(source: str) -> bytes:
    """The header of a real PDF, then noise where its objects should be: nothing in it can be recovered."""
    whole = write_pdf(source)
    noise = bytes((index * 73 + index // 251 * 31) % 256 for index in range(24_000))
    return whole[:64] + noise


# Office, by library -----------------------------------------------------------------------------------------------


def write_docx(source: str) -> bytes:
    blocks = read_blocks(source)
    document = docx.Document()
    document.core_properties.title = title_of(blocks)
    document.core_properties.author = AUTHOR
    document.core_properties.comments = ""
    first = True
    for block in blocks:
        match block:
            case Heading(text):
                document.add_heading(text, level=0 if first else 1)
                first = False
            case Prose(text):
                document.add_paragraph(text)
            case Bullets(items):
                for item in items:
                    document.add_paragraph(item, style="List Bullet")
            case Grid(rows):
                table = document.add_table(rows=len(rows), cols=len(rows[0]), style="Light Grid Accent 1")
                for row, cells in zip(rows, table.rows, strict=True):
                    for text, cell in zip(row, cells.cells, strict=True):
                        cell.text = text
                document.add_paragraph()
            case NewPage():
                document.add_page_break()
    buffer = io.BytesIO()
    document.save(buffer)
    return repack_office(buffer.getvalue())


def write_pptx(source: str) -> bytes:
    """One slide per heading, with its bullets or prose in the body and `Notes:` as the speaker's notes."""
    blocks = read_blocks(source)
    show = pptx.Presentation()
    show.core_properties.title = title_of(blocks)
    show.core_properties.author = AUTHOR
    layout = show.slide_layouts[1]  # title and content
    slide = None
    for block in blocks:
        if isinstance(block, Heading):
            slide = show.slides.add_slide(layout)
            slide.shapes.title.text = block.text
            continue
        assert slide is not None, "a presentation starts with a heading"
        frame = slide.placeholders[1].text_frame
        if isinstance(block, Prose) and block.text.startswith("Notes: "):
            slide.notes_slide.notes_text_frame.text = block.text.removeprefix("Notes: ")
            continue
        lines = block.items if isinstance(block, Bullets) else (block.text,) if isinstance(block, Prose) else ()
        for line in lines:
            paragraph = frame.add_paragraph() if frame.text else frame.paragraphs[0]
            paragraph.text = line
    buffer = io.BytesIO()
    show.save(buffer)
    return repack_office(buffer.getvalue())


def write_xlsx() -> bytes:
    """One sheet per member of the source, whose first row is the header."""
    sheets: dict[str, list[list[str | float]]] = json.loads((SOURCES / "price-list.json").read_text(encoding="utf-8"))
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    book.properties.title, book.properties.creator = "Price list 2026", AUTHOR
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
        for cell in sheet[1]:
            cell.font = Font(bold=True)
        sheet.column_dimensions["B"].width = 56
    buffer = io.BytesIO()
    book.save(buffer)
    return repack_office(buffer.getvalue())


# Formats that are simple enough to be written by hand ----------------------------------------------------------------

ODT_NAMESPACES = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in {"office": "office", "text": "text", "table": "table", "meta": "meta"}.items()
)
XML_HEADER = '<?xml version="1.0" encoding="UTF-8"?>\n'


def odt_block(block: Block) -> str:
    match block:
        case Heading(text):
            return f'<text:h text:outline-level="1">{escape(text)}</text:h>'
        case Prose(text):
            return f"<text:p>{escape(text)}</text:p>"
        case Bullets(items):
            inner = "".join(f"<text:list-item><text:p>{escape(item)}</text:p></text:list-item>" for item in items)
            return f"<text:list>{inner}</text:list>"
        case Grid(rows):
            lines = [
                "".join(
                    f'<table:table-cell office:value-type="string"><text:p>{escape(cell)}</text:p></table:table-cell>'
                    for cell in row
                )
                for row in rows
            ]
            body = "".join(f"<table:table-row>{line}</table:table-row>" for line in lines)
            columns = f'<table:table-column table:number-columns-repeated="{len(rows[0])}"/>'
            return f"<table:table>{columns}{body}</table:table>"
        case NewPage():
            return "<text:p/>"


def write_odt(source: str) -> bytes:
    blocks = read_blocks(source)
    media_type = "application/vnd.oasis.opendocument.text"
    body = "\n".join(odt_block(block) for block in blocks)
    content = (
        f'{XML_HEADER}<office:document-content {ODT_NAMESPACES} office:version="1.3">'
        f"<office:body><office:text>\n{body}\n</office:text></office:body></office:document-content>"
    )
    meta = (
        f'{XML_HEADER}<office:document-meta {ODT_NAMESPACES} xmlns:dc="http://purl.org/dc/elements/1.1/" '
        f'office:version="1.3"><office:meta><dc:title>{escape(title_of(blocks))}</dc:title>'
        f"<dc:creator>{AUTHOR}</dc:creator><dc:date>{MOMENT:%Y-%m-%dT%H:%M:%S}</dc:date>"
        "</office:meta></office:document-meta>"
    )
    styles = f'{XML_HEADER}<office:document-styles {ODT_NAMESPACES} office:version="1.3"/>'
    entries = [("/", media_type)] + [(name, "text/xml") for name in ("content.xml", "meta.xml", "styles.xml")]
    manifest = (
        f'{XML_HEADER}<m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" m:version="1.3">'
        + "".join(f'<m:file-entry m:full-path="{path}" m:media-type="{kind}"/>' for path, kind in entries)
        + "</m:manifest>"
    )
    members = {
        "mimetype": media_type,
        "content.xml": content,
        "meta.xml": meta,
        "styles.xml": styles,
        "META-INF/manifest.xml": manifest,
    }
    return pack([(name, text.encode()) for name, text in members.items()])


def rtf_text(text: str) -> str:
    """Escape for RTF, where characters beyond ASCII are UTF-16 units as signed decimals."""
    out = []
    for char in text:
        if char in "\\{}":
            out.append("\\" + char)
        elif ord(char) < 128:
            out.append(char)
        else:
            unit = ord(char)
            out.append(f"\\u{unit if unit < 32768 else unit - 65536}?")
    return "".join(out)


def write_rtf(source: str) -> bytes:
    blocks = read_blocks(source)
    lines = [
        r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 Times New Roman;}}",
        rf"{{\info{{\title {rtf_text(title_of(blocks))}}}{{\author {AUTHOR}}}}}",
    ]
    for block in blocks:
        match block:
            case Heading(text):
                lines.append(rf"{{\pard\sb240\sa120\b\fs28 {rtf_text(text)}\par}}")
            case Prose(text):
                lines.append(rf"{{\pard\sa120\fs22 {rtf_text(text)}\par}}")
            case Bullets(items):
                lines += [rf"{{\pard\li360\fs22 \bullet  {rtf_text(item)}\par}}" for item in items]
            case Grid(rows):
                lines += [rf"{{\pard\fs22 {rtf_text(' / '.join(row))}\par}}" for row in rows]
            case NewPage():
                lines.append(r"\page")
    return ("\n".join([*lines, "}"]) + "\n").encode("ascii")


def xhtml_block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h1>{escape(text)}</h1>"
        case Prose(text):
            return f"<p>{escape(text)}</p>"
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
        case Grid(rows):
            lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
            return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
        case NewPage():
            return "<hr/>"


def xhtml_page(title: str, body: str) -> str:
    return (
        f'{XML_HEADER}<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" '
        f'xml:lang="en"><head><title>{escape(title)}</title></head><body>\n{body}\n</body></html>\n'
    )


def write_epub(source: str) -> bytes:
    """One chapter per heading, as EPUB 3."""
    chapters: list[list[Block]] = []
    for block in read_blocks(source):
        if isinstance(block, Heading):
            chapters.append([])
        chapters[-1].append(block)
    titles = [title_of(chapter) for chapter in chapters]
    names = [f"chapter-{number:02}" for number in range(1, len(chapters) + 1)]
    links = "".join(
        f'<li><a href="{name}.xhtml">{escape(title)}</a></li>' for name, title in zip(names, titles, strict=True)
    )
    items = "".join(f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"/>' for name in names)
    spine = "".join(f'<itemref idref="{name}"/>' for name in names)
    package = (
        f'{XML_HEADER}<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="book">'
        '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        '<dc:identifier id="book">urn:ferrenholt:onboarding-guide</dc:identifier>'
        f"<dc:title>{escape(titles[0])}</dc:title><dc:creator>{AUTHOR}</dc:creator><dc:language>en</dc:language>"
        f'<meta property="dcterms:modified">{MOMENT:%Y-%m-%dT%H:%M:%SZ}</meta></metadata><manifest>'
        '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        f"{items}</manifest><spine>{spine}</spine></package>"
    )
    container = (
        f'{XML_HEADER}<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/package.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    members = [
        ("mimetype", "application/epub+zip"),
        ("META-INF/container.xml", container),
        ("OEBPS/package.opf", package),
        ("OEBPS/nav.xhtml", xhtml_page("Contents", f'<nav epub:type="toc"><ol>{links}</ol></nav>')),
    ]
    for name, title, chapter in zip(names, titles, chapters, strict=True):
        body = "\n".join(xhtml_block(block) for block in chapter)
        members.append((f"OEBPS/{name}.xhtml", xhtml_page(title, body)))
    return pack([(name, text.encode()) for name, text in members])


def write_eml() -> bytes:
    message = EmailMessage()
    message["From"] = "Production planning <planning@ferrenholt.example>"
    message["To"] = "everyone@ferrenholt.example"
    message["Subject"] = "Planning round on 9 June and summer fête on 27 June"
    message["Date"] = "Mon, 25 May 2026 08:15:00 +0000"
    message["Message-ID"] = "<planning-2026-06@ferrenholt.example>"
    message.set_content((SOURCES / "meeting-invitation.txt").read_text(encoding="utf-8"))
    message.add_attachment((SOURCES / "meeting-agenda.txt").read_text(encoding="utf-8"), filename="agenda.txt")
    message.set_boundary("=-=ferrenholt-planning-2026-06=-=")
    return message.as_bytes()


PRODUCTS: dict[str, Callable[[], bytes]] = {
    "service-manual-fh800.pdf": lambda: write_pdf("service-manual-fh800.md"),
    "betriebsanleitung-fh800.pdf": lambda: write_pdf("betriebsanleitung-fh800.md"),
    "damaged-scan.pdf": lambda: write_damaged_pdf("betriebsanleitung-fh800.md"),
    "travel-policy.docx": lambda: write_docx("travel-policy.md"),
    "board-minutes.docx": lambda: write_docx("board-minutes.md"),
    "sicherheitsunterweisung.docx": lambda: write_docx("sicherheitsunterweisung.md"),
    "incident-report.odt": lambda: write_odt("incident-report.md"),
    "wartungsvertrag.odt": lambda: write_odt("wartungsvertrag.md"),
    "supply-contract.rtf": lambda: write_rtf("supply-contract.md"),
    "onboarding-guide.epub": lambda: write_epub("onboarding-guide.md"),
    "sales-training.pptx": lambda: write_pptx("sales-training.md"),
    "price-list.xlsx": write_xlsx,
    "planning-round.eml": write_eml,
}


def main() -> None:
    DOCUMENTS.mkdir(exist_ok=True)
    for name, write in PRODUCTS.items():
        content = write()
        (DOCUMENTS / name).write_bytes(content)
        print(f"{name:32} {len(content):>8} bytes")


if __name__ == "__main__":
    main()
