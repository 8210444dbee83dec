"""Objects that are damaged in the bucket, and bytes that turn on the way from it."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from s4.domains.documents import DocumentStatus
from s4.kernel import keys
from tests.factories.house import House, open_house
from tests.fault_proxy import Fault, FaultProxy, Mode, fault_proxy
from tests.servers import S3Server

TEXT = "a text about lighthouses"


@pytest.fixture
async def network(s3_server: S3Server) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
async def house(
    tmp_path: Path, s3_server: S3Server, s3_shared_bucket: str, network: FaultProxy
) -> AsyncIterator[House]:
    settings = {
        "store_url": f"s3://{s3_shared_bucket}/{secrets.token_hex(8)}",
        "store_endpoint": network.endpoint,
        "store_access_key_id": s3_server.access_key,
        "store_secret_access_key": s3_server.secret_key,
    }
    async with open_house(tmp_path, **settings) as opened:
        yield opened


async def test_a_damaged_text_is_made_anew_from_the_content(house: House) -> None:
    acme = await house.tenant()
    document = await house.put(acme, "k", TEXT)
    key = keys.text(document.tenant_id, document.document_id, document.version_id, document.content_revision)
    await house.core.store.put(key, b"what a worker left that died, and a disk then damaged")
    await house.work()
    assert (await house.get(acme, document.document_id)).status is DocumentStatus.READY
    assert await house.found(acme, "lighthouses") == [document.document_id]
    assert (await house.core.documents.text(acme.context, document.document_id))[1].text == TEXT


async def test_content_that_turns_on_the_way_is_fetched_once_more(house: House, network: FaultProxy) -> None:
    acme = await house.tenant()
    document = await house.put(acme, "k", TEXT)
    turned = network.add(Fault(Mode.WRONG_BYTES, method="GET", path="/content", count=1, after_bytes=3))
    await house.work()
    assert turned.hits == 1
    assert (await house.get(acme, document.document_id)).status is DocumentStatus.READY
    assert await house.found(acme, "lighthouses") == [document.document_id]


async def test_content_that_is_damaged_in_the_bucket_ends_failed_and_says_so(house: House) -> None:
    acme = await house.tenant()
    document = await house.put(acme, "k", TEXT)
    key = keys.content(document.tenant_id, document.document_id, document.version_id)
    await house.core.store.put(key, TEXT.replace("light", "right").encode())
    await house.work()
    ended = await house.get(acme, document.document_id)
    assert (ended.status, ended.error_code) == (DocumentStatus.FAILED, "data_corrupt")
    assert await house.found(acme, "righthouses") == []
