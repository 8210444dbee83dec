"""Whether every object in the bucket stands where it belongs.

A key says whose an object is. It is *unparsable* when no function of `kernel/keys.py` makes such a key; *ownerless*
when its tenant is unknown to the deployment, or no head of its document names its version; *foreign* when moreover the
document is another tenant's. A head is foreign, too, when it speaks of another subject than its key.

Heads are read, contents are not. An upload under way has content before it has a head: the catalog tells it by its
reservation; without the catalog, what is younger than any upload may last is not judged.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from s4.domains.documents.chain import KIND as DOCUMENT
from s4.domains.documents.queries import reservations
from s4.domains.tenants.chain import KIND as TENANT
from s4.entrypoints.bootstrap import database_url
from s4.entrypoints.verification.matrix import VERSIONED
from s4.entrypoints.verification.report import Check, Report
from s4.entrypoints.verification.scene import Scene
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt
from s4.kernel.ids import DocumentId, TenantId, VersionId
from s4.kernel.keys import KeyKind, ObjectKey, ParsedKey
from s4.kernel.settings import Settings
from s4.platform.chains import Head, Subject
from s4.platform.database import Database, is_there, open_database
from s4.platform.objects import ObjectInfo, ObjectMissing, ObjectStore, open_store
from s4.platform.trust import trusting

_LIVE = "live"
_TRACED_MAX = 20  # lost objects whose owner is looked for among all tenants: the first tell what happened
_POOL = 1

Finding = tuple[str, ObjectKey]
"""`unparsable`, `ownerless` or `foreign`, and which object."""


def objects(settings: Settings) -> Callable[[Scene, Report], None]:
    """The check, for `verify`."""

    def check(scene: Scene, report: Report) -> None:
        claim = "every object's key parses, its tenant and document exist, and no tenant's object lies with another's"
        with report.check("bucket", claim) as found, trusting(settings.ca_file):
            asyncio.run(_inspect(settings, scene, found))

    return check


async def _inspect(settings: Settings, scene: Scene, check: Check) -> None:
    store = open_store(settings)
    try:
        async with _catalog(settings) as catalog:
            survey = Survey(store, catalog, scene, timedelta(seconds=settings.upload_seconds_max))
            if not await survey.holds(TenantId(scene.b.id)):
                check.gaps.append("this bucket is not the deployment's: it does not hold the tenants just made there")
                return
            await survey.run()
    finally:
        await store.aclose()
    check.count += survey.objects
    check.failures += [f"{what}: {key}" for what, key in survey.findings]
    if survey.unjudged:
        check.gaps.append(
            f"{survey.unjudged} objects that no head names are younger than an upload may last: give the catalog too "
            "(--database-url), or run again later"
        )
    check.figures |= {f"objects ({kind})": count for kind, count in sorted(survey.counts.items())}


@asynccontextmanager
async def _catalog(settings: Settings) -> AsyncIterator[Database | None]:
    """The catalog, if the settings lead to one that is there."""
    url = database_url(settings) if settings.database_url is not None else None
    if url is None or not is_there(url):
        yield None
        return
    database = open_database(url, pool_size=_POOL, timeout_seconds=settings.database_timeout_seconds)
    try:
        yield database
    finally:
        await database.aclose()


@dataclass
class Survey:
    """One walk through the bucket, in the order of its keys: a document's objects come together."""

    store: ObjectStore
    catalog: Database | None
    scene: Scene
    upload_lasts: timedelta
    objects: int = 0
    unjudged: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    _traced: int = 0
    _known: dict[TenantId, bool] = field(default_factory=dict)

    async def holds(self, tenant_id: TenantId) -> bool:
        return bool([info async for info in self.store.list(keys.tenant_heads(tenant_id))])

    async def run(self) -> None:
        whose: tuple[TenantId, DocumentId] | None = None
        together: list[tuple[ObjectInfo, ParsedKey]] = []
        async for info in self.store.list(keys.EVERYTHING):
            self.objects += 1
            parsed = keys.parse(info.key)
            if parsed is None:
                self._note("unparsable", info.key)
                continue
            self.counts[parsed.kind.value] = self.counts.get(parsed.kind.value, 0) + 1
            if parsed.tenant_id is not None and not await self._is_known(parsed.tenant_id):
                self._note("ownerless", info.key)
                continue
            if parsed.kind is KeyKind.TENANT_HEAD and parsed.tenant_id is not None:
                await self._head(info.key, Subject(TENANT, parsed.tenant_id, parsed.tenant_id))
            if parsed.tenant_id is None or parsed.document_id is None:
                continue
            if whose != (parsed.tenant_id, parsed.document_id):
                if whose is not None:
                    await self._document(*whose, together)
                whose, together = (parsed.tenant_id, parsed.document_id), []
            together.append((info, parsed))
        if whose is not None:
            await self._document(*whose, together)

    def _note(self, what: str, key: ObjectKey) -> None:
        self.findings.append((what, key))

    async def _is_known(self, tenant_id: TenantId) -> bool:
        """To the API, or as one that was deleted: its chain has ended, and erasure will follow."""
        if tenant_id not in self._known:
            self._known[tenant_id] = self._is_served(tenant_id) or await self._has_ended(tenant_id)
        return self._known[tenant_id]

    def _is_served(self, tenant_id: TenantId) -> bool:
        return self.scene.admin.ask("GET", f"{VERSIONED}/admin/tenants/{tenant_id}").is_success

    async def _has_ended(self, tenant_id: TenantId) -> bool:
        heads = [info.key async for info in self.store.list(keys.tenant_heads(tenant_id))]
        last = await self._head(heads[-1], Subject(TENANT, tenant_id, tenant_id)) if heads else None
        return last is not None and last.state != _LIVE

    async def _head(self, key: ObjectKey, subject: Subject) -> Head | None:
        """None, and a finding, for a head that speaks of something else."""
        try:
            return Head.from_bytes(await self.store.get(key), expected=subject)
        except DataCorrupt:
            self._note("foreign", key)
        except ObjectMissing:  # went since it was listed
            pass
        return None

    async def _document(
        self, tenant_id: TenantId, document_id: DocumentId, together: list[tuple[ObjectInfo, ParsedKey]]
    ) -> None:
        subject = Subject(DOCUMENT, tenant_id, document_id)
        listed = [info.key for info, parsed in together if parsed.kind is KeyKind.DOCUMENT_HEAD]
        named = await self._named(listed, subject)
        lost: dict[VersionId, list[ObjectInfo]] = {}
        for info, parsed in together:
            if parsed.version_id is not None and parsed.version_id not in named:
                lost.setdefault(parsed.version_id, []).append(info)
        for version_id, infos in lost.items():
            if await self._under_way(version_id):
                continue
            # Its head may have come since the listing passed by.
            newer = [info.key async for info in self.store.list(keys.document_heads(tenant_id, document_id))]
            if version_id in await self._named([key for key in newer if key not in listed], subject):
                continue
            what = await self._whose(tenant_id, document_id)
            for info in infos:
                young = datetime.now(UTC) - info.last_modified < self.upload_lasts
                if what == "ownerless" and young and self.catalog is None:
                    self.unjudged += 1
                else:
                    self._note(what, info.key)

    async def _named(self, heads: list[ObjectKey], subject: Subject) -> set[str]:
        """The versions that heads name."""
        read = [await self._head(key, subject) for key in heads]
        return {head.body["version_id"] for head in read if head is not None and "version_id" in head.body}

    async def _under_way(self, version_id: VersionId) -> bool:
        if self.catalog is None:
            return False
        return await self.catalog.transact(lambda connection: reservations.lock(connection, version_id)) is not None

    async def _whose(self, tenant_id: TenantId, document_id: DocumentId) -> str:
        """`foreign` when another tenant has the document; such are few, so all tenants are looked through."""
        self._traced += 1
        if self._traced <= _TRACED_MAX:
            for prefix in await self.store.list_children(keys.TENANTS):
                other = TenantId(prefix.removeprefix(keys.TENANTS).rstrip("/"))
                if other != tenant_id and await self._has(other, document_id):
                    return "foreign"
        return "ownerless"

    async def _has(self, tenant_id: TenantId, document_id: DocumentId) -> bool:
        try:
            await self.store.head(keys.document_head(tenant_id, document_id, 1))
        except ObjectMissing:
            return False
        return True
