"""Which URLs and addresses a request on a tenant's behalf may go to."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import httpx

from s4.kernel.errors import InvalidRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

URL_CHARS_MAX = 2000
_PORT_MIN = 1024  # below it live services that are not for the web, but for these two:
_WEB_PORTS = frozenset({80, 443})
_PORT_MAX = 65535
_PRINTABLE = re.compile(r"[!-~\u00a1-\U0010ffff]+")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_GLOBAL_V6 = IPv6Network("2000::/3")  # all that is assigned to the Internet; everything else is somebody's inside
_SIX_TO_FOUR = IPv6Network("2002::/16")
_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(Exception):
    """A name leads where S4 does not send on a tenant's behalf."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """`networks` are those of the operator's own that tenants may reach all the same."""

    http: bool = False
    networks: Sequence[Network] = ()

    def check_url(self, text: str) -> str:
        """The URL as it will be asked for, its host in ASCII. Raises `InvalidRequest`.

        What a name resolves to is not looked at here: it may be another address by the time of a request.
        """
        if len(text) > URL_CHARS_MAX or not _PRINTABLE.fullmatch(text) or "\\" in text:
            raise InvalidRequest(
                f"The URL must have no blanks and no backslash, and at most {URL_CHARS_MAX} characters."
            )
        try:
            url = httpx.URL(text)
        except (ValueError, httpx.InvalidURL) as error:
            raise InvalidRequest("This is not a URL; one looks like https://hooks.example.com/s4.") from error
        if url.scheme not in ({"http", "https"} if self.http else {"https"}):
            raise InvalidRequest(f"The URL must begin with https://{' or http://' if self.http else ''}.")
        if "@" in re.split(r"[/?#]", text.partition("://")[2], maxsplit=1)[0]:
            raise InvalidRequest("The URL must hold no user name and no password; the signature proves who calls.")
        if "#" in text:
            raise InvalidRequest("The URL must have no fragment (#…); it is never sent.")
        if url.port is not None and url.port not in _WEB_PORTS and not _PORT_MIN <= url.port <= _PORT_MAX:
            raise InvalidRequest(f"The URL's port must be 80, 443 or from {_PORT_MIN} to {_PORT_MAX}.")
        self._check_host(url.raw_host.decode("ascii").lower())
        return str(url)

    def check_addresses(self, addresses: Sequence[Address]) -> None:
        """Raises `AddressRefused` unless every one of them may be connected to: whoever mixes an inner address among
        outer ones means the inner one."""
        if not addresses:
            raise AddressRefused("The host name has no address.")
        for address in addresses:
            if not self.permits(address):
                raise AddressRefused("The host name leads to an address that is not public.")

    def permits(self, address: Address) -> bool:
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self.networks if network.version == address.version):
            return True
        inner = _inner(address)
        if inner is not None:
            return self.permits(inner)
        if isinstance(address, IPv6Address) and (address not in _GLOBAL_V6 or address in _SIX_TO_FOUR):
            return False
        return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)

    def _check_host(self, host: str) -> None:
        name = host.strip("[]").removesuffix(".")
        if "%" in name or not name:
            raise InvalidRequest("The URL must name a host, without escapes and zones.")
        addresses = _literal(name)
        if not all(self.permits(address) for address in addresses):
            raise InvalidRequest(
                "The URL leads to an address that is not public. The operator may allow networks of his own "
                "(S4_WEBHOOKS_ALLOWED_NETWORKS)."
            )


def parse_networks(text: str) -> tuple[Network, ...]:
    """From `10.1.0.0/16, fd00::/8`. Raises `ValueError`."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def _literal(name: str) -> Sequence[Address]:
    """The addresses that a host says by itself; none for a name. Raises `InvalidRequest` for numbers in odd forms:
    resolvers read `127.1`, `2130706433` and `0x7f000001` as addresses."""
    if name == "localhost" or name.endswith(".localhost"):
        return [IPv4Address("127.0.0.1"), IPv6Address("::1")]
    try:
        return [ipaddress.ip_address(name)]
    except ValueError:
        if _NUMERIC_LABEL.fullmatch(name.rsplit(".", 1)[-1]) or ":" in name:
            raise InvalidRequest("Write the URL's address as four decimal numbers, or use a name.") from None
    return []


def _inner(address: Address) -> IPv4Address | None:
    """The IPv4 address that a translator on the way would make of it."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        if address in _SIX_TO_FOUR and address.sixtofour is not None:
            return address.sixtofour
    return None
