"""What is done to S4 in the fault matrix, and the states in which it is done."""

import json
import secrets
from collections.abc import Callable
from dataclasses import replace

import httpx
import sqlalchemy as sa

from s4.domains import usage
from s4.domains.documents.chain import subject
from s4.domains.documents.queries import reservations
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing.models import document_index
from s4.kernel import keys
from s4.kernel.ids import DocumentId, TenantId, new_commit_id, new_version_id
from s4.kernel.plans import UNLIMITED
from s4.platform import faults
from s4.platform.database import Connection
from s4.platform.jobs import SYSTEM, JobRequest
from s4.platform.jobs.models import jobs
from tests.factories import calls
from tests.faults.scene import MIB, Scene
from tests.servers import free_ports

BEFORE = "the ancient wording"
AFTER = "the modern wording"
NEIGHBOUR = "an innocent neighbour"
LATE = "the latecoming wording"
LARGE = bytes(11 * MIB)  # two whole parts and a rest; no text in it
CHANGED = {"year": 2026}


# -- the state before


def with_documents(scene: Scene) -> None:
    """A tenant with `k` and `n`, ready, and nothing to do."""
    with scene.admin() as admin:
        created = admin.post("/admin/tenants", json={"name": "Acme"}).json()
    scene.tenant_id, scene.key = created["id"], created["api_key"]
    with scene.tenant() as tenant:
        calls.stored(calls.put(tenant, "k", BEFORE))
        calls.stored(calls.put(tenant, "n", NEIGHBOUR))
    scene.work()


def broken_off(scene: Scene, step: str, doing: Callable[[], object]) -> None:
    """`doing` was broken off at `step` and left what a crash leaves there."""

    def breaks() -> None:
        faults.arm({})
        raise faults.InjectedFault

    faults.arm({step: breaks})
    doing()
    faults.arm({})
    scene.let_time_pass()


def dead_writer(step: str) -> Callable[[Scene], None]:
    def prepare(scene: Scene) -> None:
        with_documents(scene)
        broken_off(scene, step, lambda: put(scene, scene.survivor.url, "k", "the unanswered wording"))

    return prepare


def dead_creator(scene: Scene) -> None:
    with_documents(scene)
    broken_off(scene, "tenant.sealed", lambda: create_tenant(scene, scene.survivor.url))


def with_another(scene: Scene) -> None:
    """A second tenant, with a document that is ready."""
    with_documents(scene)
    created = create_tenant(scene, scene.survivor.url).json()
    with httpx.Client(
        base_url=f"{scene.survivor.url}/api/v1", headers={"X-Tenant-Key": created["api_key"]}, timeout=60
    ) as other:
        calls.stored(calls.put(other, "theirs", "a departing wording", CHANGED))
    scene.work()


def with_one_that_leaves(scene: Scene) -> None:
    """Its grace is over."""
    with_another(scene)
    delete_tenant(scene, scene.survivor.url)


def dead_planner(scene: Scene) -> None:
    with_documents(scene)
    broken_off(scene, "record.sealed", lambda: create_plan(scene, scene.survivor.url))


def with_a_second_bucket(scene: Scene) -> None:
    """Into which workers copy."""
    second = {"S4_REPLICA_STORE_URL": (scene.folder / "second").as_uri(), "S4_REPLICATE_SECONDS": "86400"}
    scene.environment |= second
    with_documents(scene)


def with_a_webhook(scene: Scene) -> None:
    """Nobody listens at its address: an attempt passes the same steps whatever comes of it."""
    with_documents(scene)
    with scene.tenant() as tenant:
        hook = {"url": f"http://127.0.0.1:{free_ports(1)[0]}/", "events": ["*"]}
        assert tenant.post("/webhooks", json=hook).status_code == 201


