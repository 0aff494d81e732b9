"""The home server takes another key: people notice nothing, and whoever lies about keys is found out (HOME-1 to 6)."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from comity.client import Request, Response, known_servers
from comity.client.known_servers import ServerKeyBroken
from comity.client.log.monitor import follow_log
from comity.client.log.monitor_state import MonitorState
from comity.client.log.tile_reader import LogFinding, TileReader
from comity.crypto.jws import decode_header, split_jws
from comity.crypto.keys import PublicKey, Signer, SigningKey, did_document
from comity.documents.events import parse_event, sign_event
from comity.errors import ComityError, Contradiction, Refused
from comity.http_api import HOME_KEYS
from comity.transparency.server_keys import open_home_event, sign_statement
from comity_server.fsck.checker import check_store
from comity_server.operator.commands import ROTATE_HOME, HomeRotation
from comity_server.server_keys import HomeKeyMissing
from comity_tools.cli import main
from support.sdk_world import TERMS, Bent, SdkWorld, sdk_world
from support.world import eventually

KEYS = "/.well-known/comity/keys"


async def rotate(world: SdkWorld, *, broken: bool = False) -> str:
    """What `comity keys rotate-home` asks of the running server."""
    kid = (await ROTATE_HOME.do(world.host.server, HomeRotation(broken))).kid
    log = world.host.server.logs.active

    async def covered() -> bool:
        return log.published.size == log.tail.size

    await eventually(covered)
    return kid


def kid_of(raw: str) -> str:
    return decode_header(raw.partition(".")[0]).kid


def listed(change: Callable[[list[dict[str, Any]]], object]) -> Callable[[Request, Response], Response]:
    """The server's list of keys, changed on its way to one wallet."""

    def altered(request: Request, response: Response) -> Response:
        if not request.url.endswith(KEYS):
            return response
        answer = json.loads(response.body)
        change(answer["keys"])
        return Response(response.status, response.headers, json.dumps(answer).encode())

    return altered


# --- a rotation that nobody need notice


async def test_people_go_on_through_a_rotation_and_what_came_before_still_holds(
    world: SdkWorld, tmp_path: Path
) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    first = world.host.home_party.kid
    await ours.send_message("care", "Before.")
    await theirs.sync()
    kid = await rotate(world)
    assert kid != first
    # Her own act is answered by the new key, and the shop's message comes by it.
    await theirs.remember("small_talk")
    await ours.send_message("care", "After.")
    await theirs.sync()
    assert [it.text for it in await theirs.messages()] == ["Before.", "After."]
    assert {kid_of(line.raw) for line in theirs.records} == {first, kid}
    mia = await world.again(mia, "mia")
    assert [it.text for it in await mia.connections()[0].messages()] == ["Before.", "After."]
    assert mia.contradictions() == [] == shop.contradictions()
    await world.host.stop()
    assert check_store(tmp_path / "data").findings.first == []
    await world.host.start()
    assert world.host.home_party.kid == kid
    await mia.connections()[0].mute()


async def test_nothing_is_asked_of_the_server_to_check_what_it_signed(world: SdkWorld) -> None:
    """did.json may be gone: the agreement has the pin."""
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, _ = await world.connect(shop, mia, "care")
    mia = await world.again(mia, "mia")
    world.wires["mia"].cut = lambda request: request.url.endswith("/did.json")
    await ours.send_message("care", "Hello.")
    await rotate(world)
    await ours.send_message("care", "Hello again.")
    await mia.connections()[0].sync()
    assert [it.text for it in await mia.connections()[0].messages()] == ["Hello.", "Hello again."]
    # And with no network at all, what she has is opened and folded from her own file.
    state = mia.connections()[0].state
    mia = await world.again(mia, "mia")
    world.wires["mia"].cut = lambda request: True
    assert mia.connections()[0].state == state


