"""A tenant's URL reaches no inner network: by literal, by name, by a name that changes its mind, by redirect."""

import asyncio
import ipaddress
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from s4.kernel.errors import InvalidRequest
from s4.platform.outbound import Allowance, Outbound, OutboundTimings, Undelivered
from s4.platform.outbound.addresses import parse_networks
from tests.factories.receiver import receiving

PUBLIC_ONLY = Allowance(http=True)
WITH_LOOPBACK = Allowance(http=True, networks=parse_networks("127.0.0.0/8, ::1/128"))
PATIENT = OutboundTimings(connect=timedelta(seconds=60), total=timedelta(seconds=60))
HURRIED = OutboundTimings(connect=timedelta(seconds=0.5), total=timedelta(seconds=0.5))

INNER = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "192.0.0.1",
    "192.168.1.1", "198.18.0.1", "203.0.113.5", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "2001::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",     "2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::",
]  # fmt: skip
OUTER = ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"]


@pytest.mark.parametrize("address", INNER)
def test_an_inner_address_is_refused_as_literal_and_when_a_name_leads_to_it(address: str) -> None:
    assert not PUBLIC_ONLY.permits(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(InvalidRequest, match="not public"):
        PUBLIC_ONLY.check_url(f"http://{host}:8080/hook")


@pytest.mark.parametrize("address", OUTER)
def test_a_public_address_is_allowed(address: str) -> None:
    assert PUBLIC_ONLY.permits(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/", "http://0x7f000001/", "http://017700000001/", "http://0177.0.0.1/", "http://0x7f.0.0.1/",
        "http://127.1/", "http://127.0.1/", "http://127.0.0.1.", "http://1.2.3.4.5/", "http://10.0.0.0x1/",
        "http://localhost/", "http://localhost./", "http://LOCALHOST/", "http://a.localhost/", "http://\uff11\uff12\uff17.0.0.1/",
        "http://user@example.com/", "http://user:password@example.com/", "http://@example.com/",
        "http://example.com@127.0.0.1/", "http://127.0.0.1\\@example.com/", "http://example.com#@127.0.0.1/",
        "http://127.0.0.1%2f@example.com/", "http://[::1]/", "http://[::ffff:7f00:1]/", "http://[fe80::1%25eth0]/",
        "http://example.com\r\nX: y/", "http://exam ple.com/", "http://example.com/\x00", "http:///path", "http://",
        "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/", "example.com", "",
        "http://example.com:22/", "http://example.com:25/", "http://example.com:0/", "http://example.com:65536/",
        "http://example.com:x/", "http://example.com/#fragment", "javascript:alert(1)", "http://" + "a" * 2001,
    ],
)  # fmt: skip
def test_a_url_that_plays_tricks_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        PUBLIC_ONLY.check_url(url)
    assert refused.value.message.endswith((".", ")."))


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/s4",
        "https://example.com:8443/a?b=c",
        "https://b\u00fccher.example/",
        "https://1.1.1.1/",
    ],
)
def test_an_honest_url_is_allowed(url: str) -> None:
    assert Allowance().check_url(url).startswith("https://")


def test_http_needs_the_operators_word() -> None:
    with pytest.raises(InvalidRequest, match="https://"):
        Allowance().check_url("http://hooks.example.com/")
    assert PUBLIC_ONLY.check_url("http://hooks.example.com/")


def test_the_operator_may_allow_networks_of_his_own() -> None:
    assert WITH_LOOPBACK.check_url("http://127.0.0.1:8080/")
    assert WITH_LOOPBACK.check_url("http://[::ffff:127.0.0.1]:8080/")
    with pytest.raises(InvalidRequest):
        WITH_LOOPBACK.check_url("http://10.0.0.1/")


def answering(*answers: Sequence[str]) -> tuple[Any, list[str]]:
    """A resolver that says something else each time, and what it was asked."""
    asked: list[str] = []

    async def resolve(host: str, _: int) -> list[Any]:
        asked.append(host)
        return [ipaddress.ip_address(text) for text in answers[min(len(asked), len(answers)) - 1]]

    return resolve, asked


