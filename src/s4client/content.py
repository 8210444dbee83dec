"""What travels: sources of uploads, the bodies made of them, and where downloads go.

Nothing is read whole. A body can be sent again when its source can be read again; a download can go on where
it broke when the server still serves the same revision.
"""

import base64
import contextlib
import hashlib
import json
import mimetypes
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from s4client.errors import DownloadCorrupt, DownloadInterrupted, FileChanged, InvalidArgument, S4ConnectionError

UploadContent = str | os.PathLike[str] | bytes | BinaryIO | Iterable[bytes]
"""A path (also as `str`), bytes, a binary file, or pieces of bytes."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes of the file that have gone, and how many there are (None while that is not known).

The first grows from call to call and ends at the second, however often a request is repeated.
"""

PIECE_BYTES = 256 * 1024
"""Large enough that the asynchronous client's hop to a thread does not matter, small beside a process."""

FALLBACK_CONTENT_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes to upload. `open` starts from the beginning; more than once only if `reopenable`."""

    open: Callable[[], Iterator[bytes]]
    size_bytes: int | None
    filename: str | None
    reopenable: bool


def source_of(content: UploadContent) -> Source:
    """Raises `OSError` for a path that cannot be read and `InvalidArgument` for a text file."""
    if isinstance(content, bytes | bytearray | memoryview):
        view = memoryview(content)
        return Source(lambda: _slices(view), len(view), None, reopenable=True)
    if isinstance(content, str | os.PathLike):
        return _source_of_path(Path(content))
    if hasattr(content, "read"):
        return _source_of_file(cast(BinaryIO, content))
    return Source(lambda: iter(content), None, None, reopenable=False)


def _slices(view: memoryview) -> Iterator[bytes]:
    for start in range(0, len(view), PIECE_BYTES):
        yield bytes(view[start : start + PIECE_BYTES])


def _source_of_path(path: Path) -> Source:
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():  # before opening: a pipe would block
        raise InvalidArgument(f"{path} is not a regular file: open it and give what it is open as.")
    with path.open("rb") as file:
        found = os.fstat(file.fileno())

    def is_as_found(file: BinaryIO) -> bool:
        now = os.fstat(file.fileno())
        return (now.st_ino, now.st_size, now.st_mtime_ns) == (found.st_ino, found.st_size, found.st_mtime_ns)

    def read() -> Iterator[bytes]:
        """The last piece is held back until it is certain that all pieces are of one state of the file."""
        held = b""
        left_bytes = found.st_size
        with path.open("rb") as file:
            while left_bytes > 0 and (piece := file.read(min(PIECE_BYTES, left_bytes))):
                if held:
                    yield held
                held = piece
                left_bytes -= len(piece)
            if left_bytes or not is_as_found(file):
                raise FileChanged(f"{path} changed while it was being uploaded.")
        if held:
            yield held

    return Source(read, found.st_size, path.name, reopenable=True)


def _source_of_file(file: BinaryIO) -> Source:
    if isinstance(file.read(0), str):
        raise InvalidArgument("The file is open as text: open it in binary mode.")
    name = getattr(file, "name", None)
    filename = Path(name).name if isinstance(name, str) else None
    if not file.seekable():
        return Source(lambda: _pieces(file), None, filename, reopenable=False)
    start = file.tell()
    size_bytes = file.seek(0, os.SEEK_END) - start
    file.seek(start)

    def read() -> Iterator[bytes]:
        file.seek(start)
        yield from _pieces(file)

    return Source(read, size_bytes, filename, reopenable=True)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


class Meter:
    """Reports progress that never goes back: what is sent or received again is not counted again."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._shown: tuple[int, int | None] = (-1, None)

    def at(self, position_bytes: int, total_bytes: int | None) -> None:
        reached = max(position_bytes, self._shown[0])
        if total_bytes is not None:
            reached = min(reached, total_bytes)
        if self._progress is not None and (reached, total_bytes) != self._shown:
            self._shown = (reached, total_bytes)
            self._progress(reached, total_bytes)


class Body:
    """A request's body: a source between a head and a tail. The transport tells by `sent` what has gone."""

    def __init__(
        self,
        source: Source,
        *,
        content_type: str,
        head: bytes = b"",
        tail: bytes = b"",
        progress: Progress | None = None,
    ) -> None:
        self.content_type = content_type
        self._source = source
        self._head = head
        self._tail = tail
        self._meter = Meter(progress)
        self._sent_bytes = 0
        self._opened = False

    @property
    def length_bytes(self) -> int | None:
        size_bytes = self._source.size_bytes
        return None if size_bytes is None else len(self._head) + size_bytes + len(self._tail)

    @property
    def can_be_sent(self) -> bool:
        """False once a source that can be read only once was begun."""
        return self._source.reopenable or not self._opened

    def pieces(self) -> Iterator[bytes]:
        self._opened = True
        self._sent_bytes = -len(self._head)
        if self._head:
            yield self._head
        yield from self._source.open()
        if self._tail:
            yield self._tail

    def sent(self, count_bytes: int) -> None:
        self._sent_bytes += count_bytes
        self._meter.at(max(0, self._sent_bytes), self._source.size_bytes)

    def sent_all(self) -> None:
        """All pieces have gone: now the size is known in any case."""
        size_bytes = self._sent_bytes - len(self._tail)
        self._meter.at(size_bytes, size_bytes)


