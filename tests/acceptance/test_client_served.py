"""`s4client` against a real server, over a network that breaks in all the usual ways."""

import asyncio
import inspect
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

import s4client
from s4client import AsyncS4AdminClient, AsyncS4Client, RetryPolicy, S4AdminClient, S4Client
from s4client.flow import Request, operation, paged, streamed
from s4client.operations import AdminOperations, TenantOperations
from tests.factories.command_line import documents
from tests.factories.deployment import Deployment
from tests.fault_proxy import Fault, Mode, fault_proxy
from tests.servers import free_ports

pytestmark = pytest.mark.processes

QUICK = RetryPolicy(attempts_max=6, pause_seconds=0.01)
MIB = 1024 * 1024
CONTENT = bytes(range(256)) * 4096 * 3  # three pieces of a transport, and more

AHEAD_OF_THE_SERVER: set[tuple[str, str]] = set()
"""What the HTTP contract promises and the server does not have yet."""
NOW = s4client.Document(
    document_id="doc_a", filename="a", content_type="text/plain", size=1, sha256="0", status="processing",
    uploaded_at="2026-01-02T03:04:05Z",
)  # fmt: skip
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
TENANT_CALLS: dict[str, tuple[Any, ...]] = {
    "health": (),
    "service_status": (),
    "plans": (),
    "upload": (b"x",),
    "put_by_key": ("a/b", b"x"),
    "patch_metadata": ("doc_a", {}),
    "reprocess": ("doc_a",),
    "archive": ("doc_a",),
    "restore": ("doc_a",),
    "hold": ("doc_a", "Case 7"),
    "lift_hold": ("doc_a",),
    "get": ("doc_a",),
    "get_by_key": ("a/b",),
    "stat": ("doc_a",),
    "stat_by_key": ("a/b",),
    "stat_content": ("doc_a",),
    "list_page": (),
    "iter_documents": (),
    "text": ("doc_a",),
    "download": ("doc_a", io.BytesIO()),
    "download_stream": ("doc_a",),
    "delete": ("doc_a",),
    "delete_by_key": ("a/b",),
    "bulk_delete": (["doc_a"],),
    "wait": ("doc_a",),
    "wait_all": ([NOW],),
    "search": ("q",),
    "search_together": ([{"query": "q"}],),
    "similar": ("doc_a",),
    "profile": (),
    "usage": (),
    "list_keys": (),
    "create_key": ("website", ["search"]),
    "create_child_key": (["search"],),
    "rotate_key": ("a" * 12,),
    "revoke_key": ("a" * 12,),
    "list_webhooks": (),
    "create_webhook": ("https://hooks.example.com/",),
    "get_webhook": ("whk_a",),
    "replace_webhook": ("whk_a", "https://hooks.example.com/"),
    "delete_webhook": ("whk_a",),
    "rotate_webhook_secret": ("whk_a",),
    "test_webhook": ("whk_a",),
    "list_deliveries_page": ("whk_a",),
    "iter_deliveries": ("whk_a",),
    "replay_delivery": ("whk_a", "dlv_a"),
}
EXPORTED = s4client.ExportedDocument(
    document_id="doc_a",
    filename="a.txt",
    content_type="text/plain",
    size=1,
    sha256="0" * 64,
    metadata={},
    uploaded_at=NOON,
    updated_at=NOON,
    version=1,
    version_id="ver_a",
    content_revision=1,
    status="ready",
    searchable={},
)
ADMIN_CALLS: dict[str, tuple[Any, ...]] = {
    "health": (),
    "service_status": (),
    "plans": (),
    "list_all_plans": (),
    "get_plan": ("free",),
    "create_plan": (s4client.Plan(id="gold", name="Gold"),),
    "replace_plan": (s4client.Plan(id="gold", name="Gold"),),
    "delete_plan": ("gold",),
    "list_maintenance_windows": (),
    "schedule_maintenance": (NOON, NOON + timedelta(hours=1)),
    "replace_maintenance": ("win_a", NOON, NOON + timedelta(hours=1)),
    "end_maintenance": ("win_a",),
    "list_incidents": (),
    "open_incident": ("Slow",),
    "update_incident": ("inc_a", "resolved"),
    "get_contacts": ("ten_a",),
    "set_contacts": ("ten_a", [s4client.Contact(email="ada@example.com")]),
    "list_mails": (),
    "list_audit_page": (),
    "iter_audit": (),
    "verify_audit": (),
    "create_tenant": ("Acme",),
    "get_tenant": ("ten_a",),
    "update_tenant": ("ten_a", {"name": "Acme"}),
    "change_plan": ("ten_a", "basic"),
    "suspend_tenant": ("ten_a",),
    "activate_tenant": ("ten_a",),
    "reset_usage": ("ten_a",),
    "delete_tenant": ("ten_a",),
    "confirm_deletion": ("ten_a",),
    "list_tenants_page": (),
    "iter_tenants": (),
    "hold_tenant": ("ten_a", "Case 7"),
    "lift_tenant_hold": ("ten_a",),
    "hold_document": ("ten_a", "doc_a", "Case 7"),
    "lift_document_hold": ("ten_a", "doc_a"),
    "iter_holds": (),
    "set_keeping": ("ten_a",),
    "retention_due": (),
    "run_retention": (),
    "list_backups": (),
    "request_backup": (),
    "begin_export": ("ten_a",),
    "describe_export": ("ten_a",),
    "export_documents": ("ten_a",),
    "export_content": ("ten_a", EXPORTED, io.BytesIO()),
    "export_text": ("ten_a", EXPORTED, io.BytesIO()),
    "export_chunks": ("ten_a", "gen_a", {"doc_a": 1}, io.BytesIO()),
    "export_embeddings": ("ten_a", "model", "00", io.BytesIO()),
    "export_records": ("ten_a", "usage", io.BytesIO()),
    "begin_import": ("ten_a", "ten_b"),
    "import_missing": ("ten_a", []),
    "import_document": ("ten_a", {}, b"bytes"),
    "import_embeddings": ("ten_a", b"bytes"),
    "list_erasures": (),
    "get_erasure": ("ten_a",),
    "storage": (),
    "tenant_storage": ("ten_a",),
    "recount_tenant": ("ten_a",),
    "tenant_usage": ("ten_a",),
    "system_analytics": (),
    "top_tenants": (),
    "endpoint_analytics": (),
    "service_levels": (),
    "service_level_report": ("ten_a",),
    "list_tenant_keys": ("ten_a",),
    "create_tenant_key": ("ten_a", "website", ["search"]),
    "rotate_tenant_key": ("ten_a", "a" * 12),
    "revoke_tenant_key": ("ten_a", "a" * 12),
    "regenerate_key": ("ten_a",),
    "list_administrators": (),
    "create_administrator": ("ada", "auditor"),
    "rotate_administrator": ("ada",),
    "revoke_administrator": ("ada",),
    "list_tenant_webhooks": ("ten_a",),
    "create_tenant_webhook": ("ten_a", "https://hooks.example.com/"),
    "schedule": (),
    "task": ("audit.seal",),
    "run_task": ("audit.seal",),
    "checklist": (),
    "mark_done": ("restore-test",),
}


