"""What an operation asks of the bucket is what the guide says: operators reckon with it."""

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.factories import calls
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.factories.house import open_house
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.servers import S3Server

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "cluster.md"
KINDS = ("GET", "LIST", "PUT")
_LINE = re.compile(r"^\| (?P<operation>[^|]+?) +\| +(\d+) +\| +(\d+) +\| +(\d+) +\|$", re.MULTILINE)


async def test_the_guide_says_what_an_operation_asks_of_the_bucket(
    tmp_path: Path, s3_server: S3Server, s3_shared_bucket: str, postgres_url: str
) -> None:
    settings = {
        "store_url": f"s3://{s3_shared_bucket}/{secrets.token_hex(8)}",
        "store_access_key_id": s3_server.access_key,
        "store_secret_access_key": s3_server.secret_key,
        "database_url": postgres_url,
    }
    async with (
        fault_proxy(s3_server.endpoint) as asked_by_api,
        fault_proxy(s3_server.endpoint) as asked_by_worker,
        open_house(tmp_path / "worker", **settings, store_endpoint=asked_by_worker.endpoint) as house,
    ):
        environment = {f"S4_{name.upper()}": str(value) for name, value in settings.items()}
        environment |= {"S4_STORE_ENDPOINT": asked_by_api.endpoint, "S4_ADMIN_API_KEY": ADMIN_KEY}
        api = Deployment(tmp_path / "api", FAST | environment, ("--no-worker",))
        await asyncio.to_thread(api.start)
        try:
            with await asyncio.to_thread(api.new_tenant) as tenant:
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
        finally:
            await asyncio.to_thread(api.stop)

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
