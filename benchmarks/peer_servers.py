"""The servers that S4 is measured against: started, filled with given chunks and vectors, asked over HTTP."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
from library import CHUNKS_PER_DOCUMENT
from processes import Process, family
from served import Server
from testing import free_ports, postgres

from s4.engine.embedding.base import Vectors

START_SECONDS_MAX = 60
BATCH_CHUNKS = 1_000
LIMIT = 10
"""Chunks of an answer, with their texts."""
CHROMA_BREADTHS = (200, 400, 800, 1600, 3200, 6400)
PGVECTOR_BREADTH = 100
PGVECTOR_BREADTHS = (200, 400, 800, 1000)
"""More it refuses."""
_COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that answers searches. `body` is a request for a text and its vector; `texts` what an answer holds, best
    first; `exact_body` a request whose answer holds the best chunks, whatever their documents; `widened` serves the
    same chunks once more with another `ef_search`, how many an index looks at for an answer, of `breadths`."""

    name: str
    url: str
    path: str
    body: Callable[[str, Vectors], dict[str, Any]]
    texts: Callable[[Any], list[str]]
    pids: Callable[[], Sequence[int]]
    disk_bytes: Callable[[], int]
    key: str = ""
    exact_body: Callable[[str, Vectors], dict[str, Any]] | None = None
    widened: Callable[[int], AbstractContextManager["Peer"]] | None = None
    breadths: tuple[int, ...] = ()

    def ask(self, client: httpx.Client, text: str, vector: Vectors) -> list[str]:
        """The texts of the best `LIMIT` chunks."""
        body = (self.exact_body or self.body)(text, vector)
        answer = client.post(self.url + self.path, json=body, headers={"X-Tenant-Key": self.key})
        answer.raise_for_status()
        return self.texts(answer.json())[:LIMIT]

    @property
    def memory_bytes(self) -> int:
        """Of all its processes, what is shared being divided."""
        return sum(Process(pid).proportional_bytes for parent in self.pids() for pid in family(parent))


def s4_peer(server: Server, key: str, mode: str, index: Path) -> Peer:
    asked = {"mode": mode, "limit": LIMIT}

    def texts(answer: Any) -> list[str]:
        chunks = [chunk for result in answer["results"] for chunk in result["chunks"]]
        return [chunk["text"] for chunk in sorted(chunks, key=lambda chunk: -chunk["score"])]

    return Peer(
        f"S4, {mode}",
        server.url,
        "/api/v1/search",
        lambda text, _: {"query": text, **asked, "chunks_per_document": 1},
        texts,
        lambda: [server.pid],
        lambda: folder_bytes(index),
        key,
        lambda text, _: {"query": text, **asked, "chunks_per_document": LIMIT},
    )


@contextlib.contextmanager
def chroma(program: Path, folder: Path) -> Iterator[Peer]:
    """With its defaults, and cosines for distances."""
    with _chroma_server(program, folder) as (url, pid):
        made = {"name": "chunks", "configuration": {"hnsw": {"space": "cosine"}}}
        collection = httpx.post(url + _COLLECTIONS, json=made).raise_for_status().json()["id"]
        widened = partial(_widened_chroma, program, folder, collection)
        yield replace(_of_chroma(url, pid, folder, collection), widened=widened, breadths=CHROMA_BREADTHS)


