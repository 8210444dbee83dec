"""What a recovery asks for does not grow with each document, but with each hundred."""

import os
from pathlib import Path

import pytest

from s4.entrypoints.bootstrap import make_backups
from s4.platform.telemetry import metrics
from tests.acceptance.test_backup import place_settings, restored, settings_of
from tests.factories.house import open_house


async def test_a_recovery_asks_catalog_and_disk_for_many_documents_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else there is to recover costs its own, so two recoveries are compared."""
    more, sync, synced = 20, os.fsync, list[int]()
    asked: list[tuple[float, int]] = []
    async with open_house(tmp_path / "data", **place_settings("elsewhere", tmp_path)) as house:
        acme = await house.tenant()
        for count in (1, more):
            for number in range(count):
                await house.put(acme, f"{count}-{number}", f"Tides follow the moon, says {number}.", {"page": number})
            await house.work()
            await make_backups(house.core).create()
            settings = settings_of(tmp_path, f"fresh-{count}", house)
            with monkeypatch.context() as counting:
                counting.setattr("os.fsync", lambda file: synced.append(file) or sync(file))
                await restored(settings)
            (settings.data_dir / "catalog.sqlite").unlink()
            async with open_house(settings.data_dir) as fresh:
                before = metrics.DATABASE_STATEMENTS._value.get()
                assert (await fresh.parts.maintenance.rebuild()).counts["attached"] == count + (count == more)
                asked.append((metrics.DATABASE_STATEMENTS._value.get() - before, len(synced)))
            synced.clear()

    assert asked[1][0] - asked[0][0] < more, "statements"
    assert asked[1][1] - asked[0][1] < more, "waits for the disk"
