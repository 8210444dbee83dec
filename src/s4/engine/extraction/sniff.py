"""What a file is, judged by its bytes. The file name and the declared type only tell text formats apart.

A PDF called `.txt` is a PDF; a Markdown page that begins with an HTML tag is Markdown if its name says so.
Containers (ZIP, OLE, TAR) are told apart by what is inside. What a text format's content shows beyond doubt (a
mail's headers, `<html>`, JSON) goes before its name, and a name that the content contradicts is not believed.
What cannot become text is refused here, before a parser runs.
"""

import re
import zipfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

import kreuzberg

from s4.engine.extraction import failures
from s4.engine.extraction.archives import head_of, is_tar
from s4.engine.extraction.decode import clean, decode_text

HEAD_BYTES = 65_536
_OOXML = "application/vnd.openxmlformats-officedocument."


class Reader(StrEnum):
    """Which reader turns the file into text."""

    PDF = "pdf"
    DOCX = "docx"
    SLIDES = "slides"
    BOOK = "book"  # an EPUB
    FILE = "file"  # kreuzberg reads the bytes as they are
    MARKED_UP = "marked_up"  # kreuzberg reads the decoded text
    HTML = "html"
    MAIL = "mail"
    TABLE = "table"
    MARKDOWN = "markdown"
    NOTEBOOK = "notebook"
    PLAIN = "plain"
    ARCHIVE = "archive"
    COMPRESSED = "compressed"  # one file, packed
    MAILBOX = "mailbox"
    IMAGE = "image"  # read where text in images is recognised


@dataclass(frozen=True, slots=True)
class Detected:
    reader: Reader
    content_type: str
    charset: str | None = None


_PDF = Detected(Reader.PDF, "application/pdf")
_RTF = Detected(Reader.FILE, "application/rtf")
_PLAIN = Detected(Reader.PLAIN, "text/plain")
_EMAIL = Detected(Reader.MAIL, "message/rfc822")
_HTML = Detected(Reader.HTML, "text/html")
_XML = Detected(Reader.PLAIN, "application/xml")
_JSON = Detected(Reader.PLAIN, "application/json")
_JSON_LINES = Detected(Reader.PLAIN, "application/jsonl")
_NOTEBOOK = Detected(Reader.NOTEBOOK, "application/x-ipynb+json")
_CALENDAR = Detected(Reader.PLAIN, "text/calendar")
_ZIP = Detected(Reader.ARCHIVE, "application/zip")
_TAR = Detected(Reader.ARCHIVE, "application/x-tar")
_MAILBOX = Detected(Reader.MAILBOX, "application/mbox")
# Of images whose first bytes may pass for text.
_IMAGE_SIGNATURE = re.compile(
    rb"(?P<tiff>II\*\0|MM\0\*)|(?P<bmp>BM.{4}\0{4}.{4}[\x0c\x28\x38\x40\x6c\x7c]\0{3})", re.DOTALL
)
_IMAGES = {"image/png", "image/jpeg", "image/tiff", "image/webp", "image/bmp", "image/gif"}

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
    ".ics": _CALENDAR,
    ".rst": Detected(Reader.MARKED_UP, "text/x-rst"),
    ".org": Detected(Reader.MARKED_UP, "text/x-org"),
    ".ipynb": _NOTEBOOK,
    ".json": _JSON,
    ".jsonl": _JSON_LINES,
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
_BY_DETECTED = {"text/html": _HTML, "application/json": _JSON, "application/xml": _XML, "text/xml": _XML}
# Beginnings that leave no doubt, whatever the name says.
_PLAIN_TO_SEE = (
    (
        re.compile(
            r"\s*(?:<\?xml[^>]*>\s*)?(?:(?><!--.*?-->)\s*)*+<(?:!doctype\s+html|html[\s>])",
            re.IGNORECASE | re.DOTALL,
        ),
        _HTML,
    ),
    (re.compile(r"\s*<\?xml\s"), _XML),
    (re.compile(r'\s*\{\s*"(?:cells"\s*:\s*\[|nbformat(?:_minor)?"\s*:\s*\d)'), _NOTEBOOK),
    (re.compile(r'\s*\{"[^\n]*\}\s*\n\{'), _JSON_LINES),
    (re.compile(r'\s*(?:\{\s*"[^"\n]{0,200}"\s*:|\[\s*\{\s*")'), _JSON),
    (re.compile(r"BEGIN:VCALENDAR\s"), _CALENDAR),
    (re.compile(r"From \S+ .*\d{4}\n[!-9;-~]+:"), _MAILBOX),
)
# What a text of a type has somewhere near its beginning; without it, the name or the sender is wrong.
_EVIDENCE = {
    _HTML: re.compile(
        r"[\s\S]*?<(?:!doctype|/?(?:html|head|body|title|meta|p|div|span|h[1-6]|table|ul|ol|a|br|b|i|pre)\b)",
        re.IGNORECASE,
    ),
    _XML: re.compile(r"\s*<"),
    _JSON: re.compile(r'\s*(?:[\[{"]|-?\d|true|false|null)'),
    _NOTEBOOK: re.compile(r"\s*\{"),
    _EMAIL: re.compile(
        r"\s*(?:[!-9;-~]+:.*\n|[ \t].*\n)*?(?:from|to|cc|subject|date|received|message-id|return-path|mime-version):",
        re.IGNORECASE,
    ),
    _CALENDAR: re.compile(r"\s*BEGIN:"),
}

