"""Two regions as processes: the first is lost under load, the second is promoted and serves; a first that comes back
stops by itself."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from s4.domains.maintenance import guarded
from s4.kernel.clock import parse_rfc3339
from tests.acceptance.conftest import Command
from tests.factories import calls
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.servers import S3Server, SeaweedFS

pytestmark = pytest.mark.processes

SECRET = "a-secret-key-of-the-tests-0123456789"
QUICK = FAST | {
    "S4_ADMIN_API_KEY": ADMIN_KEY,
    "S4_SECRET_KEY": SECRET,
    "S4_STORE_TIMEOUT_SECONDS": "3",
    "S4_STORE_RETRIES_MAX": "1",
    "S4_REPLICA_READ_SECONDS": "1",
    "S4_TERM_WATCH_SECONDS": "0.2",
}
PATIENCE_SECONDS = 300  # on a machine that is busy with other tests


def until(condition: object, what: str) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < give_up_at, what
        time.sleep(0.02)


def in_bucket(server: S3Server, url: str, which: str = "") -> dict[str, str]:
    return {
        f"S4_{which}STORE_URL": url,
        f"S4_{which}STORE_ENDPOINT": server.endpoint,
        f"S4_{which}STORE_ACCESS_KEY_ID": server.access_key,
        f"S4_{which}STORE_SECRET_ACCESS_KEY": server.secret_key,
    }


@dataclass
class Load:
    """Uploads one after the other, until told to stop. `acknowledged`: when each was, by its number."""

    tenant: httpx.Client
    acknowledged: dict[int, datetime] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        number = 0
        while not self.stopped.is_set():
            number += 1
            try:
                answer = calls.put(self.tenant, f"d{number}", f"the wording of numeral{number}", {"number": number})
            except httpx.HTTPError:
                continue
            if answer.status_code == httpx.codes.CREATED:
                self.acknowledged[number] = datetime.now(UTC)


@pytest.fixture
def first_store() -> Iterator[SeaweedFS]:
    server = SeaweedFS()
    server.start()
    yield server
    server.stop()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_region_that_is_lost_under_load_is_replaced_by_the_other(
    tmp_path: Path, first_store: SeaweedFS, s3_server: S3Server, here: Command
) -> None:
    first = first_store.wait()
    one, two = f"s3://{first.new_bucket()}/s4", f"s3://{s3_server.new_bucket()}/s4"
    environment = QUICK | in_bucket(first, one) | in_bucket(s3_server, two, "REPLICA_") | {"S4_REPLICATE_SECONDS": "1"}
    lost = Deployment(tmp_path / "first", environment).start()
    try:
        with lost.admin() as admin:
            key = admin.post("/admin/tenants", json={"name": "Acme"}).json()["api_key"]
        load = Load(lost.tenant(key))
        thread = threading.Thread(target=load.run)
        thread.start()
        until(lambda: len(lost.events("replication.done")) >= 3 and len(load.acknowledged) >= 30, lost.tail())
        first_store.stop()
        with lost.tenant(key) as tenant:
            assert (
                httpx.get(f"{lost.url}/health/ready", timeout=60).json()["dependencies"]["object_store"]
                == "failed_over"
            )
            document = tenant.get("/documents/by-key/d1")
            assert document.status_code == 200
            read = tenant.get(f"/documents/{document.json()['document_id']}/download")
            assert (read.status_code, read.text) == (200, "the wording of numeral1"), "the copy is read"
            assert calls.put(tenant, "refused", "a refused wording").status_code == 503
    finally:
        lost.kill()
    load.stopped.set()
    thread.join()

    began = time.monotonic()
    there = QUICK | in_bucket(s3_server, two) | {"S4_DATA_DIR": str(tmp_path / "second")}
    promoted = here("promote", "--json", **there)
    assert promoted.code == 0, promoted.err
    said = json.loads(promoted.out)
    second = Deployment(tmp_path / "second", there).start()
    try:
        with second.tenant(key) as tenant:
            found = calls.everything(tenant)
            seconds = time.monotonic() - began
            names = {str(document["key"]): name for name, document in found.items()}
            as_of = parse_rfc3339(said["as_of"])
            missing = [number for number in load.acknowledged if f"d{number}" not in names]
            assert [number for number in missing if load.acknowledged[number] < as_of] == []
            for number in list(load.acknowledged)[: 10 + len(missing)]:
                if number not in missing:
                    calls.wait(tenant, names[f"d{number}"])
                    assert calls.found(tenant, f"numeral{number}") == [names[f"d{number}"]]
            calls.stored(calls.put(tenant, "new", "a newer wording"))
    finally:
        second.stop()
    print(
        f"{len(load.acknowledged)} acknowledged, {len(missing)} lost, of at most {said['lost_seconds_max']:.1f} s; "
        f"serving after {seconds:.1f} s; {said['attached']} indices taken over"
    )
    assert len(missing) < len(load.acknowledged) / 2


def test_a_first_region_that_lives_stops_when_the_other_is_promoted(
    tmp_path: Path, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "QUIET", timedelta())  # nobody copies here
    one, two = ((tmp_path / name).as_uri() for name in ("bucket-one", "bucket-two"))
    environment = QUICK | {"S4_STORE_URL": one, "S4_REPLICA_STORE_URL": two}
    first = Deployment(tmp_path / "first", environment).start()
    try:
        with first.new_tenant() as tenant:
            key = tenant.headers["X-Tenant-Key"]
            calls.wait(tenant, calls.stored(calls.put(tenant, "kept", "a lasting wording"))["document_id"])
            at_first = environment | {"S4_DATA_DIR": str(tmp_path / "first")}
            assert here("replicate", "--json", **at_first).code == 0
            calls.wait(tenant, calls.stored(calls.put(tenant, "late", "a stranded wording"))["document_id"])
            there = QUICK | {
                "S4_STORE_URL": two, "S4_REPLICA_STORE_URL": one, "S4_DATA_DIR": str(tmp_path / "second")
            }  # fmt: skip
            promoted = here("promote", **there)
            assert "serves in term 2" in promoted.out, promoted.err
        assert first._process is not None
        until(lambda: first._process is None or first._process.poll() is not None, first.tail())
        assert first._process.returncode == 1
        assert first.events("deployment.superseded")
        listed = json.loads(here("stranded", "--json", **there).out)["stranded"]
        assert [(each["name"], each["state"]) for each in listed] == [("late", "live")]
        again = here("serve", "--port", "0", **at_first)
        assert again.code == 1
        assert "Another region was promoted" in again.err
    finally:
        first.kill()
    second = Deployment(tmp_path / "second", there).start()
    try:
        with second.tenant(key) as tenant:
            assert len(calls.found(tenant, "wording")) == 1
            assert here("fail-back", "--json", **there).code == 0
    finally:
        second.stop()
