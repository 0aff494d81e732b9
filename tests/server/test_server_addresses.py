"""Whose request it is: limits without a key hold an address, and nobody can take another one's (HTTP-18)."""

import asyncio
from pathlib import Path

import pytest
from multidict import CIMultiDict

from comity.documents.acts import SignedAct
from comity.documents.offers import OfferedTerms
from comity.encoding import dump_json
from comity.errors import Malformed
from comity.http_api import ACTS, JSON_LINES, JWT, OFFERS, RECORDS, WELL_KNOWN
from comity.rules.next_act import compose_act
from comity_server.api.http import ONE_OPENING
from comity_server.config import ConfigError, load
from comity_server.limits import rate_limits
from comity_server.limits.client_address import UNKNOWN, ClientAddresses, read_networks
from comity_server.limits.rate_limits import SPARE, Windows
from support.restored_server import Backup
from support.world import TEXT, Pair, Reply, World, a_world, terms

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
def test_requests_without_a_named_client_count_in_the_proxys_own_share(noise: str) -> None:
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


def test_an_operator_who_forgot_to_name_the_proxy_finds_it_in_the_log_once(capsys: pytest.CaptureFixture[str]) -> None:
    addresses = ClientAddresses(read_networks(""))
    for peer in (STRANGER, PROXY, PROXY, "2001:db8:1:2::1"):
        addresses.of(peer, CIMultiDict([("X-Forwarded-For", MIA)]))
    said = capsys.readouterr().out
    assert said.count("COMITY_TRUSTED_PROXIES") == 1 and MIA not in said and PROXY not in said


@pytest.mark.parametrize("wrong", ["proxy.example", "10.0.0.0/33", "10.0.0.5/8", "10.0.0.5;10.0.0.6", "*"])
def test_an_operator_who_misspells_a_proxy_is_told_before_the_start(wrong: str) -> None:
    with pytest.raises(Malformed):
        read_networks(wrong)
    with pytest.raises(ConfigError, match="COMITY_TRUSTED_PROXIES"):
        load({"trusted_proxies": wrong}, environ={})


# --- what an address may ask


async def used_up(world: World, headers: dict[str, str] | None = None) -> None:
    """Ask until the address of these headers may ask no more."""
    while (reply := await world.send("GET", WELL_KNOWN, headers=headers)).status == 200:
        pass
    assert reply.code == "rate_limited" and 1 <= int(reply.headers["Retry-After"]) <= 60


async def act(world: World, signed: SignedAct, **headers: str) -> Reply:
    return await world.send("POST", ACTS, signed.raw.encode(), JWT, headers)


def next_to(pair: Pair, last: SignedAct, kind: str, **fields: object) -> SignedAct:
    """The act of Mia's behind that one."""
    place = {"cid": pair.cid, "seq": last.payload.seq + 1, "prev": last.id}
    head = {"iss": last.payload.iss, "aud": last.payload.aud, "iat": last.payload.iat}
    return compose_act(kind, pair.signers["second"], **head, **place, **fields)


async def test_a_stranger_uses_an_address_up_and_mia_s_no_gets_in_from_there(tmp_path: Path) -> None:
    async with a_world(tmp_path, address_rate=20) as world:
        pair = await world.shop_and_customer("care")
        await used_up(world)
        offer = world.offer(world.person())
        assert (await world.publish(offer)).code == "rate_limited"
        assert (await world.send("GET", f"{OFFERS}/{offer.short}")).code == "rate_limited"
        assert (await world.act(pair.compose("second", "remember", key="tea"))).code == "rate_limited"
        assert (await pair.seen("second")).status == 200, "who signs a request reads on"
        assert (await world.send("GET", "/log/checkpoint")).status == 200, "and so does who reads what caches keep"
        await pair.go("second", "mute", purposes=("sales",))
        await pair.go("second", "withdraw", grant=pair.state.second.grants[0].id)
        again = pair.compose("second", "mute", purposes=("sales.windows",))
        for _ in range(SPARE):
            assert (await world.act(again)).status == 200
            again = next_to(pair, again, "mute", purposes=("sales.windows",))
        assert (await world.act(again)).code == "rate_limited"
        end = next_to(pair, again, "revoke")
        assert (await world.act(end)).status == 200
        assert (await pair.seen("second")).json["state"]["phase"] == "ended"


