"""One reader per family of formats, all with the same result.

Beside `recognition`, this module is the only one that calls kreuzberg's extraction.
"""

import contextlib
import csv
import html
import io
import json
import re
import secrets
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import kreuzberg

from s4.engine.extraction import failures, markup
from s4.engine.extraction.archives import (
    Member,
    Unpacking,
    decompressed,
    inner_name,
    mailbox_members,
    tar_members,
    zip_members,
)
from s4.engine.extraction.decode import clean, decode_text
from s4.engine.extraction.kreuzberg_config import configuration
from s4.engine.extraction.limits import Limits
from s4.engine.extraction.mail import read_mail
from s4.engine.extraction.model import ExtractedText, HeadingSpan, PageSpan
from s4.engine.extraction.parts import Parts
from s4.engine.extraction.pdf import PageWriter, read_pdf
from s4.engine.extraction.recognition import Recogniser
from s4.engine.extraction.slides import in_order_shown
from s4.engine.extraction.sniff import MEDIA, Detected, Reader, detect
from s4.kernel.errors import DocumentRejected

_SLIDE_TITLE_CHARS_MAX = 200
# kreuzberg 4 deletes `&amp;`, `&lt;` and `&gt;` from Word files ("R&D" became "RD"). They pass through it as
# private-use characters of the last plane, which no font and no document uses.
_HIDDEN = {
    "amp": "\U0010fff0",
    "lt": "\U0010fff1",
    "gt": "\U0010fff2",
    "quot": "\U0010fff3",
    "apos": "\U0010fff4",
}
_HIDDEN_CODES = {38: "amp", 60: "lt", 62: "gt", 34: "quot", 39: "apos"}
_SHOWN = str.maketrans(dict(zip(_HIDDEN.values(), "&<>\"'", strict=True)))
_ENTITY = re.compile(rb"&(?:#x([0-9A-Fa-f]{1,6})|#([0-9]{1,7})|(amp|lt|gt|quot|apos));")
_MIDNIGHT = re.compile(r"(\| \d{4}-\d\d-\d\d) 00:00:00(?= \|)")  # how kreuzberg writes a cell that holds a date
_EMPTY_ROW = re.compile(r"^\|(?: *\|)+ *\n", re.MULTILINE)
_WORD_SPACE = re.compile(rb"<w:(tab|noBreakHyphen|ptab)(?:(?<=ptab) [^<>]{0,200})? ?/>")  # a tab stop has attributes
_WORD_SPACES = {
    b"tab": b'<w:t xml:space="preserve"> </w:t>',
    b"ptab": b'<w:t xml:space="preserve"> </w:t>',
    b"noBreakHyphen": b"<w:t>-</w:t>",
}
_HREF = re.compile(rb"""(\bhref\s*=\s*["'])([^"'<>&]*%[^"'<>&]*)(["'])""")
_WORD_TEXT = re.compile(r"word/[^/]+\.xml$")
_WORD_MEDIA = re.compile(r"^word/(?:media|embeddings|fonts)/")
_HTML_UNREAD = re.compile(r"<(head|svg)[\s>]|</(head|svg)\s*+>", re.IGNORECASE)
_HTML_SCRIPT = re.compile(r"<(script|style|template)\b.*?</\1", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[!/a-zA-Z][^<>]*+>")
_HTML_READ_MIN = 0.5  # of the letters: kreuzberg drops what is nested hundreds of levels deep
_HTML_FLAT = "The page is nested too deep to be understood: its text was taken without headings and tables."
_HTML_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,1000})</title", re.IGNORECASE)
# What programs write where a title should be.
_NO_TITLES = {
    "untitled",
    "unspecified",
    "(unspecified)",
    "anonymous",
    "(anonymous)",
    "powerpoint presentation",
    "word document",
}
_NO_TITLE_PREFIXES = ("Microsoft Word - ", "Microsoft PowerPoint - ")


@dataclass(slots=True)
class _Read:
    text: str
    pages: tuple[PageSpan, ...] = ()
    headings: tuple[HeadingSpan, ...] = ()
    title: str | None = None
    warnings: tuple[str, ...] = ()
    title_from_heading: bool = True


@dataclass(frozen=True, slots=True)
class _Upload:
    """What all files of an upload share: the bounds, and what is used up of them."""

    limits: Limits
    unpacking: Unpacking
    recogniser: Recogniser


