"""kill -9 of everything at once, at random moments, under load: what was acknowledged stays, exactly as it was.

After every kill S4 starts again on the same data and is held against what the owners of the documents know. They repeat
what was not answered, and then everything must be definite.
"""

import contextlib
import random
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from s4.platform.database import migrate
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.factories.owners import Owner, check_documents, check_end_states, check_searches, check_usage
from tests.servers import PostgresServer, S3Server

pytestmark = pytest.mark.processes

OWNERS = 4
LOAD_SECONDS = (0.4, 2.0)
HURRIED = FAST | {
    "S4_ADMIN_API_KEY": ADMIN_KEY,
    # Short, so that what the dead left behind is taken over within the test. The commit lease must exceed the store's.
    "S4_JOB_LEASE_SECONDS": "2",
    "S4_JOB_BACKOFF_SECONDS": "0.2",
    "S4_STORE_TIMEOUT_SECONDS": "3",
    "S4_COMMIT_LEASE_SECONDS": "4",
    "S4_SWEEP_SECONDS": "1",
}


def round_of_load(deployment: Deployment, api_key: str, owners: list[Owner], dice: random.Random) -> None:
    """Ends with a kill in the middle of it."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(owners)) as pool:
        working = [pool.submit(owner.work, deployment.tenant(api_key), stop) for owner in owners]
        stop.wait(dice.uniform(*LOAD_SECONDS))
        deployment.kill()
        stop.set()
    for work in working:
        work.result()


def survive(deployment: Deployment, kills: int) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    owners = [Owner(number, random.Random(dice.getrandbits(64))) for number in range(OWNERS)]
    deployment.start()
    with deployment.admin() as admin:
        created = admin.post("/admin/tenants", json={"name": "Acme"}).json()
    for _ in range(kills):
        round_of_load(deployment, created["api_key"], owners, dice)
        deployment.start()
        with deployment.tenant(created["api_key"]) as tenant:
            check_documents(tenant, owners)
    with deployment.tenant(created["api_key"]) as tenant:
        unanswered = sum(len(owner.unanswered) for owner in owners)
        for owner in owners:
            owner.settle(tenant)
        unlucky = check_end_states(tenant)
        check_documents(tenant, owners)
        check_searches(tenant, owners)
        with deployment.admin() as admin:
            check_usage(admin, tenant, created["id"])
    acknowledged = sum(owner.acknowledged for owner in owners)
    print(f"{acknowledged} acknowledged, {unanswered} uploads unanswered, {kills} kills, {unlucky} to reprocess")
    assert acknowledged >= 4 * kills, "hardly any load"


@contextlib.contextmanager
def ended(deployment: Deployment) -> Iterator[Deployment]:
    try:
        yield deployment
    finally:
        deployment.kill()


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_on_one_machine(tmp_path: Path) -> None:
    with ended(Deployment(tmp_path, HURRIED)) as deployment:
        survive(deployment, kills=2)


@pytest.mark.long
@pytest.mark.timeout(900)  # some ten seconds for each kill, more when others are at work
def test_nothing_acknowledged_is_lost_on_one_machine_however_often_it_dies(tmp_path: Path) -> None:
    with ended(Deployment(tmp_path, HURRIED)) as deployment:
        survive(deployment, kills=8)


@pytest.mark.long
def test_nothing_acknowledged_is_lost_on_postgresql_and_s3(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str, s3_server: S3Server, s3_shared_bucket: str
) -> None:
    environment = HURRIED | {
        "S4_DATABASE_URL": postgres_url,
        "S4_STORE_URL": f"s3://{s3_shared_bucket}/{secrets.token_hex(8)}",
        "S4_STORE_ENDPOINT": s3_server.endpoint,
        "S4_STORE_ACCESS_KEY_ID": s3_server.access_key,
        "S4_STORE_SECRET_ACCESS_KEY": s3_server.secret_key,
    }
    migrate.upgrade(postgres_url)
    with ended(Deployment(tmp_path, environment)) as deployment:
        survive(deployment, kills=3)