@contextlib.contextmanager
def _widened_chroma(program: Path, folder: Path, collection: str, breadth: int) -> Iterator[Peer]:
    """On a copy: a server takes no notice of the change once a query has made it load the index."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        copy = Path(shutil.copytree(folder, name, dirs_exist_ok=True))
        with _chroma_server(program, copy) as (url, pid):
            changed = {"new_configuration": {"hnsw": {"ef_search": breadth}}}
            httpx.put(f"{url}{_COLLECTIONS}/{collection}", json=changed).raise_for_status()
            yield _of_chroma(url, pid, copy, collection)


@contextlib.contextmanager
def _chroma_server(program: Path, folder: Path) -> Iterator[tuple[str, int]]:
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    with _running([str(program), "run", "--path", str(folder), "--port", str(port)], f"{url}/api/v2/heartbeat") as pid:
        yield url, pid


def _of_chroma(url: str, pid: int, folder: Path, collection: str) -> Peer:
    return Peer(
        "Chroma server",
        url,
        f"{_COLLECTIONS}/{collection}/query",
        lambda _, vector: {
            "query_embeddings": [vector.tolist()],
            "n_results": LIMIT,
            "include": ["documents", "metadatas", "distances"],
        },
        lambda answer: list(answer["documents"][0]),
        lambda: [pid],
        lambda: folder_bytes(folder),
    )


@contextlib.contextmanager
def pgvector() -> Iterator[Peer]:
    """PostgreSQL as it comes, behind `pgvector_route.py`."""
    with postgres() as server:
        widened = partial(_pgvector_route, server.new_database())
        with widened(PGVECTOR_BREADTH) as peer:
            yield replace(peer, widened=widened, breadths=PGVECTOR_BREADTHS)


@contextlib.contextmanager
def _pgvector_route(database: str, breadth: int) -> Iterator[Peer]:
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    route = Path(__file__).with_name("pgvector_route.py")
    with _running([sys.executable, str(route), database, str(port), str(breadth)], f"{url}/openapi.json") as pid:

        def told(question: str) -> Any:
            with psycopg.connect(database) as connection:
                row = connection.execute(question.encode()).fetchone()
                assert row is not None
                return row[0]

        postmaster = int((Path(told("SHOW data_directory")) / "postmaster.pid").read_text().split("\n")[0])
        yield Peer(
            "pgvector behind FastAPI",
            url,
            "/search",
            lambda _, vector: {"embedding": vector.tolist(), "limit": LIMIT},
            lambda answer: [row["text"] for row in answer["results"]],
            lambda: [pid, postmaster],
            lambda: int(told("SELECT pg_database_size(current_database())")),
        )


def fill_chroma(peer: Peer, texts: Sequence[str], vectors: Vectors) -> None:
    path = peer.path.removesuffix("/query") + "/add"
    for ids, documents, pages, part, rows in _batches(texts, vectors):
        metadatas = [{"document_id": document, "page": page} for document, page in zip(documents, pages, strict=True)]
        _send(peer, path, {"ids": ids, "documents": part, "metadatas": metadatas, "embeddings": rows})


def fill_pgvector(peer: Peer, texts: Sequence[str], vectors: Vectors) -> None:
    for ids, documents, pages, part, rows in _batches(texts, vectors):
        body = {"chunk_ids": ids, "document_ids": documents, "pages": pages, "texts": part, "embeddings": rows}
        _send(peer, "/chunks", body)


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _batches(
    texts: Sequence[str], vectors: Vectors
) -> Iterator[tuple[list[str], list[str], list[int], list[str], list[list[float]]]]:
    for start in range(0, len(texts), BATCH_CHUNKS):
        part = list(texts[start : start + BATCH_CHUNKS])
        numbers = range(start, start + len(part))
        documents = [f"document-{number // CHUNKS_PER_DOCUMENT}" for number in numbers]
        pages = [1 + number % CHUNKS_PER_DOCUMENT // 2 for number in numbers]
        rows = np.asarray(vectors[start : start + len(part)]).tolist()
        yield [f"chunk-{number}" for number in numbers], documents, pages, part, rows


def _send(peer: Peer, path: str, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    httpx.post(peer.url + path, content=content, headers=headers, timeout=600).raise_for_status()


@contextlib.contextmanager
def _running(command: list[str], answers_at: str) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        give_up_at = time.monotonic() + START_SECONDS_MAX
        while not _answers(answers_at):
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"{command[0]} does not answer.")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, timeout=5).is_success
    return False