def extract(path: Path, *, filename: str, declared: str | None, limits: Limits) -> ExtractedText:
    """Raises `DocumentRejected`, with `details["detected_type"]` if there is a reader for the file; `MemoryError` and
    `OSError` pass through."""
    upload = _Upload(limits, Unpacking(limits.archives), Recogniser(limits.ocr))
    extracted = _extract(path, filename, declared, upload)
    return replace(extracted, warnings=(*extracted.warnings, *upload.recogniser.warnings()))


def _extract(path: Path, filename: str, declared: str | None, upload: _Upload) -> ExtractedText:
    limits = upload.limits
    detected = detect(path, filename=filename, declared=declared, unpacked_bytes_max=limits.unpacked_bytes_max)
    try:
        read = _read(path, filename, detected, upload)
        if not read.text.strip():
            is_scan = bool(read.pages) or detected.reader is Reader.IMAGE
            raise failures.empty(paged=is_scan, recognised=is_scan and upload.recogniser.is_on)
        if len(read.text) > limits.text_chars_max:
            raise failures.too_long(limits.text_chars_max)
    except DocumentRejected as rejected:
        rejected.details["detected_type"] = detected.content_type
        raise
    blank = _blank_pages(read, is_recognised=upload.recogniser.is_on)
    warnings = tuple(dict.fromkeys(read.warnings + blank))  # a packed file has said so already
    title = _title(read)
    return ExtractedText(read.text, read.pages, read.headings, title, detected.content_type, warnings)


def _read(path: Path, filename: str, detected: Detected, upload: _Upload) -> _Read:
    match detected.reader:
        case Reader.PDF:
            return _Read(*read_pdf(path, pages_max=upload.limits.pages_max, recogniser=upload.recogniser))
        case Reader.IMAGE:
            if not upload.recogniser.is_on:
                raise failures.image_unread()
            return _Read(upload.recogniser.image(path, detected.content_type))
        case Reader.DOCX:
            return _parse(_hide_entities(path), detected.content_type)
        case Reader.SLIDES:
            return _read_slides(path, detected, upload.limits)
        case Reader.MAIL:
            return _read_mail(path, upload)
        case Reader.ARCHIVE | Reader.MAILBOX:
            return _read_archive(path, detected, upload)
        case Reader.COMPRESSED:
            return _read_compressed(path, filename, detected, upload)
        case Reader.BOOK:
            return _parse(_with_plain_addresses(path), detected.content_type)
        case Reader.FILE:
            return _parse(path, detected.content_type)
        case _:
            return _read_text(path, detected, upload.limits)


def _parse(source: Path | bytes, content_type: str) -> _Read:
    with failures.parsing():
        if isinstance(source, Path):
            result = kreuzberg.extract_file_sync(source, content_type, configuration())
        else:
            result = kreuzberg.extract_bytes_sync(source, content_type, configuration())
    content = _rows(result.content) if "sheet" in content_type else result.content
    text, headings = markup.readable(clean(content.translate(_SHOWN)))
    metadata: Any = result.metadata
    return _Read(text, (), headings, metadata.get("title") or metadata.get("subject"))


def _rows(content: str) -> str:
    """A workbook without rows that hold nothing: one stray cell far below makes hundreds of thousands of them."""
    return _MIDNIGHT.sub(r"\1", _EMPTY_ROW.sub("", content))


def _hide_entities(path: Path) -> bytes:
    """The Word file without media, its entities replaced (see `_HIDDEN`), and with what kreuzberg leaves out between
    words written as text."""

    def changed(name: str, data: bytes) -> bytes:
        if not _WORD_TEXT.match(name) or data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data
        return _WORD_SPACE.sub(lambda match: _WORD_SPACES[match[1]], _ENTITY.sub(_hidden, data))

    return _packed_anew(path, _WORD_MEDIA, changed)


def _with_plain_addresses(path: Path) -> bytes:
    """The book without pictures, its chapters' addresses as the names of their parts: kreuzberg does not find
    `chap%201.xhtml`, and leaves the chapter out without a word."""

    def changed(name: str, data: bytes) -> bytes:
        if not name.endswith(".opf"):
            return data
        return _HREF.sub(lambda match: match[1] + unquote_to_bytes(match[2]).replace(b"&", b"&amp;") + match[3], data)

    return _packed_anew(path, MEDIA, changed)


