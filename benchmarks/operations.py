"""What each operation asks of the bucket and of the catalog: requests and statements, counted, not timed.

A proxy in front of a real SeaweedFS counts requests, LanceDB's own among them; S4's metrics count statements, on a real
PostgreSQL. The figures do not depend on the machine.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from figures import print_heading, print_table, print_text
from scrape import total
from served import running_server
from testing import FaultProxy, PostgresServer, S3Server, postgres, proxy_in_thread, seaweedfs
from wire import Wire

KINDS = ("GET", "LIST", "PUT", "DELETE")
STATEMENTS = "s4_database_statements"
TEXT = "A text of some words about pumps, valves and their seals. " * 70  # 4 KiB, a few chunks


@dataclass(frozen=True, slots=True)
class OperationSizes:
    times: int
    listed: int
    """Documents on the page of a listing."""


FULL = OperationSizes(times=20, listed=50)
QUICK = OperationSizes(times=3, listed=5)


@dataclass(slots=True)
class Cost:
    """Of all repetitions."""

    times: int = 0
    statements: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)

    def row(self, name: str) -> list[str]:
        others = sum(count for kind, count in self.requests.items() if kind not in KINDS)
        counts = [*(self.requests[kind] for kind in KINDS), others, self.statements]
        return [name, str(self.times), *(f"{count / self.times:.1f}" for count in counts)]


def far_settings(s3: S3Server, database: PostgresServer, endpoint: str) -> dict[str, str]:
    """A new deployment's `S4_*` variables: a bucket and a catalog of its own."""
    return {
        "S4_STORE_URL": f"s3://{s3.new_bucket()}",
        "S4_STORE_ENDPOINT": endpoint,
        "S4_STORE_ACCESS_KEY_ID": s3.access_key,
        "S4_STORE_SECRET_ACCESS_KEY": s3.secret_key,
        "S4_DATABASE_URL": database.new_database(),
        "S4_EMBEDDING_PROVIDER": "deterministic",
    }


@contextmanager
def far_servers() -> Iterator[tuple[S3Server, PostgresServer, FaultProxy]]:
    with seaweedfs() as s3, postgres() as database, proxy_in_thread(s3.endpoint) as far:
        yield s3, database, far


def operations(folder: Path, sizes: OperationSizes) -> None:
    with far_servers() as (s3, database, far):
        settings = far_settings(s3, database, far.endpoint)
        found = _asked(folder / "api", settings, far, sizes)
        found |= _worked(folder / "worker", settings, far, sizes)
    print_heading("What an operation asks of bucket and catalog")
    print_text(
        "Mean of so many. Documents of 4 KiB. `HEAD` and `POST` are under “other”. Indexing holds what the worker\n"
        "does for one document that comes alone: of many, a commit takes up to thousands.\n"
    )
    columns = ["operation", "n", *KINDS, "other", "SQL"]
    print_table(columns, [cost.row(name) for name, cost in found.items()])


def _asked(place: Path, settings: dict[str, str], far: FaultProxy, sizes: OperationSizes) -> dict[str, Cost]:
    """Of an API without a worker: what a request costs until it is answered."""
    found: dict[str, Cost] = {}
    with running_server(place, "--no-worker", settings=settings) as server:
        key = server.new_tenant("costs")
        (place / "tenant.key").write_text(key)
        with Wire(server.url, key) as wire:
            measured = _Measured(wire, far, found)
            ids: list[str] = []

            def upload(number: int) -> None:
                ids.append(wire.upload(f"{number}.txt", _text(number), content_type="text/plain")[1])

            measured.each("upload, a form", sizes, upload)
            measured.each("upload by key, new", sizes, lambda n: _put(wire, n))
            measured.each("upload by key, replaced", sizes, lambda n: _put(wire, n, again=True))
            measured.each("metadata patched", sizes, lambda n: _patch(wire, ids[n]))
            measured.each("looked at", sizes, lambda n: wire.send("GET", f"/api/v1/documents/{ids[n]}"))
            measured.each("listed", sizes, lambda _: wire.send("GET", f"/api/v1/documents?limit={sizes.listed}"))
            measured.each("downloaded", sizes, lambda n: wire.send("GET", f"/api/v1/documents/{ids[n]}/download"))
            measured.each("deleted", sizes, lambda n: wire.send("DELETE", f"/api/v1/documents/{ids[n]}"))
    return found


def _worked(place: Path, settings: dict[str, str], far: FaultProxy, sizes: OperationSizes) -> dict[str, Cost]:
    """Of an API with its worker: indexing, one document at a time, then searching."""
    found: dict[str, Cost] = {}
    key = (place.parent / "api" / "tenant.key").read_text()
    with running_server(place, settings=settings) as server, Wire(server.url, key) as wire:
        measured = _Measured(wire, far, found)
        ids: list[str] = []

        def index(number: int) -> None:
            ids.append(wire.upload(f"{number}.txt", _text(1000 + number), content_type="text/plain")[1])
            wire.end_state(ids[-1])

        for number in range(3):  # what the first part left behind is done, the table is made
            index(-1 - number)
        measured.each("uploaded and indexed", sizes, index)
    shutil.rmtree(place / "copies", ignore_errors=True)
    with running_server(place, "--no-worker", settings=settings) as server, Wire(server.url, key) as wire:
        measured = _Measured(wire, far, found)
        measured.each("searched, cold", OperationSizes(1, 0), lambda _: _search(wire))
        measured.each("searched, warm", sizes, lambda _: _search(wire))
    return found


@dataclass(slots=True)
class _Measured:
    wire: Wire
    far: FaultProxy
    found: dict[str, Cost]

    def each(self, name: str, sizes: OperationSizes, work: Callable[[int], object]) -> None:
        cost = self.found.setdefault(name, Cost())
        statements, seen = total(self.wire, STATEMENTS), len(self.far.requests)
        for number in range(sizes.times):
            work(number)
        cost.times = sizes.times
        cost.statements = total(self.wire, STATEMENTS) - statements
        cost.requests = Counter(request.kind for request in self.far.requests[seen:])


def _text(number: int) -> bytes:
    return f"Number {number}. {TEXT}".encode()


def _put(wire: Wire, number: int, *, again: bool = False) -> None:
    path = f"/api/v1/documents/by-key/k{number}"
    wire.send("PUT", path, _text(number + 500 * again), content_type="text/plain")


def _patch(wire: Wire, document_id: str) -> None:
    wire.send("PATCH", f"/api/v1/documents/{document_id}/metadata", json.dumps({"shelf": "b"}).encode())


def _search(wire: Wire, words: Sequence[str] = ("pumps", "seals")) -> None:
    wire.send("POST", "/api/v1/search", json.dumps({"query": " ".join(words)}).encode())
