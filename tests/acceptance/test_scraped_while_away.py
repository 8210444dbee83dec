"""A database that does not answer is told by a process's metrics, and does not keep them back."""

import asyncio
from pathlib import Path

import httpx
import pytest

from s4.entrypoints import operations
from s4.entrypoints.api import create_app
from s4.entrypoints.bootstrap import Core
from s4.entrypoints.operations import ProcessState
from tests.factories.house import open_house


async def test_a_database_that_hangs_holds_no_scrape_and_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, asked = asyncio.Event(), []

    async def hang(core: Core) -> bool:
        asked.append(core)
        await answers.wait()
        return True

    monkeypatch.setattr(operations, "refresh_gauges", hang)
    monkeypatch.setattr(operations, "_CHECK_SECONDS_MAX", 0.05)
    async with open_house(tmp_path) as house:
        transport = httpx.ASGITransport(create_app(house.core, ProcessState()))
        async with httpx.AsyncClient(transport=transport, base_url="http://s4") as prometheus, asyncio.timeout(60):
            for _ in range(3):
                scraped = await prometheus.get("/metrics")
                assert scraped.status_code == 200
                assert 's4_ready{process="api"} 0.0' in scraped.text
            assert len(asked) == 1, "a reader that waits is enough"

            monkeypatch.setattr(operations, "_CHECK_SECONDS_MAX", 60.0)
            answers.set()
            assert 's4_ready{process="api"} 1.0' in (await prometheus.get("/metrics")).text
