"""The servers of a test session. Each is started once, only when a collected test asks for it, and while the
first tests already run: SeaweedFS takes seconds to come up.
"""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from s4.kernel.settings import Settings
from s4.platform.database import Database
from s4.platform.objects import ObjectStore, open_store
from tests.factories.catalog import BACKENDS, open_catalog, sqlite_url
from tests.servers import GoogleServer, GoogleStorage, PostgreSQL, PostgresServer, RedisServer, S3Server, SeaweedFS

pytest.register_assert_rewrite("tests.factories.owners", "tests.storm.checker", "tests.storm.residents")

_SEAWEEDFS = pytest.StashKey[SeaweedFS]()
_GOOGLE = pytest.StashKey[GoogleStorage]()
_POSTGRESQL = pytest.StashKey[PostgreSQL]()
_LONGEST = ("faults", "storm", "acceptance", "isolation", "api", "migrations", "hostile", "contracts")
"""Folders by the time that their slowest files take."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SEAWEEDFS] = SeaweedFS()
    config.stash[_GOOGLE] = GoogleStorage()
    config.stash[_POSTGRESQL] = PostgreSQL()


_PROCESSES = {"faults", "storm", "isolation", "hostile"}
"""Folders that are for `make test-processes` as a whole."""


def pytest_itemcollected(item: pytest.Item) -> None:
    if _PROCESSES & set(item.path.parts):
        item.add_marker(pytest.mark.processes)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long first: at the end, when little is left to share, the files are small."""
    items.sort(
        key=lambda item: next((rank for rank, name in enumerate(_LONGEST) if name in item.path.parts), len(_LONGEST))
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Starts, without waiting, what the tests need. In the main thread, whose end is theirs."""
    if session.config.option.collectonly:
        return
    needs = {need for item in session.items for need in _needs(item)}
    if needs & {"s3_server", "s3"}:
        session.config.stash[_SEAWEEDFS].start()
    if needs & {"google_server", "gs"}:
        session.config.stash[_GOOGLE].start()
    if needs & {"postgres_server", "postgres"}:
        session.config.stash[_POSTGRESQL].start()


def _needs(item: pytest.Item) -> list[str]:
    """The fixtures of a test and the names that it is parametrised with: contract tests run on `"s3"`."""
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return [*getattr(item, "fixturenames", ()), *(value for value in parameters if isinstance(value, str))]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Also after a failed start or an interrupted session."""
    config.stash[_SEAWEEDFS].stop()
    config.stash[_GOOGLE].stop()
    config.stash[_POSTGRESQL].stop()


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Commands that run in this process set up logs, and what one of them silences the next test may wait for."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def s3_server(pytestconfig: pytest.Config) -> S3Server:
    """A running SeaweedFS."""
    return pytestconfig.stash[_SEAWEEDFS].wait()


@pytest.fixture(scope="session")
def s3_shared_bucket(s3_server: S3Server) -> str:
    """A bucket for tests that keep to a prefix of their own: SeaweedFS sets volumes aside for every bucket."""
    return s3_server.new_bucket()


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> str:
    """The name of a fresh, empty bucket."""
    return s3_server.new_bucket()


@pytest.fixture(scope="session")
def google_server(pytestconfig: pytest.Config) -> GoogleServer:
    """A running emulator of Google's storage."""
    return pytestconfig.stash[_GOOGLE].wait()


@pytest.fixture(scope="session")
def google_bucket(google_server: GoogleServer) -> str:
    """A bucket for tests that keep to a prefix of their own."""
    return google_server.new_bucket()


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> PostgresServer:
    """A running PostgreSQL."""
    return pytestconfig.stash[_POSTGRESQL].wait()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A running Redis of the test's own: it starts in some ten milliseconds."""
    server = RedisServer()
    server.wait()
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a fresh, empty database, dropped after the test."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(params=BACKENDS)
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh catalog on each database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def catalog(catalog_url: str) -> AsyncIterator[Database]:
    """A fresh, migrated catalog on each database."""
    database = open_catalog(catalog_url)
    yield database
    await database.aclose()


@pytest.fixture(params=["local", "memory", "s3", "gs"])
async def object_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    """A fresh, empty object store of each kind."""
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        settings = Settings(
            store_url=f"s3://{request.getfixturevalue('s3_shared_bucket')}/{secrets.token_hex(8)}",
            store_endpoint=server.endpoint,
            store_access_key_id=server.access_key,
            store_secret_access_key=server.secret_key,
        )
    elif request.param == "gs":
        google: GoogleServer = request.getfixturevalue("google_server")
        settings = Settings(
            store_url=f"gs://{request.getfixturevalue('google_bucket')}/{secrets.token_hex(8)}",
            store_endpoint=google.endpoint,
            store_google_key_file=google.key_file(),
        )
    else:
        url = (tmp_path / "objects").as_uri() if request.param == "local" else "memory://"
        settings = Settings(store_url=url)
    store = open_store(settings)
    yield store
    await store.aclose()