def guess_content_type(filename: str) -> str:
    return mimetypes.guess_type(filename)[0] or FALLBACK_CONTENT_TYPE


def multipart(
    source: Source, *, fields: Mapping[str, str], filename: str, content_type: str, progress: Progress | None
) -> Body:
    """`multipart/form-data`, the file last: a server that refuses the fields need not read the file."""
    boundary = secrets.token_hex(16)
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quoted(filename)}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    return Body(
        source,
        content_type=f"multipart/form-data; boundary={boundary}",
        head=head.encode("utf-8", errors="surrogateescape"),
        tail=f"\r\n--{boundary}--\r\n".encode(),
        progress=progress,
    )


def _quoted(text: str) -> str:
    """A quoted-string of RFC 9110 5.6.4; line ends, which none may hold, as HTML forms write them."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return text.replace("\r", "%0D").replace("\n", "%0A")


def metadata_json(metadata: Mapping[str, Any]) -> str:
    """ASCII, so that it fits a header as well."""
    try:
        return json.dumps(dict(metadata), allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"The metadata cannot be written as JSON: {error}.") from error


class Download:
    """A sink that goes on where a broken answer stopped, if the server still serves the same revision.

    Without an `output` its driver hands the pieces on to whoever iterates over them.
    """

    def __init__(self, output: BinaryIO | None, *, progress: Progress | None = None) -> None:
        self.received_bytes = 0
        self.etag: str | None = None
        self.content_type: str | None = None
        self._output = output
        self._start = output.tell() if output is not None and output.seekable() else None
        self._meter = Meter(progress)
        self._total_bytes: int | None = None
        self._digest: str | None = None
        self._hash = hashlib.sha256()

    def headers(self) -> dict[str, str]:
        """For the next attempt. Never compressed: a range counts the bytes of the document."""
        headers = {"Accept-Encoding": "identity"}
        if self.received_bytes and self.etag is not None:
            headers |= {"Range": f"bytes={self.received_bytes}-", "If-Range": self.etag}
        return headers

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        etag = headers.get("etag")
        if status == 206:
            resumes = headers.get("content-range", "").startswith(f"bytes {self.received_bytes}-")
            if not resumes or etag != self.etag:
                self._restart()
                raise S4ConnectionError("The document changed while it was being downloaded.", sent=True)
            return
        self._restart()
        self.etag = etag
        self.content_type = headers.get("content-type")
        self._digest = sha256_in(headers.get("repr-digest", ""))
        length = headers.get("content-length", "")
        self._total_bytes = int(length) if length.isdigit() else None
        self._meter.at(0, self._total_bytes)

    def write(self, piece: bytes) -> None:
        self._hash.update(piece)
        if self._output is not None:
            self._output.write(piece)

    def received(self, count_bytes: int) -> None:
        self.received_bytes += count_bytes
        self._meter.at(self.received_bytes, self._total_bytes)

    def check(self) -> None:
        """Raises `DownloadCorrupt` if the server sent the document's digest and this is not it."""
        if self._digest is not None and base64.b64encode(self._hash.digest()).decode() != self._digest:
            raise DownloadCorrupt("The bytes that arrived do not match the document's SHA-256.")

    def _restart(self) -> None:
        if self.received_bytes:
            if self._output is None or self._start is None:
                raise DownloadInterrupted(
                    "The document changed while it was being downloaded, and what was handed on cannot be taken back."
                )
            self._output.seek(self._start)
            self._output.truncate()
        self.received_bytes = 0
        self.etag = None
        self._hash = hashlib.sha256()


def sha256_in(repr_digest: str) -> str | None:
    """In base64, from a field of RFC 9530."""
    match = re.search(r"sha-256=:([A-Za-z0-9+/=]+):", repr_digest)
    return match[1] if match else None


@contextlib.contextmanager
def output_to(target: str | os.PathLike[str] | BinaryIO) -> Iterator[BinaryIO]:
    """A file is there whole or not at all: it is written beside its place and moved there at the end."""
    if not isinstance(target, str | os.PathLike):
        yield target
        return
    path = Path(target)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
