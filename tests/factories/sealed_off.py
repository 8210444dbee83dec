"""A whole S4 in a network namespace of its own with nothing in it but loopback, and every connection that it tries.

    unshare --net python -m tests.factories.sealed_off FOLDER

does the main job (upload files of many kinds, wait, search by meaning, download, replace, delete, administrate) with
`strace` in front of `s4 serve` and all its children, and prints what it saw as JSON.
"""

import fcntl
import json
import re
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.factories.deployment import ADMIN_KEY, Deployment
from tests.factories.formats import samples
from tests.factories.nursery import until

_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40
CALLS = "connect,sendto,sendmsg,sendmmsg"
_ADDRESS = re.compile(
    r"sa_family=(AF_INET6?), sin6?_port=htons\((\d+)\)"
    r".*?(?:inet_addr\(\"([^\"]+)\"\)|inet_pton\(AF_INET6, \"([^\"]+)\")"
)
PATIENCE_SECONDS = 60
FAR = "http://tracker.example/pixel.png"  # what files name, and nobody must fetch


def main(folder: Path) -> None:
    """Prints `{"tried": [[family, address, port], …], "found": [...], "processes": n}`."""
    assert [name for _, name in socket.if_nameindex()] == ["lo"], "run it in a namespace of its own"
    _bring_loopback_up()
    trace = folder / "trace"
    # -D: S4 is our child, and gets our signals; strace is beside it, and ends with its last process.
    strace = ("/usr/bin/strace", "-D", "-f", "--seccomp-bpf", "-q", "-e", f"trace={CALLS}", "-o", str(trace))
    deployment = Deployment(
        folder / "data",
        {"S4_ADMIN_API_KEY": ADMIN_KEY, "S4_WORKER_NICENESS": "0"},  # with the local model, as embedded S4 is
        program=(*strace, sys.executable, "-m", "s4.entrypoints.cli"),
    ).start()
    try:
        found = use(deployment)
    finally:
        deployment.stop()
    lines = until(lambda: _whole(trace, deployment.pid), "strace does not end")
    print(json.dumps({"tried": tried(lines), "found": found, "processes": len({each.split()[0] for each in lines}),
                      "own_port": int(deployment.url.rpartition(":")[2])}))  # fmt: skip


def use(deployment: Deployment) -> list[str]:
    """Keys that a search by meaning finds, the best first."""
    with deployment.new_tenant() as tenant:
        ids = {}
        for name, content in files().items():
            answer = tenant.put(f"/documents/by-key/{name}", content=content)
            assert answer.status_code == 201, answer.text
            ids[name] = answer.json()["document_id"]
        for name, document_id in ids.items():
            ended = _ended(tenant, document_id)
            assert ended["status"] == "ready", (name, ended)
        asked = tenant.post("/search", json={"query": "an animal that rests on frozen water", "mode": "semantic"})
        assert asked.status_code == 200, asked.text
        assert tenant.put("/documents/by-key/page.html", content=b"<p>Something else</p>").status_code == 200
        assert tenant.get(f"/documents/{ids['note.md']}/download").status_code == 200
        assert tenant.delete(f"/documents/{ids['note.md']}").status_code == 204
        with deployment.admin() as admin:
            assert admin.get("/admin/tenants").status_code == 200
        for path in ("/metrics", "/health/ready", "/openapi.json"):
            assert httpx.get(f"{deployment.url}{path}", timeout=60).status_code == 200
        return [result["key"] for result in asked.json()["results"]]


def files() -> dict[str, bytes]:
    """One of each format that is read, and some that name what lies elsewhere."""
    page = (
        f'<html><head><link rel="stylesheet" href="{FAR}"><base href="{FAR}"></head><body><img src="{FAR}">'
        f'<script src="{FAR}"></script><iframe src="{FAR}"></iframe><p>A page about kettles.</p></body></html>'
    )
    drawing = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "{FAR}">]><a href="{FAR}">About &x; spoons</a>'
    far = {"note.md": f"The walrus sleeps on the ice. ![p]({FAR})", "page.html": page, "drawing.xml": drawing}
    return {name: text.encode() for name, text in far.items()} | {each.name: each.data for each in samples()}


def _ended(tenant: httpx.Client, document_id: str) -> dict[str, Any]:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        answer: dict[str, Any] = tenant.get(f"/documents/{document_id}", params={"wait": 30}).json()
        if answer["status"] != "processing":
            return answer
    raise AssertionError(f"{document_id} is not searchable")


def _whole(trace: Path, pid: int) -> list[str] | None:
    """The trace's lines, once it has seen the end of the process."""
    lines = trace.read_text().splitlines()
    return lines if any(re.match(rf"{pid} +\+\+\+ exited", line) for line in lines) else None


def tried(lines: list[str]) -> list[tuple[str, str, int]]:
    """Every address of the internet's families that anything was sent to."""
    return sorted({
        (match[1], match[3] or match[4], int(match[2])) for line in lines for match in _ADDRESS.finditer(line)
    })  # fmt: skip


def _bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP | _IFF_RUNNING) + b"\0" * 14)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
