"""The client against a server on a real socket. What both drivers share is tested with both."""

import ast
import asyncio
import base64
import hashlib
import inspect
import io
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from fastapi import Request, Response
from fastapi.responses import JSONResponse

import s4client
from s4client import AsyncS4Client, RetryPolicy, S4AdminClient, S4Client
from tests.factories.fake_s4 import FakeS4, answering, document, fake_s4, refusing, serving

AT_ONCE = RetryPolicy(attempts_max=4, pause_seconds=0.0)
MIB = 1024 * 1024

Call = Callable[..., Awaitable[Any]]
"""`await call("get", "doc_a")` on a client of either kind."""


@pytest.fixture(scope="module")
def running() -> Iterator[FakeS4]:
    with fake_s4() as fake:
        yield fake


@pytest.fixture
def server(running: FakeS4) -> FakeS4:
    running.forget()
    return running


@pytest.fixture(params=["blocking", "async"])
def call(request: pytest.FixtureRequest, server: FakeS4) -> Call:
    return calling(request.param, server.url)


def calling(driver: str, url: str) -> Call:
    async def call_blocking(name: str, *args: Any, **kwargs: Any) -> Any:
        def run() -> Any:
            with S4Client(url, api_key="s4_key", retry=AT_ONCE) as client:
                result = getattr(client, name)(*args, **kwargs)
                return [*result] if inspect.isgenerator(result) else result

        return await asyncio.to_thread(run)

    async def call_async(name: str, *args: Any, **kwargs: Any) -> Any:
        async with AsyncS4Client(url, api_key="s4_key", retry=AT_ONCE) as client:
            result = getattr(client, name)(*args, **kwargs)
            return [item async for item in result] if inspect.isasyncgen(result) else await result

    return call_blocking if driver == "blocking" else call_async


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_an_upload_is_repeated_whole_and_with_the_same_idempotency_key(
    server: FakeS4, call: Call, tmp_path: Path
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(256)) * 4096)
    arrived = []

    async def keep(request: Request) -> Response:
        arrived.append(await request.body())
        return JSONResponse(document(status="processing"), status_code=201)

    async def keep_and_refuse(request: Request) -> Response:
        await keep(request)
        return await refusing(503, "service_unavailable", retry_after="0")(request)

    server.on("POST", "/api/v1/documents", keep_and_refuse, keep)

    uploaded = await call("upload", path)

    assert uploaded.status == "processing"
    keys = {seen.headers["idempotency-key"] for seen in server.requests}
    assert len(server.requests) == 2
    assert len(keys) == 1
    assert arrived[0] == arrived[1]
    assert path.read_bytes() in arrived[0]


async def test_content_that_can_be_read_once_is_sent_once(server: FakeS4, call: Call) -> None:
    server.on("POST", "/api/v1/documents", refusing(503, "service_unavailable", retry_after="0"))

    with pytest.raises(s4client.ServiceUnavailable):
        await call("upload", iter([b"one", b"two"]), filename="a.txt")

    assert len(server.requests) == 1


async def test_content_is_read_no_faster_than_it_is_sent(server: FakeS4, call: Call) -> None:
    first_arrived = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"x" * MIB
        assert first_arrived.wait(20), "the client wants the second piece before it sends the first"
        yield b"y"

    async def receive(request: Request) -> Response:
        async for piece in request.stream():
            if b"x" in piece:
                first_arrived.set()
        return JSONResponse(document(), status_code=201)

    server.on("PUT", "/api/v1/documents/by-key/k", receive)

    await call("put_by_key", "k", pieces())


async def test_names_metadata_and_keys_arrive_as_they_were_given(server: FakeS4, call: Call) -> None:
    name = 'Grüße "quoted" \\ back.txt'
    forms = []

    async def parse(request: Request) -> Response:
        async with request.form() as form:
            file: Any = form["file"]
            forms.append((list(form), form["key"], form["metadata"], file.filename, await file.read()))
        return JSONResponse(document(), status_code=201)

    server.on("POST", "/api/v1/documents", parse)
    progress: list[tuple[int, int | None]] = []

    await call(
        "upload", io.BytesIO(b"abc"), filename=name, key="k/é", metadata={"year": 2024, "by": "Ä"},
        progress=lambda gone, total: progress.append((gone, total)),
    )  # fmt: skip

    assert forms == [(["key", "metadata", "file"], "k/é", '{"year":2024,"by":"\\u00c4"}', name, b"abc")]
    assert progress[0] == (0, 3)
    assert progress[-1] == (3, 3)


