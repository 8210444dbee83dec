"""`s4 tenant` and `s4 plan`: one tenant's life, and many tenants at once from a file."""

import asyncio
import json
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from s4client import S4AdminClient, Tenant
from tests.acceptance.conftest import Command, Done
from tests.factories.command_line import started_s4
from tests.factories.deployment import ADMIN_KEY, Deployment
from tests.fault_proxy import Fault, Mode, fault_proxy

CUSTOMERS = """name,email,company,plan_id,external_id
Ada,ada@one.example,One,basic,crm-1
"Bob, the second",,,premium,crm-2

,nobody@example.org,,,crm-3
Dora,not an address,,,crm-4
Eve,eve@five.example,,no-such-plan,crm-5
Fay,,,,
"""

Admin = Callable[..., Done]


@pytest.fixture
def admin(here: Command, served: Deployment) -> Admin:
    return lambda *arguments, **more: here(*arguments, **{"S4_URL": served.url, "S4_ADMIN_API_KEY": ADMIN_KEY} | more)


@pytest.fixture
def customers(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """External ids are the test's own, and so is who has none."""
    file = tmp_path / "customers.csv"
    own = CUSTOMERS.replace("crm-", f"{request.node.name}-").replace("Fay,,,,", f"Fay,,{request.node.name},,")
    file.write_text(own, encoding="utf-8")
    return file


def tenants(served: Deployment) -> dict[str, Tenant]:
    with S4AdminClient(served.url, api_key=ADMIN_KEY) as client:
        return {tenant.id: tenant for tenant in client.iter_tenants()}


def outcomes(done: Done) -> tuple[dict[int, str], dict[str, int]]:
    *lines, last = map(json.loads, done.out.splitlines())
    return {line["line"]: line["outcome"] for line in lines}, last["summary"]


def keys_in(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_each_line_is_told_and_a_second_run_makes_nobody_twice(
    admin: Admin, served: Deployment, customers: Path, tmp_path: Path
) -> None:
    before, keys = tenants(served), tmp_path / "keys.jsonl"
    first = admin("tenant", "import", customers, "--keys", keys, "--json")
    assert first.code == 1, "some lines failed"
    told, summary = outcomes(first)
    assert told == {2: "created", 3: "created", 5: "failed", 6: "failed", 7: "failed", 8: "created"}
    assert summary == {"created": 3, "existing": 0, "failed": 3}
    made = {id_: tenant for id_, tenant in tenants(served).items() if id_ not in before}
    assert sorted((t.name, t.plan_id) for t in made.values()) == [
        ("Ada", "basic"), ("Bob, the second", "premium"), ("Fay", "local"),
    ]  # fmt: skip
    assert {said["id"] for said in keys_in(keys)} == set(made)
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    for said in keys_in(keys):
        assert said["api_key"] not in first.out + first.err
        answer = httpx.get(f"{served.api}/profile", headers={"X-Tenant-Key": said["api_key"]}, timeout=60)
        assert answer.json()["tenant_id"] == said["id"]

    for second_keys in (keys, tmp_path / "elsewhere.jsonl"):
        second = admin("tenant", "import", customers, "--keys", second_keys, "--json")
        assert outcomes(second)[1] == {"created": 0, "existing": 3, "failed": 3}
    assert set(tenants(served)) == set(before) | set(made)
    assert keys_in(tmp_path / "elsewhere.jsonl") == keys_in(keys), "within a day, keys can be had again"


async def test_an_import_over_a_network_that_loses_answers_makes_each_tenant_once(
    served: Deployment, tmp_path: Path
) -> None:
    file, keys = tmp_path / "many.jsonl", tmp_path / "keys.jsonl"
    names = [f"{tmp_path.name} {number}" for number in range(4)]
    file.write_text("".join(json.dumps({"name": name}) + "\n" for name in names))
    async with fault_proxy(served.url) as proxy:
        lost = proxy.add(Fault(Mode.LOST_REPLY, method="POST", count=2))
        environment = {"S4_URL": proxy.endpoint, "S4_ADMIN_API_KEY": ADMIN_KEY}
        process = started_s4("tenant", "import", file, "--keys", keys, **environment)
        await asyncio.to_thread(process.communicate, timeout=120)
    assert (process.returncode, lost.hits) == (0, 2)
    assert sorted(t.name for t in tenants(served).values() if t.name.startswith(tmp_path.name)) == names
    assert [said["name"] for said in keys_in(keys)] == names


def test_an_import_that_was_cut_off_is_resumed_where_it_stopped(
    admin: Admin, served: Deployment, customers: Path, tmp_path: Path
) -> None:
    """The last key was half written, and the one before it not at all."""
    keys = tmp_path / "keys.jsonl"
    admin("tenant", "import", customers, "--keys", keys)
    whole = keys.read_text().splitlines(keepends=True)
    keys.write_text(whole[0] + whole[1][:20])
    known = set(tenants(served))
    resumed = admin("tenant", "import", customers, "--keys", keys)
    assert "0 created, 3 existing, 3 failed." in resumed.err
    assert keys.read_text().splitlines(keepends=True) == whole
    assert set(tenants(served)) == known


def test_keys_go_to_stdout_when_that_is_asked_for(admin: Admin, tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps({"name": "Gus", "external_id": str(tmp_path)}) + "\n[]\n{\n")
    done = admin("tenant", "import", file, "--keys", "-")
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [row[:2] for row in rows] == [["1", "created"], ["2", "failed"], ["3", "failed"]]
    assert rows[0][-1].startswith("s4_")
    assert done.code == 1


@pytest.mark.parametrize("header", ["email,company", "name,colour"])
def test_a_file_with_other_columns_is_refused_before_anything_is_done(
    admin: Admin, tmp_path: Path, header: str
) -> None:
    file = tmp_path / "odd.csv"
    file.write_text(f"{header}\nx,y\n")
    done = admin("tenant", "import", file, "--keys", tmp_path / "keys")
    assert done.code == 2
    assert "Columns are: name, email, company, plan_id, external_id." in done.err


def test_a_tenants_life_at_the_command_line(admin: Admin) -> None:
    def said(*arguments: str) -> dict[str, Any]:
        done = admin("tenant", *arguments, "--json")
        assert done.code == 0, done.err
        found: dict[str, Any] = json.loads(done.out)
        return found

    tenant_id = said("create", "Acme", "--plan", "basic")["id"]
    assert said("update", tenant_id, "--email", "ada@acme.example", "--name", "Acme II")["name"] == "Acme II"
    assert said("update", tenant_id, "--email", "")["email"] is None
    december = said("plan", tenant_id, "premium", "--until", "2098-12", "--then", "basic")
    assert (december["plan_expires_at"], december["then_plan_id"]) == ("2099-01-01T00:00:00Z", "basic")
    assert said("suspend", tenant_id, "--reason", "unpaid")["status_reason"] == "unpaid"
    assert said("activate", tenant_id)["status"] == "active"
    assert said("reset-usage", tenant_id)["api_calls_count"] == 0
    assert said("delete", tenant_id)["status"] == "deleting"
    assert said("delete", tenant_id, "--now") == {"deleted": tenant_id}
    assert admin("tenant", "get", tenant_id).code == 1


def test_a_plan_is_edited_at_the_command_line(admin: Admin) -> None:
    made = admin("plan", "create", "steel", "storage_limit=5GiB", "listed=false", "features=webhooks", "--json")
    assert json.loads(made.out).items() >= {"storage_limit": 5 << 30, "name": "steel", "listed": False}.items()
    changed = json.loads(admin("plan", "update", "steel", "storage_limit=unlimited", "name=1984", "--json").out)
    assert (changed["storage_limit"], changed["name"], changed["features"]) == (None, "1984", ["webhooks"])
    assert "\nsteel\t1984\t0\tunlimited" in "\n" + admin("plan", "list").out
    for odd in ("colour=red", "storage_limit=much", "burst=many", "nonsense"):
        assert admin("plan", "update", "steel", odd).code == 2, odd
    assert admin("plan", "delete", "steel").out == "Deleted plan steel.\n"
    assert admin("plan", "get", "steel").code == 1


def test_a_line_that_is_not_utf8_is_told_and_keeps_no_other_back(admin: Admin, tmp_path: Path) -> None:
    file = tmp_path / "latin.csv"
    file.write_bytes(f"name,company\nM\xfcller,{tmp_path.name}\nMeier,{tmp_path.name}\n".encode("latin-1"))
    done = admin("tenant", "import", file, "--keys", tmp_path / "keys.jsonl", "--json")
    assert done.code == 1
    assert outcomes(done)[0] == {2: "failed", 3: "created"}
    assert "not UTF-8" in done.out


def test_a_plans_promise_is_set_by_its_halves_and_a_wrong_field_is_named(admin: Admin) -> None:
    plan_id = f"slo-{secrets.token_hex(4)}"
    made = admin("plan", "create", plan_id, "slo.availability=0.99", "slo.latency_p95_ms=800", "--json")
    assert json.loads(made.out)["slo"] == {"availability": 0.99, "latency_p95_ms": 800}
    changed = admin("plan", "update", plan_id, "slo.availability=0.999", "--json")
    assert json.loads(changed.out)["slo"] == {"availability": 0.999, "latency_p95_ms": 800}
    assert admin("plan", "update", plan_id, "price_monthly=NaN").code == 2
    refused = admin("plan", "update", plan_id, "burst=0")
    assert refused.code == 1
    assert "body.burst" in refused.err