async def test_a_printed_poster_and_a_half_that_waits_survive_a_rotation(world: SdkWorld) -> None:
    shop, mia, ben = await world.business("shop"), await world.person("mia"), await world.person("ben")
    poster = await shop.offer(world.base, [TERMS], ["care"], use="many")
    waiting = await mia.accept(poster)
    first = world.host.home_party.kid
    kid = await rotate(world)
    (proposal,) = await shop.proposals()
    await proposal.countersign()
    await waiting.wait_until_open(timeout=20)
    assert waiting.queue.pinned_home.kid == first
    # Whoever comes by the poster now pins the new key.
    later = await ben.accept(poster)
    (proposal,) = await shop.proposals()
    ours = await proposal.countersign()
    await later.wait_until_open(timeout=20)
    assert later.queue.pinned_home.kid == kid
    await waiting.grant(["care"])
    await later.grant(["care"])
    await ours.send_message("care", "Welcome.")
    await later.sync()
    assert [it.text for it in await later.messages()] == ["Welcome."]


async def test_a_rotation_amid_thirty_two_writers_loses_no_act(world: SdkWorld) -> None:
    host = world.host
    pairs = [await host.connect(host.person(), host.person()) for _ in range(32)]
    first, stop, events = host.home_party.kid, asyncio.Event(), list[str]()

    async def live(pair: Any, number: int) -> None:
        turn = 0
        while not stop.is_set():
            act = pair.compose("first", "remember", key=f"x_{number}_{turn % 5}", body=None)
            reply = await host.act(act)
            assert reply.status == 200, reply
            pair.take(reply.json["event"], act)
            events.append(reply.json["event"])
            turn += 1

    async def written(more: int) -> None:
        wanted = len(events) + more
        while len(events) < wanted:
            await asyncio.sleep(0.01)

    living = [asyncio.create_task(live(pair, number)) for number, pair in enumerate(pairs)]
    kids = [first]
    for _ in range(3):
        await written(100)
        kids.append((await ROTATE_HOME.do(host.server, HomeRotation())).kid)
    await written(100)
    stop.set()
    await asyncio.gather(*living)
    # Each event is signed by the key of its place, and by no other.
    keys, seen = host.server.home.keys.keys, list[str]()
    for event in sorted((open_home_event(raw, keys) for raw in events), key=lambda it: it.event.index):
        if event.kid not in seen:
            seen.append(event.kid)
        assert event.kid == seen[-1], "an old key signed behind a new one"
    assert seen == kids
    await host.stop()
    assert check_store(host.folder / "data").findings.first == []
    await host.start()


# --- lies about keys


async def test_a_server_that_gives_one_visitor_another_key_is_found_out(world: SdkWorld) -> None:
    """Her agreement would hold a key that the list does not."""
    shop, mia = await world.business("shop"), await world.person("mia")
    link = await shop.offer(world.base, [TERMS], ["care"])
    other = SigningKey(b"o" * 32).public.multibase

    def another(request: Request, response: Response) -> Response:
        if not request.url.endswith("/.well-known/did.json"):
            return response
        true = world.host.home_party
        document = did_document(true.did, {f"{true.did}#{other}": PublicKey.of_multibase(other)})
        return Response(response.status, response.headers, json.dumps(document).encode())

    world.wires["mia"].after = another
    with pytest.raises(Contradiction, match="key_not_stated"):
        await mia.accept(link)
    assert len(mia.contradictions()) == 1 and mia.connections() == []


async def test_a_list_for_one_visitor_alone_does_not_hold_against_the_log(world: SdkWorld) -> None:
    """A statement of her own, with the receipt of the true one: its entry commits to something else."""
    shop, mia = await world.business("shop"), await world.person("mia")
    link = await shop.offer(world.base, [TERMS], ["care"])
    true = world.host.home_party
    other = Signer(f"{true.did}#other", SigningKey(b"o" * 32))

    def instead(keys: list[dict[str, Any]]) -> None:
        statement = json.loads(keys[0]["statement"])
        keys[0]["statement"] = sign_statement(other, statement["at"], statement["log"]).raw

    world.wires["mia"].after = listed(instead)
    with pytest.raises(Contradiction, match="the log says something else at the place of a statement"):
        await mia.fetch_offer(link)

    def without_a_receipt(keys: list[dict[str, Any]]) -> None:
        instead(keys)
        for place in keys[0]["places"]:
            place.pop("receipt", None)

    ben = await world.person("ben")
    await world.connect(shop, ben, "care")
    ben = await world.again(ben, "ben")
    world.wires["ben"].after = listed(without_a_receipt)
    with pytest.raises(Contradiction, match="key_not_stated: the log covers a statement"):
        await ben.connections()[0].sync()


