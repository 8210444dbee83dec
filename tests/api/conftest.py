"""One S4 with a worker and one without for all tests over HTTP; every test has a tenant of its own."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import httpx
import pytest

from tests.api.calls import client, new_tenant
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment, clean_environment
from tests.leash import leashed

UPLOAD_BYTES_MAX = 1 << 20


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Documents are searchable soon after."""
    environment = FAST | {
        "S4_ADMIN_API_KEY": ADMIN_KEY,
        "S4_UPLOAD_BYTES_MAX": str(UPLOAD_BYTES_MAX),
        "S4_AUDIT_SEAL_SECONDS": "2",
    }
    started = Deployment(tmp_path_factory.mktemp("s4"), environment).start()
    yield started
    started.kill()  # a graceful end takes seconds and is tested elsewhere


@pytest.fixture(scope="session")
def idle_deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Without a worker: documents stay in processing. Bodies may be silent for a second."""
    environment = FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY, "S4_UPLOAD_IDLE_SECONDS_MAX": "1"}
    started = Deployment(tmp_path_factory.mktemp("s4-idle"), environment, ("--no-worker",)).start()
    yield started
    started.kill()


@pytest.fixture
def tenant(deployment: Deployment) -> Iterator[httpx.Client]:
    """A new tenant where there is a worker."""
    with new_tenant(deployment) as opened:
        yield opened


@pytest.fixture
def idle_tenant(idle_deployment: Deployment) -> Iterator[httpx.Client]:
    """A new tenant where there is no worker."""
    with new_tenant(idle_deployment) as opened:
        yield opened


@pytest.fixture(scope="session")
def reader(idle_deployment: Deployment) -> Iterator[httpx.Client]:
    """One tenant for all tests that leave no document behind."""
    with new_tenant(idle_deployment) as opened:
        yield opened


@pytest.fixture
def admin(deployment: Deployment) -> Iterator[httpx.Client]:
    with client(deployment, **{"X-Admin-Key": ADMIN_KEY}) as opened:
        yield opened


@pytest.fixture
def work(idle_deployment: Deployment) -> Callable[[], AbstractContextManager[None]]:
    """`with work():` runs a worker for `idle_deployment` from here to the end of the block."""

    @contextmanager
    def worker() -> Iterator[None]:
        said = idle_deployment.environment | {"S4_DATA_DIR": str(idle_deployment.data_dir)}
        process = subprocess.Popen(
            leashed([sys.executable, "-m", "s4.entrypoints.cli", "worker"]),
            env=clean_environment() | said,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()  # gracefully: killed, it would leave leases that the next one waits for
            process.wait()

    return worker
