"""Where processes listen, and who may read their metrics."""

import errno

import pytest
from pydantic import SecretStr

from s4.entrypoints.exporter import check_exposure
from s4.entrypoints.listening import listen, listen_near, url_of
from s4.entrypoints.scraping import may_scrape
from s4.kernel.errors import InvalidRequest
from s4.kernel.settings import Settings

TOKEN = SecretStr("a-token-for-the-scraper")


def test_a_second_process_takes_a_free_port_and_one_that_was_told_its_port_does_not() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with listen_near("127.0.0.1", port) as second:
            assert second.getsockname()[1] not in (0, port)
        with pytest.raises(OSError, match="in use") as taken:
            listen("127.0.0.1", port)
        assert taken.value.errno == errno.EADDRINUSE
        assert url_of(first) == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("token", "header", "may"),
    [
        (None, "", True),
        (TOKEN, "Bearer a-token-for-the-scraper", True),
        (TOKEN, "Bearer a-token-for-the-scrapes", False),
        (TOKEN, "", False),
        (TOKEN, "Bearer \u00fc", False),
    ],
)
def test_metrics_are_for_who_shows_their_token_if_there_is_one(token: SecretStr | None, header: str, may: bool) -> None:
    assert may_scrape(token, header) is may


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "exporter.internal"])
def test_the_exporter_names_nobody_to_strangers(host: str) -> None:
    with pytest.raises(InvalidRequest, match="S4_METRICS_TOKEN"):
        check_exposure(Settings(host=host))
    check_exposure(Settings(host=host, metrics_token=TOKEN))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_the_exporter_needs_no_token(host: str) -> None:
    check_exposure(Settings(host=host))
