"""PDFs that lie about themselves, and one that is merely long."""

import zlib

from tests.factories import files
from tests.factories.hostile.model import Shelf

FILES = Shelf()
_MEGABYTE = 1 << 20
_CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
_FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
_PAGE = (
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >>"
    b" /XObject << /X 6 0 R >> >> >>"
)
_DRAWN = b"BT /F1 12 Tf 60 780 Td (words that can be read) Tj ET"


@FILES.add("pdf of 10,000 pages", "pages.pdf", "ready", heavy=True)
def pdf_of_ten_thousand_pages() -> bytes:
    return files.pdf([[f"Page {number} of a book that is long but honest."] for number in range(10_000)])


@FILES.add("pdf of 10,001 pages", "pages.pdf", "too_many_pages")
def pdf_of_one_page_too_many() -> bytes:
    return files.pdf([["x"]] * 10_001)


@FILES.add("pdf that claims two billion pages", "count.pdf", "ready", "corrupt", "too_many_pages", "empty")
def pdf_with_a_giant_count() -> bytes:
    return _pdf(pages=b"<< /Type /Pages /Kids [3 0 R] /Count 2147483647 >>")


@FILES.add(
    "pdf whose pages are their own parents", "tree.pdf", "ready", "corrupt", "empty", "too_many_pages", "resource_limit"
)
def pdf_with_a_recursive_page_tree() -> bytes:
    return _pdf(pages=b"<< /Type /Pages /Kids [2 0 R 3 0 R 2 0 R] /Count 3 >>")


@FILES.add("pdf of a deep page tree", "deep.pdf", "ready", "corrupt", "empty", "resource_limit")
def pdf_with_a_deep_page_tree() -> bytes:
    depth = 50_000
    objects = [_CATALOG]
    objects += [b"<< /Type /Pages /Kids [%d 0 R] /Count 1 >>" % (number + 3) for number in range(depth)]
    objects.append(b"<< /Type /Page /MediaBox [0 0 9 9] >>")
    return files.pdf_file(objects, trailer=b"/Root 1 0 R")


@FILES.add("pdf whose tables form a ring", "xref.pdf", "ready", "corrupt", "empty")
def pdf_with_a_ring_of_tables() -> bytes:
    data = _pdf()
    table = data.rindex(b"xref\n0")
    return data.replace(b"/Root 1 0 R", b"/Root 1 0 R /Prev %d" % table)


@FILES.add(
    "pdf with a bomb in its page",
    "bomb.pdf",
    "ready",
    "corrupt",
    "empty",
    "resource_limit",
    "text_too_long",
    heavy=True,
)
def pdf_with_a_bomb_in_its_page() -> bytes:
    return _pdf(content=_packed([b" " * _MEGABYTE] * 1500, _DRAWN))


@FILES.add("pdf with a bomb in a bomb", "double.pdf", "ready", "corrupt", "empty", "resource_limit")
def pdf_with_a_bomb_in_a_bomb() -> bytes:
    inner = zlib.compress(bytes(200 * _MEGABYTE), 9)
    packed = zlib.compress(inner, 9)
    filters = b"[/FlateDecode /FlateDecode]"
    return _pdf(content=b"<< /Length %d /Filter %s >>\nstream\n%s\nendstream" % (len(packed), filters, packed))


@FILES.add("pdf of a million drawn words", "drawn.pdf", "ready", "resource_limit", "text_too_long", heavy=True)
def pdf_of_a_million_drawn_words() -> bytes:
    return _pdf(content=_packed([b"BT /F1 1 Tf 1 1 Td (word after word) Tj ET\n" * 10_000] * 100, b""))


@FILES.add("pdf of pages that take minutes", "slow.pdf", "ready", "resource_limit", heavy=True)
def pdf_that_takes_minutes() -> bytes:
    """A thousand pages show one content stream of twenty thousand words: much to do, little to hold."""
    pages = 1000
    kids = b" ".join(b"%d 0 R" % (number + 6) for number in range(1, pages))
    content = _packed([b"BT /F1 1 Tf 1 1 Td (word after word) Tj ET\n" * 20_000], b"")
    listed = b"<< /Type /Pages /Kids [3 0 R %s] /Count %d >>" % (kids, pages)
    objects = [_CATALOG, listed, _PAGE, content, _FONT, b"null", *([_PAGE] * (pages - 1))]
    return files.pdf_file(objects, trailer=b"/Root 1 0 R")


@FILES.add("pdf whose form draws itself", "form.pdf", "ready", "corrupt", "empty", "resource_limit", heavy=True)
def pdf_whose_form_draws_itself() -> bytes:
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 6 0 R >> >>"
    drawn = b"/X Do /X Do"
    return _pdf(
        content=_stream(_DRAWN + b" /X Do"),
        drawn=b"<< %s /Length %d >>\nstream\n%s\nendstream" % (form, len(drawn), drawn),
    )


@FILES.add("pdf with an image of 900 megapixels", "pixels.pdf", "ready", "resource_limit")
def pdf_with_a_huge_image() -> bytes:
    packed = zlib.compress(bytes(30_000 * 30_000 // 8), 9)
    about = b"/Type /XObject /Subtype /Image /Width 30000 /Height 30000 /ColorSpace /DeviceGray /BitsPerComponent 1"
    image = b"<< %s /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (about, len(packed), packed)
    return _pdf(content=_stream(_DRAWN + b" q 500 0 0 500 0 0 cm /X Do Q"), drawn=image)


@FILES.add("pdf of brackets without end", "brackets.pdf", "ready", "corrupt", "empty", "resource_limit")
def pdf_of_brackets_without_end() -> bytes:
    return _pdf(content=_stream(b"[" * 2_000_000), font=b"<< /Type /Font /Widths " + b"[" * 1_000_000 + b" >>")


@FILES.add("program called pdf", "report.pdf", "unsupported_format")
def program_called_pdf() -> bytes:
    return b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00" + bytes(range(256)) * 400


@FILES.add("pdf called txt", "notes.txt", "ready")
def pdf_called_txt() -> bytes:
    return _pdf()


@FILES.add("pdf header and noise", "noise.pdf", "corrupt")
def pdf_header_and_noise() -> bytes:
    return b"%PDF-1.7\n" + bytes((index * 7919 + index // 251) % 256 for index in range(1 << 20))


def _pdf(
    *,
    pages: bytes = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    content: bytes = b"",
    font: bytes = _FONT,
    drawn: bytes = b"null",
) -> bytes:
    """One page with some words, but for what is given."""
    return files.pdf_file([_CATALOG, pages, _PAGE, content or _stream(_DRAWN), font, drawn], trailer=b"/Root 1 0 R")


def _stream(content: bytes) -> bytes:
    return b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)


def _packed(parts: list[bytes], last: bytes) -> bytes:
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(part) for part in parts), packer.compress(last), packer.flush()])
    return b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed)