def _packed_anew(path: Path, left_out: re.Pattern[str], changed: Callable[[str, bytes], bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as packed:
        for member in source.infolist():
            if left_out.search(member.filename):
                continue
            with failures.parsing():
                data = source.read(member)
            packed.writestr(member.filename, changed(member.filename, data))
    return target.getvalue()


def _hidden(match: re.Match[bytes]) -> bytes:
    if match[3]:
        return _HIDDEN[match[3].decode()].encode()
    code = int(match[1], 16) if match[1] else int(match[2])
    if code in _HIDDEN_CODES:
        return _HIDDEN[_HIDDEN_CODES[code]].encode()
    return chr(code).encode() if 0x20 <= code < 0xD800 or 0xE000 <= code <= 0x10FFFF else b" "


def _read_slides(path: Path, detected: Detected, limits: Limits) -> _Read:
    """Plain output, since only that holds the speaker's notes, cut at markers: the boundaries that kreuzberg
    reports drift with every note."""
    mark = f"[{secrets.token_hex(8)}]"  # unknown to the file, so that its text cannot imitate one
    pages = kreuzberg.PageConfig(insert_page_markers=True, marker_format=f"\n\n{mark}\n\n")
    with failures.parsing():
        result = kreuzberg.extract_file_sync(path, detected.content_type, configuration(plain=True, pages=pages))
    slides = clean(result.content).split(mark)
    slides = slides if slides[0].strip() else slides[1:]
    with failures.parsing():
        slides = in_order_shown(path, slides)
    if len(slides) > limits.pages_max:
        raise failures.too_many_pages(len(slides), limits.pages_max)
    writer = PageWriter()
    for slide in slides:
        first, _, rest = slide.strip().partition("\n")
        has_title = 0 < len(first) <= _SLIDE_TITLE_CHARS_MAX
        blocks = [(1, first.strip()), (0, rest.strip())] if has_title else [(0, slide.strip())]
        writer.page([block for block in blocks if block[1]])
    text, spans, headings = writer.done()
    metadata: Any = result.metadata
    return _Read(text, spans, headings, metadata.get("title"))


def _read_mail(path: Path, upload: _Upload) -> _Read:
    if path.stat().st_size > upload.limits.markup_bytes_max:
        raise failures.too_large()
    with failures.parsing():
        mail = read_mail(path.read_bytes())
    text, headings, warnings = clean(mail.headers), list[HeadingSpan](), [*mail.warnings]
    for content, is_html in mail.body:
        read = _read_html(clean(content)) if is_html else _Read(clean(content).strip())
        offset = len(text) + 2
        headings += (HeadingSpan(one.level, one.title, one.char_start + offset) for one in read.headings)
        warnings += read.warnings
        text = f"{text}\n\n{read.text.rstrip()}"
    parts = Parts(text.strip(), headings, text_chars_max=upload.limits.text_chars_max)
    try:
        with upload.unpacking.deeper():
            _read_members(mail.attachments, parts, upload)
    except failures.NestedTooDeep as rejected:  # the mail itself is read in any case
        for member in mail.attachments:
            parts.refuse(member.name, rejected)
    warnings += parts.warnings
    return _Read(parts.text, (), parts.headings, mail.subject, tuple(warnings), title_from_heading=False)


def _read_archive(path: Path, detected: Detected, upload: _Upload) -> _Read:
    parts = Parts(text_chars_max=upload.limits.text_chars_max)
    with upload.unpacking.deeper():
        if detected.reader is Reader.MAILBOX:
            _read_members(mailbox_members(path), parts, upload)
        elif detected.content_type == "application/zip":
            _read_members(zip_members(path), parts, upload)
        else:
            with contextlib.closing(decompressed(path, detected.content_type)) as stream:
                _read_members(tar_members(stream, upload.unpacking), parts, upload)
    parts.demand_text()
    return _Read(parts.text, (), parts.headings, None, parts.warnings, title_from_heading=False)


def _read_members(members: Iterable[Member], parts: Parts, upload: _Upload) -> None:
    for member in members:
        upload.unpacking.count_member()
        try:
            with upload.unpacking.unpacked(member) as path:
                extracted = _extract(path, member.name, member.declared, upload)
        except failures.WholeRejected:
            raise
        except DocumentRejected as rejected:
            parts.refuse(member.name, rejected)
        else:
            parts.add(member.name, extracted)


def _read_compressed(path: Path, filename: str, detected: Detected, upload: _Upload) -> _Read:
    """One packed file is that file: it keeps its pages and gets no heading."""
    name = inner_name(filename)
    packed = Member(name, partial(decompressed, path, detected.content_type))
    with upload.unpacking.deeper(), upload.unpacking.unpacked(packed) as inside:
        extracted = _extract(inside, name, None, upload)
    warnings = extracted.warnings
    return _Read(extracted.text, extracted.pages, extracted.headings, extracted.title, warnings)


def _read_html(text: str) -> _Read:
    title = _HTML_TITLE.search(text)
    body = _without_unread(text)
    read = _parse(body.encode(), "text/html")
    words = html.unescape(_TAG.sub(" ", _HTML_SCRIPT.sub(" ", body)))
    if _letters(read.text) < _HTML_READ_MIN * _letters(words):
        lines = (" ".join(line.split()) for line in words.splitlines())
        read = _Read("\n".join(filter(None, lines)), warnings=(_HTML_FLAT,))
    read.title = markup.plain_title(html.unescape(title[1])) if title else None
    return read


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _without_unread(text: str) -> str:
    """HTML without its head and its drawings. What is opened and never closed stays, as browsers have it."""
    kept: list[str] = []
    begin, opened, done = 0, "", 0
    for tag in _HTML_UNREAD.finditer(text):
        if tag[1] and not opened:
            opened, begin = tag[1].lower(), tag.start()
        elif tag[2] and tag[2].lower() == opened:
            kept.append(text[done:begin])
            opened, done = "", tag.end()
    return "".join([*kept, text[done:]])


def _read_text(path: Path, detected: Detected, limits: Limits) -> _Read:
    marked_up = detected.reader in (Reader.HTML, Reader.MARKED_UP)
    size = path.stat().st_size
    if marked_up and size > limits.markup_bytes_max:
        raise failures.too_large()
    if not marked_up and size > 4 * limits.text_chars_max:  # no encoding takes more bytes for a character
        raise failures.too_long(limits.text_chars_max)
    decoded = decode_text(path.read_bytes(), charset=detected.charset)
    if decoded is None:
        raise failures.corrupt()
    text, warnings = clean(decoded[0]), decoded[1]
    read = _interpret(text, detected)
    read.warnings = warnings + read.warnings
    return read


def _interpret(text: str, detected: Detected) -> _Read:
    match detected.reader:
        case Reader.MARKDOWN:
            return _Read(text, (), markup.headings_of(text), markup.front_matter_title(text))
        case Reader.TABLE:
            return _Read(_table(text))
        case Reader.HTML:
            return _read_html(text)
        case Reader.NOTEBOOK:
            cells = _notebook(text)
            return _Read(cells, (), markup.headings_of(cells))
        case Reader.MARKED_UP:
            try:
                read = _parse(text.encode(), detected.content_type)
            except DocumentRejected:  # it is text in any case
                return _Read(text)
            return read if read.text.strip() else _Read(text)
        case _:
            return _Read(text)


def _table(text: str) -> str:
    """Rows as a Markdown table; kreuzberg needs fifty times the file's memory for that. Else as it is."""
    first = text.lstrip("\n").partition("\n")[0]
    delimiter = max(",;\t|", key=first.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(row)]
    except csv.Error:
        return text
    if not rows or max(map(len, rows)) < 2:
        return text
    return "\n".join(
        [
            markup.table_row(rows[0]),
            markup.table_rule(len(rows[0])),
            *(markup.table_row(row) for row in rows[1:]),
        ]
    )


def _notebook(text: str) -> str:
    """The cells of a Jupyter notebook as Markdown (kreuzberg garbles letters beyond ASCII). Else as it is."""
    try:
        cells = [(cell["cell_type"], "".join(cell["source"]).strip()) for cell in json.loads(text)["cells"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        return text
    return "\n\n".join(f"```\n{source}\n```" if kind == "code" else source for kind, source in cells if source)


def _title(read: _Read) -> str | None:
    """The title that the file states, else its first heading if that is of the first level."""
    stated = markup.plain_title(clean(read.title)) if isinstance(read.title, str) else ""
    for prefix in _NO_TITLE_PREFIXES:
        stated = stated.removeprefix(prefix)
    if stated and stated.casefold() not in _NO_TITLES:
        return stated[: markup.HEADING_TITLE_CHARS_MAX]
    first = read.headings[0] if read.headings and read.title_from_heading else None
    return first.title if first is not None and first.level == 1 else None


def _blank_pages(read: _Read, *, is_recognised: bool) -> tuple[str, ...]:
    blank = sum(1 for page in read.pages if not read.text[page.char_start : page.char_end].strip())
    if not blank:
        return ()
    where = "none was found in images (scans) either" if is_recognised else "text in images (scans) is not read"
    return (f"{blank:,} of {len(read.pages):,} pages have no text; {where}.",)
