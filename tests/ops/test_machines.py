"""S4 as a whole in real control groups of small machines: it sees them, and is at home in them. Needs root."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from s4.kernel.units import GIB, MIB
from tests.factories.control_groups import ControlGroup, control_group
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment, clean_environment
from tests.factories.files import pdf
from tests.factories.formats import samples

pytestmark = [pytest.mark.ops, pytest.mark.timeout(600)]

SAMPLES = Path(__file__).parents[2] / "samples" / "documents"
DAMAGED = {"damaged-scan.pdf"}
"""What ends `failed` on any machine."""
S4 = (sys.executable, "-m", "s4.entrypoints.cli")
INDEXED_SECONDS_MAX = 400  # seconds, on an idle machine


@pytest.fixture(params=[(1, 1 * GIB), (2, 4 * GIB)], ids=["1-cpu-1-gib", "2-cpu-4-gib"])
def machine(request: pytest.FixtureRequest) -> Iterator[tuple[ControlGroup, int, int]]:
    processors, memory_bytes = request.param
    with control_group(processors=processors, memory_bytes=memory_bytes) as group:
        yield group, processors, memory_bytes


def ordinary_documents() -> dict[str, bytes]:
    """What a small office has: every format, a report of many pages, a long text."""
    found = {path.name: path.read_bytes() for path in SAMPLES.iterdir() if path.name not in DAMAGED}
    found |= {f"sample-{sample.name}": sample.data for sample in samples()}
    line = "The pump was checked and its pressure noted."
    found["report.pdf"] = pdf([[f"Page {number} of the report.", *[line] * 40] for number in range(40)])
    found["log.txt"] = "".join(f"{n}: the valve opened and closed again at {n % 97} bar\n" for n in range(800)).encode()
    return found


def test_a_folder_of_ordinary_documents_is_indexed_without_a_kill(
    machine: tuple[ControlGroup, int, int], tmp_path: Path
) -> None:
    group, processors, memory_bytes = machine
    shown = subprocess.run(
        group.entered([*S4, "config", "show", "--json", "--data-dir", tmp_path]),
        env=clean_environment(), capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    settings = {row["name"]: row["value"] for row in json.loads(shown.stdout)["settings"]}
    assert (settings["processors"], settings["embedding_threads"]) == (processors, processors)
    assert settings["memory_bytes"] == memory_bytes

    deployment = Deployment(tmp_path, {"S4_ADMIN_API_KEY": ADMIN_KEY}, program=tuple(group.entered(S4))).start()
    try:
        documents = ordinary_documents()
        with deployment.new_tenant() as acme:
            ids = {name: uploaded(acme, name, content) for name, content in documents.items()}
            ended = {name: end_state(acme, document_id) for name, document_id in ids.items()}
            assert {name: end for name, end in ended.items() if end != ("ready", None)} == {}
            found = acme.post("/search", json={"query": "the pump was checked", "mode": "hybrid"}).json()
            assert found["results"]
        print(f"{group.memory_bytes / MIB:.0f} MiB; at most, with page cache: {group.memory_bytes_most / MIB:.0f}")
    finally:
        assert deployment.stop() == 0
    assert group.kills == 0
    assert not deployment.events("worker.died")
    assert not deployment.events("configuration.does_not_fit")


def test_what_would_take_more_than_the_machine_has_fails_and_nothing_is_killed(tmp_path: Path) -> None:
    """With the defaults of a large machine each of these costs a child or the worker more than a gigabyte."""
    with control_group(processors=2, memory_bytes=GIB) as group:
        deployment = Deployment(
            tmp_path, {**FAST, "S4_ADMIN_API_KEY": ADMIN_KEY}, program=tuple(group.entered(S4))
        ).start()
        try:
            with deployment.new_tenant() as acme:
                large = {
                    "page.html": b"<p>a <b>b</b> c" * (6 * MIB),
                    "smaller.html": b"<p>a <b>b</b> c" * MIB,
                    "long.txt": b"a b c d e f g h i j " * MIB,
                }
                ids = {name: uploaded(acme, name, content) for name, content in large.items()}
                ended = {name: end_state(acme, document_id) for name, document_id in ids.items()}
                assert {name: code for name, (_, code) in ended.items()} == {
                    "page.html": "resource_limit",
                    "smaller.html": "resource_limit",
                    "long.txt": "text_too_long",
                }
                tides = uploaded(acme, "tides.txt", b"Tides follow the moon.")
                assert end_state(acme, tides) == ("ready", None)
        finally:
            assert deployment.stop() == 0
        assert group.kills == 0
    assert not deployment.events("worker.died")


def uploaded(tenant: httpx.Client, name: str, content: bytes) -> str:
    answer = tenant.put(f"/documents/by-key/{name}", content=content)
    answer.raise_for_status()
    return str(answer.json()["document_id"])


def end_state(tenant: httpx.Client, document_id: str) -> tuple[str, str | None]:
    give_up_at = time.monotonic() + INDEXED_SECONDS_MAX
    while True:
        document = tenant.get(f"/documents/{document_id}", params={"wait": 30}).json()
        if document["status"] != "processing" or time.monotonic() > give_up_at:
            return document["status"], (document.get("error") or {}).get("code")
