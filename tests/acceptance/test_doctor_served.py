"""`s4 doctor` beside a deployment that runs, with everything that it can have: a bucket, PostgreSQL, Redis, backups."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from s4.entrypoints.configuration import read_configuration
from s4.entrypoints.doctor import Report, Verdict
from s4.entrypoints.doctor.whole import Bedside, examine
from s4.platform.database import migrate
from tests.api.calls import upload_ready
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment, await_worker, clean_environment
from tests.servers import POLICED, RedisServer, S3Server

pytestmark = pytest.mark.processes

UNASKED = {"store.versioning", "store.encryption", "store.lifecycle"}
"""What the least privilege does not let it see, and S4 does not need."""


@pytest.fixture
def environment(
    s3_server: S3Server, s3_shared_bucket: str, postgres_url: str, redis_server: RedisServer, tmp_path: Path
) -> dict[str, str]:
    policed = s3_server.policed()
    migrate.upgrade(postgres_url)
    return FAST | {
        "S4_ADMIN_API_KEY": ADMIN_KEY,
        "S4_DATA_DIR": str(tmp_path),
        "S4_DATABASE_URL": postgres_url,
        "S4_REDIS_URL": redis_server.wait(),
        "S4_STORE_URL": f"s3://{s3_shared_bucket}/{POLICED}{secrets.token_hex(8)}",
        "S4_STORE_ENDPOINT": policed.endpoint,
        "S4_STORE_ACCESS_KEY_ID": policed.access_key,
        "S4_STORE_SECRET_ACCESS_KEY": policed.secret_key,
        "S4_BACKUP_URL": (tmp_path / "backups").as_uri(),
        "S4_BACKUP_EVERY_HOURS": "24",
        "S4_WORKER_NICENESS": "0",
    }


@pytest.fixture
def deployment(environment: dict[str, str], tmp_path: Path) -> Iterator[Deployment]:
    started = Deployment(tmp_path, environment).start()
    yield started
    started.kill()


@pytest.fixture
def calm(tmp_path: Path) -> Path:
    """A machine with nothing else to do: that of a test has."""
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "loadavg").write_text("0.10 0.10 0.10 1/100 1\n")
    (proc / "meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable: 8000000 kB\n")
    return proc


def test_a_sound_deployment_raises_no_alarm_and_a_dead_worker_does(
    deployment: Deployment, environment: dict[str, str], calm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (clean_environment() | environment).items():
        monkeypatch.setenv(name, value)

    def examined() -> Report:
        return asyncio.run(examine(Bedside(read_configuration(), addresses=(deployment.url,), proc=calm)))

    assert httpx.get(f"{deployment.url}/health/ready", timeout=60).json()["dependencies"]["worker"] == "starting"
    early = {check.name for check in examined().checks if check.verdict is Verdict.FAILED}
    assert early == set(), "seconds after the start nothing is wrong yet"

    await_worker(deployment)
    for name in ("Acme", "Borel"):
        with deployment.new_tenant(name) as tenant:
            upload_ready(tenant, "Tides follow the moon.")

    report = examined()

    alarms = {check.name: check.message for check in report.checks if check.verdict not in (Verdict.OK,)}
    assert set(alarms) == {*UNASKED, "degradation"}, alarms
    assert report.exit_code == 0
    names = {check.name for check in report.checks}
    assert names >= {"redis", "clock.database", "database.locks", "index.files", "isolation.keys", "processes"}

    deployment.kill()
    report = examined()

    failures = {check.name for check in report.checks if check.verdict is Verdict.FAILED}
    assert failures >= {"processes.answers"}
    assert report.exit_code == 1
