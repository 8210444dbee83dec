"""Files inside a file: what ZIP, TAR, mailboxes and compressed files hold, one member after the other.

A member is copied to a temporary file with a name of ours, read, and removed. Its own name is only shown, never
used as a path. Sizes that an archive states are not believed: what is really unpacked is counted on the way, over
all nested archives together, and the count ends it (`Unpacking`).
"""

import bz2
import contextlib
import email
import gzip
import io
import lzma
import mailbox
import re
import tarfile
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from tarfile import InvalidHeaderError, ReadError, TruncatedHeaderError  # type: ignore[attr-defined]
from typing import IO, Any, Self, cast

from s4.engine.extraction import failures
from s4.engine.extraction.decode import guess_charset
from s4.engine.extraction.limits import ArchiveLimits
from s4.engine.extraction.mail_headers import BOUNDED
from s4.kernel.errors import DocumentRejected
from s4.kernel.units import MIB

NAME_CHARS_MAX = 200  # of a member's name as a heading; the end is kept, where the file's name is
_READS_AT_END_MAX = 4  # whoever has come to an honest end asks once or twice more
_COPY_BYTES = MIB
# What operating systems leave in archives and no person means.
_LITTER = re.compile(r"(?:^|/)(?:__MACOSX/|\.DS_Store$|\._[^/]*$|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)
# How the standard library's parser fails on malformed mail.
MALFORMED = (AttributeError, TypeError, LookupError, ValueError, RecursionError)
_UTF8_FLAG = 0x800
_ENCRYPTED_FLAG = 0x1
_OPENERS: dict[str, Callable[[Path], Any]] = {
    "application/gzip": gzip.GzipFile,
    "application/x-bzip2": bz2.BZ2File,
    "application/x-xz": lzma.LZMAFile,
}


@dataclass(frozen=True, slots=True)
class Member:
    """`name` is clean; `declared` is the type that the container states, if any. `open` raises `DocumentRejected`."""

    name: str
    open: Callable[[], IO[bytes]]
    declared: str | None = None
    counted: bool = False  # the bytes are counted where they come from


class Unpacking:
    """What one document may still unpack. Shared by all its containers, however they are nested."""

    def __init__(self, limits: ArchiveLimits) -> None:
        self._limits = limits
        self._depth = 0
        self._members = 0
        self._bytes = 0

    @contextlib.contextmanager
    def deeper(self) -> Iterator[None]:
        """Around the members of a container. Raises `DocumentRejected`."""
        if self._depth >= self._limits.depth_max:
            raise failures.nested_too_deep()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def count_member(self) -> None:
        self._members += 1
        if self._members > self._limits.members_max:
            raise failures.too_many_members(self._limits.members_max)

    def count_bytes(self, count: int) -> None:
        self._bytes += count
        if self._bytes > self._limits.bytes_max:
            raise failures.too_much_unpacked(self._limits.bytes_max)

    @contextlib.contextmanager
    def unpacked(self, member: Member) -> Iterator[Path]:
        """The member as a temporary file. Raises `DocumentRejected`."""
        with tempfile.NamedTemporaryFile(prefix="member-") as target:
            with contextlib.closing(member.open()) as source:
                self._copy(source, target, counted=member.counted)
            target.flush()
            yield Path(target.name)

    def _copy(self, source: IO[bytes], target: IO[bytes], *, counted: bool) -> None:
        copied = 0
        while chunk := _read(source, _COPY_BYTES):
            copied += len(chunk)
            if not counted:
                self.count_bytes(len(chunk))
            if copied > self._limits.member_bytes_max:
                raise failures.member_too_large(self._limits.member_bytes_max)
            target.write(chunk)


def zip_members(path: Path) -> Iterator[Member]:
    with failures.parsing(), zipfile.ZipFile(path) as container:
        for info in container.infolist():
            if info.is_dir() or info.file_size == 0 or is_litter(info.filename):
                continue
            yield Member(clean_name(_zip_name(info)), partial(_open_in_zip, container, info))


def _open_in_zip(container: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    if info.flag_bits & _ENCRYPTED_FLAG:
        raise failures.encrypted()
    try:
        with failures.parsing():
            return container.open(info)
    except DocumentRejected as rejected:
        if isinstance(rejected.__cause__, NotImplementedError):
            raise failures.unknown_packing() from rejected
        raise


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Without the flag for UTF-8, a name is in the code page of the machine that packed it."""
    if info.flag_bits & _UTF8_FLAG:
        return info.filename
    data = info.filename.encode("cp437", errors="replace")
    for charset in ("utf-8", None):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode(charset or guess_charset(data) or "cp437")  # which has the umlauts of its European kin
    return info.filename


def is_tar(head: bytes) -> bool:
    """By the checksum of the first header; old archives have no magic number."""
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def tar_members(stream: IO[bytes], unpacking: Unpacking) -> Iterator[Member]:
    """Read from the front to the end, never sought. Links, devices and the like are no files."""
    counting = cast(IO[bytes], _Counted(stream, unpacking))
    with failures.parsing(), tarfile.open(fileobj=counting, mode="r|", tarinfo=_Header) as container:
        for info in container:
            if not info.isreg() or info.issparse() or info.size == 0 or is_litter(info.name):
                continue
            yield Member(clean_name(info.name), partial(_open_in_tar, container, info), counted=True)


class _Header(tarfile.TarInfo):
    """`tarfile` takes a damaged header in the middle for the end of the archive, and the rest is lost in silence."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:  # the parent's name of the argument
        try:
            return super().fromtarfile(tarfile)
        except (InvalidHeaderError, TruncatedHeaderError) as error:
            raise ReadError("damaged header") from error


def _open_in_tar(container: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    source = container.extractfile(info)
    assert source is not None, "a regular file"
    return source


def decompressed(path: Path, content_type: str) -> IO[bytes]:
    """The content of a file that gzip, bzip2 or xz has packed; the file as it is for other types."""
    opener = _OPENERS.get(content_type)
    return cast(IO[bytes], opener(path)) if opener is not None else path.open("rb")


def inner_name(filename: str) -> str:
    """`report.pdf` of `report.pdf.gz`."""
    name = PurePosixPath(filename)
    return name.stem if name.suffix.lower() in (".gz", ".bz2", ".xz") else name.name


def head_of(path: Path, content_type: str) -> bytes:
    """The first bytes inside a compressed file. Raises `DocumentRejected`."""
    with contextlib.closing(decompressed(path, content_type)) as stream:
        return _read(stream, tarfile.BLOCKSIZE)


def mailbox_members(path: Path) -> Iterator[Member]:
    """The messages of an mbox file, by their subjects."""
    with failures.parsing(), contextlib.closing(mailbox.mbox(path, create=False)) as box:
        for number, key in enumerate(box.iterkeys(), 1):
            data = box.get_bytes(key)
            yield Member(f"{number} {mail_name(data)}", partial(io.BytesIO, data), "message/rfc822")


def mail_name(data: bytes) -> str:
    """What a mail without a file name is shown as: its subject."""
    subject = None
    with contextlib.suppress(*MALFORMED):
        subject = email.message_from_bytes(data[:_COPY_BYTES], policy=BOUNDED)["subject"]
    return clean_name(f"{str(subject).replace('/', ' ')}.eml" if subject else "mail.eml")


def is_litter(name: str) -> bool:
    return _LITTER.search(name.replace("\\", "/")) is not None


def clean_name(name: str) -> str:
    """A member's path to show: no control or format characters, which could turn the line around, no `..`."""
    visible = "".join(char for char in name if unicodedata.category(char)[0] != "C" or char == " ")
    parts = [" ".join(part.split()) for part in visible.replace("\\", "/").split("/")]
    path = "/".join(part for part in parts if part not in ("", ".", ".."))
    if len(path) > NAME_CHARS_MAX:
        path = f"…{path[1 - NAME_CHARS_MAX :]}"
    return path or "unnamed"


class _Counted:
    """A stream whose bytes are counted when they are read. Only what `tarfile` asks of a stream."""

    def __init__(self, stream: IO[bytes], unpacking: Unpacking) -> None:
        self._stream = stream
        self._unpacking = unpacking
        self._reads_at_end = 0

    def read(self, size: int) -> bytes:
        data = _read(self._stream, size)
        self._unpacking.count_bytes(len(data))
        self._reads_at_end += not data
        if self._reads_at_end > _READS_AT_END_MAX:
            # A member that claims a terabyte is skipped block by block, whether or not there are any.
            raise ReadError("ends early")
        return data


def _read(stream: IO[bytes], size: int) -> bytes:
    """Raises `DocumentRejected` for damage, `OSError` for the machine's faults; gzip and bz2 mix them up."""
    try:
        with failures.parsing():
            return stream.read(size)
    except OSError as error:
        if error.errno is None:
            raise failures.corrupt() from error
        raise
