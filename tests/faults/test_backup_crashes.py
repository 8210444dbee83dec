"""Commands on backups that end at every step, as a power cut would end them: what they leave, and that they can be
repeated."""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from s4.domains.backup import Retention, queries
from s4.domains.backup.pruner import Pruner
from s4.domains.maintenance.holds import Holds
from s4.entrypoints.bootstrap import RANDOM, make_backups, open_place
from s4.kernel.clock import SystemClock
from s4.kernel.errors import Conflict
from s4.platform import faults
from s4.platform.chains.models import commit_tickets
from s4.platform.database import Connection
from s4.platform.jobs.models import leases
from tests.factories.deployment import clean_environment
from tests.factories.house import House, open_house
from tests.faults.acts import BY_COMMANDS

EXIT_CODE = 137
DECISIVE = {"backup.listed", "restore.written"}
"""The others wait for `make faults`: each starts processes."""


def steps(area: str) -> list[Any]:
    of = [step for step in BY_COMMANDS if step.startswith(area) and "prune" not in step]
    return [pytest.param(step, marks=[] if step in DECISIVE else [pytest.mark.long]) for step in of]


def command(
    folder: Path, *arguments: str, failpoint: str = "", name: str = "data"
) -> "subprocess.CompletedProcess[str]":
    said = {
        "S4_DATA_DIR": str(folder / name),
        "S4_BACKUP_URL": (folder / "elsewhere").as_uri(),
        "S4_EMBEDDING_PROVIDER": "deterministic",
        "S4_FAILPOINTS": f"{failpoint}=exit" if failpoint else "",
    }
    line = [sys.executable, "-m", "s4.entrypoints.cli", *arguments]
    return subprocess.run(line, env=clean_environment() | said, capture_output=True, text=True, check=False)


def at_rest(folder: Path, **settings: Any) -> Any:
    return open_house(folder / "data", backup_url=(folder / "elsewhere").as_uri(), **settings)


async def filled(folder: Path) -> str:
    """A deployment whose processes have ended; its tenant's key."""
    async with at_rest(folder) as house:
        acme = await house.tenant()
        for number in range(3):
            await house.put(acme, f"page-{number}", f"Tides follow the moon, says page {number}.")
        await house.put(acme, "large", os.urandom(300 * 1024), content_type="application/octet-stream")
        await house.work()
        return acme.key


async def let_leases_run_out(house: House) -> None:
    async def move(connection: Connection) -> None:
        now = await house.core.database.now(connection)
        await connection.execute(
            sa.update(leases).where(leases.c.name.startswith("keep/")).values(until=now - timedelta(seconds=1))
        )
        await connection.execute(sa.update(commit_tickets).values(sealed_at=now - timedelta(hours=1)))

    await house.core.database.transact(move)


@pytest.mark.parametrize("step", steps("backup."))
async def test_a_backup_that_is_broken_off_is_none_and_the_next_goes_on(tmp_path: Path, step: str) -> None:
    await filled(tmp_path)
    ended = command(tmp_path, "backup", "create", failpoint=step)
    assert ended.returncode == EXIT_CODE, ended.stderr
    async with at_rest(tmp_path) as house:
        backups = make_backups(house.core)
        assert len(await backups.all()) == (1 if step == "backup.written" else 0)
        await let_leases_run_out(house)
        manifest = await backups.create()
        assert (await backups.verify("latest")).problems == []
        assert manifest.counts.documents == 4
        if step in ("backup.listed", "backup.copied", "backup.ready", "backup.written"):
            assert manifest.work.bytes_copied < manifest.counts.object_bytes / 2, "what was listed is not copied again"
        assert (await backups.drill()).problems == []


@pytest.mark.parametrize("step", steps("restore."))
async def test_a_restore_that_is_broken_off_is_served_by_nobody_and_goes_on(tmp_path: Path, step: str) -> None:
    key = await filled(tmp_path)
    assert command(tmp_path, "backup", "create").returncode == 0
    ended = command(tmp_path, "restore", "latest", name="fresh", failpoint=step)
    assert ended.returncode == EXIT_CODE, ended.stderr
    with pytest.raises(Conflict, match="is being restored"):
        async with open_house(tmp_path / "fresh"):
            raise AssertionError("it must not start")
    again = command(tmp_path, "restore", "latest", name="fresh")
    assert again.returncode == 0, again.stderr
    async with open_house(tmp_path / "fresh") as fresh:
        assert len(await fresh.all(await fresh.known(key))) == 4


async def beside_workers(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    running = asyncio.create_task(asyncio.to_thread(command, folder, *arguments))
    async with at_rest(folder) as house:
        while not running.done():
            await house.work()
            await asyncio.sleep(0.2)
    return await running


@pytest.mark.parametrize("step", steps("rewind."))
async def test_going_back_that_is_broken_off_is_done_by_the_next(tmp_path: Path, step: str) -> None:
    key = await filled(tmp_path)
    assert command(tmp_path, "backup", "create").returncode == 0
    async with at_rest(tmp_path) as house:
        acme = await house.known(key)
        for document in await house.all(acme):
            await house.core.documents.delete(acme.context, document.document_id)
        tenant_id = acme.context.tenant_id
    way = ("--as-new", "Acme again") if step == "rewind.vectors_copied" else ("--in-place",)
    ended = command(tmp_path, "restore", "latest", "--tenant", tenant_id, *way, failpoint=step)
    assert ended.returncode == EXIT_CODE, ended.stderr
    async with at_rest(tmp_path) as house:
        await let_leases_run_out(house)
        await house.parts.maintenance.resolve()
    again = await beside_workers(tmp_path, "restore", "latest", "--tenant", tenant_id, *way)
    assert again.returncode == 0, again.stderr
    async with at_rest(tmp_path) as house:
        await house.work()
        others = set(await house.core.tenants.ids()) - {tenant_id}
        (wanted,) = others or {tenant_id}
        async with house.core.database.read() as connection:
            assert len(await queries.live_documents(connection, wanted)) == 4


@pytest.mark.parametrize(
    "step", [pytest.param("backup.prune_begun"), pytest.param("backup.pruned", marks=pytest.mark.long)]
)
async def test_removing_that_is_broken_off_leaves_whole_backups_and_leftovers(tmp_path: Path, step: str) -> None:
    await filled(tmp_path)
    async with at_rest(tmp_path) as house:
        backups = make_backups(house.core)
        await backups.create()
        await house.put(await house.tenant("Globex"), "new", "something else")
        second = await backups.create()
        clock = Later()
        async with open_place(house.core.settings) as place:
            pruner = Pruner(place, Holds(house.core.database, RANDOM), clock)

            def broken() -> None:
                raise faults.InjectedFault

            faults.arm({step: broken})
            if step == "backup.pruned":
                (tmp_path / "elsewhere/backups/data/00").mkdir(exist_ok=True)
                (tmp_path / f"elsewhere/backups/data/00/{'0' * 64}").write_bytes(b"nobody's")
            with pytest.raises(faults.InjectedFault):
                await pruner.prune(Retention(timedelta(days=30), 1))
            faults.arm({})
            assert [each.backup_id for each in await backups.all()] == [second.backup_id]
            assert (await backups.verify("latest")).problems == []
            await pruner.prune(Retention(timedelta(days=30), 1))
            assert await place.ids() == [second.backup_id]
        assert (await backups.verify("latest")).problems == []


class Later:
    """Some weeks ahead of the machine's."""

    def now(self) -> Any:
        return SystemClock().now() + timedelta(days=60)
