"""Everything that S4 does in steps, with the fail-points that it passes, in the API and in the worker.

`test_the_acts_pass_exactly_the_points_that_they_say` holds these lists against what really happens, and another test
holds all of them together against the registry: a new fail-point must find its acts here, or the tests fail.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

import httpx
import sqlalchemy as sa

from s4.domains import usage
from s4.domains.audit.sealer import SEAL
from s4.domains.documents.chain import subject
from s4.domains.documents.queries import reservations
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing.models import document_index
from s4.domains.maintenance import service as maintenance
from s4.kernel import keys
from s4.kernel.ids import DocumentId, TenantId, new_commit_id, new_version_id
from s4.kernel.plans import UNLIMITED
from s4.platform import faults
from s4.platform.database import Connection
from s4.platform.jobs import SYSTEM, JobRequest
from s4.platform.jobs.models import jobs
from tests.factories import calls
from tests.faults.invariants import Expected
from tests.faults.scene import MIB, Scene
from tests.servers import free_ports

BEFORE = "the ancient wording"
AFTER = "the modern wording"
NEIGHBOUR = "an innocent neighbour"
LARGE = bytes(11 * MIB)  # two whole parts and a rest; no text in it
CHANGED = {"year": 2026}


def nothing(_: Scene) -> None:
    """No preparation."""


@dataclass(frozen=True)
class Act:
    """`do` is asked of an API by its address; jobs that follow are the worker's. `prepare` makes the state before."""

    name: str
    do: Callable[[Scene, str], httpx.Response | None]
    expected: Expected
    in_api: tuple[str, ...] = ()
    in_worker: tuple[str, ...] = ()
    prepare: Callable[[Scene], None] = nothing
    may_answer: frozenset[int] = frozenset()
    """When repeated. Empty: nobody repeats it, the system itself comes back to it."""
    has_idempotency_key: bool = False
    may_pass: frozenset[str] = frozenset()
    """Points that depend on the order in which jobs run."""

    @property
    def steps(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.in_api, *self.in_worker)))


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


def _dead_writer(step: str) -> Callable[[Scene], None]:
    def prepare(scene: Scene) -> None:
        with_documents(scene)
        broken_off(scene, step, lambda: _put(scene, scene.survivor.url, "k", "the unanswered wording"))

    return prepare


def _dead_creator(scene: Scene) -> None:
    with_documents(scene)
    broken_off(scene, "tenant.sealed", lambda: create_tenant(scene, scene.survivor.url))


def _with_another(scene: Scene) -> None:
    """A second tenant, with a document that is ready."""
    with_documents(scene)
    created = create_tenant(scene, scene.survivor.url).json()
    with httpx.Client(
        base_url=f"{scene.survivor.url}/api/v1", headers={"X-Tenant-Key": created["api_key"]}, timeout=60
    ) as other:
        calls.stored(calls.put(other, "theirs", "a departing wording", CHANGED))
    scene.work()


def _with_one_that_leaves(scene: Scene) -> None:
    """Its grace is over."""
    _with_another(scene)
    delete_tenant(scene, scene.survivor.url)


def _dead_planner(scene: Scene) -> None:
    with_documents(scene)
    broken_off(scene, "record.sealed", lambda: create_plan(scene, scene.survivor.url))


def _with_a_webhook(scene: Scene) -> None:
    """Nobody listens at its address: an attempt passes the same steps whatever comes of it."""
    with_documents(scene)
    with scene.tenant() as tenant:
        hook = {"url": f"http://127.0.0.1:{free_ports(1)[0]}/", "events": ["*"]}
        assert tenant.post("/webhooks", json=hook).status_code == 201


def _behind_its_bucket(scene: Scene) -> None:
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


def _with_garbage(scene: Scene) -> None:
    """Replaced and deleted content, and a catalog behind its bucket."""
    _behind_its_bucket(scene)
    _put(scene, scene.survivor.url, "k", AFTER, CHANGED)
    with scene.tenant() as tenant:
        calls.stored(calls.put(tenant, "doomed", "a doomed text"))
        assert tenant.delete("/documents/by-key/doomed").status_code == 204
    scene.work()