async def post(outbound: Outbound, url: str) -> int:
    try:
        return (await outbound.post(url, b"{}", {"Content-Type": "application/json"})).status
    finally:
        await outbound.aclose()


async def test_a_name_that_leads_inside_is_refused_when_it_is_connected_to() -> None:
    async with receiving() as receiver:
        for addresses in (["127.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["::ffff:127.0.0.1"], []):
            resolve, _ = answering(addresses)
            with pytest.raises(Undelivered, match="address"):
                await post(
                    Outbound(PUBLIC_ONLY, PATIENT, resolve=resolve), f"http://hooks.example.com:{receiver.port}/"
                )
        assert receiver.connections == 0


async def test_the_systems_own_resolver_is_checked_too() -> None:
    async with receiving() as receiver:
        with pytest.raises(Undelivered, match="not public"):
            await post(Outbound(PUBLIC_ONLY, PATIENT), f"http://localhost:{receiver.port}/")
        assert receiver.connections == 0


async def test_a_name_that_changes_its_mind_is_asked_once_and_what_was_checked_is_connected_to() -> None:
    """DNS rebinding: a public address for the check, loopback for the connection."""
    async with receiving() as receiver:
        resolve, asked = answering(["192.0.2.1"], ["127.0.0.1"])
        networks = Allowance(http=True, networks=parse_networks("192.0.2.0/24"))
        with pytest.raises(Undelivered):
            await post(Outbound(networks, HURRIED, resolve=resolve), f"http://rebinding.example:{receiver.port}/")
        assert (asked, receiver.connections) == (["rebinding.example"], 0)


async def test_host_stays_the_name_though_the_address_is_connected_to() -> None:
    async with receiving() as receiver:
        resolve, _ = answering(["127.0.0.1"])
        outbound = Outbound(WITH_LOOPBACK, PATIENT, resolve=resolve)
        assert await post(outbound, f"http://hooks.example.com:{receiver.port}/a") == 200
        assert receiver.got[0].headers["host"] == f"hooks.example.com:{receiver.port}"


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async with receiving() as receiver:
        resolve, _ = answering(["::1", "127.0.0.1"])  # nobody listens at the first
        outbound = Outbound(WITH_LOOPBACK, PATIENT, resolve=resolve)
        assert await post(outbound, f"http://hooks.example.com:{receiver.port}/a") == 200


async def test_a_redirect_to_the_metadata_service_is_not_followed() -> None:
    async with receiving() as inner, receiving(lambda _: (302, f"Location: {inner.url}\r\n")) as outer:
        assert await post(Outbound(WITH_LOOPBACK, PATIENT), outer.url) == 302
        assert (outer.connections, inner.connections) == (1, 0)


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert await post(Outbound(WITH_LOOPBACK, PATIENT), receiver.url) == 200
        assert (proxy.connections, receiver.connections) == (0, 1)


async def test_an_endpoint_that_says_nothing_is_left_in_bounded_time() -> None:
    async with receiving(lambda _: None) as receiver:
        with pytest.raises(Undelivered, match="in time"):
            await post(Outbound(WITH_LOOPBACK, HURRIED), receiver.url)


async def test_a_name_server_that_says_nothing_is_left_in_bounded_time() -> None:
    async def resolve(_host: str, _port: int) -> list[Any]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(Undelivered, match="in time"):
        await post(Outbound(PUBLIC_ONLY, HURRIED, resolve=resolve), "http://hooks.example.com/")


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await post(Outbound(WITH_LOOPBACK, PATIENT), f"http://127.0.0.1:{port}/") == 200


async def test_a_refused_connection_and_nonsense_are_told_in_a_sentence() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH\r\nsecret banner\r\n")
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(Undelivered) as broken:
            await post(Outbound(WITH_LOOPBACK, PATIENT), f"http://127.0.0.1:{port}/")
        assert "banner" not in broken.value.reason
    with pytest.raises(Undelivered, match="refused"):
        await post(Outbound(WITH_LOOPBACK, PATIENT), f"http://127.0.0.1:{port}/")
