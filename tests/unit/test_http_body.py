"""Bodies and forms as streams, fed message by message."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from s4.kernel.errors import InvalidRequest, PayloadTooLarge, S4Error, UnsupportedMediaType
from s4.platform.http.body import raw_body
from s4.platform.http.multipart import FilePart, MultipartStream

FORM = "multipart/form-data; boundary=edge"


def request_of(chunks: Iterable[bytes], *, ends: str = "complete", **headers: str) -> Request:
    """A request whose body arrives as `chunks`; it then is complete, silent or disconnected."""
    messages: list[Message] = [{"type": "http.request", "body": c, "more_body": True} for c in chunks]
    if ends == "complete":
        messages.append({"type": "http.request", "body": b"", "more_body": False})
    elif ends == "disconnected":
        messages.append({"type": "http.disconnect"})
    pending = iter(messages)

    async def receive() -> Message:
        for message in pending:
            return message
        await asyncio.Event().wait()
        raise AssertionError("nobody sets that event")

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def part(name: str, content: bytes, *, filename: str | None = None, extra: str = "") -> bytes:
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    return f"--edge\r\nContent-Disposition: {disposition}{extra}\r\n\r\n".encode() + content + b"\r\n"


def form_of(chunks: Iterable[bytes], *, ends: str = "complete", **headers: str) -> MultipartStream:
    return MultipartStream(
        request_of(chunks, ends=ends, **{"content_type": FORM, **headers}),
        field_names={"metadata", "key"},
        fields_bytes_max=1000,
        file_bytes_max=100_000,
        idle_seconds_max=5,
        seconds_max=30,
    )


async def content_of(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def read(form: MultipartStream) -> tuple[FilePart, bytes, dict[str, str]]:
    file = await form.next_file()
    content = await content_of(file.chunks)
    return file, content, await form.finish()


CONTENT = b"first line\r\n--edg not the edge\r\n-" + bytes(range(256)) + b"\r\n"
BODY = (
    part("metadata", b'{"a": 1}')
    + part("file", CONTENT, filename="a.bin", extra="\r\nContent-Type: image/png")
    + part("key", "schlüssel".encode())
    + b"--edge--\r\n"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
async def test_a_form_is_read_however_it_is_cut(size: int) -> None:
    file, content, fields = await read(form_of([BODY[i : i + size] for i in range(0, len(BODY), size)]))

    assert (file.filename, file.content_type, content) == ("a.bin", "image/png", CONTENT)
    assert fields == {"metadata": '{"a": 1}', "key": "schlüssel"}


async def test_the_file_arrives_before_the_rest_of_the_body_was_sent() -> None:
    form = form_of([part("file", b"x" * 5000, filename="a")[:-2]], ends="silent")

    file = await form.next_file()

    assert await anext(aiter(file.chunks)) == b"x" * 5000


async def test_an_empty_file_is_a_file() -> None:
    _, content, fields = await read(form_of([part("file", b"", filename="e.txt") + b"--edge--"]))

    assert content == b""
    assert fields == {}


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        ('; filename="a.txt"', "a.txt"),
        ('; filename="../../etc/passwd"', "passwd"),
        ('; filename="na\u00efve \u8868.txt"', "na\u00efve \u8868.txt"),
        ('; filename="say %22hi%22.txt"', 'say "hi".txt'),
        ('; filename="say \\"hi\\".txt"', 'say "hi".txt'),
        ("; filename*=UTF-8''na%C3%AFve.txt", "na\u00efve.txt"),
        ("; filename=\"plain.txt\"; filename*=UTF-8''other.txt", "plain.txt"),
        ("; filename=bare.txt", "bare.txt"),
        ('; filename=""', "unnamed"),
        ('; filename="a;b.txt"', "a;b.txt"),
    ],
)
async def test_filenames_are_read_and_made_safe(parameters: str, filename: str) -> None:
    body = f'--edge\r\nContent-Disposition: form-data; name="file"{parameters}\r\n\r\nx\r\n--edge--\r\n'

    file, _, _ = await read(form_of([body.encode()]))

    assert file.filename == filename
    assert file.content_type == "application/octet-stream"


FILE = part("file", b"x", filename="a")
END = b"--edge--\r\n"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "cut off"),
        (END, "no file"),
        (part("key", b"k") + END, "no file"),
        (part("file", b"x") + END, "no filename"),
        (FILE, "cut off"),
        (FILE[:-3], "cut off"),
        (FILE + FILE + END, "two files"),
        (part("key", b"a") + part("key", b"b") + FILE + END, "twice"),
        (part("metdata", b"{}") + FILE + END, "does not know"),
        (FILE + part("other", b"x", filename="b") + END, "does not know"),
        (part("key", b"k" * 600) + FILE + part("metadata", b"k" * 600) + END, "larger than"),
        (part("key", b"\xff\xfe") + FILE + END, "not UTF-8"),
        (part("key", b"a\x00b") + FILE + END, "NUL"),
        (b"nonsense", "not a well-formed"),
        (b"--edge\r\nBad Header: x\r\n\r\n", "not a well-formed"),
        (b"--edge\r\nX: " + b"y" * 10_000, "not a well-formed"),
        (b"--edge\r\n" + b"X: y\r\n" * 20 + b"\r\n", "not a well-formed"),
        (b"--edge\r\nContent-Type: a/b\r\n\r\nx\r\n" + END, "Content-Disposition"),
        (b"--edge\r\nContent-Disposition: attachment; name=file\r\n\r\nx\r\n" + END, "Content-Disposition"),
        (
            part("file", b"eA==", filename="a", extra="\r\nContent-Transfer-Encoding: base64") + END,
            "as they are",
        ),
    ],
)
async def test_a_form_that_is_wrong_is_refused_in_words(body: bytes, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        await read(form_of([body]))


async def test_a_body_that_goes_on_behind_the_form_is_refused() -> None:
    form = form_of([FILE + END, *[b"x" * 10_000] * 20])

    with pytest.raises(InvalidRequest, match="closing boundary"):
        await read(form)


@pytest.mark.parametrize(
    ("content_type", "error"),
    [
        ("application/json", UnsupportedMediaType),
        ("multipart/mixed; boundary=edge", UnsupportedMediaType),
        ("multipart/form-data", InvalidRequest),
        ("multipart/form-data; boundary=", InvalidRequest),
        ("multipart/form-data; boundary=" + "x" * 300, InvalidRequest),
    ],
)
async def test_what_is_no_form_is_refused(content_type: str, error: type[S4Error]) -> None:
    with pytest.raises(error):
        await form_of([BODY], content_type=content_type).next_file()


def test_a_form_that_declares_too_much_is_refused_before_it_is_read() -> None:
    with pytest.raises(PayloadTooLarge):
        form_of([], content_length="1000000")


async def test_a_file_that_grows_too_large_is_cut_off() -> None:
    form = form_of([part("file", b"x" * 200_000, filename="a")], ends="silent")
    file = await form.next_file()

    with pytest.raises(PayloadTooLarge) as refusal:
        await content_of(file.chunks)
    assert refusal.value.details == {"bytes_max": 100_000}


async def test_a_caller_who_leaves_within_the_file_is_noticed() -> None:
    form = form_of([FILE[:-2]], ends="disconnected")
    file = await form.next_file()

    with pytest.raises(ClientDisconnect):
        await content_of(file.chunks)


async def test_finishing_before_the_file_is_read_is_our_own_mistake() -> None:
    form = form_of([BODY])
    await form.next_file()

    with pytest.raises(RuntimeError):
        await form.finish()


async def test_a_raw_body_is_passed_on_as_it_arrives() -> None:
    body = raw_body(request_of([b"ab", b"", b"c"], content_length="3"), bytes_max=3, idle_seconds_max=5, seconds_max=5)

    assert body.size_bytes == 3
    assert [chunk async for chunk in body.chunks] == [b"ab", b"c"]


async def test_a_raw_body_of_unknown_length_is_cut_off_at_the_limit() -> None:
    body = raw_body(request_of([b"ab", b"cd"], ends="silent"), bytes_max=3, idle_seconds_max=5, seconds_max=5)

    assert body.size_bytes is None
    with pytest.raises(PayloadTooLarge):
        await content_of(body.chunks)


def test_a_raw_body_that_declares_too_much_is_refused_before_it_is_read() -> None:
    with pytest.raises(PayloadTooLarge):
        raw_body(request_of([], content_length="4"), bytes_max=3, idle_seconds_max=5, seconds_max=5)


@pytest.mark.parametrize("length", ["x", "-1", "1.5", "١", "9" * 30])
def test_a_malformed_length_is_refused(length: str) -> None:
    with pytest.raises(InvalidRequest):
        raw_body(request_of([], content_length=length), bytes_max=3, idle_seconds_max=5, seconds_max=5)


async def test_a_raw_body_shorter_than_declared_is_refused() -> None:
    body = raw_body(request_of([b"ab"], content_length="3"), bytes_max=9, idle_seconds_max=5, seconds_max=5)

    with pytest.raises(InvalidRequest, match="has 2 bytes, but Content-Length announced 3"):
        await content_of(body.chunks)


async def test_a_body_that_falls_silent_is_given_up() -> None:
    body = raw_body(request_of([b"ab"], ends="silent"), bytes_max=9, idle_seconds_max=0.01, seconds_max=60)

    with pytest.raises(InvalidRequest, match="fell silent"):
        await content_of(body.chunks)


async def test_a_body_that_takes_too_long_is_given_up() -> None:
    body = raw_body(request_of([b"ab"], ends="silent"), bytes_max=9, idle_seconds_max=60, seconds_max=0.01)

    with pytest.raises(InvalidRequest, match="took longer"):
        await content_of(body.chunks)