def _with_losses(scene: Scene) -> None:
    """An overdue upload, a document whose job is lost, and one whose index is."""
    with_documents(scene)
    _put(scene, scene.survivor.url, "k", AFTER, CHANGED)
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


def _with_dead_rows(scene: Scene) -> None:
    """The rows that `k` replaced are still in the table."""
    with_documents(scene)
    _put(scene, scene.survivor.url, "k", AFTER, CHANGED)
    broken_off(scene, "index.published", scene.work)
    scene.work()


def _without_catalog(scene: Scene) -> None:
    """The catalog is lost: the bucket has two tenants and a deleted, a replaced and a patched document."""
    _with_garbage(scene)
    create_tenant(scene, scene.survivor.url)
    create_plan(scene, scene.survivor.url)
    scene.lose_catalog()


def _id_of(scene: Scene, key: str) -> DocumentId:
    with scene.tenant() as tenant:
        return DocumentId(tenant.get(f"/documents/by-key/{key}").json()["document_id"])


# -- what is done


def _put(
    scene: Scene, url: str, key: str, content: str | bytes, metadata: object = None, **headers: str
) -> httpx.Response:
    with scene.tenant_at(url) as tenant:
        return calls.put(tenant, key, content, metadata, **headers)  # type: ignore[arg-type]


def upload(scene: Scene, url: str) -> httpx.Response:
    with scene.tenant_at(url) as tenant:
        return calls.post(tenant, "new.txt", AFTER.encode(), CHANGED, idempotency_key="once")


def upload_large(scene: Scene, url: str) -> httpx.Response:
    return _put(scene, url, "large", LARGE, CHANGED, **{"Idempotency-Key": "once"})


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
    return _put(scene, url, "k", AFTER, CHANGED, **{"Idempotency-Key": "once"})


def put_neighbour(scene: Scene, url: str) -> httpx.Response:
    return _put(scene, url, "n", AFTER, CHANGED, **{"Idempotency-Key": "once"})


def patch(scene: Scene, url: str) -> httpx.Response:
    with scene.tenant_at(url) as tenant:
        return tenant.patch(f"/documents/{_id_of(scene, 'k')}/metadata", json=CHANGED)


def reprocess(scene: Scene, url: str) -> httpx.Response:
    with scene.tenant_at(url) as tenant:
        return tenant.post(f"/documents/{_id_of(scene, 'k')}/reprocess")


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


def _sweep(kind: str) -> Callable[[Scene, str], None]:
    return lambda scene, _: scene.enqueue(JobRequest(kind, SYSTEM, kind, {}))


def _compact(scene: Scene, _: str) -> None:
    scene.enqueue(index_jobs.optimize(scene.tenant_id))


def _only_start(_: Scene, __: str) -> None:
    """The worker finds by itself what there is to do."""


# -- the list

SEALING = ("document.sealed", "document.committed", "document.settled")
RECEIVING = ("upload.opened", "upload.received", "upload.streamed")
RESOLVING = ("document.fenced", "document.resolved")
EXTRACTING = ("index.claimed", "index.extracted", "index.text_saved")
EMBEDDING = ("index.group_answered", "index.group_embedded")
WRITING = ("index.described", "index.written", "index.published")
TIDYING = ("index.replaced_removed", "index.tidied")

UNTOUCHED: dict[str | None, str | bytes] = {"k": BEFORE, "n": NEIGHBOUR}
REPLACED: dict[str | None, str | bytes] = {"k": AFTER, "n": NEIGHBOUR}

