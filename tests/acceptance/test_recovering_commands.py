"""What commands that bring a deployment back must not keep to themselves, and what they make of a wrong address."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from s4.domains.maintenance import guarded
from s4.kernel import keys
from s4.kernel.ids import TenantId
from tests.acceptance.conftest import Command
from tests.factories.house import open_house

pytestmark = pytest.mark.processes


async def two_tenants(folder: Path) -> tuple[dict[str, str], str, str]:
    """What commands need to work with their deployment, and who they are."""
    async with open_house(folder) as house:
        made = [await house.tenant(name) for name in ("One", "Two")]
        for tenant in made:
            await house.put(tenant, "one", "Tides follow the moon.")
        await house.work()
        its = house.core.settings
        assert its.secret_key is not None
        assert its.admin_api_key is not None
        environment = {
            "S4_EMBEDDING_PROVIDER": "deterministic",
            "S4_ADMIN_API_KEY": its.admin_api_key.get_secret_value(),
            "S4_SECRET_KEY": its.secret_key.get_secret_value(),
        }
        return environment, made[0].context.tenant_id, made[1].context.tenant_id


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_a_promotion_names_what_it_could_not_bring_back(
    tmp_path: Path, here: Command, monkeypatch: pytest.MonkeyPatch, how: tuple[str, ...]
) -> None:
    monkeypatch.setattr(guarded, "QUIET", timedelta())  # nobody copies here
    environment, damaged, sound = asyncio.run(two_tenants(tmp_path / "data"))
    copy = tmp_path / "copy"
    first = environment | {"S4_DATA_DIR": str(tmp_path / "data"), "S4_REPLICA_STORE_URL": copy.as_uri()}
    assert here("replicate", **first).code == 0
    (copy / keys.tenant_head(TenantId(damaged), 1)).write_bytes(b"rotten")

    there = environment | {"S4_DATA_DIR": str(tmp_path / "second"), "S4_STORE_URL": copy.as_uri()}
    promoted = here("promote", *how, **there)

    assert promoted.code == 1
    said = json.loads(promoted.out)["problems"] if how else promoted.err.splitlines()
    assert [sound in line for line in said if "could not be brought back" in line] == [False]
    assert any(damaged in line for line in said)
    assert here("rebuild", **there).code == 1, "and it serves, which can be gone on with"


def test_a_rebuild_from_an_empty_store_is_refused_and_makes_nothing(tmp_path: Path, here: Command) -> None:
    """Of a wrong URL it would make a deployment, into which no backup can be restored any more."""
    for way in ((), ("--follow", "0")):
        rebuilt = here("rebuild", *way, S4_DATA_DIR=str(tmp_path / "typo"))
        assert rebuilt.code == 1
        assert "nothing in this store" in rebuilt.err
    assert list(tmp_path.iterdir()) == []


def test_who_only_looks_at_backups_makes_no_place_of_a_wrong_address(tmp_path: Path, here: Command) -> None:
    place = (tmp_path / "typo").as_uri()
    for way in (("list",), ("verify", "latest")):
        looked = here("backup", *way, "--to", place, S4_DATA_DIR=str(tmp_path / "data"))
        assert "no backup" in looked.err.lower(), way
    assert not (tmp_path / "typo").exists()


def test_who_works_on_a_deployment_makes_none_of_a_wrong_directory(tmp_path: Path, here: Command) -> None:
    """An empty catalog there would be taken for the deployment by whoever comes next."""
    place = ("--to", (tmp_path / "backups").as_uri())
    for way in (
        ("report", "performance"),
        ("report", "cost"),
        ("backup", "create", *place),
        ("backup", "prune", *place),
        ("backup", "drill", *place),
        ("restore", "latest", "--in-place", "--from", place[1]),
        ("index", "status"),
        ("index", "log-queries", "--tenant", f"ten_{'a' * 26}", "--days", "3"),
        ("secrets", "status"),
        ("replicate", "--replica-store-url", (tmp_path / "copy").as_uri()),
        ("lifecycle", "show"),
    ):
        done = here(*way, S4_DATA_DIR=str(tmp_path / "typo"), S4_EMBEDDING_PROVIDER="deterministic")
        assert (done.code, "There is no catalog at" in done.err) == (1, True), (way, done)
        assert list(tmp_path.iterdir()) == [], way
    here("backup", "list", *place, S4_DATA_DIR=str(tmp_path / "typo"))
    assert list(tmp_path.iterdir()) == [], "nor does who only looks at backups make keys"
