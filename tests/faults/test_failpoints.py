"""The process ends at a named step, as in a power cut; S4 starts again; the client repeats what was not answered.

Whatever the step, the change takes effect exactly once: by the document, by the listing, by usage, by search.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from s4.platform.database import migrate
from tests.factories import calls
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.faults.test_processes import until
from tests.servers import S3Server

IN_API = ["document.sealed", "document.committed", "document.settled"]
IN_UPLOAD = ["upload.opened", "upload.streamed", *IN_API]
IN_WORKER = [
    "index.claimed",
    "index.extracted",
    "index.group_embedded",
    "index.embedded",
    "index.written",
    "index.published",
]
EXIT_CODE = 137

Act = Callable[[httpx.Client], httpx.Response]
"""What a client does, and repeats."""

BEFORE = "the ancient wording"
AFTER = "the modern wording"
SETTINGS = FAST | {
    "S4_ADMIN_API_KEY": ADMIN_KEY,
    "S4_JOB_LEASE_SECONDS": "2",
    "S4_STORE_TIMEOUT_SECONDS": "3",
    "S4_COMMIT_LEASE_SECONDS": "4",
}


def upload(tenant: httpx.Client) -> httpx.Response:
    return calls.post(tenant, "new.txt", AFTER.encode(), {"year": 2026}, idempotency_key="once")


def replace(tenant: httpx.Client) -> httpx.Response:
    return calls.put(tenant, "k", AFTER, {"year": 2026}, **{"Idempotency-Key": "once"})


def patch(tenant: httpx.Client) -> httpx.Response:
    document_id = tenant.get("/documents/by-key/k").json()["document_id"]
    return tenant.patch(f"/documents/{document_id}/metadata", json={"year": 2026})


def delete(tenant: httpx.Client) -> httpx.Response:
    return tenant.delete("/documents/by-key/k")


@dataclass(frozen=True)
class Expected:
    """The tenant's documents afterwards: text by key, and whose metadata say 2026."""

    texts: dict[str | None, str]
    changed: set[str | None]


ACTIONS: dict[Act, Expected] = {
    upload: Expected({"k": BEFORE, None: AFTER}, {None}),
    replace: Expected({"k": AFTER}, {"k"}),
    patch: Expected({"k": BEFORE}, {"k"}),
    delete: Expected({}, set()),
}
REPEAT_MAY_ANSWER: dict[Act, set[int]] = {upload: {201}, replace: {200}, patch: {200}, delete: {204, 404}}


@pytest.fixture
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """Of one machine, or with `backend` "servers" of PostgreSQL and S3."""
    backend = getattr(request, "param", "local")
    if backend == "local":
        return SETTINGS
    url: str = request.getfixturevalue("postgres_url")
    server: S3Server = request.getfixturevalue("s3_server")
    bucket: str = request.getfixturevalue("s3_shared_bucket")
    migrate.upgrade(url)
    return SETTINGS | {
        "S4_DATABASE_URL": url,
        "S4_STORE_URL": f"s3://{bucket}/{secrets.token_hex(8)}",
        "S4_STORE_ENDPOINT": server.endpoint,
        "S4_STORE_ACCESS_KEY_ID": server.access_key,
        "S4_STORE_SECRET_ACCESS_KEY": server.secret_key,
    }


@pytest.fixture
def deployment(tmp_path: Path, environment: dict[str, str]) -> Iterator[Deployment]:
    made = Deployment(tmp_path, dict(environment))
    yield made
    made.kill()


def with_a_document(deployment: Deployment) -> tuple[str, str]:
    """(tenant id, key) of a tenant with one document, ready. Leaves the deployment stopped."""
    deployment.start()
    with deployment.admin() as admin:
        created = admin.post("/admin/tenants", json={"name": "Acme"}).json()
    with deployment.tenant(created["api_key"]) as tenant:
        document = calls.stored(calls.put(tenant, "k", BEFORE))
        assert calls.wait(tenant, document["document_id"])["status"] == "ready"
    assert deployment.stop() == 0
    return created["id"], created["api_key"]


def end_at(deployment: Deployment, step: str, key: str, act: Act) -> None:
    """Acts while `step` ends the process that comes to it, then ends the rest."""
    deployment.environment["S4_FAILPOINTS"] = f"{step}=exit"
    deployment.log.clear()
    deployment.start()
    with deployment.tenant(key) as tenant:
        if step in IN_WORKER:
            assert act(tenant).is_success
            died = until(lambda: deployment.events("worker.died"), f"the worker never came to {step}")
            assert died[0]["details"]["exit_code"] == EXIT_CODE
        else:
            with pytest.raises(httpx.TransportError):
                act(tenant)
            until(lambda: deployment._process is None or deployment._process.poll() is not None, "the API lives on")
            assert deployment._process is not None
            assert deployment._process.returncode == EXIT_CODE
    deployment.kill()
    del deployment.environment["S4_FAILPOINTS"]


def check(deployment: Deployment, tenant: httpx.Client, tenant_id: str, expected: Expected) -> None:
    listed = calls.everything(tenant)
    assert sorted(str(document["key"]) for document in listed.values()) == sorted(map(str, expected.texts))
    for document_id, ended in calls.wait_all(tenant, listed).items():
        text = expected.texts[ended["key"]]
        assert ended["status"] == "ready", ended
        assert tenant.get(f"/documents/{document_id}/download").text == text
        assert (ended["metadata"] == {"year": 2026}) == (ended["key"] in expected.changed)
        assert calls.found(tenant, text.split()[1]) == [document_id]
    for word in {"ancient", "modern"} - {text.split()[1] for text in expected.texts.values()}:
        assert calls.found(tenant, word) == []
    with deployment.admin() as admin:
        counted = admin.get(f"/admin/tenants/{tenant_id}").json()
    assert counted["document_count"] == len(expected.texts)
    assert counted["storage_used"] == sum(map(len, expected.texts.values()))


def crash_and_repeat(deployment: Deployment, act: Act, step: str) -> None:
    tenant_id, key = with_a_document(deployment)
    end_at(deployment, step, key, act)
    deployment.start()
    with deployment.tenant(key) as tenant:
        first_try_counts = step not in ("upload.opened", "upload.streamed", "document.sealed")
        answer = act(tenant)
        assert answer.status_code in REPEAT_MAY_ANSWER[act], answer.text
        if act in (upload, replace):
            assert (answer.headers.get("Idempotency-Replayed") == "true") == first_try_counts
        check(deployment, tenant, tenant_id, ACTIONS[act])


@pytest.mark.parametrize(
    ("act", "step"),
    [(upload, "document.sealed"), (replace, "document.committed"), (replace, "index.written")],
)
def test_a_crash_at_a_decisive_step_and_a_repeat_take_effect_once(deployment: Deployment, act: Act, step: str) -> None:
    crash_and_repeat(deployment, act, step)


MATRIX = [
    *((act, step) for act in (upload, replace) for step in (*IN_UPLOAD, *IN_WORKER)),
    *((act, step) for act in (patch, delete) for step in IN_API),
]


@pytest.mark.long
@pytest.mark.parametrize("environment", ["local", "servers"], indirect=True)
@pytest.mark.parametrize(("act", "step"), MATRIX)
def test_a_crash_at_any_step_and_a_repeat_take_effect_once(deployment: Deployment, act: Act, step: str) -> None:
    crash_and_repeat(deployment, act, step)
