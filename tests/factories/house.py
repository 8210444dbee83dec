"""All of S4 in one process, wired by the real bootstrap: the test decides when the worker works.

async with open_house(tmp_path) as house:
    acme = await house.tenant()
    document = await house.put(acme, "report", "text")
    await house.work()
    assert await house.found(acme, "text") == [document.document_id]
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s4.domains.documents import Document, ListFilter, UploadRequest
from s4.domains.search.model import Query
from s4.domains.tenants import NewTenant
from s4.engine.ranking import Mode
from s4.entrypoints.bootstrap import Core, WorkerParts, migrate_database, open_core, open_worker
from s4.entrypoints.configuration import load_settings
from s4.kernel.context import NOWHERE, TenantContext
from s4.kernel.ids import DocumentId
from s4.kernel.pages import PageRequest
from s4.platform.http.routing import Credentials
from tests.factories.process import OWNER, chunks


@dataclass(frozen=True)
class Tenant:
    """`key` survives the house; `context` is what a request with it gets."""

    key: str
    context: TenantContext


@dataclass
class House:
    """API and worker of one deployment, over the data directory that it was opened with."""

    core: Core
    parts: WorkerParts

    async def tenant(self, name: str = "Acme") -> Tenant:
        _, key = await self.core.tenants.create(OWNER, NewTenant(name, None, None, "local"))
        return await self.known(key)

    async def known(self, key: str) -> Tenant:
        """The tenant with this key. Raises `Unauthenticated`."""
        return Tenant(key, await self.core.access.tenant(Credentials(tenant_key=key, admin_key=None, origin=NOWHERE)))

    async def put(
        self,
        tenant: Tenant,
        key: str,
        content: str | bytes,
        metadata: Mapping[str, Any] | None = None,
        *,
        content_type: str = "text/plain",
    ) -> Document:
        data = content.encode() if isinstance(content, str) else content
        request = UploadRequest(filename=key, content_type=content_type, key=key, metadata=metadata)
        return (await self.core.uploads.receive(tenant.context, request, content=chunks([data]))).document

    async def get(self, tenant: Tenant, document_id: DocumentId) -> Document:
        return await self.core.documents.get(tenant.context, document_id)

    async def all(self, tenant: Tenant) -> list[Document]:
        documents, total, _ = await self.core.documents.page(tenant.context, ListFilter(), PageRequest(1, 1000))
        assert len(documents) == total
        return documents

    async def work(self) -> None:
        """Runs every job that is due, and sends what is."""
        await self.parts.worker.run_until_idle()
        await self.parts.pump.run_until_idle()

    async def found(self, tenant: Tenant, text: str, mode: Mode = Mode.KEYWORD, limit: int = 100) -> list[DocumentId]:
        answer = await self.core.search.search(tenant.context, Query(text, mode=mode, limit=limit))
        return [DocumentId(result.document.document_id) for result in answer.results]


@contextlib.asynccontextmanager
async def open_house(data_dir: Path, **settings: Any) -> AsyncIterator[House]:
    """With hashed words instead of a model, unless `settings` say otherwise. Also opens what was there before."""
    loaded = load_settings(**{"data_dir": data_dir, "embedding_provider": "deterministic", **settings})
    await asyncio.to_thread(migrate_database, loaded)  # the loop may be that of a house which is writing
    async with open_core(loaded) as core, open_worker(core) as parts:
        await parts.maintenance.ensure_adopted()
        yield House(core, parts)
