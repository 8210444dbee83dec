"""Whose address counts, by who is connected and what the headers say."""

import pytest

from s4.platform.http.proxies import TrustedProxies
from s4.platform.outbound.addresses import parse_networks

OURS = parse_networks("10.0.0.0/8, fd00::/8")
TO_THE_EDGE = TrustedProxies(OURS)
BY_RFC = TrustedProxies(OURS, "forwarded")


def caller(proxies: TrustedProxies, peer: str | None, *headers: tuple[str, str]) -> str | None:
    """The address of a request over a connection from `peer`."""
    scope = {
        "type": "http",
        "client": (peer, 4711) if peer else None,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    proxies.see_through(scope)
    return scope["client"][0] if scope["client"] else None


def forwarded_for(value: str) -> tuple[str, str]:
    return ("x-forwarded-for", value)


@pytest.mark.parametrize("proxies", [TrustedProxies(), TO_THE_EDGE, BY_RFC])
@pytest.mark.parametrize("peer", ["203.0.113.9", "127.0.0.1", "2001:db8::9", "11.0.0.1"])
def test_a_header_from_somebody_who_is_no_trusted_proxy_is_never_believed(proxies: TrustedProxies, peer: str) -> None:
    spoofed = (forwarded_for("198.51.100.1"), ("forwarded", "for=198.51.100.1"), ("x-real-ip", "198.51.100.1"))
    assert caller(proxies, peer, *spoofed) == peer


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, 10.0.0.9", "198.51.100.7"),  # two proxies of ours
        ("198.51.100.7, 10.0.0.9, fd00::2,10.1.1.1", "198.51.100.7"),
        ("6.6.6.6, 198.51.100.7", "198.51.100.7"),  # the caller invented the first
        ("10.0.0.1, 198.51.100.7", "198.51.100.7"),  # and would like to be one of ours
        ("unknown, nonsense, 198.51.100.7, 10.0.0.9", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("198.51.100.7:55123", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, ::ffff:10.0.0.9", "198.51.100.7"),
        ("10.3.3.3, 10.0.0.9", "10.3.3.3"),  # a caller within our own networks
    ],
)
def test_the_right_most_address_that_is_no_trusted_proxy_counts(said: str, address: str) -> None:
    for peer in ("10.0.0.2", "fd00::2", "::ffff:10.0.0.2"):
        assert caller(TO_THE_EDGE, peer, forwarded_for(said)) == address


@pytest.mark.parametrize(
    "said",
    ["", "unknown", "_hidden", "acme.example", "1.2.3", "1.2.3.4.5", "300.1.1.1", "1.2.3.4 5.6.7.8", "[::1", "::1]:80",
     "fe80::1%eth0", "1.2.3.4:port", "'; DROP TABLE documents; --", "\xff\xfe", "1.2.3.4:999999", ",", "127.1"],
)  # fmt: skip
def test_what_is_no_address_is_ignored_and_so_is_what_stands_left_of_it(said: str) -> None:
    assert caller(TO_THE_EDGE, "10.0.0.2", forwarded_for(said)) == "10.0.0.2"
    assert caller(TO_THE_EDGE, "10.0.0.2", forwarded_for(f"6.6.6.6, {said}, 10.0.0.9")) == "10.0.0.9"


def test_several_headers_are_one_list() -> None:
    headers = (forwarded_for("6.6.6.6"), forwarded_for("198.51.100.7"), forwarded_for("10.0.0.9"))
    assert caller(TO_THE_EDGE, "10.0.0.2", *headers) == "198.51.100.7"


def test_only_the_header_that_the_proxies_write_is_looked_at() -> None:
    """They hand the other one on as the caller wrote it."""
    assert caller(TO_THE_EDGE, "10.0.0.2", ("forwarded", "for=6.6.6.6")) == "10.0.0.2"
    assert caller(BY_RFC, "10.0.0.2", forwarded_for("6.6.6.6")) == "10.0.0.2"
    both = (forwarded_for("6.6.6.6"), ("forwarded", "for=198.51.100.7"))
    assert caller(BY_RFC, "10.0.0.2", *both) == "198.51.100.7"


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("for=198.51.100.7", "198.51.100.7"),
        ('For="198.51.100.7:47011"', "198.51.100.7"),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("for=6.6.6.6, for=198.51.100.7;proto=https;by=10.0.0.9, by=10.0.0.2; for=10.0.0.9", "198.51.100.7"),
        ("proto=https;for=198.51.100.7;host=s4.example", "198.51.100.7"),
        ("for=_hidden", "10.0.0.2"),
        ("for=unknown", "10.0.0.2"),
        ("proto=https", "10.0.0.2"),
        ('for="198.51.100.7, 6.6.6.6"', "10.0.0.2"),
        ("xfor=6.6.6.6", "10.0.0.2"),
    ],
)
def test_the_standard_header_is_read_as_the_standard_says(said: str, address: str) -> None:
    assert caller(BY_RFC, "10.0.0.2", ("forwarded", said)) == address


def test_a_connection_without_an_address_has_none_afterwards() -> None:
    """A socket of the file system."""
    assert caller(TO_THE_EDGE, None, forwarded_for("6.6.6.6")) is None
