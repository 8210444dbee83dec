"""Planted bytes are found neither in the store nor in the catalog where encryption is on."""

import secrets
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest

from s4.domains.webhooks.model import NewWebhook
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt, InvalidRequest
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import OWNER
from tests.servers import S3Server

WAYS = {"bucket": {}, "sse-s3": {}, "sse-kms": {"store_kms_key_id": "s4-tests"}}
OLD_KEY, NEW_KEY = "old-secret-key-0123456789-abcdefghij", "new-secret-key-0123456789-abcdefghij"


def in_bucket(server: S3Server, bucket: str) -> dict[str, Any]:
    return {
        "store_url": f"s3://{bucket}/s4",
        "store_endpoint": server.endpoint,
        "store_access_key_id": server.access_key,
        "store_secret_access_key": server.secret_key,
    }


def holding(needle: str, files: Iterable[Path]) -> list[str]:
    """Which of the files hold these bytes."""
    return [path.name for path in files if path.is_file() and needle.encode() in path.read_bytes()]


def encrypted_with(server: S3Server, bucket: str, key: str) -> str | None:
    """What the store says of an object."""
    url = obstore.sign(server.client(bucket), "GET", f"s4/{key}", timedelta(minutes=5))
    answer = httpx.get(url, timeout=60)
    answer.raise_for_status()
    return answer.headers.get("x-amz-server-side-encryption")


@pytest.mark.parametrize("way", WAYS)
async def test_planted_bytes_are_found_nowhere_where_encryption_is_on(
    way: str, s3_server: S3Server, s3_bucket: str, tmp_path: Path
) -> None:
    # Of random letters, so that no compression hides them; the control finds them.
    word = "needle" + secrets.token_hex(12)
    text = " ".join(word if number % 9 == 0 else secrets.token_hex(9) for number in range(300))
    settings = in_bucket(s3_server, s3_bucket) | {"store_encryption": way} | WAYS[way]
    async with open_house(tmp_path, **settings) as house:
        acme = await house.tenant()
        document = await house.put(acme, "planted", text)
        await house.work()
        assert await house.found(acme, word) == [document.document_id]
        hook = NewWebhook("https://hooks.example.com/", ("tenant.suspended",), secret=f"hook-{word}")
        await house.core.webhooks.create_for(OWNER, acme.context.tenant_id, hook)
        stored = [info.key async for info in house.core.store.list(keys.EVERYTHING)]
    in_store = holding(word, s3_server.data_dir.rglob("*"))
    in_catalog = holding(word, tmp_path.glob("catalog.sqlite*"))
    assert in_catalog == []
    assert holding(acme.key, [*s3_server.data_dir.rglob("*"), *tmp_path.glob("catalog.sqlite*")]) == []
    told = {encrypted_with(s3_server, s3_bucket, key) for key in stored}
    assert (bool(in_store), told) == {
        "bucket": (True, {None}),
        "sse-s3": (False, {"AES256"}),
        "sse-kms": (False, {"aws:kms"}),
    }[way], "of every object, index files among them"


# -- secrets that are read again


async def hooked(house: House) -> Tenant:
    acme = await house.tenant()
    hook = NewWebhook("https://hooks.example.com/", ("tenant.suspended",), secret="a-secret-of-the-tenant")
    await house.core.webhooks.create_for(OWNER, acme.context.tenant_id, hook)
    return acme


async def under(house: House) -> tuple[int, int, int]:
    found = await house.core.webhooks.sealed_under()
    return found.current, found.previous, found.unreadable


async def test_the_master_key_is_replaced_while_everything_goes_on(tmp_path: Path) -> None:
    async with open_house(tmp_path, secret_key=OLD_KEY) as house:
        await hooked(house)
        assert await under(house) == (1, 0, 0)
    async with open_house(tmp_path, secret_key=OLD_KEY, previous_secret_key=NEW_KEY) as both:
        assert await under(both) == (1, 0, 0), "the first step: every process can open both"
    async with open_house(tmp_path, secret_key=NEW_KEY, previous_secret_key=OLD_KEY) as swapped:
        assert await under(swapped) == (0, 1, 0)
        await swapped.core.webhooks.reseal()
        assert await under(swapped) == (1, 0, 0)
    async with open_house(tmp_path, secret_key=NEW_KEY) as after:
        assert await under(after) == (1, 0, 0), "the old key is needed no more"
    for path in tmp_path.glob("catalog.sqlite*"):
        path.unlink()
    async with open_house(tmp_path, secret_key=NEW_KEY) as rebuilt:
        await rebuilt.work()
        assert await under(rebuilt) == (1, 0, 0), "nor by a rebuilt catalog"
    async with open_house(tmp_path, secret_key=OLD_KEY) as wrong:
        assert await under(wrong) == (0, 0, 1)
        await wrong.core.webhooks.reseal()
        assert await under(wrong) == (0, 0, 1), "what no key opens is left for the one that does"


@pytest.mark.parametrize(
    "settings",
    [
        {"store_encryption": "sse-s3"},
        {"store_url": "s3://b/s4", "store_kms_key_id": "k"},
        {"store_url": "gs://b/s4", "store_encryption": "sse-kms"},
        {"archive_storage_class": "STANDARD_IA"},
        {"store_url": "s3://b/s4", "archive_storage_class": "DEEP_ARCHIVE"},
        {"previous_secret_key": "short"},
    ],
)
async def test_settings_that_could_not_be_kept_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        async with open_house(tmp_path, **settings):
            pass


# -- storage classes


def storage_class(server: S3Server, bucket: str, key: str) -> str | None:
    """As the store names it; None for its default."""
    answer = httpx.get(obstore.sign(server.client(bucket), "GET", f"s4/{key}", timedelta(minutes=5)), timeout=60)
    answer.raise_for_status()
    return answer.headers.get("x-amz-storage-class")


async def test_bytes_of_archived_documents_move_into_the_colder_class_and_back(
    s3_server: S3Server, s3_bucket: str, tmp_path: Path
) -> None:
    settings = in_bucket(s3_server, s3_bucket)
    async with open_house(tmp_path, archive_storage_class="STANDARD_IA", **settings) as house:
        acme = await house.tenant()
        document = await house.put(acme, "k", "Tides follow the moon.")
        await house.work()

        key = keys.content(document.tenant_id, document.document_id, document.version_id)
        assert storage_class(s3_server, s3_bucket, key) is None
        await house.core.archive.archive(acme.context, document.document_id)
        await house.work()
        assert storage_class(s3_server, s3_bucket, key) == "STANDARD_IA"
        await house.core.archive.restore(acme.context, document.document_id)
        await house.work()
        assert storage_class(s3_server, s3_bucket, key) is None
        assert await house.found(acme, "tides") == [document.document_id]

        await house.core.store.put(key, b"Tides follow the sun.")
        with pytest.raises(DataCorrupt):
            await house.core.store.move_class(key, "STANDARD_IA", sha256=document.sha256)
        assert storage_class(s3_server, s3_bucket, key) is None, "what is damaged is not written over"
