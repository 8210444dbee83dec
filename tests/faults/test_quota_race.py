"""Fifty uploads at once through two API processes, against the last megabyte of a plan."""

import secrets
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import sqlalchemy as sa

from s4.domains import usage
from s4.domains.documents.queries import recount
from s4.domains.events.models import events
from s4.kernel.ids import TenantId
from s4.kernel.units import KIB, MIB
from tests.factories import calls
from tests.faults.scene import Scene

LIMIT = 4 * MIB
SIZES = [20_011 + 1_009 * number for number in range(50)]  # 20 to 69 KB, 2.2 MB together: about half of them fit


def ways(number: int, content: bytes, url: str, scene: Scene) -> httpx.Response:
    """With a declared length, in chunks without one, or as a form."""
    with scene.tenant_at(url) as tenant:
        if number % 3 == 0:
            return calls.put(tenant, f"k{number}", content)
        if number % 3 == 1:
            return tenant.put(f"/documents/by-key/k{number}", content=pieces(content))
        return calls.post(tenant, f"k{number}.txt", content)


def pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 8 * KIB):
        yield content[start : start + 8 * KIB]


@pytest.mark.parametrize("backend", ["sqlite-directory", "postgresql-directory"])
def test_two_processes_never_exceed_a_plan_by_a_byte_and_tell_each_threshold_once(scene: Scene) -> None:
    with scene.admin() as admin:
        limits = {"id": "tight", "name": "Tight", "storage_limit": LIMIT}
        assert admin.post("/admin/plans", json=limits).status_code == 201
        created = admin.post("/admin/tenants", json={"name": "Acme", "plan_id": "tight"}).json()
    scene.tenant_id, scene.key = created["id"], created["api_key"]
    with scene.tenant() as tenant:
        calls.stored(calls.put(tenant, "first", bytes(LIMIT - MIB)))
    urls = [scene.serve()[1] for _ in range(2)]

    with ThreadPoolExecutor(len(SIZES)) as pool:
        answers = list(
            pool.map(lambda n: ways(n, secrets.token_bytes(SIZES[n]), urls[n % 2], scene), range(len(SIZES)))
        )

    refused = [answer for answer in answers if answer.status_code != 201]
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in refused} == {(403, "quota_exceeded")}
    stored = LIMIT - MIB + sum(answer.json()["size"] for answer in answers if answer.status_code == 201)
    assert stored <= LIMIT

    async def look() -> tuple[recount.Count | None, list[int]]:
        async with scene.house.core.database.read() as connection:
            count = await recount.one(connection, TenantId(scene.tenant_id))
            told = await connection.execute(sa.select(events.c.data).where(events.c.tenant_id == scene.tenant_id))
            return count, [data["threshold_percent"] for data in told.scalars()]

    count, told = scene.do(look())
    assert count is not None
    assert count.noted == count.counted == usage.Balance(stored, 0, 1 + len(answers) - len(refused), 0)
    reached = {percent for percent in (80, 95, 100) if stored * 100 >= percent * LIMIT}
    assert Counter(told) == dict.fromkeys(reached, 1)
