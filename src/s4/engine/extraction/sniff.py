"""What a file is, judged by its bytes. The file name and the declared type only tell text formats apart.

A PDF called `.txt` is a PDF; a Markdown page that begins with an HTML tag is Markdown if its name says so.
Containers (ZIP, OLE) are told apart by what is inside. What cannot become text is refused here, before a
parser runs.
"""

import re
import zipfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

import kreuzberg

from s4.engine.extraction import failures
from s4.engine.extraction.decode import decode_text

HEAD_BYTES = 65_536
_OOXML = "application/vnd.openxmlformats-officedocument."


class Reader(StrEnum):
    """Which reader turns the file into text."""

    PDF = "pdf"
    DOCX = "docx"
    SLIDES = "slides"
    FILE = "file"  # kreuzberg reads the bytes as they are
    MARKED_UP = "marked_up"  # kreuzberg reads the decoded text
    HTML = "html"
    MAIL = "mail"
    TABLE = "table"
    MARKDOWN = "markdown"
    NOTEBOOK = "notebook"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Detected:
    reader: Reader
    content_type: str
    charset: str | None = None


_PLAIN = Detected(Reader.PLAIN, "text/plain")
_EMAIL = Detected(Reader.MAIL, "message/rfc822")
_HTML = Detected(Reader.HTML, "text/html")
_XML = Detected(Reader.PLAIN, "application/xml")

# Text formats by file name. Structure is meaning in data and code, so those are kept as they are.
_BY_SUFFIX = {
    ".md": Detected(Reader.MARKDOWN, "text/markdown"),
    ".markdown": Detected(Reader.MARKDOWN, "text/markdown"),
    ".html": _HTML,
    ".htm": _HTML,
    ".xhtml": _HTML,
    ".csv": Detected(Reader.TABLE, "text/csv"),
    ".tsv": Detected(Reader.TABLE, "text/tab-separated-values"),
    ".eml": _EMAIL,
    ".rst": Detected(Reader.MARKED_UP, "text/x-rst"),
    ".org": Detected(Reader.MARKED_UP, "text/x-org"),
    ".ipynb": Detected(Reader.NOTEBOOK, "application/x-ipynb+json"),
    ".json": Detected(Reader.PLAIN, "application/json"),
    ".jsonl": Detected(Reader.PLAIN, "application/jsonl"),
    ".yaml": Detected(Reader.PLAIN, "application/yaml"),
    ".yml": Detected(Reader.PLAIN, "application/yaml"),
    ".toml": Detected(Reader.PLAIN, "application/toml"),
    ".xml": _XML,
    ".tex": Detected(Reader.PLAIN, "application/x-tex"),
    ".py": Detected(Reader.PLAIN, "text/x-python"),
    ".js": Detected(Reader.PLAIN, "text/javascript"),
    ".css": Detected(Reader.PLAIN, "text/css"),
}
_BY_DECLARED = {detected.content_type: detected for detected in _BY_SUFFIX.values()}
_BY_DETECTED = {"text/html": _HTML, "application/json": _BY_SUFFIX[".json"], "application/xml": _XML}
_BY_DETECTED["text/xml"] = _XML

