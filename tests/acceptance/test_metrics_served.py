"""What real processes tell at ten thousand tenants: series that stay few, figures that agree with the kernel's, and all
tenants from the exporter alone."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from s4.platform.database import open_database
from s4.platform.machine import group_folders
from tests.factories.catalog import open_catalog, sqlite_url
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment, clean_environment, running
from tests.factories.tenantry import delete, settle, tenant_id
from tests.leash import leashed

pytestmark = pytest.mark.processes

TENANTS = 10_000
TOP = 20
SERIES_MAX = 2_000
TOKEN = "a-token-for-the-scraper-0123456789"
SHOWN = {"Authorization": f"Bearer {TOKEN}"}
CLOSE = 0.05  # of the kernel's figure, between which read before and which read after ours lies
TICKS = os.sysconf("SC_CLK_TCK")
QUICK = {
    **FAST,
    "S4_ADMIN_API_KEY": ADMIN_KEY,
    "S4_METRICS_TOKEN": TOKEN,
    "S4_WORKER_NICENESS": "0",
    "S4_METRICS_CATALOG_SECONDS": "0.01",
    "S4_EXPORTER_SECONDS": "0.01",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose catalog has ten thousand tenants."""
    data_dir = tmp_path_factory.mktemp("crowd") / "data"
    data_dir.mkdir()

    async def fill() -> None:
        catalog = open_catalog(sqlite_url(data_dir))
        await settle(catalog, TENANTS)
        await catalog.aclose()

    asyncio.run(fill())
    return data_dir


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Deployment]:
    with running(folder, **QUICK) as deployment:
        yield deployment


