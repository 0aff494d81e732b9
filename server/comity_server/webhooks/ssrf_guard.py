"""Decides where webhooks may go: by the URL, and before each connection by the address that it resolved to (HOOK-5,
HOOK-6).

The second check is the one that counts. The connector itself calls it for the very address of the socket that it is
about to connect: an earlier look at the name would see another answer of the resolver, and a resolver of our own is
never asked about literal addresses.
"""

import re
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, urlsplit

from comity.errors import Malformed, Refused

MOST_URL = 500
"""Characters."""
HTTPS = 443
FIRST_FREE_PORT = 1024

# An allowlist for IPv6, since new ranges with an IPv4 address inside have come up again and again; `is_global` of the
# standard library lets NAT64, 6to4 and multicast through.
_GLOBAL_V6 = IPv6Network("2000::/3")
NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)
"""The ranges of the table in spec/webhook.md."""
_NAMES_OF_NONE = frozenset({"localhost", "local", "internal", "test", "invalid", "onion"})
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_VISIBLE = re.compile(r"[!-~]+\Z")


class NotPublic(OSError):
    """The address is not one to which webhooks may go."""

    def __init__(self) -> None:
        # Always the same text: where a name has several such addresses, the connector then raises this very type.
        super().__init__("the address is not public")


def is_public(address: str) -> bool:
    """True if an address, as a resolver gives it, may be connected to. Anything but a plain address may not."""
    try:
        known = ip_address(address)
    except ValueError:
        return False
    if isinstance(known, IPv6Address) and (known.scope_id is not None or known not in _GLOBAL_V6):
        return False
    return not any(known in network for network in NOT_PUBLIC if network.version == known.version)


def is_loopback(address: str) -> bool:
    """Whether the address is this machine's own, in one of the two plain forms."""
    try:
        known = ip_address(address)
    except ValueError:
        return False
    return known.is_loopback if isinstance(known, IPv4Address) else known == IPv6Address("::1")


def public_sockets(*, to_loopback: bool) -> Callable[[Any], socket.socket]:
    """Makes the sockets of a connector: for public addresses alone, and for loopback where that is allowed.

    The factory raises NotPublic before there is a socket.
    """

    def make(address_info: Any) -> socket.socket:
        family, kind, protocol, _, address = address_info
        host = address[0]
        if not (is_public(host) or (to_loopback and is_loopback(host))):
            raise NotPublic
        return socket.socket(family, kind, protocol)

    return make


def check_url(url: str, *, to_loopback: bool = False) -> None:
    """Raises Malformed for a URL that no webhook can have, Refused("not_public") for one that can name no public host
    (HOOK-5)."""
    if len(url) > MOST_URL or not _VISIBLE.match(url) or "\\" in url:
        raise _malformed(f"at most {MOST_URL} visible ASCII characters are wanted")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _malformed("not a URL") from None
    host = parts.hostname or ""
    local = to_loopback and (host == "localhost" or is_loopback(host))
    if parts.scheme != "https" and not (local and parts.scheme == "http"):
        raise _malformed("it must begin with https")
    if "@" in parts.netloc or "#" in url or "%" in parts.netloc or not host:
        raise _malformed("a host is wanted, and no user, password or fragment")
    if not (local or port in (None, HTTPS) or (port or 0) >= FIRST_FREE_PORT):
        raise _malformed(f"its port must be {HTTPS}, or {FIRST_FREE_PORT} and above")
    if not (local or _names_a_public_host(parts, host)):
        raise Refused("not_public")


def _names_a_public_host(parts: SplitResult, host: str) -> bool:
    if "[" in parts.netloc or ":" in host:
        return is_public(host)
    labels = host.split(".")
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        # Only the one plain way to write an address; resolvers understand others ("0x7f.1", "127.1").
        return is_public(host)
    return (
        len(labels) > 1
        and len(host) <= 253
        and all(_LABEL.match(label) for label in labels)
        and labels[-1] not in _NAMES_OF_NONE
        and labels[-2:] != ["home", "arpa"]
    )


def _malformed(what: str) -> Malformed:
    return Malformed("the URL is none that webhooks can go to", errors=(("/url", what),))