# The folder that holds the main part of an Office Open XML file.
_OOXML_PARTS = (
    ("word/", Detected(Reader.DOCX, _OOXML + "wordprocessingml.document")),
    ("ppt/", Detected(Reader.SLIDES, _OOXML + "presentationml.presentation")),
    ("xl/workbook.bin", Detected(Reader.FILE, "application/vnd.ms-excel.sheet.binary.macroEnabled.12")),
    ("xl/", Detected(Reader.FILE, _OOXML + "spreadsheetml.sheet")),
)
_EPUB = "application/epub+zip"
# What the first member, `mimetype`, of OpenDocument and EPUB files says.
_MIMETYPE_MEMBERS = {
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.spreadsheet",
    _EPUB,
}
# Streams of OLE containers, the old Office formats; names are stored in UTF-16.
_OLE_STREAMS = (
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("Book", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("__properties_version1.0", "application/vnd.ms-outlook"),
)
_COMPRESSED = (
    (re.compile(rb"\x1f\x8b\x08"), "application/gzip"),
    (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), "application/x-bzip2"),  # data, or the end of no data
    (re.compile(rb"\xfd7zXZ\x00"), "application/x-xz"),
)
_CLOSED_ARCHIVES = (
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
)
CONTENT_TYPES = frozenset(
    {
        *(detected.content_type for detected in (_PDF, _RTF, _PLAIN, _ZIP, _TAR, _MAILBOX, *_BY_SUFFIX.values())),
        *(detected.content_type for _, detected in _OOXML_PARTS),
        *_MIMETYPE_MEMBERS,
        *(content_type for _, content_type in (*_OLE_STREAMS, *_COMPRESSED)),
    }
)
"""All that `detect` answers. `docs/guide/documents.md` says of each what is taken from it."""
# Readers of PDF accept junk before the header, and some programs and mail gateways write it.
_PDF_HEADER = re.compile(rb"^%PDF-\d", re.MULTILINE)
MEDIA = re.compile(
    r"\.(?:png|jpe?g|gif|bmp|tiff?|webp|emf|wmf|svg|mp[34]|m4[av]|mov|avi|wav|wmv|[ot]tf|woff2?|odttf|fntdata)$",
    re.IGNORECASE,
)
_HEADER_LINE = re.compile(r"([!-9;-~]+):|[ \t]+\S")
_HEADER_LINES_MAX = 200  # received by way of a dozen servers, a mail has less
# Headers that only stored or received mail has, and those that a mail written by a program has at least.
_TRANSPORT_HEADERS = {"return-path", "received", "delivered-to", "message-id", "mime-version"}
_WRITTEN_HEADERS = {"from", "date", "subject"}
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
        return _RTF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _inside_zip(path, unpacked_bytes_max)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _inside_ole(path)
    if (packed := _packed(path, head)) is not None:
        return packed
    if head.lstrip().startswith(b"%PDF-") or (_PDF_HEADER.search(head[:1024]) and _ends_like_pdf(path)):
        return _PDF
    if (image := _IMAGE_SIGNATURE.match(head)) is not None:
        return Detected(Reader.IMAGE, f"image/{image.lastgroup}")
    charset = _charset(head, declared)
    decoded = decode_text(head, charset=charset)
    if decoded is None:
        return _binary(head)
    return _text(decoded[0], filename=filename, declared=declared, charset=charset)