def behind_its_bucket(scene: Scene) -> None:
    """As after the restore of an older catalog: the bucket knows a newer revision of `n`."""
    with_documents(scene)
    document_id = _id_of(scene, "n")
    core = scene.house.core

    async def write() -> None:
        chain = subject(TenantId(scene.tenant_id), document_id)
        head = await core.chains.read(chain, 1)
        body = {**head.body, "metadata": CHANGED}
        newer = replace(head, revision=2, commit_id=new_commit_id(secrets.token_bytes), body=body)
        key = keys.document_head(TenantId(scene.tenant_id), document_id, newer.revision)
        await core.store.create(key, newer.to_bytes(), commit_id=newer.commit_id)

    scene.do(write())


def with_garbage(scene: Scene) -> None:
    """Replaced and deleted content, and a catalog behind its bucket."""
    behind_its_bucket(scene)
    put(scene, scene.survivor.url, "k", AFTER, CHANGED)
    with scene.tenant() as tenant:
        calls.stored(calls.put(tenant, "doomed", "a doomed text"))
        assert tenant.delete("/documents/by-key/doomed").status_code == 204
    scene.work()


def with_losses(scene: Scene) -> None:
    """An overdue upload, a document whose job is lost, and one whose index is."""
    with_documents(scene)
    put(scene, scene.survivor.url, "k", AFTER, CHANGED)
    document_id = _id_of(scene, "n")

    async def lose(connection: Connection) -> None:
        tenant_id = TenantId(scene.tenant_id)
        now = await scene.house.core.database.now(connection)
        version_id = new_version_id(secrets.token_bytes)
        room = await usage.reserve(connection, tenant_id, UNLIMITED, at_least=usage.Room(77, 0), bytes_at_most=77)
        await reservations.add(
            connection, tenant_id, document_id, version_id, room=room, key_hash=None, now=now, expires_at=now
        )
        await connection.execute(sa.delete(jobs))
        await connection.execute(sa.delete(document_index).where(document_index.c.document_id == document_id))

    scene.transact(lose)
    scene.let_time_pass()


def with_dead_rows(scene: Scene) -> None:
    """The rows that `k` replaced are still in the table."""
    with_documents(scene)
    put(scene, scene.survivor.url, "k", AFTER, CHANGED)
    broken_off(scene, "index.published", scene.work)
    scene.work()


def with_a_damaged_index(scene: Scene) -> None:
    """A file of the table has vanished from the bucket."""
    with_documents(scene)
    store = scene.house.core.store

    async def lose() -> None:
        data = [info.key async for info in store.list(keys.INDICES) if ".lance/data/" in info.key]
        await store.delete(data[:1])

    scene.do(lose())


def without_catalog(scene: Scene) -> None:
    """The catalog is lost: the bucket has two tenants and a deleted, a replaced and a patched document, and one that
    was never indexed."""
    with_garbage(scene)
    put(scene, scene.survivor.url, "late", LATE)
    create_tenant(scene, scene.survivor.url)
    create_plan(scene, scene.survivor.url)
    scene.lose_catalog()


def _id_of(scene: Scene, key: str) -> DocumentId:
    with scene.tenant() as tenant:
        return DocumentId(tenant.get(f"/documents/by-key/{key}").json()["document_id"])


# -- what is done


def put(
    scene: Scene, url: str, key: str, content: str | bytes, metadata: object = None, **headers: str
) -> httpx.Response:
    with scene.tenant_at(url) as tenant:
        return calls.put(tenant, key, content, metadata, **headers)  # type: ignore[arg-type]


def upload(scene: Scene, url: str) -> httpx.Response:
    with scene.tenant_at(url) as tenant:
        return calls.post(tenant, "new.txt", AFTER.encode(), CHANGED, idempotency_key="once")


def upload_large(scene: Scene, url: str) -> httpx.Response:
    return put(scene, url, "large", LARGE, CHANGED, **{"Idempotency-Key": "once"})


def upload_undeclared(scene: Scene, url: str) -> httpx.Response:
    """Without a Content-Length, and longer than the first step of its room."""
    pieces = (LARGE[start : start + MIB] for start in range(0, len(LARGE), MIB))
    with scene.tenant_at(url) as tenant:
        headers = {"Content-Type": "text/plain", "X-S4-Metadata": json.dumps(CHANGED), "Idempotency-Key": "once"}
        return tenant.put("/documents/by-key/large", content=pieces, headers=headers)


