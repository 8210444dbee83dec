"""A disk without room takes a process out of its balancer, by the floor that the operator has set, and what is told of
disks covers each that S4 writes to."""

from pathlib import Path

import httpx
import pytest

from s4.entrypoints import disks
from s4.entrypoints.api import create_app
from s4.entrypoints.operations import ProcessState
from s4.kernel.settings import Settings
from s4.kernel.units import GIB, MIB
from tests.factories.house import open_house


async def test_below_the_floor_a_process_is_not_ready_and_serves_whoever_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figure is replaced: mounting a small file system takes rights that tests may not have."""
    free = {"bytes": 100 * MIB}
    monkeypatch.setattr(disks, "read_disk", lambda _: (100 * GIB, free["bytes"]))
    async with open_house(tmp_path, disk_floor_bytes=100 * MIB) as house:
        app = create_app(house.core, ProcessState())
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://s4") as anybody:
            ready = await anybody.get("/health/ready")
            assert (ready.status_code, ready.json()["dependencies"]["disk"]) == (200, "ok"), "at the floor"

            free["bytes"] -= 1
            ready = await anybody.get("/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
            assert ready.json()["dependencies"]["disk"] == "full"
            assert "100.0 MiB free for data" in ready.json()["reasons"]["disk"]
            assert int(ready.headers["Retry-After"]) > 0
            assert "\ns4_ready 0.0\n" in _own((await anybody.get("/metrics")).text)
            assert (await anybody.get("/health/live")).status_code == 200, "nobody restarts it"
            assert (await anybody.get("/api/v1/plans")).status_code == 200

            free["bytes"] = GIB
            assert (await anybody.get("/health/ready")).status_code == 200
            assert "\ns4_ready 1.0\n" in _own((await anybody.get("/metrics")).text)


def _own(scraped: str) -> str:
    return scraped.replace('{process="api"}', "")


def test_a_floor_of_nothing_lets_a_full_disk_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "read_disk", lambda _: (GIB, 0))
    assert disks.without_room(Settings(data_dir=tmp_path, disk_floor_bytes=0)) == {}
    assert disks.without_room(Settings(data_dir=tmp_path)) == {"data": 0, "temporary": 0}
    monkeypatch.setattr(disks, "read_disk", lambda _: (0, 0))
    assert disks.without_room(Settings(data_dir=tmp_path)) == {}, "a file system that tells no size is not full"


def test_a_backup_without_room_keeps_no_request_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = tmp_path / "backups"
    monkeypatch.setattr(disks, "read_disk", lambda folder: (GIB, 0 if folder == full else GIB))
    assert disks.without_room(Settings(data_dir=tmp_path, backup_url=full.as_uri())) == {}


def test_objects_on_a_disk_of_their_own_have_their_own_figures(tmp_path: Path) -> None:
    beside = Settings(data_dir=tmp_path, store_url=(tmp_path / "objects").as_uri())
    assert set(disks.watched(beside)) == {"data", "temporary"}
    elsewhere = Settings(data_dir=tmp_path, store_url="file:///proc/objects")  # surely another file system
    assert set(disks.watched(elsewhere)) == {"data", "temporary", "objects"}
