"""Whose request it is: limits without a key hold an address, and nobody can take another one's (HTTP-18)."""

import pytest
from multidict import CIMultiDict

from comity.errors import Malformed
from comity_server.client_address import UNKNOWN, ClientAddresses, read_networks
from comity_server.config import ConfigError, load

PROXY, CARRIER = "10.0.0.5", "172.16.9.9"
MIA, STRANGER = "203.0.113.7", "198.51.100.66"


def address(peer: str | None, *forwarded_for: str, trusted: str = "") -> str:
    headers = CIMultiDict([("x-forwarded-for", it) for it in forwarded_for])
    return ClientAddresses(read_networks(trusted)).of(peer, headers)


def test_without_a_proxy_an_address_is_the_sockets_own_whatever_the_header_says() -> None:
    assert address(STRANGER) == STRANGER
    assert address(STRANGER, MIA) == STRANGER
    assert address(STRANGER, MIA, trusted=PROXY) == STRANGER


def test_mia_and_a_stranger_behind_one_proxy_have_an_address_each() -> None:
    assert address(PROXY, MIA, trusted=PROXY) == MIA
    assert address(PROXY, STRANGER, trusted="10.0.0.0/8, 172.16.0.0/12") == STRANGER
    # What he wrote himself stands before what the proxy added, in the same field or in one of its own.
    assert address(PROXY, f"{MIA}, {STRANGER}", trusted=PROXY) == STRANGER
    assert address(PROXY, MIA, STRANGER, trusted=PROXY) == STRANGER


def test_a_chain_of_trusted_proxies_is_followed_to_the_first_that_nobody_trusts() -> None:
    chain = f"{MIA}, {STRANGER}, {CARRIER}"
    assert address(PROXY, chain, trusted=f"{PROXY},{CARRIER}") == STRANGER
    assert address(PROXY, chain, trusted=PROXY) == CARRIER
    assert address(PROXY, CARRIER, trusted=f"{PROXY},{CARRIER}") == CARRIER, "the proxy's own look at the server"
    assert address(PROXY, trusted=PROXY) == PROXY


@pytest.mark.parametrize("noise", ["unknown", "", "_hidden", "300.1.2.3", "1.2.3", "a" * 9000, "::ffff:", "[", ",,,"])
def test_what_a_proxy_could_not_say_is_the_proxys_own_share(noise: str) -> None:
    assert address(PROXY, f"{MIA}, {noise}", trusted=PROXY) == PROXY


def test_a_household_with_ipv6_has_one_share_for_its_whole_network() -> None:
    assert address("2001:db8:1:2::1") == address("2001:db8:1:2:ffff::9%eth0") == "2001:db8:1:2::/64"
    assert address("2001:db8:1:3::1") != address("2001:db8:1:2::1")
    assert address(f"::ffff:{MIA}") == MIA, "an IPv4 address on an IPv6 socket"
    trusted = "2001:db8:aaaa::/48"
    assert address("2001:db8:aaaa::1", "[2001:db8:1:2::7]:443", trusted=trusted) == "2001:db8:1:2::/64"
    assert address("2001:db8:aaaa::1", f"{MIA}:50123", trusted=trusted) == MIA


def test_a_socket_without_an_address_is_nobodys_own() -> None:
    assert address(None) == address("") == address("/run/socket") == UNKNOWN
    assert not ClientAddresses(read_networks(PROXY)).is_proxy(None)
    assert ClientAddresses(read_networks(PROXY)).is_proxy(PROXY)


@pytest.mark.parametrize("wrong", ["proxy.example", "10.0.0.0/33", "10.0.0.5/8", "10.0.0.5;10.0.0.6", "*"])
def test_an_operator_who_misspells_a_proxy_is_told_before_the_start(wrong: str) -> None:
    with pytest.raises(Malformed):
        read_networks(wrong)
    with pytest.raises(ConfigError, match="COMITY_TRUSTED_PROXIES"):
        load({"trusted_proxies": wrong}, environ={})