async def test_each_line_of_a_batch_counts_and_its_no_is_done(tmp_path: Path) -> None:
    async with a_world(tmp_path, address_rate=40) as world:
        pair = await world.shop_and_customer("care")
        await asyncio.gather(*(world.send("GET", WELL_KNOWN) for _ in range(20)))
        row = pair.row_of("second", 30)
        no = pair.compose("first", "mute")
        codes = [line.get("code", "ok") for line in await world.batch(*row, no)]
        assert codes == ["rate_limited", *["after_refused"] * 29, "ok"]


async def test_a_revoke_that_comes_back_alone_after_a_restore_gets_in_from_an_address_that_is_used_up(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path) as world:
        pair = await world.shop_and_customer("care")
        backup = await Backup.of(world)
        fact, end = await pair.go("second", "remember", key="tea"), await pair.go("second", "revoke")
        kept = dict(zip((fact, end), pair.events[-2:], strict=True))
        world.change(address_rate=20)
        await backup.put_back()
        await used_up(world)
        lines = [dump_json({"event": kept[it], "act": it.raw}) + b"\n" for it in (fact, end)]
        for refused in (lines[0], b"".join(lines)):
            assert (await world.send("POST", RECORDS, refused, JSON_LINES)).code == "rate_limited"
        assert (await world.send("POST", RECORDS, lines[1], JSON_LINES)).status == 200
        assert (await pair.seen("second")).json["state"]["phase"] == "ended"


async def test_mia_and_a_stranger_behind_a_named_proxy_each_have_their_own(tmp_path: Path) -> None:
    async with a_world(tmp_path, address_rate=20, trusted_proxies="127.0.0.1") as world:
        pair = await world.shop_and_customer("care")
        await used_up(world, {"X-Forwarded-For": f"{MIA}, {STRANGER}"})
        assert (
            await act(world, pair.compose("second", "remember", key="tea"), **{"X-Forwarded-For": MIA})
        ).status == 200
        reply = await world.send("GET", WELL_KNOWN, headers={"X-Forwarded-For": STRANGER})
        assert reply.code == "rate_limited"
    (tmp_path / "unnamed").mkdir()
    async with a_world(tmp_path / "unnamed", address_rate=20) as world:
        await used_up(world, {"X-Forwarded-For": STRANGER})
        assert (await world.send("GET", WELL_KNOWN, headers={"X-Forwarded-For": MIA})).code == "rate_limited"


async def test_a_stranger_opens_no_more_than_an_hour_s_worth_and_everybody_else_goes_on(tmp_path: Path) -> None:
    async with a_world(tmp_path, address_openings=6, trusted_proxies="127.0.0.1") as world:
        pair = await world.shop_and_customer("care")
        his, hers = {"X-Forwarded-For": STRANGER}, {"X-Forwarded-For": MIA}
        replies = []
        for _ in range(8):
            offer = world.offer(world.person())
            replies.append(await world.send("POST", OFFERS, offer.raw.encode(), JWT, his))
        assert [reply.status for reply in replies] == [201] * 6 + [429] * 2
        assert 3500 <= int(replies[-1].headers["Retry-After"]) <= 3600
        offer = world.offer(world.person())
        assert (await world.send("POST", OFFERS, offer.raw.encode(), JWT, hers)).status == 201
        long = tuple(OfferedTerms(**terms(TEXT * n).model_dump(), text=TEXT * n) for n in (300, 301))
        offer = world.offer(world.person(), agreements=long)
        assert len(offer.raw) > 5 * ONE_OPENING, "it takes the room of several"
        assert (await world.send("POST", OFFERS, offer.raw.encode(), JWT, hers)).code == "rate_limited"
        assert (await act(world, pair.compose("second", "remember", key="tea"), **his)).status == 200, "no opening"
        lines = pair.compose("first", "mute").raw.encode()
        assert (await world.send("POST", ACTS, lines, JSON_LINES, his)).status == 200


def test_a_client_from_ever_new_addresses_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MOST_WINDOWS", 100)
    now = 0.0
    windows = Windows(2, 60, lambda: now)
    for number in range(1000):
        assert windows.count_and_check(f"stranger {number}") is None
    assert len(windows._windows) == 100
    assert windows.count_and_check("stranger 999") is None and windows.count_and_check("stranger 999") is not None
    now = 61.0
    assert windows.count_and_check("mia") is None and len(windows._windows) == 1, "what has ended is forgotten"