ACTS = [
    Act(
        "upload",
        upload,
        Expected(UNTOUCHED | {None: AFTER}, frozenset({None})),
        in_api=(*RECEIVING, *SEALING),
        in_worker=(*EXTRACTING, *EMBEDDING, "index.embedded", *WRITING),
        prepare=with_documents,
        may_answer=frozenset({201}),
        has_idempotency_key=True,
    ),
    Act(
        "upload-large",
        upload_large,
        Expected(UNTOUCHED | {"large": LARGE}, frozenset({"large"}), frozenset({"large"})),
        in_api=("object.part_written", *RECEIVING, *SEALING),
        in_worker=("index.claimed",),
        prepare=with_documents,
        may_answer=frozenset({201}),
        has_idempotency_key=True,
    ),
    Act(
        "upload-undeclared",
        upload_undeclared,
        Expected(UNTOUCHED | {"large": LARGE}, frozenset({"large"}), frozenset({"large"})),
        in_api=("object.part_written", "upload.grown", *RECEIVING, *SEALING),
        in_worker=("index.claimed",),
        prepare=with_documents,
        may_answer=frozenset({201}),
        has_idempotency_key=True,
    ),
    Act(
        "upload-refused",
        upload_refused,
        Expected(UNTOUCHED),
        in_api=("upload.opened", "upload.released"),
        prepare=with_documents,
        may_answer=frozenset({400}),
    ),
    Act(
        "replace",
        put_again,
        Expected(REPLACED, frozenset({"k"}), gone=("ancient",)),
        in_api=(*RECEIVING, *SEALING),
        in_worker=(*EXTRACTING, *EMBEDDING, "index.embedded", *WRITING, *TIDYING),
        prepare=with_documents,
        may_answer=frozenset({200}),
        has_idempotency_key=True,
    ),
    Act(
        "patch",
        patch,
        Expected(UNTOUCHED, frozenset({"k"})),
        in_api=SEALING,
        prepare=with_documents,
        may_answer=frozenset({200}),
    ),
    Act(
        "reprocess",
        reprocess,
        Expected(UNTOUCHED),
        in_api=SEALING,
        in_worker=(*EXTRACTING, "index.embedded", *WRITING, *TIDYING),
        prepare=with_documents,
        may_answer=frozenset({202}),
    ),
    Act(
        "delete",
        delete,
        Expected({"n": NEIGHBOUR}, gone=("ancient",)),
        in_api=SEALING,
        in_worker=("unindex.claimed", *WRITING),
        prepare=with_documents,
        may_answer=frozenset({204, 404}),
    ),
    Act(
        "delete-all",
        delete_all,
        Expected({}, gone=("ancient", "innocent")),
        in_api=SEALING,
        in_worker=("unindex.claimed", *WRITING),
        prepare=with_documents,
        may_answer=frozenset({200}),
    ),
    Act(
        "create-tenant",
        create_tenant,
        Expected(UNTOUCHED),
        in_api=("tenant.sealed", "tenant.committed", "tenant.settled"),
        prepare=with_documents,
        may_answer=frozenset({201}),
    ),
    Act(
        "delete-tenant",
        delete_tenant,
        Expected(UNTOUCHED, alone=True),
        in_api=("tenant.sealed", "tenant.committed", "tenant.settled"),
        prepare=_with_another,
        may_answer=frozenset({202}),
    ),
    Act(
        "depart",
        _sweep(maintenance.DEPARTURES),
        Expected(UNTOUCHED, alone=True),
        in_worker=(
            *("depart.plans_followed", "tenant.sealed", "tenant.committed", "tenant.settled"),
            *("depart.buried", "depart.forgotten"),
        ),
        prepare=_with_one_that_leaves,
    ),
    Act(
        "create-plan",
        create_plan,
        Expected(UNTOUCHED),
        in_api=("record.sealed", "record.committed", "record.settled"),
        prepare=with_documents,
        may_answer=frozenset({201, 409}),
    ),
    Act(
        "ping-webhook",
        ping_webhook,
        Expected(UNTOUCHED),
        in_worker=("webhook.claimed", "webhook.answered"),
        prepare=_with_a_webhook,
        may_answer=frozenset({202}),
    ),
    Act(
        "take-over",  # from a writer that died with its ticket
        put_again,
        Expected(REPLACED, frozenset({"k"}), gone=("ancient", "unanswered")),
        in_api=(*RECEIVING, *RESOLVING, *SEALING),
        in_worker=(*EXTRACTING, *EMBEDDING, "index.embedded", *WRITING, *TIDYING),
        prepare=_dead_writer("document.sealed"),
        may_answer=frozenset({200}),
        has_idempotency_key=True,
    ),
    Act(
        "catch-up",  # with a bucket that knows more
        put_neighbour,
        Expected({"k": BEFORE, "n": AFTER}, frozenset({"n"}), gone=("innocent",)),
        in_api=(*RECEIVING, "document.adopted", *SEALING),
        in_worker=(*EXTRACTING, *EMBEDDING, "index.embedded", *WRITING, *TIDYING),
        prepare=_behind_its_bucket,
        may_answer=frozenset({200}),
        has_idempotency_key=True,
    ),
    Act(
        "resolve-sealed",
        _sweep(maintenance.RESOLVE),
        Expected(UNTOUCHED, gone=("unanswered",)),
        in_worker=RESOLVING,
        prepare=_dead_writer("document.sealed"),
    ),
    Act(
        "resolve-committed",
        _sweep(maintenance.RESOLVE),
        Expected({"k": "the unanswered wording", "n": NEIGHBOUR}, gone=("ancient",)),
        in_worker=(*RESOLVING, *EXTRACTING, *EMBEDDING, "index.embedded", *WRITING, *TIDYING),
        prepare=_dead_writer("document.committed"),
    ),
    Act(
        "resolve-tenant",
        _sweep(maintenance.RESOLVE),
        Expected(UNTOUCHED),
        in_worker=("tenant.fenced", "tenant.resolved"),
        prepare=_dead_creator,
    ),
    Act(
        "resolve-plan",
        _sweep(maintenance.RESOLVE),
        Expected(UNTOUCHED),
        in_worker=("record.fenced", "record.resolved"),
        prepare=_dead_planner,
    ),
    Act(
        "seal-audit",
        _sweep(SEAL),
        Expected(UNTOUCHED),
        in_worker=("audit.written", "audit.settled"),
        prepare=with_documents,
    ),
    Act(
        "collect",
        _sweep(maintenance.COLLECT),
        Expected(REPLACED, frozenset({"k", "n"}), gone=("ancient", "doomed")),
        in_worker=("tenant.adopted", "document.adopted", "collect.planned", "collect.deleted"),
        prepare=_with_garbage,
    ),
    Act(
        "reconcile",
        _sweep(maintenance.RECONCILE),
        Expected(REPLACED, frozenset({"k"}), gone=("ancient",)),
        in_worker=(
            *("reconcile.released", "reconcile.requeued", "reconcile.reindexed"),
            *(*EXTRACTING, *EMBEDDING, "index.embedded", *WRITING, *TIDYING),
        ),
        prepare=_with_losses,
    ),
    Act(
        "compact",
        _compact,
        Expected(REPLACED, frozenset({"k"}), gone=("ancient",)),
        in_worker=("optimize.planned", "optimize.pruned", "optimize.compacted", "optimize.published"),
        prepare=_with_dead_rows,
    ),
    Act(
        "rebuild",
        _only_start,
        Expected(REPLACED, frozenset({"k", "n"}), gone=("ancient", "doomed")),
        in_worker=(
            *("deployment.drawn", "deployment.written"),
            *("record.adopted", "rebuild.records", "tenant.adopted", "rebuild.tenants"),
            *("document.adopted", "rebuild.documents", "rebuild.serving"),
            *("index.claimed", "index.embedded", *WRITING, *TIDYING),
        ),
        prepare=_without_catalog,
        may_pass=frozenset({"unindex.claimed"}),
    ),
]
REBUILD = ACTS[-1]
REBUILDING = (
    *("record.adopted", "rebuild.records", "tenant.adopted", "rebuild.tenants"),
    *("document.adopted", "rebuild.documents", "rebuild.serving"),
)
STARTING = ("migrate.ran", "migrate.committed", "deployment.drawn", "deployment.written")
"""Of the first start on an empty machine."""
