"""Whose address a request comes from, where proxies stand between.

A header says what its writer likes, and a caller writes headers, too. So one is believed as far as trusted hands wrote
it: the connection's peer must be a trusted proxy, and then each address, from the right, was noted by the one before
it. The first that is no trusted proxy is the caller; what stands further left he may have invented. A value that is no
address (`unknown`, a name, nonsense) ends the walk as well: the address is then that of the last proxy that was proved.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from starlette.datastructures import Headers
from starlette.types import Scope

_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"\\]*)"|([^\s;"]+))\s*(?:;|$)', re.IGNORECASE)
# An address, with a port behind it perhaps; IPv6 in brackets, and without them by proxies that add no port.
_NODE = re.compile(r"\[(?P<six>[0-9a-fA-F:.]+)\](?::\d{1,5})?|(?P<four>[0-9.]+)(?::\d{1,5})?|(?P<bare>[0-9a-fA-F:.]+)")


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """`header` is the one that the proxies in `networks` write: `x-forwarded-for`, or `forwarded` (RFC 7239)."""

    networks: Sequence[IPv4Network | IPv6Network] = ()
    header: str = "x-forwarded-for"

    def see_through(self, scope: Scope) -> None:
        """Puts the caller's address in the place of the connection's, for everybody inside."""
        client = scope.get("client")
        peer = _address(client[0]) if client else None
        if peer is None or not self._trusts(peer):
            return
        caller = peer
        for value in reversed(self._values(Headers(scope=scope))):
            address = _address(value)
            if address is None:
                break
            caller = address
            if not self._trusts(address):
                break
        scope["client"] = (str(caller), 0)  # nobody tells its port

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self.networks if network.version == address.version)

    def _values(self, headers: Headers) -> list[str]:
        """One for each proxy, the nearest last; several headers of the name are one list."""
        values = [value.strip() for line in headers.getlist(self.header) for value in line.split(",")]
        if self.header == "forwarded":
            return [(found[1] or found[2] or "") if (found := _FOR.search(value)) else "" for value in values]
        return values


NO_PROXIES = TrustedProxies()


def _address(text: str) -> IPv4Address | IPv6Address | None:
    node = _NODE.fullmatch(text)
    if node is None:
        return None
    try:
        address = ipaddress.ip_address(node["six"] or node["four"] or node["bare"])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped  # how a listener of both families calls an IPv4 peer
    return address
