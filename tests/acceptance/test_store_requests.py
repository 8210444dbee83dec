"""What an operation asks of the bucket is what the guide says: operators reckon with it."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.factories import calls
from tests.factories.far_house import far_house
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.servers import S3Server

pytestmark = pytest.mark.processes

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "cluster.md"
KINDS = ("GET", "LIST", "PUT")
_LINE = re.compile(r"^\| (?P<operation>[^|]+?) +\| +(\d+) +\| +(\d+) +\| +(\d+) +\|$", re.MULTILINE)


async def test_the_guide_says_what_an_operation_asks_of_the_bucket(
    tmp_path: Path, s3_server: S3Server, s3_shared_bucket: str, postgres_url: str
) -> None:
    async with (
        fault_proxy(s3_server.endpoint) as asked_by_api,
        fault_proxy(s3_server.endpoint) as asked_by_worker,
        far_house(
            tmp_path,
            s3_server,
            s3_shared_bucket,
            postgres_url,
            api_endpoint=asked_by_api.endpoint,
            worker_endpoint=asked_by_worker.endpoint,
        ) as (house, tenant),
    ):
        await asyncio.to_thread(calls.put, tenant, "first", "makes the table, which happens once")
        await house.work()
        asked_by_api.requests.clear()
        stored = await asyncio.to_thread(calls.put, tenant, "k", "a modern falcon")
        document = calls.stored(stored)["document_id"]
        found = {"upload": _counted(asked_by_api)}
        asked_by_worker.requests.clear()
        await house.work()
        found["a worker indexes one document"] = _counted(asked_by_worker)
        found |= await asyncio.to_thread(_after_indexing, tenant, asked_by_api, document)

    said = {line[1]: tuple(map(int, line.group(2, 3, 4))) for line in _LINE.finditer(PAGE.read_text())}
    assert found == said


Costs = dict[str, tuple[int, ...]]


def _after_indexing(tenant: httpx.Client, network: FaultProxy, document: str) -> Costs:
    def searched() -> None:
        assert len(calls.found(tenant, "falcon")) == 1

    path = f"/documents/{document}"
    operations: dict[str, Callable[[], object]] = {
        "search, cold": searched,
        "search, warm": searched,
        "metadata changed": lambda: tenant.patch(f"{path}/metadata", json={"shelf": "b"}).raise_for_status(),
        "document looked at, list": lambda: (calls.detail(tenant, document), tenant.get("/documents")),
        "download": lambda: tenant.get(f"{path}/download").raise_for_status(),
        "deletion": lambda: tenant.delete(path).raise_for_status(),
    }
    return {name: _asked(network, operation) for name, operation in operations.items()}


def _asked(network: FaultProxy, operation: Callable[[], object]) -> tuple[int, ...]:
    network.requests.clear()
    operation()
    return _counted(network)


def _counted(network: FaultProxy) -> tuple[int, ...]:
    kinds = Counter(request.kind for request in network.requests)
    assert kinds.keys() <= set(KINDS), kinds
    return tuple(kinds[kind] for kind in KINDS)
