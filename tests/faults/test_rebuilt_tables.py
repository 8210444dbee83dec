"""A catalog that is made anew from its bucket, table by table against the one that was lost."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from s4.domains.audit.sealer import SEAL
from s4.domains.maintenance.rebuilt import TABLES, Fate
from s4.domains.usage.ledger import Grain
from s4.domains.usage.rollups import ROLL_UP
from s4.kernel import keys
from s4.kernel.clock import rfc3339
from s4.kernel.ids import TenantId
from s4.platform.jobs import SYSTEM, JobRequest
from s4.platform.telemetry import metrics
from tests.factories import calls
from tests.faults.scene import Scene
from tests.migrations.test_schema import all_models

Rows = set[tuple[Any, ...]]

EQUAL_ALL_THE_SAME = ("usage_balances", "document_index", "call_budgets", "usage_samples")
"""Derived, and of a deployment at rest what was derived before."""
EMPTY_HERE = ("commit_tickets", "replica_deletions", "usage_marks", "tenant_generations")
"""The last one comes back in `acceptance/test_moving_survives.py`."""


def snapshot(scene: Scene) -> dict[str, Rows]:
    """Every table, of the columns and rows that are said to come back."""

    async def read() -> dict[str, Rows]:
        found = {}
        async with scene.house.core.database.read() as connection:
            for name, table in all_models().tables.items():
                columns = [column for column in table.columns if column.name not in TABLES[name].but]
                statement = sa.select(*columns)
                if name == "usage_ledger":
                    statement = statement.where(table.c.grain != Grain.HOUR.value)
                if name == "tenant_keys":
                    statement = statement.where(table.c.parent.is_(None))
                found[name] = {tuple(map(_comparable, row)) for row in await connection.execute(statement)}
        return found

    return scene.do(read())


def _comparable(value: Any) -> Any:
    """JSON by what it says: 5.0 and 5 are one number, and a database may keep either."""
    if not isinstance(value, dict | list):
        return value
    return json.dumps(json.loads(json.dumps(value), parse_float=_number), sort_keys=True)


def _number(text: str) -> float:
    return int(float(text)) if float(text).is_integer() else float(text)


def test_every_table_says_what_becomes_of_it() -> None:
    tables = all_models().tables
    assert set(TABLES) == set(tables), "say in maintenance/rebuilt.py what becomes of a new table in a rebuild"
    for name, rebuilt in TABLES.items():
        assert set(rebuilt.but) <= set(tables[name].columns.keys()), name
        assert rebuilt.why.endswith("."), name


def created(answer: httpx.Response) -> Any:
    assert answer.status_code in (200, 201, 202, 204), answer.text
    return answer.json() if answer.content else None


def live_in(scene: Scene) -> None:
    """Everything that a bucket holds of a deployment."""
    with scene.admin() as admin:
        features = ["keyword_search", "semantic_search", "webhooks"]
        plan = {"id": "gold", "name": "Gold", "api_calls_limit": 1000, "webhooks_limit": 3, "features": features}
        created(admin.post("/admin/plans", json=plan))
        made = created(admin.post("/admin/tenants", json={"name": "Acme", "plan_id": "gold", "email": "a@acme.test"}))
        scene.tenant_id, scene.key = made["id"], made["api_key"]
        once = {"Idempotency-Key": "made-once"}
        created(admin.post("/admin/tenants", json={"name": "Once", "company": "Once Ltd"}, headers=once))
        leaver = created(admin.post("/admin/tenants", json={"name": "Leaver"}))
        created(admin.post("/admin/administrators", json={"name": "ada", "role": "auditor"}))
        starts = datetime.now(UTC) + timedelta(days=2)
        window = {"message": "Works", "starts_at": rfc3339(starts), "ends_at": rfc3339(starts + timedelta(hours=1))}
        created(admin.post("/admin/maintenance-windows", json=window))
        created(admin.post(f"/admin/tenants/{made['id']}/suspend", json={"reason": "a test"}))
        created(admin.post(f"/admin/tenants/{made['id']}/activate"))
        created(admin.request("DELETE", f"/admin/tenants/{leaver['id']}"))
    with scene.tenant() as tenant:
        created(tenant.post("/keys", json={"name": "reader", "scopes": ["documents:read"]}))
        created(tenant.post("/webhooks", json={"url": "http://127.0.0.1:65535/", "events": ["*"]}))
        for number in range(4):
            metadata = {"year": 2020 + number, "tags": ["a", "b"], "deep": {"er": True}}
            calls.stored(calls.put(tenant, f"d{number}", f"the wording {number} numeral{number}", metadata))
        calls.stored(calls.post(tenant, "once.txt", b"uploaded only once", {}, idempotency_key="once"))
        scene.work()
        assert tenant.delete("/documents/by-key/d0").status_code == 204
        calls.stored(calls.put(tenant, "d1", "a replaced wording"))
        document = tenant.get("/documents/by-key/d2").json()["document_id"]
        assert tenant.patch(f"/documents/{document}/metadata", json={"year": 1999}).status_code == 200
        scene.work()
        calls.search(tenant, "wording")
    scene.do(scene.house.core.meter.flush())
    scene.do(scene.house.core.calls.aclose())
    for kind in ("usage.sample", ROLL_UP, SEAL):
        scene.enqueue(JobRequest(kind, SYSTEM, kind, {}))
        scene.work()


def answers(scene: Scene) -> dict[str, Any]:
    """What a tenant and an administrator see."""
    said: dict[str, Any] = {}
    with scene.tenant() as tenant, scene.admin() as admin:
        said["documents"] = calls.everything(tenant)
        said["details"] = {name: _lasting(calls.detail(tenant, name)) for name in said["documents"]}
        for query in ("wording", "numeral3", "replaced", "numeral0", "only once"):
            for mode in ("keyword", "semantic", "hybrid"):
                found = calls.search(tenant, query, mode=mode, limit=20)
                said[query, mode] = found["results"]
        said["keys"] = [_lasting(key) for key in tenant.get("/keys").json()["keys"]]
        said["webhooks"] = tenant.get("/webhooks").json()
        said["profile"] = tenant.get("/profile").json()
        for grows in ("last_activity", "api_calls_count", "api_calls_percent"):
            said["profile"]["usage"].pop(grows)
        said["plans"] = admin.get("/admin/plans").json()
        said["administrators"] = [
            _lasting(each) for each in admin.get("/admin/administrators").json()["administrators"]
        ]
        said["windows"] = admin.get("/admin/maintenance-windows").json()
    return said


def _lasting(said: Mapping[str, Any]) -> dict[str, Any]:
    passing = ("last_accessed", "last_used", "last_used_at", "indexed_at")
    return {name: value for name, value in said.items() if name not in passing}


@pytest.mark.parametrize("backend", ["sqlite-directory", pytest.param("postgresql-s3", marks=pytest.mark.long)])
def test_all_that_is_said_to_come_back_comes_back(scene: Scene) -> None:
    live_in(scene)
    seen = answers(scene)  # before the last roll-up: that counts these calls, too
    scene.do(scene.house.core.meter.flush())
    scene.do(scene.house.core.calls.aclose())
    scene.enqueue(JobRequest(ROLL_UP, SYSTEM, ROLL_UP, {}))
    scene.enqueue(JobRequest(SEAL, SYSTEM, SEAL, {}))
    scene.work()
    before = snapshot(scene)
    asked = len(scene.provider.texts)
    scene.lose_catalog()

    report = scene.do(scene.house.parts.maintenance.rebuild())

    after = snapshot(scene)
    for name, rebuilt in TABLES.items():
        if rebuilt.fate is Fate.EXACTLY or name in EQUAL_ALL_THE_SAME:
            assert after[name] == before[name], f"{name} came back otherwise"
            assert before[name] or name in EMPTY_HERE, f"{name} was empty, which proves nothing"
        elif rebuilt.fate is Fate.FORGOTTEN:
            assert not after[name] & before[name], f"{name} is said to be forgotten"
    assert report.counts["attached"] == 4
    assert "to_index" not in report.counts
    scene.work()
    assert answers(scene) == seen
    assert len(scene.provider.texts) - asked <= 10, "queries alone were embedded"


@pytest.fixture
def deployed(scene: Scene) -> Scene:
    live_in(scene)
    return scene


def test_what_no_index_has_is_indexed_and_nothing_else(deployed: Scene) -> None:
    with deployed.tenant() as tenant:
        late = calls.stored(calls.put(tenant, "late", "a latecoming wording"))["document_id"]
    deployed.lose_catalog()
    written = metrics.INDEX_COMMITS.labels("ok")._value.get()

    report = deployed.do(deployed.house.parts.maintenance.rebuild())
    deployed.work()

    assert (report.counts["attached"], report.counts["to_index"]) == (4, 1)
    assert metrics.INDEX_COMMITS.labels("ok")._value.get() == written + 1
    with deployed.tenant() as tenant:
        assert calls.found(tenant, "latecoming") == [late]
        assert len(calls.found(tenant, "wording")) == 4


@pytest.mark.parametrize("lost", ["a file", "the newest manifest"])
def test_a_table_that_is_not_whole_is_not_taken_for_one(deployed: Scene, lost: str) -> None:
    store, generation = deployed.house.core.store, deployed.house.core.generation

    async def damage() -> None:
        root = keys.index_table(generation.prefix(TenantId(deployed.tenant_id), ""))  # type: ignore[arg-type]
        names = sorted([info.key async for info in store.list(root)])
        data = [name for name in names if "/data/" in name]
        manifests = [name for name in names if name.endswith(".manifest")]
        await store.delete(data if lost == "a file" else manifests[:1])

    deployed.do(damage())
    deployed.lose_catalog()
    deployed.do(deployed.house.parts.maintenance.rebuild())
    deployed.work()

    with deployed.tenant() as tenant:
        assert {document["status"] for document in calls.everything(tenant).values()} == {"ready"}
        assert len(calls.found(tenant, "wording")) == 3