async def test_a_statement_that_is_left_out_later_is_missed(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    await rotate(world)
    await ours.send_message("care", "Hello.")
    await theirs.sync()
    mia = await world.again(mia, "mia")
    world.wires["mia"].after = listed(lambda keys: keys.pop())
    with pytest.raises(Contradiction, match="withheld_key"):
        await mia.connections()[0].sync()


async def test_a_new_key_that_nobody_states_signs_nothing(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    await rotate(world)
    world.wires["mia"].after = listed(lambda keys: keys.__delitem__(slice(1, None)))
    await ours.send_message("care", "Hello.")
    with pytest.raises(Contradiction, match="unknown_key"):
        await theirs.sync()


def signed_by(old: Signer) -> Callable[[Request, Response], Response]:
    """The inbox, whose events somebody signed again with a key that was replaced."""

    def altered(request: Request, response: Response) -> Response:
        if "/v1/inbox" not in request.url:
            return response
        page = json.loads(response.body)
        for item in page["items"]:
            event = parse_event(split_jws(item["event"], {"comity-event+jwt"}).payload)
            item["event"] = sign_event(event, old)
        return Response(response.status, response.headers, json.dumps(page).encode())

    return altered


async def test_an_old_key_that_goes_on_signing_is_refused(world: SdkWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stole it can sign nothing that fits into the log any more (HOME-4)."""
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    old = world.host.server.home.signer
    await rotate(world)
    await ours.send_message("care", "Hello.")
    monkeypatch.setattr(known_servers, "REFRESH_AFTER", 0.0)
    world.wires["mia"].after = signed_by(old)
    with pytest.raises(Contradiction, match="unknown_key"):
        await theirs.sync()
    world.wires["mia"].after = None
    await theirs.sync()
    assert [it.text for it in await theirs.messages()] == ["Hello."]


async def test_acts_of_an_old_key_are_found_when_the_new_one_is_met(world: SdkWorld) -> None:
    """Nobody asked for the list in between; what was taken in is held against it then."""
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    old = world.host.server.home.signer
    await rotate(world)
    await ours.send_message("care", "Hello.")
    world.wires["mia"].after = signed_by(old)
    await theirs.sync()
    mia = await world.again(mia, "mia")
    with pytest.raises(Contradiction, match="a key that it had replaced"):
        await mia.connections()[0].sync()
    assert len(mia.contradictions()) == 1


async def test_a_follower_of_the_log_finds_a_key_that_is_not_listed(world: SdkWorld) -> None:
    """It was listed to one visitor alone: the entry is under the tag that everybody computes."""
    wire = Bent()
    source = TileReader(f"{world.base}/log", wire.transport)
    key = world.host.server.logs.active.key
    first = (await follow_log(source, MonitorState(key))).state
    assert first.home_keys == (0,)
    await rotate(world)
    wire.after = listed(lambda keys: keys.pop())
    for kept in (MonitorState(key), first):
        with pytest.raises(LogFinding) as found:
            await follow_log(source, kept)
        assert found.value.code == "withheld_key" and len(found.value.evidence) == 1
    wire.after = listed(lambda keys: keys[1]["places"][0].update(index=0))
    with pytest.raises(LogFinding) as found:
        await follow_log(source, first)
    assert found.value.code in ("withheld_key", "key_not_stated")
    wire.after = listed(lambda keys: keys[0]["places"][0].update(receipt=keys[1]["places"][0]["receipt"]))
    with pytest.raises(LogFinding) as found:
        await follow_log(source, first)
    assert found.value.code == "key_not_stated"
    wire.after = None
    assert (await follow_log(source, first)).state.home_keys == (0, 1)


# --- a key that is lost or stolen (HOME-5)


async def test_behind_a_broken_key_a_wallet_asks_its_owner(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    await ours.send_message("care", "Before.")
    await theirs.sync()
    home = world.host.home
    kid = await rotate(world, broken=True)
    with pytest.raises(ServerKeyBroken) as told:
        await ours.send_message("care", "After.")
    assert (told.value.home, told.value.kid) == (home, kid)
    with pytest.raises(ServerKeyBroken):
        await mia.offer(world.base, [TERMS], ["care"])
    with pytest.raises(ComityError, match="no such key"):
        await mia.accept_server_key(home, f"{home}#another")
    await shop.accept_server_key(home, kid)
    await mia.accept_server_key(home, kid)
    await ours.sync()
    await theirs.sync()
    assert "Before." in [it.text for it in await theirs.messages()]
    await theirs.remember("small_talk")
    assert mia.contradictions() == [] == shop.contradictions()
    # Who meets the server now begins with the key in force.
    ben = await world.person("ben")
    await world.connect(shop, ben, "care")


async def test_a_broken_key_signs_nothing_new_without_the_receipt_of_its_entry(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    await ours.send_message("care", "Signed before, read after.")
    home = world.host.home
    kid = await rotate(world, broken=True)
    world.wires["mia"].seen.clear()
    with pytest.raises(ServerKeyBroken):
        await theirs.remember("small_talk")
    await mia.accept_server_key(home, kid)
    await theirs.sync()
    assert [it.text for it in await theirs.messages()] == ["Signed before, read after."]
    asked = [request.url for request, _ in world.wires["mia"].seen if "/v1/acts/" in request.url]
    assert asked, "the receipt was asked for"


# --- what the operator does


async def test_a_server_without_its_key_does_not_start_and_says_what_to_do(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        shop, mia = await world.business("shop"), await world.person("mia")
        await world.connect(shop, mia, "care")
        await world.host.stop()
        (tmp_path / "data" / "home.key").unlink()
        with pytest.raises(HomeKeyMissing, match="rotate-home --broken"):
            await world.host.start()
        environment = {f"COMITY_{name.upper()}": str(value) for name, value in world.host.settings().items()}
        run = partial(CliRunner().invoke, main, env=environment)
        shown = await asyncio.to_thread(run, ["keys", "rotate-home"])
        assert shown.exit_code == 1 and "rotate-home --broken" in shown.output
        shown = await asyncio.to_thread(run, ["keys", "rotate-home", "--broken"])
        assert shown.exit_code == 0, shown.output
        await world.host.start()
        with pytest.raises(ServerKeyBroken):
            await mia.connections()[0].remember("small_talk")
        await mia.accept_server_key(world.host.home, world.host.home_party.kid)
        await mia.connections()[0].mute()


async def test_a_rotation_that_was_cut_off_is_finished_by_the_next_start(world: SdkWorld) -> None:
    """The key and its statement were written, and the commit never was."""
    server = world.host.server
    first = server.home.party.kid
    stated = server.home.keys.prepare(world.host.now(), server.logs.active.key.text, broken=False)
    await world.host.stop()
    await world.host.start()
    assert world.host.home_party.kid == stated.statement.kid != first
    shop, mia = await world.business("shop"), await world.person("mia")
    await world.connect(shop, mia, "care")


async def test_the_list_is_for_everybody(world: SdkWorld) -> None:
    await rotate(world)
    reply = await world.host.send("GET", HOME_KEYS)
    assert reply.status == 200 and reply.headers["Access-Control-Allow-Origin"] == "*"
    assert [sorted(it) for it in reply.json["keys"]] == [["places", "statement"], ["places", "signed", "statement"]]
    assert all(place["receipt"] for it in reply.json["keys"] for place in it["places"])


async def test_a_status_list_is_read_through_a_rotation(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, _ = await world.connect(shop, mia, "care")
    (before,) = await ours.tokens()
    await rotate(world)
    world.pass_time(seconds=3)
    (after,) = await ours.tokens()
    assert before.status == after.status == "valid"
    with pytest.raises((Contradiction, Refused)):
        world.pass_time(seconds=90)
        old = world.host.server.home.keys
        old.stated, stated = old.stated[:1], old.stated
        try:
            await ours.tokens()
        finally:
            old.stated = stated
