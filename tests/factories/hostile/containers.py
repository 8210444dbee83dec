"""Archives, and what is an archive inside: Word, Excel, OpenDocument, EPUB."""

import io
import struct
import tarfile
import zipfile
import zlib

from tests.factories import files
from tests.factories.hostile.model import Shelf

FILES = Shelf()

_MEGABYTE = 1 << 20
_SHEETS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_BILLION_LAUGHS = '<!DOCTYPE lolz [<!ENTITY l0 "lol">{}]>'.format(
    "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
)
_EXTERNAL = '<!DOCTYPE x [<!ENTITY secret SYSTEM "file:///etc/passwd">]>'


@FILES.add("zip bomb of 1000:1", "bomb.zip", "unsupported_format")
def zip_bomb() -> bytes:
    return files.zipped({"zeros.txt": bytes(150 * _MEGABYTE)})


@FILES.add("zip bomb whose header lies", "lying.zip", "corrupt")
def zip_with_a_lying_size() -> bytes:
    return understated(files.zipped({"zeros.txt": b" a" * (100 * _MEGABYTE)}), b"zeros.txt")


@FILES.add("zip of overlapping members", "overlap.zip", "resource_limit")
def zip_of_overlapping_members() -> bytes:
    """Ten thousand entries of the directory point at one member of a megabyte."""
    return overlapping(b"a " * (_MEGABYTE // 2), entries=10_000)


@FILES.add("zip of 65,000 empty members", "many.zip", "empty")
def zip_of_many_members() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number in range(65_000):
            archive.writestr(zipfile.ZipInfo(f"{number}.txt"), b"")
    return target.getvalue()


@FILES.add("archives within archives, 200 deep", "deep.zip", "resource_limit")
def nested_archives() -> bytes:
    data = files.zipped({"end.txt": b"the end of it"})
    for depth in range(200):
        data = files.zipped({f"{depth}.zip": data})
    return data


@FILES.add("archive of sixteen archives of sixteen, six deep", "42.zip", "resource_limit")
def widening_archives() -> bytes:
    """42.zip's way: 16^6 members of a megabyte behind a few kilobytes."""
    data = files.zipped({"zeros.txt": bytes(_MEGABYTE)})
    for _ in range(6):
        data = files.zipped({f"{number}.zip": data for number in range(16)})
    return data


@FILES.add("zip with members outside of it", "slip.zip", "ready")
def zip_slip() -> bytes:
    names = ("../../../../tmp/s4-zip-slip.txt", "/tmp/s4-zip-slip.txt", "a\x00b.txt", "\u202etxt.exe")
    return files.zipped(dict.fromkeys(names, b"a member that wants out"))


@FILES.add("tar of links and devices", "links.tar", "corrupt")
def tar_of_links() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, kind, link in (
            ("passwd", tarfile.SYMTYPE, "/etc/passwd"),
            ("hard", tarfile.LNKTYPE, "../../etc/passwd"),
            ("zero", tarfile.CHRTYPE, ""),
            ("pipe", tarfile.FIFOTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            archive.addfile(member)
        huge = tarfile.TarInfo("huge.txt")
        huge.size = 1 << 40
        target.write(huge.tobuf())
    return target.getvalue()


@FILES.add("gzip bomb of 1000:1", "bomb.txt.gz", "unsupported_format")
def gzip_bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(bytes(_MEGABYTE)) for _ in range(150)), packer.flush()])


@FILES.add("word bomb of 1000:1", "bomb.docx", "resource_limit")
def word_bomb() -> bytes:
    return files.docx([], filler_bytes=140 * _MEGABYTE)


@FILES.add("word bomb whose header lies", "lying.docx", "resource_limit", "corrupt", "empty")
def word_with_a_lying_size() -> bytes:
    return understated(files.docx([(0, "before")], filler_bytes=140 * _MEGABYTE), b"word/document.xml")


@FILES.add("word bomb just below the limit", "below.docx", "ready", "resource_limit", "text_too_long", heavy=True)
def word_below_the_limit() -> bytes:
    return files.docx([], filler_bytes=120 * _MEGABYTE)


@FILES.add("word of a million paragraphs", "paragraphs.docx", "ready", "resource_limit", "text_too_long", heavy=True)
def word_of_many_paragraphs() -> bytes:
    return files.docx([(0, "a")] * 1_000_000)


@FILES.add("word of deep tables", "tables.docx", "ready", "corrupt", "resource_limit", "empty")
def word_of_deep_tables() -> bytes:
    opening, closing = "<w:tbl><w:tr><w:tc>", "</w:tc></w:tr></w:tbl>"
    return _word(f"{opening * 20_000}<w:p><w:r><w:t>bottom</w:t></w:r></w:p>{closing * 20_000}")


@FILES.add("word with billion laughs", "laughs.docx", "ready", "corrupt", "resource_limit", "empty")
def word_with_billion_laughs() -> bytes:
    return _word("<w:p><w:r><w:t>&l9; and plain words</w:t></w:r></w:p>", doctype=_BILLION_LAUGHS)


@FILES.add("word with an external entity", "external.docx", "ready", "corrupt", "empty")
def word_with_an_external_entity() -> bytes:
    return _word("<w:p><w:r><w:t>&secret; and plain words</w:t></w:r></w:p>", doctype=_EXTERNAL)


@FILES.add("word with an image of 900 megapixels", "pixels.docx", "ready")
def word_with_a_huge_image() -> bytes:
    return repacked(files.docx([(0, "words beside the image")]), {"word/media/image1.png": png(30_000, 30_000)})


@FILES.add("image called docx", "image.docx", "unsupported_format")
def huge_image_called_docx() -> bytes:
    return png(30_000, 30_000)


@FILES.add("excel that claims a billion rows", "rows.xlsx", "ready", "corrupt", "resource_limit", "empty")
def excel_that_claims_a_billion_rows() -> bytes:
    cell = '<row r="{row}"><c r="XFD{row}" t="inlineStr"><is><t>far away</t></is></c></row>'
    rows = "".join(cell.format(row=row) for row in (1, 1_048_576, 1_000_000_000))
    return _excel(f'<dimension ref="A1:XFD1000000000"/><sheetData>{rows}</sheetData>')


@FILES.add(
    "excel with a cell in every corner", "corners.xlsx", "ready", "corrupt", "resource_limit", "text_too_long", "empty"
)
def excel_with_a_cell_in_every_corner() -> bytes:
    """The used range spans the whole sheet: 17 billion cells, four of them filled."""
    row = '<row r="{n}"><c r="A{n}"><v>1</v></c><c r="XFD{n}"><v>2</v></c></row>'
    return _excel(f"<sheetData>{row.format(n=1)}{row.format(n=1_048_576)}</sheetData>")


@FILES.add("excel bomb of 1000:1", "bomb.xlsx", "resource_limit")
def excel_bomb() -> bytes:
    return _excel("<sheetData>" + "<row><c><v>1</v></c></row>" * 6_000_000 + "</sheetData>")


@FILES.add(
    "excel of shared strings without end", "strings.xlsx", "ready", "resource_limit", "text_too_long", heavy=True
)
def excel_of_one_string_a_million_times() -> bytes:
    """A string of 32 KiB, which a hundred thousand cells share: 3 GiB of text behind 3 MB of cells."""
    strings = f'<sst xmlns="{_SHEETS}"><si><t>{"a " * 16_000}</t></si></sst>'
    row = "<row>" + '<c t="s"><v>0</v></c>' * 100 + "</row>"
    return _excel(f"<sheetData>{row * 1000}</sheetData>", strings=strings)


@FILES.add("opendocument with billion laughs", "laughs.odt", "ready", "corrupt", "resource_limit", "empty")
def opendocument_with_billion_laughs() -> bytes:
    return _opendocument("&l9; and plain words", doctype=_BILLION_LAUGHS)


@FILES.add("opendocument with an external entity", "external.odt", "ready", "corrupt", "empty")
def opendocument_with_an_external_entity() -> bytes:
    return _opendocument("&secret; and plain words", doctype=_EXTERNAL)


@FILES.add(
    "opendocument table of repeated cells",
    "repeated.ods",
    "ready",
    "corrupt",
    "resource_limit",
    "empty",
    "text_too_long",
)
def opendocument_of_repeated_cells() -> bytes:
    """One cell, said to stand a million times in each of a million rows."""
    cell = '<table:table-cell table:number-columns-repeated="1000000" office:value-type="string"><text:p>x</text:p>'
    table = f'<table:table><table:table-row table:number-rows-repeated="1000000">{cell}</table:table-cell>'
    content = f"<office:spreadsheet>{table}</table:table-row></table:table></office:spreadsheet>"
    return _odf("spreadsheet", content)


@FILES.add("epub bomb of 1000:1", "bomb.epub", "resource_limit")
def epub_bomb() -> bytes:
    return _epub(f"<p>{'a ' * (80 * _MEGABYTE)}</p>")


@FILES.add(
    "epub bomb whose header lies", "lying.epub", "resource_limit", "corrupt", "empty", "text_too_long", heavy=True
)
def epub_with_a_lying_size() -> bytes:
    return understated(_epub(f"<p>{'a ' * (80 * _MEGABYTE)}</p>"), b"c.xhtml")


@FILES.add("epub with billion laughs", "laughs.epub", "ready", "corrupt", "resource_limit", "empty")
def epub_with_billion_laughs() -> bytes:
    return _epub("<p>&l9; and plain words</p>", doctype=_BILLION_LAUGHS)


@FILES.add("epub with an external entity", "external.epub", "ready", "corrupt", "empty")
def epub_with_an_external_entity() -> bytes:
    return _epub("<p>&secret; and plain words</p>", doctype=_EXTERNAL)


def understated(archive: bytes, name: bytes) -> bytes:
    """The archive, saying in both headers that this member unpacks to ten bytes."""
    data = bytearray(archive)
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    while data[local + 30 : local + 30 + len(name)] != name:
        local = data.index(b"PK\x03\x04", local + 4)
    while data[central + 46 : central + 46 + len(name)] != name:
        central = data.index(b"PK\x01\x02", central + 4)
    data[local + 22 : local + 26] = data[central + 24 : central + 28] = struct.pack("<I", 10)
    return bytes(data)


def overlapping(content: bytes, *, entries: int) -> bytes:
    """A ZIP whose directory names one member many times."""
    single = files.zipped({"00000.txt": content})
    directory = single.index(b"PK\x01\x02")
    end = single.index(b"PK\x05\x06")
    entry = single[directory:end]
    listed = b"".join(entry.replace(b"00000.txt", b"%05d.txt" % number) for number in range(entries))
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, entries, entries, len(listed), directory, 0)
    return single[:directory] + listed + tail


