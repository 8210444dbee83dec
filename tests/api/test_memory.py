"""A large file passes through the API without staying in its memory. How little it takes: `make bench`, part memory."""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from tests.api.calls import by_key
from tests.factories.deployment import Deployment

MIB = 1 << 20
FILE_BYTES = 128 * MIB
MEMORY_BYTES_MAX = FILE_BYTES // 2  # far above what buffers take, far below a copy of the file
PIECE = bytes(range(256)) * 1024


def pieces() -> Iterator[bytes]:
    for _ in range(FILE_BYTES // len(PIECE)):
        yield PIECE


def put(tenant: httpx.Client, *, length: bool) -> None:
    headers = {"Content-Length": str(FILE_BYTES)} if length else {}
    answer = tenant.put(by_key("large.bin"), content=pieces(), headers=headers)
    assert answer.status_code in (200, 201), answer.text
    digest = hashlib.sha256()
    for piece in pieces():
        digest.update(piece)
    assert answer.json()["sha256"] == digest.hexdigest()


def post(tenant: httpx.Client) -> None:
    head = b'--line\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield head
        yield from pieces()
        yield b"\r\n--line--\r\n"

    answer = tenant.post("/documents", content=body(), headers={"Content-Type": "multipart/form-data; boundary=line"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["size"] == FILE_BYTES


def download(tenant: httpx.Client) -> None:
    document_id = tenant.get(by_key("large.bin")).json()["document_id"]
    with tenant.stream("GET", f"/documents/{document_id}/download") as answer:
        assert sum(map(len, answer.iter_bytes(MIB))) == FILE_BYTES


WAYS: dict[str, Callable[[httpx.Client], None]] = {
    "PUT with its length": lambda tenant: put(tenant, length=True),
    "PUT in chunks": lambda tenant: put(tenant, length=False),
    "POST as a form": post,
    "GET": download,
}


def test_a_large_file_passes_through_without_staying_in_memory(
    idle_deployment: Deployment, idle_tenant: httpx.Client
) -> None:
    for way, work in WAYS.items():
        before = resident(idle_deployment.pid)
        Path(f"/proc/{idle_deployment.pid}/clear_refs").write_text("5")  # the high-water mark counts from now
        work(idle_tenant)
        assert resident(idle_deployment.pid, most=True) - before < MEMORY_BYTES_MAX, way


def resident(pid: int, *, most: bool = False) -> int:
    """Bytes, by the kernel's own count."""
    found = re.search(rf"^{'VmHWM' if most else 'VmRSS'}:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found is not None
    return 1024 * int(found[1])
