"""Deployments to break: every database with every kind of store."""

import contextlib
import secrets
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from s4.domains.maintenance import guarded
from s4.platform import faults
from tests.factories.catalog import sqlite_url
from tests.factories.nursery import Nursery
from tests.factories.nursery import nursery as started_nursery
from tests.factories.provider import counting_provider
from tests.factories.regions import Regions
from tests.faults.scene import SETTINGS, Scene
from tests.servers import PostgresServer, S3Server

pytest.register_assert_rewrite("tests.faults.invariants")


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with started_nursery() as started:
        yield started


@pytest.fixture(autouse=True)
def plain_tracebacks() -> Iterator[None]:
    """The survivor logs in this process, where structlog's default rendering of a traceback costs a minute."""
    before = structlog.get_config()["processors"]
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
    yield
    structlog.configure(processors=before)


@pytest.fixture
def regions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Regions]:
    """Who writes into a copy looks at its term each time, so that nobody need wait for him."""
    monkeypatch.setattr(guarded, "LOOK_SECONDS_MAX", 0.0)
    monkeypatch.setattr(guarded, "QUIET", timedelta())
    yield Regions(tmp_path)
    faults.arm({})


@pytest.fixture
def backend() -> str:
    """Of one machine, unless a test says otherwise."""
    return "sqlite-directory"


@pytest.fixture
def new_scene(
    request: pytest.FixtureRequest, tmp_path: Path, nursery: Nursery, backend: str
) -> Iterator[Callable[[], Scene]]:
    """Makes fresh deployments on `backend`."""
    database, _, store = backend.partition("-")
    with contextlib.ExitStack() as stack:

        def new_catalog() -> str:
            if database == "sqlite":
                return sqlite_url(Path(tempfile.mkdtemp(dir=tmp_path)))
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = server.new_database()
            stack.callback(server.drop_database, url)
            return url

        def make() -> Scene:
            provider = stack.enter_context(counting_provider())
            environment = SETTINGS | provider.settings | {"S4_DATABASE_URL": new_catalog()}
            if store == "s3":
                environment |= _in_bucket(
                    request.getfixturevalue("s3_server"), request.getfixturevalue("s3_shared_bucket")
                )
            made = Scene(Path(tempfile.mkdtemp(dir=tmp_path)), environment, provider, nursery, new_catalog)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def scene(new_scene: Callable[[], Scene]) -> Scene:
    """A fresh deployment on `backend`."""
    return new_scene()


def _in_bucket(server: S3Server, bucket: str) -> dict[str, str]:
    return {
        "S4_STORE_URL": f"s3://{bucket}/{secrets.token_hex(8)}",
        "S4_STORE_ENDPOINT": server.endpoint,
        "S4_STORE_ACCESS_KEY_ID": server.access_key,
        "S4_STORE_SECRET_ACCESS_KEY": server.secret_key,
    }
