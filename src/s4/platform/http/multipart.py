"""`multipart/form-data` (RFC 7578) as a stream: one file of any size, a few small fields, constant memory.

FastAPI's own form parser spools whole files to disk before the handler runs. Here the handler drives:

    form = MultipartStream(request, field_names={"metadata", "key"}, ...)
    file = await form.next_file()       # reads the fields that stand before the file
    async for chunk in file.chunks:     # the file, as it arrives
        ...
    fields = await form.finish()        # reads the fields that stand after it

A part that nobody asked for is an error: a misspelt `metdata` must not be lost in silence.
"""

import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from s4.kernel.errors import InvalidRequest, UnsupportedMediaType
from s4.kernel.units import KIB, human_size
from s4.platform.http.body import Refusal, declared_length, timed_chunks, too_large
from s4.platform.http.names import UNNAMED, clean_content_type, safe_filename

_FEED_BYTES = 64 * KIB  # parsed at a time, so that a chunk of countless tiny parts stays a small queue of events
_FRAMING_BYTES = 64 * KIB  # boundaries and part headers: the parser allows 8 headers of 4 KiB per part
_PLAIN_ENCODINGS = frozenset({"", "7bit", "8bit", "binary"})
_EXTENDED_NAME = re.compile(r";\s*filename\*\s*=\s*([A-Za-z0-9-]+)'[A-Za-z0-9-]*'([^\s;]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FilePart:
    """The file of a form. `chunks` can be read once and must be exhausted before `finish`."""

    filename: str
    content_type: str
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    filename: str | None
    content_type: str | None


@dataclass(frozen=True, slots=True)
class _PartEnded:
    pass


@dataclass(frozen=True, slots=True)
class _FormEnded:
    pass


_Event = _Part | bytes | _PartEnded | _FormEnded


class MultipartStream:
    """One form. Every method raises `InvalidRequest` in words that tell the caller what to mend."""

    def __init__(
        self,
        request: Request,
        *,
        field_names: Collection[str],
        fields_bytes_max: int,
        file_bytes_max: int,
        idle_seconds_max: float,
        seconds_max: float,
        file_field: str = "file",
        refusal: Refusal | None = None,
    ) -> None:
        """Raises `PayloadTooLarge`, or what `refusal` makes, when the declared length alone exceeds file, fields and
        framing."""
        self._refusal = refusal or partial(too_large, file_bytes_max)
        declared = declared_length(request)
        if declared is not None and declared > file_bytes_max + fields_bytes_max + _FRAMING_BYTES:
            raise self._refusal()
        self.file_bytes_at_most = declared
        """What the form's own length tells of the file; None when it has none."""
        self.file_bytes_at_least = max(0, (declared or 0) - fields_bytes_max - _FRAMING_BYTES)
        self._field_names = field_names
        self._file_field = file_field
        self._fields_bytes_max = fields_bytes_max
        self._file_bytes_max = file_bytes_max
        self._fields: dict[str, str] = {}
        self._fields_bytes = 0
        self._file_state = "awaited"
        self._events = _events(
            _boundary(request),
            timed_chunks(request, idle_seconds_max=idle_seconds_max, seconds_max=seconds_max),
        )

    async def next_file(self) -> FilePart:
        """Reads to where the file begins. To be called once."""
        async for event in self._events:
            if isinstance(event, _FormEnded):
                break
            if isinstance(event, _Part):
                self._check_name(event)
                if event.name != self._file_field:
                    await self._read_field(event.name)
                    continue
                self._file_state = "open"
                return FilePart(
                    safe_filename(event.filename or UNNAMED),
                    clean_content_type(event.content_type),
                    self._file_chunks(),
                )
        raise InvalidRequest(f"The form has no file: send it as the part {self._file_field!r}.")

    @property
    def fields(self) -> dict[str, str]:
        """The fields read so far: after `next_file`, those that stand before the file."""
        return dict(self._fields)

    async def finish(self) -> dict[str, str]:
        """Reads to the end of the body and returns all fields, wherever they stood."""
        if self._file_state != "read":
            raise RuntimeError("finish() comes after the chunks of next_file() are exhausted")
        async for event in self._events:
            if isinstance(event, _Part):
                self._check_name(event)
                if event.name == self._file_field:
                    raise InvalidRequest("The form has two files: send one document per request.")
                await self._read_field(event.name)
        return dict(self._fields)

    async def _file_chunks(self) -> AsyncIterator[bytes]:
        received = 0
        async for event in self._events:
            if not isinstance(event, bytes):
                break
            received += len(event)
            if received > self._file_bytes_max:
                raise self._refusal()
            yield event
        self._file_state = "read"

    async def _read_field(self, name: str) -> None:
        content = bytearray()
        async for event in self._events:
            if not isinstance(event, bytes):
                break
            self._fields_bytes += len(event)
            if self._fields_bytes > self._fields_bytes_max:
                limit = human_size(self._fields_bytes_max)
                raise InvalidRequest(f"The form's fields are larger than {limit} together.")
            content += event
        try:
            self._fields[name] = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"The form's field {name!r} is not UTF-8.") from error
        if "\x00" in self._fields[name]:
            raise InvalidRequest(f"The form's field {name!r} contains a NUL character.")

    def _check_name(self, part: _Part) -> None:
        if part.name == self._file_field:
            if part.filename is None:
                raise InvalidRequest(
                    f"The part {part.name!r} has no filename, so it is a text field, not a file "
                    f"(with curl: -F {part.name}=@path)."
                )
            return
        if part.name not in self._field_names:
            known = ", ".join(repr(name) for name in [self._file_field, *sorted(self._field_names)])
            raise InvalidRequest(
                f"The form has a part that S4 does not know; it knows {known}.",
                details={"part": safe_filename(part.name)},
            )
        if part.name in self._fields:
            raise InvalidRequest(f"The form has the field {part.name!r} twice.")