def repacked(archive: bytes, members: dict[str, bytes]) -> bytes:
    """The archive with more members."""
    target = io.BytesIO(archive)
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as container:
        for name, data in members.items():
            container.writestr(name, data)
    return target.getvalue()


def png(width: int, height: int) -> bytes:
    """A black image of one bit a pixel: 900 megapixels take 110 kB."""
    packer = zlib.compressobj(9)
    row = bytes(1 + width // 8)
    body = b"".join([*(packer.compress(row * 100) for _ in range(height // 100)), packer.flush()])

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", body) + part(b"IEND", b"")


def _word(body: str, *, doctype: str = "") -> bytes:
    with zipfile.ZipFile(io.BytesIO(files.docx([(0, "x")]))) as plain:
        parts = {name: plain.read(name) for name in plain.namelist()}
    document = parts["word/document.xml"].decode()
    paragraph = document[document.index("<w:p>") : document.index("</w:body>")]
    parts["word/document.xml"] = f'<?xml version="1.0"?>{doctype}{document.replace(paragraph, body)}'.encode()
    return files.zipped(parts)


def _excel(sheet: str, *, strings: str | None = None) -> bytes:
    main = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    shared = f'<Relationship Id="r2" Target="sharedStrings.xml" Type="{_OFFICE}/sharedStrings"/>' if strings else ""
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{main}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{main}.worksheet+xml"/>'
        f'<Override PartName="/xl/sharedStrings.xml" ContentType="{main}.sharedStrings+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="r" Target="xl/workbook.xml" '
        f'Type="{_OFFICE}/officeDocument"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_SHEETS}" xmlns:r="{_OFFICE}"><sheets>'
        '<sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="r1" '
        f'Target="worksheets/sheet1.xml" Type="{_OFFICE}/worksheet"/>{shared}</Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_SHEETS}">{sheet}</worksheet>',
    }
    if strings:
        parts["xl/sharedStrings.xml"] = strings
    return files.zipped({name: text.encode() for name, text in parts.items()})


def _opendocument(text: str, *, doctype: str) -> bytes:
    return _odf("text", f"<office:text><text:p>{text}</text:p></office:text>", doctype=doctype)


def _odf(kind: str, body: str, *, doctype: str = "") -> bytes:
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "text", "table")
    )
    content = f'<?xml version="1.0"?>{doctype}<office:document-content {names}><office:body>{body}</office:body>'
    return files.zipped(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}".encode(),
            "content.xml": f"{content}</office:document-content>".encode(),
        }
    )


def _epub(body: str, *, doctype: str = "") -> bytes:
    container = (
        '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="c.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="i"><metadata '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Book of one chapter</dc:title>'
        '<dc:identifier id="i">x</dc:identifier><dc:language>en</dc:language></metadata><manifest>'
        '<item id="c" href="c.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="c"/></spine></package>'
    )
    chapter = f'<?xml version="1.0"?>{doctype}<html xmlns="http://www.w3.org/1999/xhtml"><head><title>c</title></head>'
    return files.zipped(
        {
            "mimetype": b"application/epub+zip",
            "META-INF/container.xml": container.encode(),
            "c.opf": package.encode(),
            "c.xhtml": f"{chapter}<body>{body}</body></html>".encode(),
        }
    )