def asked_by(operations: Any, calls: dict[str, tuple[Any, ...]], client: Any) -> set[tuple[str, str]]:
    """Method and path of the first request of every operation."""
    found = set()
    for name, arguments in calls.items():
        flow = getattr(operations, name)(client, *arguments)
        request = next(flow(None) if callable(flow) else flow)
        assert isinstance(request, Request)
        found.add((request.method, request.path))
    return found


def pattern_of(template: str) -> str:
    """`/documents/{document_id}` as a regular expression; a key may hold slashes."""
    return re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template).replace(r"\{key\}", ".+"))


def names_of(owner: Any) -> set[str]:
    kinds = operation | paged | streamed
    return {name for name, value in inspect.getmembers_static(owner) if isinstance(value, kinds)}


def test_the_client_can_ask_for_everything_that_the_server_has(served: Deployment) -> None:
    assert names_of(TenantOperations) == set(TENANT_CALLS)
    assert names_of(AdminOperations) == set(ADMIN_CALLS)
    asked = asked_by(TenantOperations, TENANT_CALLS, S4Client()) | asked_by(
        AdminOperations, ADMIN_CALLS, S4AdminClient()
    )
    described = httpx.get(f"{served.url}/openapi.json", timeout=60).json()["paths"]
    routes = {
        (method.upper(), path)
        for path, methods in described.items()
        for method in methods
        if path.startswith("/api/v1/")
    }

    def reached(method: str, path: str) -> set[tuple[str, str]]:
        return {route for route in routes if route[0] == method and re.fullmatch(pattern_of(route[1]), path)}

    covered = {request: reached(*request) for request in asked}

    assert routes - set().union(*covered.values()) == set()
    unknown = {request for request, found in covered.items() if not found}
    assert unknown - {("GET", "/health/ready"), ("GET", "/status")} == AHEAD_OF_THE_SERVER


@pytest.mark.parametrize(("blocking", "asynchronous"), [(S4Client, AsyncS4Client), (S4AdminClient, AsyncS4AdminClient)])
def test_both_kinds_of_client_can_do_the_same(blocking: type, asynchronous: type) -> None:
    assert names_of(blocking) == names_of(asynchronous) != set()
    assert str(inspect.signature(blocking)) == str(inspect.signature(asynchronous)).replace("Async", "")


