"""How people come together, and how they do not."""

import json
from pathlib import Path
from typing import Any

import pytest

from comity.crypto.keys import Signer, SigningKey
from comity.documents.agreements import HalfSigned, countersign
from comity.documents.offers import HomeParty
from comity.encoding import b64u_encode, dump_json
from comity.http_api import AGREEMENTS, JSON, OFFERS
from support.world import DAY, Reply, World, a_world


def alike(*replies: Reply) -> bool:
    """Whether nobody can tell these answers apart."""
    return len({(reply.status, reply.plain, *_telling(reply)) for reply in replies}) == 1


def _telling(reply: Reply) -> list[tuple[str, str]]:
    return sorted(
        (name, value) for name, value in reply.headers.items() if name.lower() not in ("date", "x-request-id")
    )


async def test_unknown_expired_used_and_declined_offers_cannot_be_told_apart(world: World) -> None:
    shop = await world.business("shop")
    used, expired = world.offer(shop), world.offer(shop, exp=world.now() // 1000 + 60)
    for offer in (used, expired):
        assert (await world.publish(offer)).status == 201
        assert (await world.send("GET", f"{OFFERS}/{offer.short}")).body == offer.raw.encode()
    mia = world.person()
    half = world.half(used, shop, mia)
    await world.propose(used, half)
    assert (await world.countersign(countersign(half, shop))).status == 200
    world.later(2 * 60_000)
    replies = [await world.send("GET", f"{OFFERS}/{name}") for name in (used.short, expired.short, "A" * 12, "%00")]
    assert alike(*replies)
    assert replies[0].code == "not_found"
    late = [
        await world.propose(used, world.half(used, shop, world.person())),
        await world.propose(expired, world.half(expired, shop, world.person())),
        await world.propose(world.offer(shop), world.half(world.offer(shop), shop, world.person())),
    ]
    assert alike(*late)


async def test_only_open_offers_of_one_s_own_count_against_the_limit(tmp_path: Path) -> None:
    """INV: a shop with as many open offers as there may be ends one, or waits until one is used or over."""
    async with a_world(tmp_path, max_offers=2) as world:
        shop = await world.business("shop")
        used, short = world.offer(shop), world.offer(shop, exp=world.now() // 1000 + 60)
        for offer in (used, short):
            assert (await world.publish(offer)).status == 201
        assert (await world.publish(world.offer(shop))).code == "too_many_offers"
        assert (await world.publish(used)).status == 201, "published again, it is the same one"
        assert (await world.publish(world.offer(world.person()))).status == 201, "another's offers are his own"
        half = world.half(used, shop, world.person())
        await world.propose(used, half)
        assert (await world.countersign(countersign(half, shop))).status == 200
        assert (await world.publish(world.offer(shop))).status == 201, "the used one is not open any more"
        assert (await world.publish(world.offer(shop))).code == "too_many_offers"
        world.later(61_000)
        assert (await world.publish(world.offer(shop))).status == 201, "nor is the one whose time is over"
        assert (await world.publish(world.offer(shop))).code == "too_many_offers"


async def test_a_declined_half_is_like_one_that_never_was(world: World) -> None:
    shop, mia = await world.business("shop"), world.person()
    offer = world.offer(shop, use="many")
    await world.publish(offer)
    half = world.half(offer, shop, mia)
    assert (await world.propose(offer, half)).json == {"cid": half.cid}
    path = f"{AGREEMENTS}/{half.cid}"
    stranger = await world.read(world.person(), path, "DELETE")
    body = dump_json({"reason": "not_now"})
    assert (await world.read(shop, path, "DELETE", body, JSON)).status == 204
    assert (await world.read(shop, path, "DELETE")).status == 204
    declined = await world.countersign(countersign(half, shop))
    other = world.half(offer, shop, world.person())
    unknown = await world.countersign(countersign(other, shop))
    again = await world.propose(offer, world.half(offer, shop, mia))
    assert alike(stranger, declined, unknown, again)
    page = (await world.read(mia, "/v1/inbox")).json
    assert [(item["kind"], item["cid"], item["reason"]) for item in page["items"]] == [
        ("declined", half.cid, "not_now")
    ]


async def test_a_silent_no_is_silent(world: World) -> None:
    shop, mia = await world.business("shop"), world.person()
    offer = world.offer(shop)
    await world.publish(offer)
    half = world.half(offer, shop, mia)
    await world.propose(offer, half)
    body = dump_json({"silent": True})
    assert (await world.read(shop, f"{AGREEMENTS}/{half.cid}", "DELETE", body, JSON)).status == 204
    assert (await world.read(mia, "/v1/inbox")).json["items"] == []


async def test_the_accepter_may_take_the_half_back_and_try_again(world: World) -> None:
    shop, mia = await world.business("shop"), world.person()
    offer = world.offer(shop)
    await world.publish(offer)
    half = world.half(offer, shop, mia)
    await world.propose(offer, half)
    assert (await world.propose(offer, world.half(offer, shop, mia))).code == "agreement_conflict"
    assert (await world.read(mia, f"{AGREEMENTS}/{half.cid}", "DELETE")).status == 204
    assert (await world.countersign(countersign(half, shop))).code == "not_found"
    assert (await world.propose(offer, world.half(offer, shop, mia))).status == 202


async def test_an_agreement_opens_once_and_says_the_same_ever_after(world: World) -> None:
    shop, mia = await world.business("shop"), world.person()
    pair = await world.connect(shop, mia)
    first = await world.countersign(pair.agreement)
    await pair.go("first", "revoke")
    world.later(30 * DAY)
    again = await world.countersign(pair.agreement)
    assert first.plain == again.plain
    assert await pair.refused("second", "mute") == "connection_ended"


async def test_of_two_who_accept_an_offer_for_one_only_one_gets_in(world: World) -> None:
    shop = await world.business("shop")
    offer = world.offer(shop)
    await world.publish(offer)
    halves = [world.half(offer, shop, world.person()) for _ in range(2)]
    for half in halves:
        assert (await world.propose(offer, half)).status == 202
    replies = [await world.countersign(countersign(half, shop)) for half in halves]
    assert [reply.code for reply in replies] == ["", "not_found"]


async def test_a_half_is_worth_nothing_after_its_time(world: World) -> None:
    shop, mia = await world.business("shop"), world.person()
    offer = world.offer(shop)
    await world.publish(offer)
    half = world.half(offer, shop, mia, countersign_by=world.now() // 1000 + 60)
    await world.propose(offer, half)
    world.later(61_000)
    assert (await world.countersign(countersign(half, shop))).code == "not_found"


def _one(general: dict[str, Any]) -> None:
    del general["signatures"][1]


def _twice(general: dict[str, Any]) -> None:
    general["signatures"][1] = general["signatures"][0]


def _three(general: dict[str, Any]) -> None:
    general["signatures"].append(general["signatures"][0])


def _broken(general: dict[str, Any]) -> None:
    general["signatures"][1]["signature"] = b64u_encode(bytes(64))


@pytest.mark.parametrize("spoil", [_one, _twice, _three, _broken])
async def test_an_agreement_without_exactly_both_signatures_is_none(world: World, spoil: Any) -> None:
    shop, mia = await world.business("shop"), world.person()
    offer = world.offer(shop)
    await world.publish(offer)
    half = world.half(offer, shop, mia)
    await world.propose(offer, half)
    whole = countersign(half, shop)
    general = json.loads(whole.raw)
    spoil(general)
    reply = await world.send("PUT", f"{AGREEMENTS}/{whole.cid}", dump_json(general), JSON)
    assert reply.code in ("malformed", "bad_signature")
    assert (await world.countersign(whole)).status == 200


async def test_nobody_connects_for_a_business_under_a_key_that_it_does_not_publish(world: World) -> None:
    shop, mia = await world.business("shop"), world.person()
    forged = Signer(shop.kid, SigningKey(b"f" * 32))
    assert (await world.publish(world.offer(forged))).code == "bad_signature"
    unknown = Signer(f"{shop.did}#other", SigningKey(b"f" * 32))
    assert (await world.publish(world.offer(unknown))).code == "unknown_key"
    offer = world.offer(mia)
    await world.publish(offer)
    assert (await world.propose(offer, world.half(offer, mia, forged))).code == "unknown_key"


async def test_an_offer_for_another_server_is_not_taken(world: World) -> None:
    elsewhere = HomeParty.of(Signer("did:web:elsewhere.example#home", SigningKey(b"e" * 32)))
    assert (await world.publish(world.offer(world.person(), home=elsewhere))).code == "wrong_home"
    assert (await world.publish(world.offer(world.person(), operator="Somebody else"))).code == "wrong_home"


async def test_an_offer_and_a_half_pin_the_key_that_the_server_publishes_and_no_other(world: World) -> None:
    shop, mia = await world.business("shop"), world.person()
    another = HomeParty.of(Signer(f"{world.home}#another", SigningKey(b"e" * 32)))
    assert (await world.publish(world.offer(mia, home=another))).code == "wrong_home"
    offer = world.offer(shop)
    await world.publish(offer)
    assert (await world.propose(offer, world.half(offer, shop, mia, home=another))).code == "wrong_home"
    assert (await world.propose(offer, world.half(offer, shop, mia))).status == 202


async def test_a_sandbox_agreement_counts_on_no_live_server(world: World) -> None:
    shop, mia = await world.business("shop"), world.person()
    assert (await world.publish(world.offer(shop, test=True))).code == "test_only"
    offer = world.offer(shop)
    await world.publish(offer)
    assert (await world.propose(offer, world.half(offer, shop, mia, test=True))).code == "test_only"
    assert (await world.propose(offer, world.half(offer, shop, mia))).status == 202


async def test_a_person_may_offer_at_a_business_s_door(world: World) -> None:
    shop, mia = await world.business("shop"), world.person()
    offer = world.offer(mia, to=shop.did)
    await world.publish(offer)
    page = (await world.read(shop, "/v1/inbox")).json
    assert [(item["kind"], item["offer"]) for item in page["items"]] == [("offer", offer.raw)]


async def test_an_offer_to_one_shop_is_accepted_by_no_other(world: World) -> None:
    shop, rival, mia = await world.business("shop"), await world.business("rival"), world.person()
    offer = world.offer(mia, to=shop.did)
    await world.publish(offer)
    assert (await world.propose(offer, world.half(offer, mia, rival))).code == "agreement_conflict"
    assert (await world.propose(offer, world.half(offer, mia, shop))).status == 202


async def test_a_silent_no_looks_like_silence_until_the_time_is_over(world: World) -> None:
    shop, mia, jonas = await world.business("shop"), world.person(), world.person()
    offer = world.offer(shop, use="many")
    await world.publish(offer)
    waiting, silenced = world.half(offer, shop, jonas), world.half(offer, shop, mia)
    for half in (waiting, silenced):
        assert (await world.propose(offer, half)).status == 202
    path = f"{AGREEMENTS}/{silenced.cid}"
    assert (await world.read(shop, path, "DELETE", b'{"silent":true}', JSON)).status == 204
    # The business has said no, and saying it again changes nothing.
    assert (await world.countersign(countersign(silenced, shop))).code == "not_found"
    assert (await world.read(shop, path, "DELETE", b'{"silent":true}', JSON)).status == 204

    async def told(half: HalfSigned, accepter: Signer) -> list[object]:
        again = await world.propose(offer, half)
        other = await world.propose(offer, world.half(offer, shop, accepter))
        news = (await world.read(accepter, "/v1/inbox")).json["items"]
        return [again.status, other.code, news]

    assert await told(silenced, mia) == await told(waiting, jonas) == [202, "agreement_conflict", []]
    for accepter, half in ((mia, silenced), (jonas, waiting)):
        assert (await world.read(accepter, f"{AGREEMENTS}/{half.cid}", "DELETE")).status == 204
        assert (await world.propose(offer, half)).code == "not_found"
        assert (await world.propose(offer, world.half(offer, shop, accepter))).status == 202


async def test_after_its_time_a_half_that_was_declined_in_silence_is_like_any_other(world: World) -> None:
    shop, mia = await world.business("shop"), world.person()
    offer = world.offer(shop, use="many")
    await world.publish(offer)
    half = world.half(offer, shop, mia, countersign_by=world.now() // 1000 + 60)
    await world.propose(offer, half)
    await world.read(shop, f"{AGREEMENTS}/{half.cid}", "DELETE", b'{"silent":true}', JSON)
    world.later(61_000)
    assert (await world.read(mia, f"{AGREEMENTS}/{half.cid}", "DELETE")).code == "not_found"
    assert (await world.propose(offer, world.half(offer, shop, mia))).status == 202


async def test_a_reason_comes_as_json_or_not_at_all(world: World) -> None:
    shop, mia = await world.business("shop"), world.person()
    offer = world.offer(shop)
    await world.publish(offer)
    half = world.half(offer, shop, mia)
    await world.propose(offer, half)
    path = f"{AGREEMENTS}/{half.cid}"
    assert (await world.read(shop, path, "DELETE", b"{}", "text/plain")).code == "unsupported_media_type"
    assert (await world.countersign(countersign(half, shop))).status == 200