def _packed(path: Path, head: bytes) -> Detected | None:
    """TAR, and what gzip and the like have packed: a TAR or a single file."""
    if is_tar(head):
        return _TAR
    for magic, kind in _CLOSED_ARCHIVES:
        if head.startswith(magic):
            raise failures.closed_archive(kind)
    for pattern, content_type in _COMPRESSED:
        if pattern.match(head):
            reader = Reader.ARCHIVE if is_tar(head_of(path, content_type)) else Reader.COMPRESSED
            return Detected(reader, content_type)
    return None


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


def _text(text: str, *, filename: str, declared: str | None, charset: str | None) -> Detected:
    found = _plain_to_see(text)
    claimed = _claimed(text, filename, declared)
    if found is None or (found is _JSON and claimed is _NOTEBOOK):  # a notebook is JSON, and may begin with anything
        found = claimed or _by_content(text) or _PLAIN
    return Detected(found.reader, found.content_type, charset)


def _plain_to_see(text: str) -> Detected | None:
    if _is_mail(text):
        return _EMAIL
    unmarked = clean(text)
    return next((detected for pattern, detected in _PLAIN_TO_SEE if pattern.match(unmarked)), None)


def _is_mail(text: str) -> bool:
    """By the names of the lines up to the first blank one."""
    names: set[str] = set()
    for line in clean(text[:HEAD_BYTES]).split("\n")[:_HEADER_LINES_MAX]:
        if not line.strip():
            break
        match = _HEADER_LINE.match(line)
        if match is None or (match[1] is None and not names):
            return False
        names.add((match[1] or "").lower())
    return bool(names & _TRANSPORT_HEADERS and names & {"from", "subject"}) or names >= _WRITTEN_HEADERS


def _claimed(text: str, filename: str, declared: str | None) -> Detected | None:
    """What the name says, else the sender, unless the content speaks against it."""
    by_name = _BY_SUFFIX.get(PurePosixPath(filename).suffix.lower())
    by_type = _BY_DECLARED.get(declared.partition(";")[0].strip().lower()) if declared is not None else None
    for claim in (by_name, by_type):
        if claim is not None and (claim not in _EVIDENCE or _EVIDENCE[claim].match(text)):
            return claim
    return None


def _by_content(text: str) -> Detected | None:
    try:
        return _BY_DETECTED.get(kreuzberg.detect_mime_type(text.encode(errors="replace")))
    except (RuntimeError, kreuzberg.KreuzbergError):  # it knows no name for it
        return None


def _binary(head: bytes) -> Detected:
    try:
        content_type = kreuzberg.detect_mime_type(head)
    except (RuntimeError, kreuzberg.KreuzbergError):
        content_type = "unknown"
    if content_type in _IMAGES:
        return Detected(Reader.IMAGE, content_type)
    family = content_type.partition("/")[0]
    if family == "image":
        raise failures.image_unread()
    if family in ("audio", "video"):
        raise failures.unsupported("The file is a recording, and speech is not read.")
    raise failures.unsupported("The file's format is not known.")


def _inside_zip(path: Path, unpacked_bytes_max: int) -> Detected:
    with failures.parsing(), zipfile.ZipFile(path) as container:
        members = container.infolist()
        mimetype = container.open("mimetype").read(200).decode("latin-1").strip() if _small(members) else ""
    names = {member.filename for member in members}
    if not mimetype.startswith("application/") and "[Content_Types].xml" not in names:
        return _ZIP
    if any(member.flag_bits & 1 for member in members):
        raise failures.encrypted()
    texts = (member for member in members if not MEDIA.search(member.filename))
    if sum(member.file_size for member in texts) > unpacked_bytes_max:
        raise failures.too_large()
    if mimetype in _MIMETYPE_MEMBERS:
        return Detected(Reader.BOOK if mimetype == _EPUB else Reader.FILE, mimetype)
    for prefix, detected in _OOXML_PARTS:
        if any(name.startswith(prefix) for name in names):
            return detected
    raise failures.unsupported("This kind of office file is not read.")


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