@pytest.mark.parametrize("key", ["a b/ü?#%.txt", "a/../b", "a//b", "%2F"])
async def test_a_key_is_addressed_literally(server: FakeS4, call: Call, key: str) -> None:
    server.on("GET", "/api/v1/documents/by-key/.*", answering(document(), headers={"ETag": '"r7"'}))

    found = await call("get_by_key", key)

    assert server.requests[0].path == f"/api/v1/documents/by-key/{key}"
    assert found.etag == '"r7"'


async def test_a_broken_download_goes_on_where_it_broke(server: FakeS4, call: Call, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1024
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    server.on(
        "GET", "/api/v1/documents/doc_a/download",
        serving(content, digest=digest, cut_at=100_000), serving(content, digest=digest),
    )  # fmt: skip

    size_bytes = await call("download", "doc_a", tmp_path / "a.bin")

    assert (tmp_path / "a.bin").read_bytes() == content
    assert size_bytes == len(content)
    second = server.requests[1].headers
    assert second["if-range"] == '"r1"'
    assert 0 < int(second["range"].removeprefix("bytes=").removesuffix("-")) <= 100_000


@pytest.mark.parametrize("heeds_if_range", [True, False])
async def test_a_download_of_what_changed_meanwhile_starts_over(
    server: FakeS4, call: Call, tmp_path: Path, heeds_if_range: bool
) -> None:
    old, new = b"o" * 200_000, b"n" * 150_000
    server.on(
        "GET", "/api/v1/documents/doc_a/download",
        serving(old, cut_at=100_000), serving(new, etag='"r2"', heeds_if_range=heeds_if_range),
    )  # fmt: skip

    await call("download", "doc_a", tmp_path / "a.bin")

    assert (tmp_path / "a.bin").read_bytes() == new


async def test_a_damaged_download_leaves_no_file(server: FakeS4, call: Call, tmp_path: Path) -> None:
    digest = base64.b64encode(hashlib.sha256(b"right").digest()).decode()
    server.on("GET", "/api/v1/documents/doc_a/download", serving(b"wrong", digest=digest))

    with pytest.raises(s4client.DownloadCorrupt):
        await call("download", "doc_a", tmp_path / "a.bin")

    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "unauthorized", s4client.Unauthorized),
        (403, "quota_exceeded", s4client.QuotaExceeded),
        (404, "not_found", s4client.NotFound),
        (412, "precondition_failed", s4client.PreconditionFailed),
        (422, "invalid_request", s4client.InvalidRequest),
        (429, "rate_limited", s4client.RateLimited),
        (418, "code_of_tomorrow", s4client.S4ApiError),
    ],
)
async def test_a_refusal_is_an_error_of_its_own_type(
    server: FakeS4, call: Call, status: int, code: str, kind: type[s4client.S4ApiError]
) -> None:
    server.on("GET", "/api/v1/profile", refusing(status, code, "Because.", retry_after="3600"))

    with pytest.raises(kind) as caught:
        await call("profile")

    error = caught.value
    assert (error.code, error.status, str(error)) == (code, status, "Because.")
    assert (error.request_id, error.details, error.retry_after) == ("req-1", {"why": "test"}, 3600.0)
    assert len(server.requests) == 1, "an hour is not waited for"


@pytest.mark.parametrize("driver", ["blocking", "async"])
async def test_who_is_not_there_is_named(driver: str) -> None:
    with pytest.raises(s4client.S4ConnectionError, match=r"http://127\.0\.0\.1:9: is it running there\?"):
        await calling(driver, "http://127.0.0.1:9")("profile")


async def test_waiting_asks_until_the_end_state(server: FakeS4, call: Call) -> None:
    failure = {"code": "encrypted", "message": "It needs a password."}
    processing, failed = document(status="processing"), document(status="failed", error=failure)
    server.on("GET", "/api/v1/documents/doc_a", answering(processing), answering(processing), answering(failed))

    ended = await call("wait", "doc_a", timeout=30)

    assert ended.error.code == "encrypted"
    assert [0 < int(seen.query["wait"]) <= 60 for seen in server.requests] == [True] * 3