Call = Callable[..., Awaitable[Any]]


@pytest.fixture(params=["blocking", "async"])
def call(request: pytest.FixtureRequest, tenant: dict[str, str]) -> Call:
    """`await call(url, "get", "doc_a")` on a client of either kind; what it iterates over comes as a list."""

    async def call_blocking(url: str, name: str, *arguments: Any, **named: Any) -> Any:
        def run() -> Any:
            with S4Client(url, api_key=tenant["S4_TENANT_KEY"], retry=QUICK) as client:
                result = getattr(client, name)(*arguments, **named)
                return [*result] if inspect.isgenerator(result) else result

        return await asyncio.to_thread(run)

    async def call_async(url: str, name: str, *arguments: Any, **named: Any) -> Any:
        async with AsyncS4Client(url, api_key=tenant["S4_TENANT_KEY"], retry=QUICK) as client:
            result = getattr(client, name)(*arguments, **named)
            return [item async for item in result] if inspect.isasyncgen(result) else await result

    return call_blocking if request.param == "blocking" else call_async


async def test_an_upload_whose_answer_is_lost_is_one_document(
    served: Deployment, tenant: dict[str, str], call: Call
) -> None:
    async with fault_proxy(served.url) as proxy:
        lost = proxy.add(Fault(Mode.LOST_REPLY, method="POST", count=2))

        uploaded = await call(proxy.endpoint, "upload", b"Tides.", filename="tides.txt")

        assert lost.hits == 2
    assert [(each.document_id, each.version) for each in documents(tenant).values()] == [(uploaded.document_id, 1)]


