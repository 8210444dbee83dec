"""Why a document is refused, each as a sentence that tells a tenant what to do next."""

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import kreuzberg

from s4.kernel.errors import DocumentRejected
from s4.kernel.units import human_size

_FORMATS = (
    "PDF, Word, PowerPoint, Excel, OpenDocument, EPUB, RTF, HTML, e-mail, Markdown, CSV, plain text, or these in a ZIP"
)

_REASONS_SHOWN = 3  # of an archive of which nothing was read; the message stays a few sentences

# What kreuzberg, zipfile and the like raise on input that is not what it claims to be.
_PARSER_ERRORS = (
    kreuzberg.KreuzbergError,
    RuntimeError,
    ValueError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)


class WholeRejected(DocumentRejected):
    """Ends the document even when one member of an archive is the cause: what all members share is used up."""

    @classmethod
    def of(cls, rejected: DocumentRejected) -> "WholeRejected":
        return cls(rejected.message, code=rejected.code)


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


def closed_archive(kind: str) -> DocumentRejected:
    return DocumentRejected(
        f"{kind} archives are not opened. Pack the files as a ZIP and upload that.", code="unsupported_format"
    )


def unknown_packing() -> DocumentRejected:
    return DocumentRejected(
        "It is packed in a way that is not read. Pack it anew as an ordinary ZIP and upload that.",
        code="unsupported_format",
    )


class NestedTooDeep(DocumentRejected):
    """A container within as many others as are opened."""


def nested_too_deep() -> NestedTooDeep:
    return NestedTooDeep("It is nested too deep to be opened. Upload it by itself.", code="resource_limit")


def member_too_large(bytes_max: int) -> DocumentRejected:
    return DocumentRejected(
        f"Unpacked, it is larger than {human_size(bytes_max)}. Upload it by itself.", code="resource_limit"
    )


def too_many_members(members_max: int) -> DocumentRejected:
    return WholeRejected(
        f"The archive holds more than {members_max:,} files. Split it and upload the parts.", code="resource_limit"
    )


def too_much_unpacked(bytes_max: int) -> DocumentRejected:
    return WholeRejected(
        f"Unpacked, the archive is larger than {human_size(bytes_max)}. Split it and upload the parts.",
        code="resource_limit",
    )


def nothing_read(reasons: Sequence[tuple[str, str]], more: int) -> DocumentRejected:
    """`reasons`: a code and a sentence for each member, `more` that are not among them."""
    if not reasons:
        return DocumentRejected("There is no file in the archive. Check it and upload it again.", code="empty")
    codes = {code for code, _ in reasons}
    listed = " ".join(sentence for _, sentence in reasons[:_REASONS_SHOWN])
    others = more + len(reasons[_REASONS_SHOWN:])
    return DocumentRejected(
        f"No file in the archive could be read: {listed}" + (f" And {others:,} more." if others else ""),
        code=codes.pop() if len(codes) == 1 else "unsupported_format",
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


def image_unread() -> DocumentRejected:
    return unsupported("The file is an image, and text in images is not read.")


def empty(*, paged: bool, recognised: bool = False) -> DocumentRejected:
    if recognised:
        return DocumentRejected(
            "No text was found, not even by recognition in its images. If there is some, scan it anew, upright and "
            "with 300 dots per inch.",
            code="empty",
        )
    if paged:
        return DocumentRejected(
            "No text was found: the pages seem to be images (scans) or blank. Run text recognition (OCR) on "
            "the file and upload the result.",
            code="empty",
        )
    return DocumentRejected("No text was found in the file. Check it and upload it again.", code="empty")
