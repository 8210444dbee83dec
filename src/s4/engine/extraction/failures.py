"""Why a document is refused, each as a sentence that tells a tenant what to do next."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import kreuzberg

from s4.kernel.errors import DocumentRejected

_FORMATS = "PDF, Word, PowerPoint, Excel, OpenDocument, EPUB, RTF, HTML, e-mail, Markdown, CSV and plain text"

# What kreuzberg, zipfile and the like raise on input that is not what it claims to be.
_PARSER_ERRORS = (
    kreuzberg.KreuzbergError,
    RuntimeError,
    ValueError,
    LookupError,
    EOFError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


@contextmanager
def parsing() -> Iterator[None]:
    """Around calls of foreign parsers only: their errors are the file's fault, ours are not."""
    try:
        yield
    except _PARSER_ERRORS as error:
        words = str(error).lower()  # kreuzberg says why only in words
        if "password" in words or "encrypted" in words:
            raise encrypted() from error
        if "security limit" in words or "too large" in words:
            raise too_large() from error
        raise corrupt() from error


def corrupt() -> DocumentRejected:
    return DocumentRejected(
        "The file is damaged or incomplete and cannot be read. Open it in the program that made it, save it "
        "anew and upload that.",
        code="corrupt",
    )


def encrypted() -> DocumentRejected:
    return DocumentRejected(
        "The file is protected by a password. Remove the protection and upload it again.", code="encrypted"
    )


def archive() -> DocumentRejected:
    return DocumentRejected(
        "Archives are not opened. Unpack it and upload the files in it one by one.", code="unsupported_format"
    )


def unsupported(reason: str) -> DocumentRejected:
    return DocumentRejected(f"{reason} Upload one of: {_FORMATS}.", code="unsupported_format")


def too_many_pages(count: int, pages_max: int) -> DocumentRejected:
    return DocumentRejected(
        f"The document has {count:,} pages; at most {pages_max:,} are taken. Split it and upload the parts.",
        code="too_many_pages",
    )


def too_large() -> DocumentRejected:
    return DocumentRejected(
        "Unpacked, the file is larger than may be read. Split it and upload the parts.", code="resource_limit"
    )


def too_long(text_chars_max: int) -> DocumentRejected:
    return DocumentRejected(
        f"The document's text is longer than {text_chars_max:,} characters. Split it and upload the parts.",
        code="text_too_long",
    )


def empty(*, paged: bool) -> DocumentRejected:
    if paged:
        return DocumentRejected(
            "No text was found: the pages seem to be images (scans) or blank. Run text recognition (OCR) on "
            "the file and upload the result.",
            code="empty",
        )
    return DocumentRejected("No text was found in the file. Check it and upload it again.", code="empty")