async def test_content_of_unknown_length_arrives_whole(served: Deployment, call: Call) -> None:
    """From an iterator, and from a pipe, which cannot be rewound."""
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb") as file:
            file.write(CONTENT)

    writer = threading.Thread(target=write)
    writer.start()
    progress: list[tuple[int, int | None]] = []

    with os.fdopen(read_end, "rb") as file:
        piped = await call(
            served.url, "put_by_key", "pipe.bin", file, progress=lambda *numbers: progress.append(numbers)
        )
    iterated = await call(served.url, "upload", iter([CONTENT[:100], CONTENT[100:]]), filename="i.bin")

    writer.join()
    assert piped.size == iterated.size == len(CONTENT)
    assert piped.sha256 == iterated.sha256
    assert progress == sorted(progress, key=lambda numbers: numbers[0])
    assert progress[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("name", ["download", "download_stream"])
async def test_a_download_that_breaks_goes_on_and_is_whole(
    served: Deployment, call: Call, tmp_path: Path, name: str
) -> None:
    uploaded = await call(served.url, "upload", CONTENT, filename="a.bin")
    target = [tmp_path / "a.bin"] if name == "download" else []
    progress: list[int] = []
    async with fault_proxy(served.url) as proxy:
        broken = proxy.add(Fault(Mode.DROP_DOWNLOAD, method="GET", path="/download", count=2, after_bytes=MIB))

        result = await call(
            proxy.endpoint, name, uploaded.document_id, *target, progress=lambda now, _: progress.append(now)
        )

    assert broken.hits == 2
    assert (target[0].read_bytes() if target else b"".join(result)) == CONTENT
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == (0, len(CONTENT))


async def test_head_requests_tell_state_size_and_digest(served: Deployment, call: Call) -> None:
    uploaded = await call(served.url, "put_by_key", "a.txt", b"Tides.")
    stat = await call(served.url, "stat", uploaded.document_id)
    by_key = await call(served.url, "stat_by_key", "a.txt")
    content = await call(served.url, "stat_content", uploaded.document_id)

    assert (stat.document_id, stat.size, by_key.document_id) == (uploaded.document_id, 6, uploaded.document_id)
    assert (content.size, content.sha256, content.etag) == (6, uploaded.sha256, uploaded.etag)
    with pytest.raises(s4client.NotFound):
        await call(served.url, "stat_by_key", "absent")


async def test_many_documents_are_waited_for_with_few_requests(
    served: Deployment, tenant: dict[str, str], call: Call
) -> None:
    async with AsyncS4Client(served.url, api_key=tenant["S4_TENANT_KEY"]) as client:
        uploaded = [await client.put_by_key(f"{n}.txt", f"Tides {n}.".encode()) for n in range(30)]
        deleted = await client.put_by_key("gone.txt", b"x")
        damaged = await client.put_by_key("damaged.pdf", b"%PDF-1.7 damaged")
        await client.delete(deleted.document_id)
        # Before they are counted: how often it looks again is a matter of how long they take.
        await client.wait_all([*uploaded, damaged])
    heard: list[str] = []
    async with fault_proxy(served.url) as proxy:
        ended = await call(
            proxy.endpoint, "wait_all", [*uploaded, deleted, damaged], ended=lambda key, _: heard.append(key)
        )
        requests = proxy.seen("GET")

    assert {ended[each.document_id].status for each in uploaded} == {"ready"}
    assert ended[deleted.document_id] is None
    assert ended[damaged.document_id].status == "failed"
    assert ended[damaged.document_id].error.message
    assert sorted(heard) == sorted(ended)
    assert requests < len(ended), "a request for each would be more"


async def test_a_server_that_is_not_there_yet_is_waited_for(served: Deployment, call: Call) -> None:
    """As while it restarts: the port refuses, then answers."""
    (port,) = free_ports(1)
    asked = asyncio.create_task(call(f"http://127.0.0.1:{port}", "list_page"))
    await asyncio.sleep(0)
    upstream = httpx.URL(served.url)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(upstream.host, upstream.port)
        up_writer.write(await reader.readuntil(b"\r\n\r\n"))
        writer.write(await up_reader.read(MIB))
        writer.close()
        up_writer.close()

    server = await asyncio.start_server(forward, "127.0.0.1", port)
    async with server:
        assert (await asked).total == 0


@pytest.mark.parametrize("mode", [Mode.HANG, Mode.HANG_REPLY])
async def test_a_server_that_says_nothing_is_not_waited_for_without_end(
    served: Deployment, tenant: dict[str, str], mode: Mode
) -> None:
    hasty = RetryPolicy(attempts_max=2, pause_seconds=0.01)
    async with (
        fault_proxy(served.url) as proxy,
        AsyncS4Client(proxy.endpoint, api_key=tenant["S4_TENANT_KEY"], timeout=0.5, retry=hasty) as client,
    ):
        hung = proxy.add(Fault(mode))
        with pytest.raises(s4client.S4ConnectionError, match="did not answer in time"):
            await client.list_page()
        assert hung.hits == 2


async def test_a_cancelled_download_leaves_no_file(served: Deployment, tenant: dict[str, str], tmp_path: Path) -> None:
    async with AsyncS4Client(served.url, api_key=tenant["S4_TENANT_KEY"]) as client:
        uploaded = await client.upload(CONTENT, filename="a.bin")
    async with (
        fault_proxy(served.url) as proxy,
        AsyncS4Client(proxy.endpoint, api_key=tenant["S4_TENANT_KEY"]) as client,
    ):
        proxy.add(Fault(Mode.STALL_DOWNLOAD, path="/download", after_bytes=MIB))
        under_way = asyncio.Event()
        download = asyncio.create_task(
            client.download(
                uploaded.document_id, tmp_path / "a.bin", progress=lambda now, _: (now and under_way.set()) or None
            )
        )
        async with asyncio.timeout(30):
            await under_way.wait()
        download.cancel()
        with pytest.raises(asyncio.CancelledError):
            await download

    assert [*tmp_path.iterdir()] == []


async def test_an_upload_that_is_cancelled_is_no_document(served: Deployment, tenant: dict[str, str]) -> None:
    begun = asyncio.Event()
    hold = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"x" * MIB
        hold.wait(30)
        yield b"y"

    async with AsyncS4Client(served.url, api_key=tenant["S4_TENANT_KEY"]) as client:
        upload = asyncio.create_task(
            client.put_by_key("k", pieces(), progress=lambda now, _: (now and begun.set()) or None)
        )
        await begun.wait()
        upload.cancel()
        hold.set()
        with pytest.raises(asyncio.CancelledError):
            await upload
    assert documents(tenant) == {}


def test_a_download_is_streamed_without_being_kept(served: Deployment, tenant: dict[str, str], tmp_path: Path) -> None:
    """64 MiB within 40 MiB more than the import takes."""
    size_bytes = 64 * MIB
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(size_bytes)
    with S4Client(served.url, api_key=tenant["S4_TENANT_KEY"]) as client:
        uploaded = client.put_by_key("big.bin", tmp_path / "big.bin")
    program = (
        "import resource, sys; from s4client import S4Client\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with S4Client(sys.argv[1], api_key=sys.argv[2]) as client:\n"
        "    size = sum(len(piece) for piece in client.download_stream(sys.argv[3]))\n"
        "print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", program, served.url, tenant["S4_TENANT_KEY"], uploaded.document_id]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    received_bytes, grown_kib = map(int, done.stdout.split())
    assert received_bytes == size_bytes
    assert grown_kib < 40 * 1024