def _boundary(request: Request) -> bytes:
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data":
        raise UnsupportedMediaType("Send the document as multipart/form-data.")
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise InvalidRequest("The Content-Type multipart/form-data lacks its boundary.")
    return boundary


async def _events(boundary: bytes, body: AsyncGenerator[bytes, None]) -> AsyncIterator[_Event]:
    """Parts, their bytes and their ends, in order; then `_FormEnded`, once the whole body was read."""
    parser = _PartParser(boundary)
    epilogue_bytes = 0
    async with aclosing(body):
        async for chunk in body:
            if parser.ended:
                epilogue_bytes += len(chunk)
                if epilogue_bytes > _FRAMING_BYTES:
                    raise InvalidRequest("The body goes on after the form's closing boundary.")
                continue
            for start in range(0, len(chunk), _FEED_BYTES):
                parser.feed(chunk[start : start + _FEED_BYTES])
                while parser.events:
                    yield parser.events.popleft()
    if not parser.ended:
        raise InvalidRequest("The form ends before its closing boundary: the body is cut off.")
    yield _FormEnded()


@dataclass(slots=True)
class _PartHeaders:
    """Headers of the part that is being read, as raw bytes; names in lower case."""

    values: dict[bytes, bytes] = field(default_factory=dict)
    name: bytes = b""
    value: bytes = b""

    def end_header(self) -> None:
        self.values[self.name.lower()] = self.value.strip()
        self.name = self.value = b""

    def part(self) -> _Part:
        # As Latin-1 every byte survives parsing; names are then read as UTF-8, which is what browsers send.
        disposition = self.values.get(b"content-disposition", b"").decode("latin-1")
        kind, options = parse_options_header(disposition)
        if kind != b"form-data" or b"name" not in options:
            raise InvalidRequest("A part of the form lacks its Content-Disposition with a name.")
        encoding = self.values.get(b"content-transfer-encoding", b"").decode("latin-1").lower()
        if encoding not in _PLAIN_ENCODINGS:
            raise InvalidRequest("Parts of a form are sent as they are, without a Content-Transfer-Encoding.")
        content_type = self.values.get(b"content-type")
        return _Part(
            _text(options[b"name"]),
            _filename(disposition, options.get(b"filename")),
            content_type.decode("latin-1") if content_type is not None else None,
        )


class _PartParser:
    """`python_multipart`'s push parser, its callbacks turned into a queue of events."""

    def __init__(self, boundary: bytes) -> None:
        self.events: deque[_Event] = deque()
        self.ended = False
        self._headers = _PartHeaders()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": lambda: self._headers.end_header(),
                    "on_headers_finished": lambda: self.events.append(self._headers.part()),
                    "on_part_data": lambda data, start, end: self.events.append(data[start:end]),
                    "on_part_end": lambda: self.events.append(_PartEnded()),
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise InvalidRequest("The form's boundary is too long.") from error

    def feed(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise InvalidRequest(
                "The body is not a well-formed multipart form: a boundary or a part's header is malformed."
            ) from error

    def _on_part_begin(self) -> None:
        self._headers = _PartHeaders()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._headers.name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._headers.value += data[start:end]

    def _on_end(self) -> None:
        self.ended = True


def _filename(disposition: str, plain: bytes | None) -> str | None:
    """RFC 7578 forbids `filename*`, some clients send nothing else: it counts where `filename` is absent."""
    if plain is not None:
        # Browsers and httpx send a quotation mark as %22 and leave the percent sign itself alone.
        return _text(plain).replace("%22", '"')
    extended = _EXTENDED_NAME.search(disposition)
    if extended is None:
        return None
    encoded = unquote_to_bytes(extended[2])
    return _text(encoded) if extended[1].lower() == "utf-8" else encoded.decode("latin-1")


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