# The folder that holds the main part of an Office Open XML file.
_OOXML_PARTS = (
    ("word/", Detected(Reader.DOCX, _OOXML + "wordprocessingml.document")),
    ("ppt/", Detected(Reader.SLIDES, _OOXML + "presentationml.presentation")),
    ("xl/workbook.bin", Detected(Reader.FILE, "application/vnd.ms-excel.sheet.binary.macroEnabled.12")),
    ("xl/", Detected(Reader.FILE, _OOXML + "spreadsheetml.sheet")),
)
# What the first member, `mimetype`, of OpenDocument and EPUB files says.
_MIMETYPE_MEMBERS = {
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/epub+zip",
}
# Streams of OLE containers, the old Office formats; names are stored in UTF-16.
_OLE_STREAMS = (
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("Book", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("__properties_version1.0", "application/vnd.ms-outlook"),
)
_ARCHIVES = (
    b"\x1f\x8b",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",
)
# Readers of PDF accept junk before the header, and some programs and mail gateways write it.
_PDF_HEADER = re.compile(rb"^%PDF-\d", re.MULTILINE)
_MEDIA = re.compile(
    r"\.(?:png|jpe?g|gif|bmp|tiff?|webp|emf|wmf|svg|mp[34]|m4[av]|mov|avi|wav|wmv|[ot]tf|woff2?|odttf|fntdata)$",
    re.IGNORECASE,
)
_TAR_MAGIC = (257, b"ustar")
# First header lines that only stored or received mail has.
_EMAIL_HEAD = re.compile(rb"(?:Return-Path|Received|Delivered-To|Message-ID|MIME-Version): ?\S", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_CHARSET_INSIDE = re.compile(rb"(?:charset|encoding)\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)


def detect(path: Path, *, filename: str, declared: str | None, unpacked_bytes_max: int) -> Detected:
    """Raises `DocumentRejected` for a format that has no reader, for an empty or encrypted file, and for one whose text
    parts unpack to more than `unpacked_bytes_max`. (A spreadsheet of 128 MiB fills 2 GiB of memory, and where kreuzberg
    meets the memory limit itself, it may leave out a chapter without a word. Ten thousand pages take 100 MiB.)"""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise failures.empty(paged=False)
    if head.startswith(b"{\\rtf"):
        return Detected(Reader.FILE, "application/rtf")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _inside_zip(path, unpacked_bytes_max)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _inside_ole(path)
    if head.lstrip().startswith(b"%PDF-") or (_PDF_HEADER.search(head[:1024]) and _ends_like_pdf(path)):
        return Detected(Reader.PDF, "application/pdf")
    charset = _charset(head, declared)
    if decode_text(head, charset=charset) is None:
        return _binary(head)
    return _text(head, filename=filename, declared=declared, charset=charset)


def _ends_like_pdf(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 1024, 0))
        return b"%%EOF" in file.read()


def _charset(head: bytes, declared: str | None) -> str | None:
    """What the sender says, then what the document says of itself near its beginning."""
    if declared and (match := _CHARSET.search(declared)):
        return match[1]
    inside = _CHARSET_INSIDE.search(head[:2048])
    return inside[1].decode("ascii", errors="replace") if inside else None


def _text(head: bytes, *, filename: str, declared: str | None, charset: str | None) -> Detected:
    by_name = _BY_SUFFIX.get(PurePosixPath(filename).suffix.lower())
    if by_name is None and declared is not None:
        by_name = _BY_DECLARED.get(declared.partition(";")[0].strip().lower())
    found = by_name or _by_content(head) or _PLAIN
    return Detected(found.reader, found.content_type, charset)


def _by_content(head: bytes) -> Detected | None:
    if _EMAIL_HEAD.match(head):
        return _EMAIL
    try:
        return _BY_DETECTED.get(kreuzberg.detect_mime_type(head))
    except (RuntimeError, kreuzberg.KreuzbergError):  # it knows no name for text that is not UTF-8
        return None


def _binary(head: bytes) -> Detected:
    offset, magic = _TAR_MAGIC
    if head.startswith(_ARCHIVES) or head[offset : offset + len(magic)] == magic:
        raise failures.archive()
    try:
        family = kreuzberg.detect_mime_type(head).partition("/")[0]
    except (RuntimeError, kreuzberg.KreuzbergError):
        family = "unknown"
    if family == "image":
        raise failures.unsupported("The file is an image, and text in images is not read.")
    if family in ("audio", "video"):
        raise failures.unsupported("The file is a recording, and speech is not read.")
    raise failures.unsupported("The file's format is not known.")


def _inside_zip(path: Path, unpacked_bytes_max: int) -> Detected:
    with failures.parsing(), zipfile.ZipFile(path) as container:
        members = container.infolist()
        mimetype = container.open("mimetype").read(200).decode("latin-1").strip() if _small(members) else ""
    names = {member.filename for member in members}
    if any(member.flag_bits & 1 for member in members):
        raise failures.encrypted()
    texts = (member for member in members if not _MEDIA.search(member.filename))
    if sum(member.file_size for member in texts) > unpacked_bytes_max:
        raise failures.too_large()
    if mimetype in _MIMETYPE_MEMBERS:
        return Detected(Reader.FILE, mimetype)
    if "[Content_Types].xml" in names:
        for prefix, detected in _OOXML_PARTS:
            if any(name.startswith(prefix) for name in names):
                return detected
    if mimetype.startswith("application/vnd."):
        raise failures.unsupported("This kind of OpenDocument file is not read.")
    raise failures.archive()


def _small(members: list[zipfile.ZipInfo]) -> bool:
    return any(member.filename == "mimetype" and member.file_size <= 200 for member in members)


def _inside_ole(path: Path) -> Detected:
    data = path.read_bytes()
    if "EncryptedPackage".encode("utf-16-le") in data:
        raise failures.encrypted()
    for stream, content_type in _OLE_STREAMS:
        if stream.encode("utf-16-le") in data:
            return Detected(Reader.FILE, content_type)
    raise failures.unsupported("The file's format is not known.")