def scraped(url: str, headers: Mapping[str, str] = SHOWN) -> dict[str, Metric]:
    answer = httpx.get(f"{url}/metrics", headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def scraped_with_worker(deployment: Deployment) -> dict[str, Metric]:
    """Once the child answers."""
    while not values(families := scraped(deployment.url), "s4_process_cpu_seconds", process="worker", part="self"):
        pass
    return families


def values(families: Mapping[str, Metric], name: str, **labels: str) -> dict[str, float]:
    """Of a family's samples with those labels, by the last of the others."""
    found = families[name].samples if name in families else []
    return {
        "".join(value for label, value in each.labels.items() if label not in {"process", *labels}): each.value
        for each in found
        if labels.items() <= each.labels.items()
    }


def value(families: Mapping[str, Metric], name: str, **labels: str) -> float:
    (found,) = values(families, name, **labels).values()
    return found


def every_route_is_asked(deployment: Deployment, tenant: httpx.Client) -> None:
    """With both keys and with none, by paths that exist and with bodies that do not fit: labels are what is asked."""
    document = httpx.get(f"{deployment.url}/openapi.json", timeout=60).json()
    with deployment.admin() as admin, httpx.Client(base_url=deployment.api, timeout=60) as nobody:
        for client in (nobody, tenant, admin):
            for path, methods in document["paths"].items():
                if "/webhooks" in path and client is admin:
                    continue
                for method in set(methods) & {"get", "put", "post", "patch", "delete"}:
                    place = re.sub(r"\{[^}]*\}", "x", path)
                    client.request(method, f"{deployment.url}{place}", json={"no": "such"}, timeout=60)


def test_series_are_few_at_ten_thousand_tenants_and_the_busiest_are_named(served: Deployment, folder: Path) -> None:
    with served.new_tenant("Newcomer") as tenant:
        tenant.put("/documents/by-key/a", content=b"some text", headers={"Content-Type": "text/plain"})
        tenant.post("/search", json={"query": "text"})
        every_route_is_asked(served, tenant)
    families = scraped_with_worker(served)
    for process in ("api", "worker"):
        series = sum(each.labels["process"] == process for family in families.values() for each in family.samples)
        print(f"{process}: {series} series")
        assert series < SERIES_MAX
    assert TENANTS - 2 < value(families, "s4_tenants", status="active") < TENANTS + 3, "with those of the other tests"
    calls = values(families, "s4_top_tenant_calls")
    assert set(calls) == {*(tenant_id(TENANTS - n) for n in range(TOP)), "other"}
    assert calls[tenant_id(TENANTS)] == TENANTS
    assert calls["other"] > 1_000_000
    everything = " ".join(str(each.labels) for family in families.values() for each in family.samples)
    assert len(set(re.findall(r"ten_[a-z2-7]{26}", everything))) == TOP, "nobody else is named"

    asyncio.run(gone(folder, TENANTS))
    assert tenant_id(TENANTS) not in values(scraped(served.url), "s4_top_tenant_calls"), "its series end with it"


async def gone(folder: Path, number: int) -> None:
    catalog = open_database(sqlite_url(folder), pool_size=1, timeout_seconds=20)
    await delete(catalog, number)
    await catalog.aclose()


# -- the kernel's figures


@dataclass(frozen=True)
class Kernel:
    """As /proc has them of a process."""

    cpu_seconds: float
    memory_bytes: float
    written_bytes: float

    @classmethod
    def of(cls, *pids: int) -> "Kernel":
        cpu = memory = written = 0.0
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            cpu += (int(fields[11]) + int(fields[12])) / TICKS
            status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            memory += int(status["VmRSS"].split()[0]) * 1024
            io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
            written += int(io["write_bytes"])
        return cls(cpu, memory, written)


def children_of(pid: int) -> dict[int, str]:
    """Command lines by number."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (place / "stat").read_text().rpartition(")")[2].split()[1] == str(pid):
                found[int(place.name)] = (place / "cmdline").read_text().replace("\0", " ")
    return found


def named(pids: Mapping[int, str], word: str) -> list[int]:
    return [pid for pid, command in pids.items() if word in command]


def lies_between(figure: float, before: float, after: float) -> bool:
    return before * (1 - CLOSE) <= figure <= after * (1 + CLOSE)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_figures_under_load_agree_with_the_kernels_for_api_worker_and_extraction_child(served: Deployment) -> None:
    # PDFs are read in a child, and text is not nothing either.
    with served.new_tenant("Busy") as tenant:
        for number in range(40):
            content = f"<html><body><p>{f'passage {number} ' * 2000}</p></body></html>"
            answer = tenant.put(
                f"/documents/by-key/{number}", content=content.encode(), headers={"Content-Type": "text/html"}
            )
            assert answer.status_code == 201
        last = answer.json()["document_id"]
        while tenant.get(f"/documents/{last}", params={"wait": 10}).json()["status"] == "processing":
            pass
    scraped_with_worker(served)
    api = next(pid for pid, command in {served.pid: "", **children_of(served.pid)}.items() if is_serving(pid))
    (worker,) = named(children_of(api), "worker")
    children = named(children_of(worker), "s4.engine.extraction.child")
    assert children, "idle now, and still there"
    parts = {("api", "self"): [api], ("worker", "self"): [worker], ("worker", "extraction"): children}
    before = {part: Kernel.of(*pids) for part, pids in parts.items()}
    families = scraped(served.url)
    after = {part: Kernel.of(*pids) for part, pids in parts.items()}
    for (process, part), was in before.items():
        of, now = {"process": process, "part": part}, after[process, part]
        assert lies_between(value(families, "s4_process_cpu_seconds", **of), was.cpu_seconds, now.cpu_seconds), of
        least, most = sorted((was.memory_bytes, now.memory_bytes))
        assert lies_between(value(families, "s4_process_resident_memory_bytes", **of), least, most), of
        written = value(families, "s4_process_disk_bytes", direction="written", **of)
        assert lies_between(written, was.written_bytes, now.written_bytes), of
    assert value(families, "s4_extraction_processes", process="worker") == len(children)


def is_serving(pid: int) -> bool:
    return " serve " in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") and not named(
        children_of(pid), " serve "
    )


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_group_disk_and_network_agree_with_their_sources(served: Deployment) -> None:
    def network() -> int:
        lines = Path(f"/proc/{served.pid}/net/dev").read_text().splitlines()[2:]
        return sum(int(line.split(":")[1].split()[0]) for line in lines if not line.strip().startswith("lo:"))

    def group_memory() -> int | None:
        names = ("memory.current", "memory.usage_in_bytes")
        places = [
            folder / name for name in names for folder in group_folders(Path("/proc/self")) if (folder / name).exists()
        ]
        return int(places[0].read_text()) if places else None

    before = network(), group_memory()
    families = scraped(served.url)
    after = network(), group_memory()
    of_api = {"process": "api"}
    assert lies_between(value(families, "s4_network_bytes", direction="received", **of_api), before[0], after[0]), (
        "of the namespace"
    )
    size = os.statvfs(served.data_dir)
    assert value(families, "s4_disk_size_bytes", folder="data", **of_api) == size.f_blocks * size.f_frsize
    if before[1] is not None and after[1] is not None:
        least, most = sorted((before[1], after[1]))
        assert lies_between(value(families, "s4_cgroup_memory_bytes", kind="used", **of_api), least, most)


# -- processes of their own


@contextlib.contextmanager
def process(folder: Path, command: str, *arguments: str, **environment: str) -> Iterator[str]:
    """Its address, once it has started."""
    started = subprocess.Popen(
        leashed([sys.executable, "-m", "s4.entrypoints.cli", command, "--data-dir", str(folder), *arguments]),
        env=clean_environment() | QUICK | environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert started.stderr is not None
    url = ""
    try:
        for line in started.stderr:
            event: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            url = event.get("details", {}).get("url", url)
            if event.get("event_type") in ("worker.started", "exporter.started"):
                break
        assert url, "it says where it answers"
        yield url
    finally:
        started.terminate()
        started.communicate(timeout=60)
    assert started.returncode == 0


def test_a_worker_answers_health_and_metrics_by_default_and_asks_for_the_token(served: Deployment) -> None:
    with process(served.data_dir, "worker") as url:
        assert url.startswith("http://127.0.0.1:"), "loopback, unless it is told otherwise"
        assert httpx.get(f"{url}/health/live", timeout=60).json() == {"status": "alive"}
        assert httpx.get(f"{url}/health/ready", timeout=60).json() == {"status": "ready"}
        for headers in ({}, {"Authorization": "Bearer another"}):
            refused = httpx.get(f"{url}/metrics", headers=headers, timeout=60)
            assert (refused.status_code, refused.headers["www-authenticate"][:6]) == (401, "Bearer")
        assert httpx.get(f"{url}/documents", timeout=60).status_code == 404, "and nothing else"
        families = scraped(url)
        assert value(families, "s4_ready") == 1
        assert "process" not in families["s4_ready"].samples[0].labels
        assert not [name for name in families if name.startswith(("s4_top_tenant_", "s4_tenant_"))]


def test_the_exporter_tells_all_tenants_and_no_other_process_does(served: Deployment) -> None:
    with process(served.data_dir, "exporter", "--port", "0") as url:
        assert httpx.get(f"{url}/metrics", timeout=60).status_code == 401
        families = scraped(url)
        calls = values(families, "s4_tenant_calls")
        assert len(calls) >= TENANTS - 1
        assert calls[tenant_id(7)] == 7
        assert value(families, "s4_tenant_requests", tenant_id=tenant_id(1)) == 0, "of the least active, too"
        asyncio.run(gone(served.data_dir, 7))
        assert tenant_id(7) not in values(scraped(url), "s4_tenant_calls")
    assert not [name for name in scraped(served.url) if name.startswith("s4_tenant_")]
