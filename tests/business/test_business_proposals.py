"""Who accepts a shop's offer is connected at once, or waits for somebody at the shop to look; and a person may offer
first (INV-3, INV-8 to INV-10)."""

import asyncio
from pathlib import Path
from typing import Any

from comity.crypto.keys import Signer
from comity.documents.agreements import HalfSigned, countersign, open_half
from comity.documents.events import Opened, open_event
from comity.documents.offers import OfferedTerms
from comity.encoding import dump_json
from comity.http_api import AGREEMENTS, INBOX, JSON, OFFERS
from comity.rules.fold import initial_state
from support.business_world import EXAMPLE_OFFER, Shop, a_shop, half_on
from support.world import DAY, MINUTE, TEXT, Pair, Reply, World, a_world, terms

BY_HAND = {**EXAMPLE_OFFER, "countersign": "by_hand"}
COUNTS = ("connections_opened", "proposals_waiting", "proposals_alternative", "proposals_replaced")


async def proposed(shop: Shop, short: str, person: Signer, **changes: Any) -> HalfSigned:
    """Somebody's half, taken in."""
    signed, half = await half_on(shop, short, person, **changes)
    reply = await shop.world.propose(signed, half)
    assert reply.status == 202, reply
    return half


async def inbox(world: World, signer: Signer) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await world.read(signer, INBOX)).json["items"]
    return items


async def counted(world: World, name: str, what: str) -> int:
    return sum(count.n for count in await world.server.store.business.counts(name, 0) if count.what == what)