def upload_refused(scene: Scene, url: str) -> httpx.Response:
    """What is wrong with it comes after the bytes."""
    parts = [("file", ("new.txt", AFTER.encode())), ("metadata", (None, b"no JSON"))]
    with scene.tenant_at(url) as tenant:
        return tenant.post("/documents", files=parts)  # type: ignore[arg-type]


def put_again(scene: Scene, url: str) -> httpx.Response:
    return put(scene, url, "k", AFTER, CHANGED, **{"Idempotency-Key": "once"})


def put_neighbour(scene: Scene, url: str) -> httpx.Response:
    return put(scene, url, "n", AFTER, CHANGED, **{"Idempotency-Key": "once"})


def patch(scene: Scene, url: str) -> httpx.Response:
    with scene.tenant_at(url) as tenant:
        return tenant.patch(f"/documents/{_id_of(scene, 'k')}/metadata", json=CHANGED)


def reprocess(scene: Scene, url: str) -> httpx.Response:
    with scene.tenant_at(url) as tenant:
        return tenant.post(f"/documents/{_id_of(scene, 'k')}/reprocess")


def with_an_archived_one(scene: Scene) -> None:
    """As `with_documents`, and `k` is archived."""
    with_documents(scene)
    with scene.tenant() as tenant:
        answer = tenant.post(f"/documents/{_id_of(scene, 'k')}/archive")
    assert answer.status_code == 202, answer.text
    scene.work()


def restore(scene: Scene, url: str) -> httpx.Response:
    with scene.tenant_at(url) as tenant:
        return tenant.post(f"/documents/{_id_of(scene, 'k')}/restore")


def delete(scene: Scene, url: str) -> httpx.Response:
    with scene.tenant_at(url) as tenant:
        return tenant.delete("/documents/by-key/k")


def delete_all(scene: Scene, url: str) -> httpx.Response:
    with scene.tenant() as tenant:
        everything = sorted(calls.everything(tenant))
    with scene.tenant_at(url) as tenant:
        return tenant.post("/documents/bulk-delete", json={"document_ids": everything or [f"doc_{'0' * 26}"]})


def create_tenant(scene: Scene, url: str) -> httpx.Response:
    with scene.admin_at(url) as admin:
        return admin.post("/admin/tenants", json={"name": "Second"})


def delete_tenant(scene: Scene, url: str) -> httpx.Response:
    """The other one, of two."""
    with scene.admin() as admin:
        listed = admin.get("/admin/tenants").json()["tenants"]
    other = next(tenant["id"] for tenant in listed if tenant["id"] != scene.tenant_id)
    with scene.admin_at(url) as admin:
        return admin.delete(f"/admin/tenants/{other}")


def create_plan(scene: Scene, url: str) -> httpx.Response:
    with scene.admin_at(url) as admin:
        return admin.post("/admin/plans", json={"id": "gold", "name": "Gold"})


def ping_webhook(scene: Scene, url: str) -> httpx.Response:
    with scene.tenant_at(url) as tenant:
        (webhook,) = tenant.get("/webhooks").json()["webhooks"]
        return tenant.post(f"/webhooks/{webhook['id']}/test")


def sweep(kind: str) -> Callable[[Scene, str], None]:
    return lambda scene, _: scene.enqueue(JobRequest(kind, SYSTEM, kind, {}))


def compact(scene: Scene, _: str) -> None:
    scene.enqueue(index_jobs.optimize(scene.tenant_id, scene.house.core.generation.id))


def look_at_index(scene: Scene, _: str) -> None:
    scene.enqueue(index_jobs.check(scene.tenant_id, scene.house.core.generation.id, is_suspected=True))


def only_start(_: Scene, __: str) -> None:
    """The worker finds by itself what there is to do."""
