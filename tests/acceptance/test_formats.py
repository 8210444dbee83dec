"""A messy folder of a company, as one ZIP and file by file, through a real deployment: each is found by a sentence."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog.testing

from tests.factories import calls, files, formats
from tests.factories.deployment import FAST, running
from tests.factories.formats import mails, pdfs
from tests.factories.house import open_house

pytestmark = pytest.mark.processes

UNREADABLE = {
    "old/damaged.pdf": (pdfs.damaged(), "corrupt", "damaged"),
    "old/locked.pdf": (pdfs.encrypted(opening_password="secret"), "encrypted", "password"),
    "old/scan.pdf": (pdfs.scan(), "empty", "scan"),
    "pictures/logo.png": (mails.PIXEL, "unsupported_format", "image"),
    "backup.7z": (b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(99), "unsupported_format", "7z"),
}


async def test_the_settings_bound_what_is_unpacked_and_what_fails_is_not_named_in_the_log(tmp_path: Path) -> None:
    async with open_house(tmp_path, extraction_archive_members_max=2, extraction_archive_depth_max=1) as house:
        acme = await house.tenant()
        with structlog.testing.capture_logs() as logged:
            full = await house.put(acme, "full.zip", files.zipped({f"{n}.txt": b"word" for n in range(3)}))
            deep = await house.put(
                acme, "deep.zip", files.zipped({"secret plan.zip": files.zipped({"a.txt": b"word"})})
            )
            fine = await house.put(acme, "fine.zip", files.zipped({f"{n}.txt": b"word" for n in range(2)}))
            await house.work()
        for document, sentence in ((full, "more than 2 files"), (deep, "secret plan.zip: It is nested too deep")):
            ended = await house.get(acme, document.document_id)
            assert ended.error_code == "resource_limit"
            assert sentence in (ended.error_message or "")
        assert await house.found(acme, "word") == [fine.document_id]
    failed = [event for event in logged if event["event"] == "job.failed"]
    assert [event["error"] for event in failed] == ["resource_limit"] * 2
    assert "secret plan" not in str(logged)


def best_passage(tenant: httpx.Client, sentence: str, document_id: str) -> dict[str, Any]:
    results = calls.search(tenant, sentence, limit=50)["results"]
    (result,) = [result for result in results if result["document_id"] == document_id]
    passage: dict[str, Any] = result["chunks"][0]
    return passage


def holds(passage: dict[str, Any], sentence: str) -> bool:
    """A passage is shown under its headings: a title is found by any passage under it."""
    return " ".join(sentence.split()) in " ".join(f"{passage['heading'] or ''} {passage['text']}".split())


def test_a_messy_folder_is_found_whole_or_says_what_was_not_read(tmp_path: Path) -> None:
    samples = {f"{number % 3}/{sample.name}": sample for number, sample in enumerate(formats.samples())}
    readable = {name: sample.data for name, sample in samples.items()}
    unreadable = {name: data for name, (data, _, _) in UNREADABLE.items()}

    with running(tmp_path, **FAST) as deployment, deployment.new_tenant() as tenant:
        folder = calls.stored(calls.post(tenant, "folder.zip", files.zipped(readable | unreadable)))["document_id"]
        alone = {
            name: calls.stored(calls.post(tenant, Path(name).name, data))["document_id"]
            for name, data in (readable | unreadable).items()
        }
        ended = calls.wait_all(tenant, [folder, *alone.values()])

        assert ended[folder]["status"] == "ready", ended[folder]
        for name, sample in samples.items():
            assert ended[alone[name]]["status"] == "ready", (name, ended[alone[name]])
            assert ended[alone[name]]["pages"] == (sample.pages or None)
            assert holds(best_passage(tenant, sample.says, alone[name]), sample.says), name
            passage = best_passage(tenant, sample.says, folder)
            assert holds(passage, sample.says), name
            assert passage["heading"].startswith(name), "it names the member"
        for name, (_, code, reason) in UNREADABLE.items():
            error = ended[alone[name]]["error"]
            assert (ended[alone[name]]["status"], error["code"]) == ("failed", code)
            assert reason in error["message"]

        text = tenant.get(f"/documents/{folder}/text").json()
        assert [warning.partition(": ")[0] for warning in text["warnings"] if "/training.pptx" not in warning] == list(
            UNREADABLE
        )
        assert ended[folder]["pages"] is None
