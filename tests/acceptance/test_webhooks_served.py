"""Events on their whole way: from a document to a receiver, through real processes, over their deaths."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from s4.domains.webhooks import NewWebhook
from s4.kernel.errors import NotFound
from tests.api.calls import ended, put
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment, clean_environment
from tests.factories.house import open_house
from tests.factories.pages import REPOSITORY, executed_blocks, page
from tests.factories.receiver import receiving
from tests.servers import free_ports

pytestmark = pytest.mark.processes

LOOPBACK = {"S4_WEBHOOKS_ALLOWED_NETWORKS": "127.0.0.0/8"}
SECRET = "whsec_0123456789abcdef"


async def test_every_document_is_told_of_once_when_it_ends_and_when_it_goes(tmp_path: Path) -> None:
    async with (
        receiving() as receiver,
        open_house(tmp_path, webhooks_allowed_networks="127.0.0.0/8") as house,
    ):
        acme = await house.tenant()
        await house.core.webhooks.create(acme.context, NewWebhook(receiver.url, ("*",)))
        good = await house.put(acme, "tides.txt", "Tides follow the moon.")
        bad = await house.put(acme, "damaged.pdf", b"%PDF-1.7 damaged", content_type="application/pdf")
        await house.work()
        await house.core.documents.reprocess(acme.context, good.document_id)
        await house.work()
        await house.core.documents.patch_metadata(acme.context, good.document_id, {"year": 2026})
        await house.core.documents.delete(acme.context, good.document_id)
        with pytest.raises(NotFound):
            await house.core.documents.delete(acme.context, good.document_id)
        await house.work()
        told = Counter((got.event["event"], got.event["data"]["key"]) for got in receiver.got)
        data = {got.event["event"]: got.event["data"] for got in receiver.got}
    assert told == {
        ("document.processed", "tides.txt"): 2,
        ("document.failed", "damaged.pdf"): 1,
        ("document.deleted", "tides.txt"): 1,
    }
    processed = {"document_id", "key", "filename", "version", "status", "chunks", "pages"}
    assert set(data["document.processed"]) == processed
    assert (data["document.processed"]["status"], data["document.processed"]["chunks"]) == ("ready", 1)
    assert data["document.failed"]["document_id"] == bad.document_id
    assert data["document.failed"]["error"]["code"] == "corrupt"
    assert "moon" not in str(data)


async def test_a_rebuilt_catalog_tells_nothing_of_what_was_deleted_and_the_rest_under_the_ids_it_had(
    tmp_path: Path,
) -> None:
    options = {"webhooks_allowed_networks": "127.0.0.0/8"}
    async with receiving() as receiver:
        async with open_house(tmp_path, **options) as house:
            acme = await house.tenant()
            await house.core.webhooks.create(acme.context, NewWebhook(receiver.url, ("*",)))
            await house.put(acme, "stays", "Tides follow the moon.")
            gone = await house.put(acme, "goes", "Ebb.")
            await house.work()
            await house.core.documents.delete(acme.context, gone.document_id)
            await house.work()
        before = {got.headers["x-s4-delivery"] for got in receiver.got}
        for path in tmp_path.glob("catalog.sqlite*"):
            path.unlink()
        shutil.rmtree(tmp_path / "objects" / "indices")  # what is taken over is not processed, and not told again
        async with open_house(tmp_path, **options) as house:
            await house.work()
        again = receiver.got[3:]
    assert len(before) == 3
    assert [(got.event["event"], got.event["data"]["key"]) for got in again] == [("document.processed", "stays")]
    assert {got.headers["x-s4-delivery"] for got in again} <= before


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path / "data", FAST | LOOPBACK | {"S4_ADMIN_API_KEY": ADMIN_KEY})
    yield made
    made.kill()


def due_at_once(data_dir: Path) -> None:
    """Claims of the dead expire now instead of in half a minute."""
    catalog = sqlite3.connect(data_dir / "catalog.sqlite", timeout=30)
    with catalog:
        catalog.execute("UPDATE webhook_deliveries SET next_at = '2026-01-01T00:00:00.000000Z' WHERE state = 'pending'")
    catalog.close()


async def test_after_kill_9_in_the_middle_of_a_delivery_it_arrives_all_the_same(deployment: Deployment) -> None:
    """The receiver has it, S4 does not know: it comes again, under the same id."""
    async with receiving() as receiver:
        deployment.environment["S4_FAILPOINTS"] = "webhook.answered=exit"
        await asyncio.to_thread(deployment.start)
        with deployment.new_tenant() as tenant:
            hook = {"url": receiver.url, "events": ["document.processed"]}
            made = (await asyncio.to_thread(lambda: tenant.post("/webhooks", json=hook))).json()
            await asyncio.to_thread(put, tenant, "tides.txt", "Tides follow the moon.")
            await receiver.until(1)
            deployment.kill()
            del deployment.environment["S4_FAILPOINTS"]
            due_at_once(deployment.data_dir)
            await asyncio.to_thread(deployment.start)
            got = await receiver.until(2)
            assert len({each.headers["x-s4-delivery"] for each in got}) == 1
            path = f"{deployment.api}/webhooks/{made['id']}/deliveries"
            async with asyncio.timeout(120):
                state = ""
                while state != "delivered":
                    answer = await asyncio.to_thread(tenant.get, path)
                    (delivery,) = answer.json()["deliveries"]
                    state = delivery["state"]
            assert delivery["attempts"] >= 2


def test_the_guides_receiver_hears_of_a_document_and_refuses_what_is_not_signed(
    deployment: Deployment, tmp_path: Path
) -> None:
    (block,) = executed_blocks(page("docs/guide/webhooks.md"), "python")
    (port,) = free_ports(1)
    program = tmp_path / "receiver.py"
    program.write_text(block.replace("9000", str(port)), encoding="utf-8")
    deployment.start()
    with (
        deployment.new_tenant() as tenant,
        subprocess.Popen(
            [sys.executable, program], env=clean_environment() | {"WEBHOOK_SECRET": SECRET}, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        ) as receiver,
    ):  # fmt: skip
        assert receiver.stdout is not None
        try:
            url = f"http://127.0.0.1:{port}/"
            assert tenant.post("/webhooks", json={"url": url, "events": ["*"], "secret": SECRET}).status_code == 201
            made = tenant.post("/webhooks", json={"url": url, "events": ["*"]}).json()
            ended(tenant, put(tenant, "tides.txt", "Tides follow the moon.").json()["document_id"])
            assert receiver.stdout.readline() == "document.processed tides.txt\n"
            deliveries: list[dict[str, object]] = [{"last_status": None}]
            while deliveries[0]["last_status"] is None:
                deliveries = tenant.get(f"/webhooks/{made['id']}/deliveries").json()["deliveries"]
            assert deliveries[0]["last_status"] == 403
        finally:
            receiver.kill()


def test_the_guides_receiver_is_checked_by_its_types(tmp_path: Path) -> None:
    (block,) = executed_blocks(page("docs/guide/webhooks.md"), "python")
    (tmp_path / "receiver.py").write_text(block, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file", os.devnull,
               "--cache-dir", REPOSITORY / ".mypy_cache" / "guides",
               "receiver.py"]  # fmt: skip
    checked = subprocess.run(command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
