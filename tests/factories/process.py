"""A process in miniature: the write path's services over a catalog and a store that outlive it.

`die` is what kill -9 does to it: from then on it can reach neither catalog nor store, so nothing that it still means to
clean up happens. Several may live at once, as replicas do.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from s4.domains.documents import Accounts, DocumentChain, DocumentService, UploadRequest, UploadResult, Uploads
from s4.domains.documents.metadata import MetadataLimits
from s4.domains.documents.queries import holds as hold_queries
from s4.domains.documents.uploads import UploadLimits
from s4.domains.events import Events
from s4.domains.plans import PlanService
from s4.domains.plans.model import Plan
from s4.domains.tenants import CreationMemory, NewTenant, TenantChain, TenantLifecycle, TenantService
from s4.domains.tenants import queries as tenant_queries
from s4.kernel.context import AdminContext, TenantContext
from s4.kernel.ids import RandomBytes, TenantId
from s4.kernel.keys import Collection
from s4.kernel.permissions import TENANT_SCOPES, AdminRole
from s4.kernel.plans import UNLIMITED, PlanLimits
from s4.platform.chains import Chains, ChainTimings, RecordChain, Records
from s4.platform.database import Connection, Database
from s4.platform.jobs import Queue
from s4.platform.objects import ObjectStore

T = TypeVar("T")
ALIVE_LONG = timedelta(hours=1)
OWNER = AdminContext("tests", AdminRole.OWNER)


class ProcessDied(BaseException):
    """Not an `Exception`: no handler of the program may swallow its own death."""


class MortalDatabase(Database):
    """The shared catalog, as long as the process lives."""

    def __init__(self, shared: Database) -> None:
        self.__dict__.update(shared.__dict__)
        self.dead = False
        self.ahead = timedelta(0)

    async def now(self, connection: Connection) -> datetime:
        """The shared clock, or `ahead` of it."""
        return await super().now(connection) + self.ahead

    async def transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        if self.dead:
            raise ProcessDied
        return await super().transact(work)


class MortalStore:
    """The shared store, as long as the process lives."""

    def __init__(self, shared: ObjectStore) -> None:
        self._shared = shared
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        if self.dead:
            raise ProcessDied
        return getattr(self._shared, name)


class MiniProcess:
    """Upload, patch, delete, adopt. `lease` zero makes every ticket stale at once: whoever died is fenced at once."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        *,
        random: RandomBytes = secrets.token_bytes,
        lease: timedelta = ALIVE_LONG,
        upload_duration: timedelta = ALIVE_LONG,
    ) -> None:
        self.database = MortalDatabase(database)
        self.store = MortalStore(store)
        self.queue = Queue(self.database, random)
        self.chains = Chains(
            self.database,
            self.store,  # type: ignore[arg-type]  # forwards everything
            random,
            [
                TenantChain(),
                DocumentChain(self.queue, Events(self.database, random), _is_news),
                *map(RecordChain, Collection),
            ],
            ChainTimings(lease=lease, wait=timedelta(seconds=20)),
        )
        self.plans = PlanService(
            self.database, Records(Collection.PLANS, self.database, self.chains), tenant_queries.count_on_plan
        )
        memory = CreationMemory(remembered=timedelta(hours=24), secret="of the tests")
        self.tenants = TenantService(self.database, self.chains, self.plans, random, memory)
        self.lifecycle = TenantLifecycle(
            self.database,
            self.tenants,
            self.plans,
            Events(self.database, random),
            hold_queries.require_none,
            grace=ALIVE_LONG,
        )
        self.documents = DocumentService(
            self.database,
            self.store,  # type: ignore[arg-type]
            self.chains,
            MetadataLimits(bytes_max=65_536, depth_max=8, values_max=1000),
        )
        self.accounts = Accounts(self.database)
        self.uploads = Uploads(
            self.database,
            self.store,  # type: ignore[arg-type]
            self.chains,
            random,
            UploadLimits(bytes_max=1 << 30, duration_max=upload_duration, idempotency=timedelta(hours=24)),
        )

    def die(self) -> None:
        """For a fail-point: the process ends here."""
        self.database.dead = True
        self.store.dead = True
        raise ProcessDied

    async def tenant(self, name: str = "Acme", *, plan: Plan | None = None) -> TenantContext:
        """On the unlimited plan, or on a new one."""
        if plan is not None:
            await self.plans.create(OWNER, plan)
        tenant, _ = await self.tenants.create(OWNER, NewTenant(name, None, None, plan.id if plan else "local"))
        return context_of(tenant.tenant_id, plan.limits if plan else UNLIMITED)

    async def put(
        self,
        context: TenantContext,
        key: str,
        content: bytes,
        metadata: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> UploadResult:
        request = UploadRequest(filename=f"{key}.txt", content_type="text/plain", key=key, metadata=metadata, **options)
        return await self.uploads.receive(context, request, content=chunks([content]))


def context_of(tenant_id: TenantId, plan: PlanLimits = UNLIMITED) -> TenantContext:
    return TenantContext(tenant_id, None, TENANT_SCOPES, plan)


async def _is_news(_: Connection) -> bool:
    return True


async def chunks(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
