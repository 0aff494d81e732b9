"""The client address of a request: limits without a key are shares of addresses (HTTP-18).

An address is an IPv4 address, or the /64 network of an IPv6 address: a holder of one IPv6 address holds a whole /64.

Behind a proxy every request has the proxy's address. `X-Forwarded-For` names the earlier addresses, and counts only as
far as the operator trusts the proxies that wrote it: else anybody could write anybody's address. `Forwarded` (RFC 7239)
is ignored, since a proxy that writes the one header passes on the other unchanged.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from multidict import MultiMapping

from comity.errors import Malformed
from comity_server.logging import logger

Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"
"""The address of all whose address cannot be read."""
_HEADER = "X-Forwarded-For"
_PREFIX = 64
_LONGEST = 64
_KNOWN = 4096
"""Addresses that are not read again."""


def read_networks(text: str) -> tuple[Network, ...]:
    """The networks in `text`: addresses, or addresses with a prefix length, with commas between. Raises Malformed."""
    named = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tuple(ip_network(part) for part in named)
    except ValueError as error:
        raise Malformed(f"not the address of a network: {error}") from None


class ClientAddresses:
    """Finds the address of a request. `trusted` are the networks of proxies whose `X-Forwarded-For` counts."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted
        self._look_up = lru_cache(_KNOWN)(self._read_address)
        self._has_warned = False

    def is_proxy(self, peer: str | None) -> bool:
        """True if the other end of a socket is a trusted proxy: then many people share that socket's address."""
        return self._look_up(peer or "")[1]

    def of(self, peer: str | None, headers: MultiMapping[str]) -> str:
        """The client address of a request that arrived from `peer`, as text: the last one in `X-Forwarded-For` that no
        trusted proxy has. Beyond an unreadable entry the authors of the rest are unknown; then it is the address of the
        proxy that passed that entry on."""
        address, is_proxy = self._look_up(peer or "")
        if not is_proxy:
            if _HEADER in headers:
                self.warn_of(address)
            return address
        for text in reversed(",".join(headers.getall(_HEADER, ())).split(",")):
            before, is_proxy = self._look_up(text[:_LONGEST].strip())
            if before == UNKNOWN:
                break
            address = before
            if not is_proxy:
                break
        return address

    def warn_of(self, address: str) -> None:
        """Tell the operator, once, that this may be the address of a proxy that is not named: all of its clients share
        it. Only of one of this machine or network, where a proxy is: no stranger makes the log grow."""
        if not self._has_warned and address != UNKNOWN and ip_network(address).is_private:
            self._has_warned = True
            logger().warning("clients_may_share_an_address", see="COMITY_TRUSTED_PROXIES")

    def _read_address(self, text: str) -> tuple[str, bool]:
        """(the address in `text`, whether a trusted proxy has it)."""
        found = _read(text)
        if found is None:
            return UNKNOWN, False
        is_proxy = any(found in network for network in self._trusted)
        return (str(found) if found.version == 4 else str(IPv6Network((int(found), _PREFIX), strict=False))), is_proxy


def _read(text: str) -> IPv4Address | IPv6Address | None:
    """The address in an element of the field, which some proxies write with a port; None where there is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if found.version == 6 else None
    return found if mapped is None else mapped
