"""Searches of a deployment whose store is a bucket: what they ask it, and what they can do while it is away."""

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.factories import calls
from tests.factories.far_house import far_house
from tests.fault_proxy import Fault, FaultProxy, Mode, fault_proxy
from tests.servers import S3Server

pytestmark = pytest.mark.processes

MODES = ("keyword", "semantic", "hybrid")


@pytest.mark.slow
async def test_warm_searches_ask_the_bucket_for_nothing_and_go_on_while_it_is_away(
    tmp_path: Path, s3_server: S3Server, s3_shared_bucket: str, postgres_url: str
) -> None:
    """An API process that reaches the bucket through a proxy; the worker reaches it directly."""
    async with (
        fault_proxy(s3_server.endpoint) as network,
        far_house(
            tmp_path,
            s3_server,
            s3_shared_bucket,
            postgres_url,
            api_endpoint=network.endpoint,
            worker_endpoint=s3_server.endpoint,
            store_retries_max=0,
            store_timeout_seconds=3,
        ) as (house, tenant),
    ):
        await asyncio.to_thread(_upload, tenant, "an ancient walrus")
        await house.work()
        await asyncio.to_thread(_searched, tenant, network)
        await asyncio.to_thread(_upload, tenant, "a modern falcon")
        await house.work()
        assert await asyncio.to_thread(calls.found, tenant, "walrus") == [], "the copy follows the catalog"
        assert len(await asyncio.to_thread(calls.found, tenant, "falcon")) == 1
        network.add(Fault(Mode.UNAVAILABLE))
        await asyncio.to_thread(_while_the_bucket_is_away, tenant)


def _upload(tenant: httpx.Client, text: str) -> None:
    calls.stored(calls.put(tenant, "k", text))


def _searched(tenant: httpx.Client, network: FaultProxy) -> None:
    assert len(calls.found(tenant, "walrus")) == 1
    network.requests.clear()
    for mode in MODES:
        assert calls.search(tenant, "walrus", mode=mode)["results"]
    assert [request.path for request in network.requests] == []


def _while_the_bucket_is_away(tenant: httpx.Client) -> None:
    for mode in MODES:
        assert calls.search(tenant, "falcon", mode=mode)["results"]
    refused = calls.put(tenant, "other", "not now")
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