async def test_waiting_ends_with_its_time(server: FakeS4, call: Call) -> None:
    server.on("GET", "/api/v1/documents/doc_a", answering(document(status="processing")))

    with pytest.raises(s4client.S4WaitTimeout) as caught:
        await call("wait", "doc_a", timeout=0)

    assert caught.value.document_id == "doc_a"


async def test_listing_follows_the_cursor(server: FakeS4, call: Call) -> None:
    server.on(
        "GET", "/api/v1/documents",
        answering({"documents": [document("doc_a"), document("doc_b")], "next_cursor": "c2"}),
        answering({"documents": [document("doc_c")], "next_cursor": None}),
    )  # fmt: skip

    found = await call("iter_documents", prefix="p/", metadata={"year": "2024"})

    assert [each.document_id for each in found] == ["doc_a", "doc_b", "doc_c"]
    assert [seen.query.get("cursor") for seen in server.requests] == [None, "c2"]
    assert all(seen.query["prefix"] == "p/" and seen.query["metadata.year"] == "2024" for seen in server.requests)


async def test_what_a_lost_attempt_deleted_is_deleted(server: FakeS4, call: Call) -> None:
    missing = refusing(404, "not_found")
    server.on("DELETE", "/api/v1/documents/doc_a", refusing(503, "service_unavailable"), missing)
    server.on("DELETE", "/api/v1/documents/doc_b", missing)

    await call("delete", "doc_a")
    with pytest.raises(s4client.NotFound):
        await call("delete", "doc_b")


def test_a_tenant_is_not_created_twice_for_want_of_an_answer(server: FakeS4) -> None:
    """Each attempt bears the same Idempotency-Key, which no other creation has."""
    server.on("POST", "/api/v1/admin/tenants", refusing(503, "service_unavailable", retry_after="0"))

    with S4AdminClient(server.url, api_key="admin", retry=AT_ONCE) as admin:
        for _ in range(2):
            with pytest.raises(s4client.ServiceUnavailable):
                admin.create_tenant("Acme")

    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(keys) == 2 * AT_ONCE.attempts_max > 2
    assert len(set(keys)) == 2
    assert server.requests[0].headers["x-admin-key"] == "admin"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificate of an authority that nobody knows, and one that it has issued for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("authority")
    own = trustme.CA()
    own.cert_pem.write_to_path(folder / "authority.pem")
    own.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    return folder


@pytest.fixture(scope="module")
def secure(authority: Path) -> Iterator[FakeS4]:
    with fake_s4(certificate=authority / "server.pem") as fake:
        fake.on("GET", "/api/v1/documents", answering({"documents": []}))
        yield fake


async def test_an_authority_of_ones_own_is_trusted_when_it_is_named(
    secure: FakeS4, authority: Path, tmp_path: Path
) -> None:
    known = authority / "authority.pem"
    with S4Client(secure.url, api_key="s4_key", ca_file=known) as client:
        assert client.list_page().documents == ()
    async with AsyncS4Client(secure.url, api_key="s4_key", ca_file=known) as client:
        assert (await client.list_page()).documents == ()
    (tmp_path / "not.pem").write_text("no certificate")
    with pytest.raises(s4client.InvalidArgument, match=r"not\.pem holds no certificate"):
        S4Client(secure.url, ca_file=tmp_path / "not.pem")
    with pytest.raises(s4client.InvalidArgument, match=r"absent\.pem cannot be read: No such file"):
        S4Client(secure.url, ca_file=tmp_path / "absent.pem")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("{secure}", r"its certificate is not trusted .*--ca-file or S4_CA_FILE"),
        ("https://{plain}", r"is TLS spoken there, or is it an http:// address\?"),
    ],
)
@pytest.mark.parametrize("driver", ["blocking", "async"])
async def test_a_failure_of_tls_says_what_to_do(
    secure: FakeS4, server: FakeS4, driver: str, address: str, sentence: str
) -> None:
    url = address.format(secure=secure.url, plain=server.url.removeprefix("http://"))
    with pytest.raises(s4client.S4ConnectionError, match=sentence) as caught:
        await calling(driver, url)("list_page")
    assert not caught.value.sent


