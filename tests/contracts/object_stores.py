"""What the contract tests of the object store share."""

import secrets
from typing import Any

from prometheus_client import REGISTRY

from s4.kernel import keys
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.kernel.settings import Settings
from s4.kernel.units import MIB
from s4.platform.objects import ObjectStore
from tests.servers import GoogleServer, S3Server

PART_BYTES = 5 * MIB  # the smallest that S3 and Google's storage take

KEY = ObjectKey("tenants/ten_a/documents/doc_a/head/000000000001.json")


def s3_settings(server: S3Server, bucket: str, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "store_url": f"s3://{bucket}/{secrets.token_hex(8)}/nested",
        "store_endpoint": server.endpoint,
        "store_access_key_id": server.access_key,
        "store_secret_access_key": server.secret_key,
        "store_part_bytes": PART_BYTES,
    }
    return Settings(**{**values, **changes})


def gs_settings(server: GoogleServer, bucket: str, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "store_url": f"gs://{bucket}/{secrets.token_hex(8)}/nested",
        "store_endpoint": server.endpoint,
        "store_google_key_file": server.key_file(),
        "store_part_bytes": PART_BYTES,
    }
    return Settings(**{**values, **changes})


def head_data(commit_id: str) -> bytes:
    return f'{{"commit_id": "{commit_id}"}}'.encode()


def document(number: int) -> ObjectKey:
    return ObjectKey(f"tenants/ten_a/documents/doc_{number:04d}/content")


async def listed(store: ObjectStore, prefix: ObjectPrefix = keys.TENANTS) -> list[ObjectKey]:
    return [info.key async for info in store.list(prefix)]


async def uploaded(store: ObjectStore, key: ObjectKey, data: bytes, *, chunk_bytes: int = MIB) -> int:
    async with store.upload(key) as upload:
        for start in range(0, len(data), chunk_bytes):
            await upload.write(data[start : start + chunk_bytes])
        return await upload.commit()


async def streamed(store: ObjectStore, key: ObjectKey, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.stream(key, start=start, end=end)])


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def assert_nothing_left(store: ObjectStore) -> None:
    assert await listed(store) == []
    if store.local_root is not None:
        assert list((store.local_root / ".tmp").iterdir()) == []
