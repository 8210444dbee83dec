"""An API process and a worker on one bucket and one catalog, each with a way of its own to the bucket."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.factories.house import House, open_house
from tests.servers import S3Server


@asynccontextmanager
async def far_house(
    folder: Path, s3: S3Server, bucket: str, database_url: str, *, api_endpoint: str, worker_endpoint: str, **api: Any
) -> AsyncIterator[tuple[House, httpx.Client]]:
    """The worker, which works when told to, and a new tenant of the API. `api`: settings of that process alone."""
    settings: dict[str, Any] = {
        "store_url": f"s3://{bucket}/{secrets.token_hex(8)}",
        "store_access_key_id": s3.access_key,
        "store_secret_access_key": s3.secret_key,
        "database_url": database_url,
    }
    of_api = settings | {"store_endpoint": api_endpoint, "admin_api_key": ADMIN_KEY} | api
    environment = {f"S4_{name.upper()}": str(value) for name, value in of_api.items()}
    async with open_house(folder / "worker", **settings, store_endpoint=worker_endpoint) as house:
        process = Deployment(folder / "api", FAST | environment, ("--no-worker",))
        await asyncio.to_thread(process.start)
        try:
            with await asyncio.to_thread(process.new_tenant) as tenant:
                yield house, tenant
        finally:
            await asyncio.to_thread(process.stop)