async def test_what_is_not_s4_is_told_by_its_answers(server: FakeS4, call: Call) -> None:
    async def page(request: Request) -> Response:
        return Response("<html>Welcome</html>", media_type="text/html")

    async def missing(request: Request) -> Response:
        return Response("<html>Not here</html>", status_code=404)

    async def elsewhere(request: Request) -> Response:
        return Response(status_code=308, headers={"Location": "https://s4.example/api"})

    server.on("GET", "/api/v1/documents", page, missing, elsewhere)

    with pytest.raises(s4client.UnexpectedAnswer, match="is the address that of an S4 server"):
        await call("list_page")
    with pytest.raises(s4client.NotFound, match="Is the address that of an S4 server"):
        await call("list_page")
    with pytest.raises(s4client.UnexpectedAnswer, match=r"redirects to https://s4\.example/api"):
        await call("list_page")


async def test_progress_never_goes_back_and_ends_at_the_total(server: FakeS4, call: Call, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(MIB))
    unavailable = refusing(503, "service_unavailable", retry_after="0")
    server.on("PUT", "/api/v1/documents/by-key/k", unavailable, unavailable, answering(document(), status=201))
    progress: list[tuple[int, int | None]] = []

    await call("put_by_key", "k", path, progress=lambda *numbers: progress.append(numbers))
    last = progress[-1]
    assert progress == sorted(set(progress))
    assert last == (MIB, MIB)

    progress.clear()
    await call("put_by_key", "k", iter([b"ab", b"c"]), progress=lambda *numbers: progress.append(numbers))
    assert progress == [(2, None), (3, None), (3, 3)]


async def test_a_file_that_changes_while_it_is_sent_is_not_stored(server: FakeS4, call: Call, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(4 * MIB))
    whole = []

    async def receive(request: Request) -> Response:
        whole.append(len(await request.body()))
        return JSONResponse(document(), 201)

    def scribble(gone: int, total: int | None) -> None:
        with path.open("r+b") as file:  # in place, of the same size
            file.write(b"x")

    server.on("PUT", "/api/v1/documents/by-key/k", receive)

    with pytest.raises(s4client.FileChanged, match="changed while it was being uploaded"):
        await call("put_by_key", "k", path, progress=scribble)

    assert whole == []


async def test_a_throttled_request_waits_as_long_as_it_is_told(server: FakeS4, call: Call) -> None:
    throttled = refusing(429, "rate_limited", retry_after="1")
    server.on("POST", "/api/v1/documents/bulk-delete", throttled, answering({"deleted": [], "not_found": []}))
    began = time.monotonic()

    await call("bulk_delete", ["doc_a"])

    assert time.monotonic() - began >= 1
    assert len(server.requests) == 2
    server.on("GET", "/api/v1/documents", refusing(503, "service_unavailable", retry_after="61"))
    with pytest.raises(s4client.ServiceUnavailable):  # longer than anybody wants to wait for
        await call("list_page")


async def test_a_stream_of_a_document_that_is_replaced_meanwhile_ends_with_an_error(server: FakeS4, call: Call) -> None:
    server.on(
        "GET", "/api/v1/documents/doc_a/download",
        serving(b"o" * 200_000, cut_at=100_000), serving(b"n" * 200_000, etag='"r2"'),
    )  # fmt: skip

    with pytest.raises(s4client.DownloadInterrupted):
        await call("download_stream", "doc_a")


async def test_a_damaged_stream_ends_with_an_error(server: FakeS4, call: Call) -> None:
    digest = base64.b64encode(hashlib.sha256(b"right").digest()).decode()
    server.on("GET", "/api/v1/documents/doc_a/download", serving(b"wrong", digest=digest))

    with pytest.raises(s4client.DownloadCorrupt):
        await call("download_stream", "doc_a")


async def test_waiting_for_many_gives_up_when_none_ends(server: FakeS4, call: Call) -> None:
    processing = document(status="processing")
    server.on("GET", "/api/v1/documents/doc_a", answering(processing))
    server.on("GET", "/api/v1/documents", answering({"documents": [processing]}))
    both = [s4client.Document.model_validate(document(name, status="processing")) for name in ("doc_a", "doc_b")]

    with pytest.raises(s4client.S4WaitTimeout, match="still processing"):
        await call("wait_all", both, timeout=0)


def test_the_client_stands_on_httpx_and_pydantic_alone() -> None:
    """So that it can be installed without the server."""
    package = Path(s4client.__file__).parent
    imported = {
        name.partition(".")[0]
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }
    assert imported - sys.stdlib_module_names == {"s4client", "httpx", "pydantic"}
    assert (package / "py.typed").exists()
