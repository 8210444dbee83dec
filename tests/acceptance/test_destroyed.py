"""Every machine and the database are destroyed under load: `s4 rebuild` on the bucket, and everything that was
acknowledged is there, to whoever asks over HTTP with the keys of before."""

import json
import random
import secrets
import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from s4.platform.database import migrate
from tests.acceptance.conftest import Command
from tests.acceptance.test_survives_kill import HURRIED, OWNERS, ended
from tests.factories.deployment import Deployment
from tests.factories.owners import Owner, check_documents, check_end_states, check_searches, check_usage
from tests.servers import PostgresServer, S3Server

pytestmark = pytest.mark.processes

SECRETS = {"S4_SECRET_KEY": "a-secret-key-of-the-tests-0123456789"}


def round_of_load(deployment: Deployment, api_key: str, owners: list[Owner], *, until_acknowledged: int) -> None:
    """Ends with a kill in the middle of it."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(owners)) as pool:
        working = [pool.submit(owner.work, deployment.tenant(api_key), stop) for owner in owners]
        while sum(owner.acknowledged for owner in owners) < until_acknowledged and not all(map(Future.done, working)):
            stop.wait(0.02)
        deployment.kill()
        stop.set()
    for work in working:
        work.result()


def destroyed_and_rebuilt(
    folder: Path, environment: dict[str, str], here: Command, *, new_database: list[str], rounds: int
) -> None:
    dice = random.Random(secrets.randbits(32))
    told = []
    owners = [Owner(number, random.Random(dice.getrandbits(64))) for number in range(OWNERS)]
    with ended(Deployment(folder / "machine-0", dict(environment))) as deployment:
        deployment.start()
        with deployment.admin() as admin:
            created = admin.post("/admin/tenants", json={"name": "Acme"}).json()
        for number in range(1, rounds + 1):
            round_of_load(deployment, created["api_key"], owners, until_acknowledged=12 * number)
            shutil.rmtree(deployment.data_dir)
            deployment.data_dir = folder / f"machine-{number}"
            if new_database:
                deployment.environment["S4_DATABASE_URL"] = new_database.pop()
            rebuilt = here("rebuild", "--json", **deployment.environment, S4_DATA_DIR=str(deployment.data_dir))
            assert rebuilt.code == 0, rebuilt.err
            told.append(json.loads(rebuilt.out.partition("{")[1] + rebuilt.out.partition("{")[2]))
            deployment.start()
            with deployment.tenant(created["api_key"]) as tenant:
                check_documents(tenant, owners)
        with deployment.tenant(created["api_key"]) as tenant:
            for owner in owners:
                owner.settle(tenant)
            check_end_states(tenant)
            check_documents(tenant, owners)
            check_searches(tenant, owners)
            with deployment.admin() as admin:
                check_usage(admin, tenant, created["id"])
    print(told)


def test_a_destroyed_machine_is_rebuilt_from_its_bucket(tmp_path: Path, here: Command) -> None:
    environment = HURRIED | SECRETS | {"S4_STORE_URL": (tmp_path / "bucket").as_uri()}
    destroyed_and_rebuilt(tmp_path, environment, here, new_database=[], rounds=1)


@pytest.mark.long
def test_destroyed_machines_and_their_database_are_rebuilt_from_the_bucket(
    tmp_path: Path, here: Command, postgres_server: PostgresServer, s3_server: S3Server, s3_shared_bucket: str
) -> None:
    databases = [postgres_server.new_database() for _ in range(4)]
    environment = HURRIED | SECRETS | {
        "S4_DATABASE_URL": databases[0],
        "S4_STORE_URL": f"s3://{s3_shared_bucket}/{secrets.token_hex(8)}",
        "S4_STORE_ENDPOINT": s3_server.endpoint,
        "S4_STORE_ACCESS_KEY_ID": s3_server.access_key,
        "S4_STORE_SECRET_ACCESS_KEY": s3_server.secret_key,
    }  # fmt: skip
    migrate.upgrade(databases[0])
    destroyed_and_rebuilt(tmp_path, environment, here, new_database=databases[1:], rounds=3)
    for url in databases:
        postgres_server.drop_database(url)