async def test_a_customer_who_scans_the_code_is_connected_at_once(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, mia = await a_shop(world), world.person()
        made = await shop.post("/offers", EXAMPLE_OFFER)
        half = await proposed(shop, made["id"], mia)
        (item,) = await inbox(world, mia)
        assert item["kind"] == "opened" and item["cid"] == half.cid
        # The half again, after a lost answer, say: the same answer, and nothing twice.
        signed, _ = await half_on(shop, made["id"], world.person())
        assert (await world.propose(signed, half)).json == {"cid": half.cid}
        assert (await shop.get("/proposals"))["items"] == []
        told = await shop.get(f"/offers/{made['id']}")
        assert (told["connections_opened"], told["connections_ended"], told["proposals_waiting"]) == (1, 0, 0)
        (listed,) = (await shop.get("/connections"))["items"]
        assert (listed["id"], listed["offer"], listed["customer"]) == (half.cid, made["id"], mia.did)

        # The connection is one like any other: the customer grants, and ends it.
        whole = countersign(half, _shop_signer(shop))
        opened = open_event(item["event"], world.server.directory.find_key).event
        assert isinstance(opened, Opened)
        pair = Pair(world, whole, {"first": _shop_signer(shop), "second": mia}, initial_state(whole, opened))
        await pair.grant("second", "care")
        await pair.go("second", "revoke")
        assert (await shop.get(f"/offers/{made['id']}"))["connections_ended"] == 1


async def test_a_crowd_at_the_counter_is_connected_in_one_go_and_an_invitation_serves_one(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_proposals=2) as world:
        shop = await a_shop(world)
        many = await shop.post("/offers", EXAMPLE_OFFER)
        halves = [await half_on(shop, many["id"], world.person()) for _ in range(6)]
        replies = await asyncio.gather(*(world.propose(*half) for half in halves))
        assert [reply.status for reply in replies] == [202] * 6
        assert (await shop.get(f"/offers/{many['id']}"))["connections_opened"] == 6
        one = await shop.post("/offers", {**EXAMPLE_OFFER, "use": "one"})
        halves = [await half_on(shop, one["id"], world.person()) for _ in range(3)]
        replies = await asyncio.gather(*(world.propose(*half) for half in halves))
        assert sorted(reply.status for reply in replies) == [202, 404, 404]
        assert (await shop.get(f"/offers/{one['id']}"))["status"] == "used"


async def test_other_terms_than_those_offered_wait_for_a_human(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        made = await shop.post("/offers", EXAMPLE_OFFER)
        half = await proposed(shop, made["id"], world.person(), terms=terms("You keep nothing at all."))
        (item,) = (await shop.get("/proposals"))["items"]
        assert (item["id"], item["alternative"], item["offer"]) == (half.cid, True, made["id"])
        assert item["terms"]["sha256"] == half.agreement.terms.sha256
        assert (await other.get("/proposals"))["items"] == []
        opened = await shop.post(f"/proposals/{half.cid}/accept")
        assert opened["id"] == half.cid
        assert (await shop.get(f"/connections/{half.cid}"))["opened_at"] == opened["opened_at"]
        assert (await shop.get("/proposals"))["items"] == []


async def test_proposals_that_are_answered_withdrawn_late_or_unknown_look_the_same(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        short = (await shop.post("/offers", BY_HAND))["id"]
        people = [world.person() for _ in range(6)]
        soon = world.now() // 1000 + 60
        halves = [await proposed(shop, short, person) for person in people[:5]]
        world.later(1000)
        halves.append(await proposed(shop, short, people[5], countersign_by=soon))
        first, second = [await shop.get(f"/proposals?limit=1{more}") for more in ("", "")]
        assert first["items"] == second["items"] and first["items"][0]["id"] == halves[5].cid
        rest = await shop.get(f"/proposals?cursor={first['next_cursor']}")
        assert {item["id"] for item in rest["items"]} == {half.cid for half in halves[:5]}
        assert (await shop.get(f"/offers/{short}"))["proposals_waiting"] == 6

        accepted, declined, silenced, taken_back, theirs, late = (half.cid for half in halves)
        await shop.post(f"/proposals/{accepted}/accept")
        await shop.post(f"/proposals/{declined}/decline", {"reason": "full"})
        await shop.post(f"/proposals/{silenced}/decline", {"silent": True})
        path = f"{AGREEMENTS}/{taken_back}"
        assert (await world.read(people[3], path, "DELETE")).status == 204
        world.later(2 * MINUTE)
        (waits,) = (await shop.get("/proposals"))["items"]
        assert waits["id"] == theirs

        async def answers(asker: Shop, cid: str) -> list[Reply]:
            decline: dict[str, str] | None = {} if cid not in (declined, silenced) or asker is other else None
            asked = [await asker.ask("POST", f"/proposals/{cid}/accept")]
            return asked if decline is None else [*asked, await asker.ask("POST", f"/proposals/{cid}/decline", decline)]

        replies = [
            reply for cid in (accepted, declined, silenced, taken_back, late) for reply in await answers(shop, cid)
        ]
        replies += [reply for cid in (theirs, silenced, "A" * 43) for reply in await answers(other, cid)]
        assert {(reply.status, reply.plain) for reply in replies} == {(404, replies[0].plain)}
        # Saying no again changes nothing, and each person heard what the shop meant to say.
        assert (await shop.ask("POST", f"/proposals/{declined}/decline", {})).status == 204
        assert [item.get("reason") for item in await inbox(world, people[1])] == ["full"]
        assert await inbox(world, people[2]) == []


async def test_a_shop_that_keeps_its_key_countersigns_by_itself(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        signer, mia = await world.business("own"), world.person()
        own = Shop(world, "own", signer.did, await world.server.add_owner_key("own"))
        signed = world.offer(signer)
        await own.post("/offers", jws=signed.raw)
        half = world.half(signed, signer, mia)
        assert (await world.propose(signed, half)).status == 202
        assert await own.refused("POST", f"/proposals/{half.cid}/accept") == "signing_key_not_kept"
        assert [item["kind"] for item in await inbox(world, signer)] == ["proposal"]
        assert (await world.countersign(countersign(half, signer))).status == 200
        assert await own.refused("POST", "/proposals", {"offer": signed.short}) == "signing_key_not_kept"


async def test_a_person_offers_first_at_a_shops_door(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, mia = await a_shop(world), world.person()
        german = OfferedTerms(**{**terms("Wir behalten es für uns.").model_dump(), "lang": "de"}, text=None)
        offer = world.offer(mia, to=shop.did, agreements=(OfferedTerms(**terms().model_dump(), text=TEXT), german))
        assert (await world.publish(offer)).status == 201
        assert await shop.refused("POST", "/proposals", {"offer": offer.short, "lang": "fr"}) == "agreement_conflict"
        link = offer.link()
        swapped = f"{link[:-1]}{'A' if link[-1] != 'A' else 'E'}"
        assert await shop.refused("POST", "/proposals", {"link": swapped}) == "not_found"
        elsewhere = link.replace("localhost", "127.0.0.1")
        assert await shop.refused("POST", "/proposals", {"link": elsewhere}) == "wrong_home"
        assert await shop.refused("POST", "/proposals", {"offer": "A" * 12}) == "not_found"
        for bent in (
            {"link": f"{link}x#"},
            {"link": offer.short},
            {"offer": link},
            {},
            {"offer": offer.short, "link": link},
        ):
            assert await shop.refused("POST", "/proposals", bent) == "invalid_request", bent

        mailed = f"<{link.replace('http://localhost', 'HTTP://LocalHost').replace('#', '?utm_source=mail#')}>"
        reply = await shop.ask("POST", "/proposals", {"link": mailed, "lang": "de"})
        assert reply.status == 202
        (item,) = await inbox(world, mia)
        half = open_half(_dumped(item["agreement"]))
        assert half.cid == reply.json["id"] and half.agreement.terms == german.terms()
        assert await shop.refused("POST", "/proposals", {"offer": offer.short}) == "agreement_conflict"
        assert (await world.countersign(countersign(half, mia))).status == 200
        (listed,) = (await shop.get("/connections"))["items"]
        assert (listed["id"], listed["offered_by"], listed["customer"]) == (half.cid, "them", mia.did)
        own = await shop.post("/offers", EXAMPLE_OFFER)
        assert await shop.refused("POST", "/proposals", {"offer": own["id"]}) == "agreement_conflict"


async def test_a_shop_that_was_declined_and_comes_again_is_stopped_and_counted(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, mia = await a_shop(world), world.person()
        offer = world.offer(mia, to=shop.did, exp=world.now() // 1000 + 30 * 86_400)
        assert (await world.publish(offer)).status == 201
        half = await shop.post("/proposals", {"offer": offer.short})
        assert (await world.read(mia, f"{AGREEMENTS}/{half['id']}", "DELETE", b"{}", JSON)).status == 204
        unknown = await shop.ask("POST", "/proposals", {"offer": "A" * 12})
        for _ in range(2):
            again = await shop.ask("POST", "/proposals", {"offer": offer.short})
            assert (again.status, again.plain) == (404, unknown.plain)
        assert await counted(world, "shop", "offers.declined_used_again") == 2
        # What it took back itself it may try again.
        other = world.offer(world.person(), to=shop.did)
        assert (await world.publish(other)).status == 201
        taken = await shop.post("/proposals", {"offer": other.short})
        await shop.post(f"/proposals/{taken['id']}/decline", {})
        world.later(DAY // 24)
        assert (await shop.ask("POST", "/proposals", {"offer": other.short})).status == 202


def _shop_signer(shop: Shop) -> Signer:
    signer = shop.world.server.context.kept.newest(shop.name)
    assert signer is not None
    return signer


def _dumped(agreement: dict[str, Any]) -> bytes:
    return dump_json(agreement)


OTHER = {"terms": terms("You keep nothing at all.")}
"""What a stranger puts in the place of the terms that were offered."""


async def sent_from(shop: Shop, short: str, person: Signer, address: str, **changes: Any) -> tuple[HalfSigned, Reply]:
    """Somebody's half, handed in from an address."""
    signed, half = await half_on(shop, short, person, **changes)
    path, headers = f"{OFFERS}/{signed.short}/agreements", {"X-Forwarded-For": address}
    return half, await shop.world.send("POST", path, half.raw, JSON, headers)


async def test_no_stranger_switches_the_poster_at_the_counter_off(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_proposals=3) as world:
        shop = await a_shop(world)
        poster = await shop.post("/offers", EXAMPLE_OFFER)
        strangers = [await proposed(shop, poster["id"], world.person(), **OTHER) for _ in range(5)]
        for _ in range(2):
            await proposed(shop, poster["id"], world.person())
        told = await shop.get(f"/offers/{poster['id']}")
        assert [told[it] for it in COUNTS] == [2, 3, 3, 2]
        waiting = (await shop.get("/proposals"))["items"]
        assert {it["id"] for it in waiting} == {half.cid for half in strangers[2:]}, "the oldest gave way"
        assert all(it["alternative"] for it in waiting)
        assert (await shop.get("/report"))["total"]["proposals.replaced"] == 2
        told = (await shop.get("/notifications?order=oldest&types=proposal.withdrawn"))["items"]
        assert [(it["data"]["connection"], it["data"]["reason"]) for it in told] == [
            (half.cid, "no_room") for half in strangers[:2]
        ]
        # Those that wait can still be accepted; what gave way is gone for both.
        await shop.post(f"/proposals/{strangers[4].cid}/accept")
        assert await shop.refused("POST", f"/proposals/{strangers[0].cid}/accept") == "not_found"


async def test_a_customer_whose_proposal_gave_way_is_told_and_may_come_again(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_proposals=2) as world:
        shop, mia = await a_shop(world), world.person()
        made = await shop.post("/offers", BY_HAND)
        first = await proposed(shop, made["id"], mia)
        for _ in range(2):
            await proposed(shop, made["id"], world.person())
        (item,) = await inbox(world, mia)
        assert (item["kind"], item["cid"], item["reason"]) == ("declined", first.cid, "no_room")
        signed, again = await half_on(shop, made["id"], mia)
        assert (await world.propose(signed, first)).code == "not_found", "the very half that gave way"
        assert (await world.propose(signed, again)).status == 202
        await shop.post(f"/proposals/{again.cid}/accept")
        assert [item["kind"] for item in await inbox(world, mia)] == ["declined", "opened"]


async def test_other_terms_never_push_out_what_was_offered_and_strangers_only_each_other(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_proposals=4, trusted_proxies="127.0.0.1") as world:
        shop = await a_shop(world)
        made = await shop.post("/offers", BY_HAND)
        short, cafe, stranger = made["id"], "203.0.113.7", "198.51.100.66"
        hers, reply = await sent_from(shop, short, world.person(), cafe)
        assert reply.status == 202
        for _ in range(9):
            last, reply = await sent_from(shop, short, world.person(), stranger)
            assert reply.status == 202
        waiting = {it["id"] for it in (await shop.get("/proposals"))["items"]}
        assert hers.cid in waiting and last.cid in waiting and len(waiting) == 4
        _, reply = await sent_from(shop, short, world.person(), stranger, **OTHER)
        assert reply.code == "rate_limited", "all that wait have the terms that were offered"
        fair, reply = await sent_from(shop, short, world.person(), cafe)
        assert reply.status == 202
        waiting = {it["id"] for it in (await shop.get("/proposals"))["items"]}
        assert {hers.cid, fair.cid, last.cid} < waiting


async def test_a_crowd_of_strangers_in_one_moment_leaves_room_for_as_many_as_may_wait(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_proposals=3) as world:
        shop = await a_shop(world)
        made = await shop.post("/offers", EXAMPLE_OFFER)
        halves = [await half_on(shop, made["id"], world.person(), **OTHER) for _ in range(12)]
        halves += [await half_on(shop, made["id"], world.person()) for _ in range(4)]
        replies = await asyncio.gather(*(world.propose(*half) for half in halves))
        assert {reply.status for reply in replies} == {202}
        told = await shop.get(f"/offers/{made['id']}")
        assert (told["connections_opened"], told["proposals_waiting"], told["proposals_replaced"]) == (4, 3, 9)
