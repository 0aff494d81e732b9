"""What people and businesses do with their wallets, over HTTP with a real server."""

import asyncio
import json
from pathlib import Path

import pytest

from comity.client import Blocked, Connection, NotOpen, Response, Wallet, make_terms
from comity.errors import Contradiction, Malformed, Refused, Unreachable
from comity.rules.state import public_state
from support.sdk_world import ELSE, IDENTITY, TERMS, Bent, SdkWorld


async def pair(world: SdkWorld, *purposes: str) -> tuple[Wallet, Connection, Wallet, Connection]:
    """(the shop's wallet, its view, Mia's wallet, her view)."""
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, *(purposes or ("care", "favour")))
    return shop, ours, mia, theirs


async def refused(code: str, doing: object) -> Refused:
    with pytest.raises(Refused) as told:
        await doing  # type: ignore[misc]
    assert told.value.code == code
    return told.value


async def test_a_message_of_a_wallet_waits_as_long_as_one_over_rest(world: SdkWorld) -> None:
    """A mute of two months that shows its end: the message outlasts it by a day (HOLD-1, HOLD-3)."""
    _, ours, _, theirs = await pair(world)
    await theirs.mute(days=60, shown="end")
    await ours.sync()
    end = ours.state.door(theirs.side).mutes[0].until
    assert end is not None
    held = await ours.send_message("care", "Welcome back.")
    assert (held.outcome, held.expires_at, held.warning) == ("held", end + 86_400, None)
    early = await ours.send_message("care", "Come tomorrow.", days=1)
    assert (early.outcome, early.warning) == ("held", "expires_before_end")
    world.pass_time(days=60, hours=1)
    await ours.send_message("care", "Here we are.")
    await theirs.sync()
    assert [it.text for it in await theirs.messages()] == ["Welcome back.", "Here we are."]
    await ours.sync()
    assert [it.expires_at for it in await ours.messages()] == [None, None, None]


async def test_notes_are_read_on_the_other_side_and_their_values_stand_nowhere_in_clear(world: SdkWorld) -> None:
    """NOTE-1 to NOTE-4."""
    _, ours, _, theirs = await pair(world)
    await theirs.remember("language", value=["gsw-Latn-CH", "de"], text="Grüezi")
    await theirs.remember("diet", value=["gluten_free"])
    await theirs.remember("no_interest", topic="shutters")
    await ours.remember("receipt", value="paper")
    await ours.sync()
    await theirs.sync()
    assert [(it.key, it.value, it.text, it.topic, it.known) for it in ours.notes()] == [
        ("language", ["gsw-Latn-CH", "de"], "Grüezi", None, True),
        ("diet", ["gluten_free"], None, None, True),
        ("no_interest", None, None, "shutters", True),
    ]
    assert [it.value for it in theirs.notes()] == [it.value for it in ours.notes("me")] == ["paper"]
    for key, value, pointer in (("language", "de", "/value"), ("receipt", None, "/value"), ("lang", ["de"], "/key")):
        fault = await refused("malformed", theirs.remember(key, value=value))
        assert fault.errors[0][0].startswith(pointer)
    await theirs.forget("diet")
    assert [it.key for it in theirs.notes("me")] == ["language", "no_interest"]
    data = b"".join(path.read_bytes() for path in (world.folder / "data").rglob("*") if path.is_file())
    # Words so long that no ciphertext in base64 holds one of them by chance.
    assert b"no_interest" in data and not any(word in data for word in (b"gluten_free", b"gsw-Latn-CH"))
    assert "Grüezi".encode() not in data


# --- connecting ---


async def test_an_offer_says_who_runs_the_server_when_it_is_the_one_who_offers(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    link = await shop.offer(world.base, [TERMS], ["care"])
    shown = await mia.fetch_offer(link)
    assert (shown.name, shown.did, shown.operator_is_other_party, shown.warnings) == ("Shop Ltd", shop.did, False, ())
    link = await shop.offer(world.base, [TERMS], ["care"], name="The Test Operator")
    assert "run by the other party" in (await mia.fetch_offer(link)).warnings[0]


async def test_terms_from_a_windows_machine_are_shown_with_the_lines_that_were_signed(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    written = make_terms("example:house-terms", "1", "en", "We write seldom.\r\nWe never call.\r\n")
    assert written.text == "We write seldom.\nWe never call.\n"
    shown = await mia.fetch_offer(await shop.offer(world.base, [written], ["care"]))
    assert [it.text for it in shown.terms] == [written.text]


async def test_a_link_that_a_mail_sender_has_counted_and_broken_leads_to_the_same_offer(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    # The shop's own words for the server's address are as good as any.
    link = await shop.offer(world.base.replace("http://localhost", "HTTP://LOCALHOST") + "/", [TERMS], ["care"])
    before, _, hash_ = link.partition("#")
    mailed = f" <URL:{before.replace('http://localhost', 'HTTP://LocalHost')}?utm_source=news\r\n &utm_id=7#{hash_}>\n"
    assert (await mia.fetch_offer(mailed)).signed.hash == hash_
    theirs = await mia.accept(mailed)
    (proposal,) = await shop.proposals()
    await proposal.countersign()
    await theirs.wait_until_open(timeout=20)


async def test_names_are_visible(world: SdkWorld, tmp_path: Path) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    for name in ("\u2800", "\u200b", " ", "Sho\u00adp"):
        with pytest.raises(Malformed, match="a name "):
            await shop.offer(world.base, [TERMS], ["care"], name=name)
        with pytest.raises(Malformed, match="a name "):
            async with Wallet.create(tmp_path / "other", identity=IDENTITY, name=name):
                pass
        assert not (tmp_path / "other").exists()
    link = await shop.offer(world.base, [TERMS], ["care"], name="  The\u00a0 Cafe\u0301 ")
    assert (await mia.fetch_offer(link)).name == "The Caf\u00e9"
    theirs = await mia.accept(link)
    (proposal,) = await shop.proposals()
    for name in ("\u2800", "Mi\u200ba"):
        with pytest.raises(Malformed, match="a name "):
            await proposal.set_petname(name)
    await proposal.set_petname("\uff2dia  K\u00f6hler")
    ours = await proposal.countersign()
    await theirs.wait_until_open(timeout=20)
    assert ours.name == "Mia K\u00f6hler"
    # However it is typed the next time.
    assert (
        shop.find_connection("MIA ko\u0308hler").cid == ours.cid
        and mia.find_connection("the cafe\u0301").cid == ours.cid
    )
    await theirs.remember("name", value=" Mia\u3000K. ")
    await ours.sync()
    assert [it.value for it in ours.notes("them")] == ["Mia K."]
    with pytest.raises(Malformed, match="a name "):
        await theirs.remember("pronouns", value="\u3164")


async def test_other_terms_may_be_put_in_place_of_those_offered(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    link = await shop.offer(world.base, [TERMS, ELSE], ["care"])
    mine = make_terms("mia:terms", "1", "en", "You write when I ask.")
    await mia.accept(link, terms=mine)
    (proposal,) = await shop.proposals()
    assert proposal.is_alternative
    assert (await proposal.countersign()).agreement.terms == mine.terms()
    ben = await world.person("ben")
    await ben.accept(link, terms=ELSE.id)
    (proposal,) = await shop.proposals()
    assert (proposal.is_alternative, proposal.terms.id) == (False, ELSE.id)


async def test_a_declined_offer_is_closed_with_its_reason_and_a_silent_no_says_nothing(world: SdkWorld) -> None:
    shop, mia, ben = await world.business("shop"), await world.person("mia"), await world.person("ben")
    link = await shop.offer(world.base, [TERMS], ["care"])
    theirs = await mia.accept(link)
    await (await shop.proposals())[0].decline("fully_booked")
    with pytest.raises(NotOpen, match="fully_booked"):
        await theirs.wait_until_open(timeout=20)
    assert theirs.phase == "closed"
    with pytest.raises(NotOpen):
        await theirs.send_message("care", "Hello?")
    silent = await ben.accept(link)
    await (await shop.proposals())[0].decline(silent=True)
    assert await shop.proposals() == []
    with pytest.raises(TimeoutError):
        await silent.wait_until_open(timeout=0.3)
    world.pass_time(days=8)
    with pytest.raises(NotOpen, match="did not sign in time"):
        await silent.wait_until_open(timeout=20)


async def test_a_half_can_be_taken_back_until_the_other_side_has_signed(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    theirs = await mia.accept(await shop.offer(world.base, [TERMS], ["care"]))
    (proposal,) = await shop.proposals()
    await mia.withdraw_acceptance(theirs)
    assert theirs.phase == "closed"
    await refused("not_found", proposal.countersign())
    assert await shop.proposals() == []


async def test_a_person_may_offer_first_at_a_business_s_door(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    await shop.offer(world.base, [TERMS], ["care"])
    link = await mia.offer(world.base, [TERMS], ["service"], to=shop.did)
    assert "#" in link
    (shown,) = await shop.received_offers()
    ours = await shop.accept(shown)
    (proposal,) = await mia.proposals()
    assert proposal.did == shop.did
    theirs = await proposal.countersign()
    await ours.wait_until_open(timeout=20)
    assert (theirs.side, ours.side, theirs.phase, ours.phase) == ("first", "second", "open", "open")
    await theirs.grant(["care"])
    await ours.sync()
    await ours.send_message("care", "Welcome")
    await theirs.sync()
    assert [it.text for it in await theirs.messages()] == ["Welcome"]


async def test_grants_named_at_accepting_are_given_once_it_is_open(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    link = await shop.offer(world.base, [TERMS], ["care"])
    theirs = await mia.accept(link, grants=[{"purposes": ["care"], "days": 30}])
    mia = await world.again(mia, "mia")
    theirs = mia.connections()[0]
    ours = await (await shop.proposals())[0].countersign()
    await theirs.wait_until_open(timeout=20)
    await ours.sync()
    assert ours.may("care").decision == "allow"


async def test_a_blocked_business_is_refused_by_the_wallet_alone(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    assert shop.did is not None
    await mia.block(shop.did)
    link = await shop.offer(world.base, [TERMS], ["care"])
    before = len(world.wires["mia"].seen)
    with pytest.raises(Blocked):
        await mia.accept(link)
    assert all(request.method == "GET" for request, _ in world.wires["mia"].seen[before:])
    await mia.unblock(shop.did)
    assert (await mia.accept(link)).phase == "proposed"


async def test_every_connection_has_a_key_that_is_used_nowhere_else(world: SdkWorld) -> None:
    mia = await world.person("mia")
    names = set()
    for name in ("shop", "salon"):
        _, theirs = await world.connect(await world.business(name), mia)
        names.add(theirs.own_did)
    assert len(names) == 2


# --- the door ---


async def test_a_muted_shop_is_told_not_now_and_never_the_hidden_end(world: SdkWorld) -> None:
    _, ours, _, theirs = await pair(world)
    await theirs.mute(days=14)
    await ours.sync()
    verdict = ours.may("care")
    assert (verdict.decision, verdict.reason, verdict.ends_at) == ("hold", "not_now", None)
    held = await ours.send_message("care", "Are you there?")
    assert held.outcome == "held"
    await theirs.sync()
    assert await theirs.messages() == []
    assert theirs.state.door(theirs.side).settings.mute_ends
    assert not ours.state.door(theirs.side).settings.mute_ends
    world.pass_time(days=14, seconds=2)
    for _ in range(20):
        if await theirs.messages():
            break
        await theirs.sync(wait=1)
    assert [it.text for it in await theirs.messages()] == ["Are you there?"]
    await ours.sync()
    assert [it.outcome for it in await ours.messages()] == ["delivered"]


async def test_a_mute_with_its_end_shown_says_when(world: SdkWorld) -> None:
    _, ours, _, theirs = await pair(world)
    await theirs.mute(hours=5, shown="end")
    await ours.sync()
    assert ours.may("care").ends_at is not None
    told = await refused("not_now", ours.send_message("care", "?", if_muted="fail"))
    assert told.until is not None
    dropped = await ours.send_message("care", "?", if_muted="drop")
    assert dropped.outcome == "dropped"
    await theirs.unmute()
    await ours.sync()
    assert (await ours.send_message("care", "!")).outcome == "delivered"
    await theirs.sync()
    assert [it.text for it in await theirs.messages()] == ["!"]


async def test_a_snooze_changes_nothing_that_the_other_side_can_see(world: SdkWorld) -> None:
    _, ours, mia, theirs = await pair(world)
    await ours.sync()
    before = public_state(ours.state)
    sent = len(world.wires["mia"].seen)
    await theirs.snooze(days=2)
    assert len(world.wires["mia"].seen) == sent
    await ours.sync()
    assert public_state(ours.state) == before
    await ours.send_message("care", "Happy birthday")
    news = await mia.sync()
    assert [(it.kind, it.quiet) for it in news] == [("message", True)]
    assert [(it.text, it.quiet) for it in await theirs.messages()] == [("Happy birthday", True)]
    await theirs.end_snooze()
    world.pass_time(seconds=1)
    await ours.send_message("care", "And many more")
    assert [it.quiet for it in await mia.sync()] == [False]


async def test_hours_and_budgets_stay_between_a_side_and_the_server(world: SdkWorld) -> None:
    _, ours, _, theirs = await pair(world)
    await theirs.set_budget(messages=(1, "day"))
    await ours.sync()
    assert (await ours.send_message("care", "one")).outcome == "delivered"
    assert ours.may("care").decision == "allow"
    assert (await ours.send_message("care", "two")).outcome == "held"
    await theirs.sync()
    await theirs.set_hours("Asia/Tokyo", [(["mo"], "23:00", "01:00")], shown="not_now")
    await theirs.sync()
    await ours.sync()
    assert public_state(ours.state) == public_state(theirs.state)


async def test_a_token_is_valid_then_to_be_asked_for_then_gone(world: SdkWorld) -> None:
    _, ours, _, theirs = await pair(world)
    (token,) = await ours.tokens()
    assert (token.by, token.purposes, token.status) == ("them", ("care", "favour"), "valid")
    await theirs.mute(purposes=["care"])
    world.pass_time(seconds=61)
    assert [it.status for it in await theirs.tokens()] == ["ask"]
    await theirs.unmute()
    await theirs.withdraw(token.id)
    await ours.sync()
    assert await ours.tokens() == []
    assert (await ours.status_list(token.uri)).at(token.idx) == 1
    await refused("no_grant", ours.send_message("care", "?"))


async def test_a_new_key_is_taken_though_something_of_the_other_side_was_not_read(world: SdkWorld) -> None:
    """What she has not read came before the acceptance of her new key: she reads it under that one."""
    _, ours, _, theirs = await pair(world)
    await ours.send_message("care", "before")
    await theirs.rotate_key()
    assert [it.text for it in await theirs.messages()] == ["before"]
    await ours.sync()
    assert ours.did == theirs.own_did


async def test_a_new_key_keeps_the_connection_and_signs_the_grants_anew(world: SdkWorld) -> None:
    _, ours, mia, theirs = await pair(world)
    await ours.send_message("care", "before")
    await theirs.sync()
    before = theirs.own_did
    await theirs.rotate_key()
    assert theirs.own_did != before
    await ours.sync()
    assert ours.did == theirs.own_did
    assert (await ours.send_message("care", "after")).outcome == "delivered"
    mia = await world.again(mia, "mia")
    theirs = mia.connections()[0]
    await theirs.sync()
    assert [it.text for it in await theirs.messages()] == ["before", "after"]
    await theirs.revoke()
    await ours.sync()
    assert ours.phase == "ended"


async def test_an_outside_contact_is_shown_with_the_verdict_it_would_have_had(world: SdkWorld) -> None:
    _, ours, _, theirs = await pair(world)
    assert await ours.record_contact("phone", "sales") == "no_grant"
    await theirs.sync()
    assert [it.kind for it in await theirs.timeline()][-1] == "contacted"


# --- favours ---


async def test_favours_go_both_ways_and_keep_the_etiquette(world: SdkWorld) -> None:
    _, ours, _, theirs = await pair(world)
    await ours.grant(["favour"])
    await theirs.sync()
    mine = await theirs.ask("hold", "Could you keep the blue one?", in_return="cake")
    await refused("ask_open", theirs.ask("lend", "And a bag?"))
    await ours.sync()
    (asked,) = ours.favours()
    assert (asked.is_mine, asked.text, asked.in_return, asked.status) == (False, mine.text, "cake", "asked")
    waiting = asyncio.create_task(mine.wait_for_answer(timeout=10))
    await asked.answer("yes", "Of course")
    assert await waiting == "promised"
    await asked.mark_done()
    await theirs.sync()
    await mine.thank("You are kind")
    await ours.sync()
    assert (mine.status, asked.status) == ("thanked", "thanked")
    review = await ours.ask("review", "Two lines about us?")
    await theirs.sync()
    await theirs.favours()[-1].answer("no")
    await ours.sync()
    assert review.status == "refused"
    await refused("cooling_down", ours.ask("review", "Please?"))


async def test_the_little_things_and_what_was_bought_are_known_to_both(world: SdkWorld) -> None:
    _, ours, _, theirs = await pair(world, "care", "sales")
    await theirs.remember("paper_receipt", text="on paper, please")
    await ours.record_milestone("bought", "windows", text="six of them")
    await ours.sync()
    await theirs.sync()
    await refused("already_has", ours.send_message("sales", "New windows!", topic="windows"))
    await theirs.forget("paper_receipt")
    await refused("nothing_remembered", theirs.forget("paper_receipt"))
    told = str(await theirs.timeline())
    assert "you would like remembered: paper_receipt" in told
    assert "Shop Ltd noted: bought windows" in told


# --- news ---


async def test_news_comes_over_a_stream_and_goes_on_after_the_server_was_away(world: SdkWorld) -> None:
    _, ours, mia, theirs = await pair(world)
    heard: list[str] = []

    async def follow() -> None:
        async for news in theirs.listen():
            heard.append(news.kind)
            if len(heard) == 2:
                return

    following = asyncio.create_task(follow())
    await world.host.are_waiting()
    await ours.send_message("care", "one")
    async with asyncio.timeout(20):
        while not heard:
            await asyncio.sleep(0.02)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await world.host.stop()
        await world.host.start()
        again = asyncio.create_task(follow())
        await ours.send_message("care", "two")
        await again
    assert heard == ["message", "message"]
    assert [it.text for it in await theirs.messages()] == ["one", "two"]
    await mia.sync()


async def test_one_mailbox_brings_the_news_of_all_connections(world: SdkWorld) -> None:
    mia = await world.person("mia")
    views = [await world.connect(await world.business(name), mia, "care") for name in ("shop", "salon")]
    for _, theirs in views:
        await mia.use_mailbox(theirs)
    before = len(world.wires["mia"].seen)
    for ours, _ in views:
        await ours.send_message("care", "hello")
    news = await mia.sync()
    assert [it.kind for it in news] == ["message", "message"]
    reads = [request for request, _ in world.wires["mia"].seen[before:] if "/v1/inbox" in request.url]
    assert len({request.headers["Signature-Input"].split("keyid=")[1].split(";")[0] for request in reads}) == 1
    heard = []

    async def follow() -> None:
        async for it in mia.listen():
            heard.append(it.kind)
            if len(heard) == 2:
                return

    following = asyncio.create_task(follow())
    await world.host.are_waiting()
    for ours, _ in views:
        await ours.send_message("care", "again")
    await asyncio.wait_for(following, 20)
    assert heard == ["message", "message"]


async def test_bodies_are_sealed_to_the_other_side_and_kept_readable_for_the_writer(world: SdkWorld) -> None:
    shop, ours, mia, theirs = await pair(world)
    await ours.send_message("care", "Only for Mia", more={"link": "https://shop.example"})
    await theirs.sync()
    mia, shop = await world.again(mia, "mia"), await world.again(shop, "shop")
    for wallet in (mia, shop):
        (message,) = await wallet.connections()[0].messages()
        assert (message.text, message.body) == (
            "Only for Mia",
            {"text": "Only for Mia", "link": "https://shop.example"},
        )
    data = b"".join(path.read_bytes() for path in world.folder.rglob("*") if path.is_file())
    assert b"Only for Mia" not in data


async def test_everything_can_be_exported_and_checked_without_the_server(world: SdkWorld) -> None:
    _, ours, mia, theirs = await pair(world)
    await ours.send_message("care", "Hello")
    await theirs.sync()
    (told,) = mia.export()["connections"]
    assert told["cid"] == theirs.cid
    assert len(told["agreement"]["signatures"]) == 2
    assert [it["body"] for it in told["records"]] == [None, {"text": "Hello"}]
    assert "'seed'" not in str(mia.export())


# --- when the network or the process fails ---


@pytest.mark.parametrize("fate", ["cut", "lose"])
async def test_an_act_whose_fate_is_unknown_is_sent_again_with_the_same_bytes(world: SdkWorld, fate: str) -> None:
    _, ours, mia, theirs = await pair(world)
    wire = world.wires["mia"]
    setattr(wire, fate, lambda request: request.url.endswith("/v1/acts"))
    with pytest.raises(Unreachable):
        await theirs.mute(days=3)
    setattr(wire, fate, None)
    mia = await world.again(mia, "mia")
    theirs = mia.connections()[0]
    await theirs.sync()
    await ours.sync()
    assert [it.kind for it in await ours.timeline()].count("mute") == 1
    assert ours.may("care").reason == "not_now"
    assert public_state(ours.state) == public_state(theirs.state)


async def test_a_revoke_from_an_old_copy_of_the_wallet_works(world: SdkWorld) -> None:
    _, ours, mia, theirs = await pair(world)
    old = (world.folder / "mia").read_bytes()
    for n in range(3):
        await theirs.remember(f"thing_{n}")
    await mia.close()
    (world.folder / "mia").write_bytes(old)
    mia = await world.reopened("mia")
    await mia.connections()[0].revoke()
    await ours.sync()
    assert ours.phase == "ended"
    await refused("connection_ended", ours.send_message("care", "?"))


async def test_an_old_copy_of_the_wallet_catches_up_with_its_own_acts_and_goes_on(world: SdkWorld) -> None:
    _, ours, mia, theirs = await pair(world)
    old = (world.folder / "mia").read_bytes()
    await ours.grant(["favour"])
    await theirs.sync()
    favour = await theirs.ask("hold", "The blue one?")
    await ours.sync()
    await ours.favours()[0].answer("yes")
    await theirs.set_budget(messages=(5, "day"))
    await theirs.mute(days=1)
    await mia.close()
    (world.folder / "mia").write_bytes(old)
    mia = await world.reopened("mia")
    theirs = mia.connections()[0]
    await theirs.remember("small_talk")
    await theirs.sync()
    assert theirs.favours()[0].id == favour.id
    assert theirs.favours()[0].status == "promised"
    await ours.sync()
    assert public_state(ours.state) == public_state(theirs.state)
    assert len(await theirs.timeline()) == len(await ours.timeline())


async def test_two_devices_that_write_at_once_both_get_their_acts_in(world: SdkWorld) -> None:
    _, ours, _, theirs = await pair(world)
    (world.folder / "tablet").write_bytes((world.folder / "mia").read_bytes())
    tablet = await world.reopened("tablet")
    also = tablet.connections()[0]
    await asyncio.gather(theirs.remember("small_talk"), also.remember("paper_receipt"), theirs.remember("hair"))
    await theirs.sync()
    await also.sync()
    await ours.sync()
    assert {it.key for it in ours.state.door("second").little} == {"small_talk", "paper_receipt", "hair"}
    assert public_state(theirs.state) == public_state(also.state) == public_state(ours.state)


async def test_a_mute_that_waited_for_the_network_all_night_is_still_a_mute(world: SdkWorld) -> None:
    _, ours, _, theirs = await pair(world)
    world.wires["mia"].cut = lambda request: request.url.endswith("/v1/acts")
    with pytest.raises(Unreachable):
        await theirs.remember("small_talk")
    world.wires["mia"].cut = None
    world.pass_time(hours=9)
    await theirs.sync()
    await ours.sync()
    assert [it.key for it in ours.state.door("second").little] == ["small_talk"]


async def test_a_grant_refused_leaves_its_place_free(world: SdkWorld) -> None:
    _, ours, _, theirs = await pair(world)
    await refused("no_such_grant", theirs.withdraw(theirs.cid))
    await theirs.remember("small_talk")
    await ours.sync()
    assert theirs.state.door("second").seq == ours.state.door("second").seq == 2


async def test_a_half_whose_answer_was_lost_is_handed_in_again(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    link = await shop.offer(world.base, [TERMS], ["care"])
    world.wires["mia"].cut = lambda request: request.url.endswith("/agreements")
    with pytest.raises(Unreachable):
        await mia.accept(link)
    mia = await world.again(mia, "mia")
    (theirs,) = mia.connections()
    assert theirs.phase == "proposed"
    await theirs.sync()
    await (await shop.proposals())[0].countersign()
    await theirs.wait_until_open(timeout=20)


async def test_a_countersignature_whose_answer_was_lost_is_handed_in_again(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    theirs = await mia.accept(await shop.offer(world.base, [TERMS], ["care"]))
    (proposal,) = await shop.proposals()
    world.wires["shop"].lose = lambda request: request.method == "PUT"
    with pytest.raises(Unreachable):
        await proposal.countersign()
    shop = await world.again(shop, "shop")
    await shop.sync()
    await theirs.wait_until_open(timeout=20)
    (ours,) = shop.connections()
    await ours.sync()
    assert ours.phase == "open"


async def test_an_app_s_own_send_is_all_that_the_wallet_needs(world: SdkWorld, tmp_path: Path) -> None:
    """Without streams, news are asked for again and again."""
    shop = await world.business("shop")
    wire = Bent()
    async with Wallet.create(tmp_path / "plain", identity=IDENTITY, send=wire.send, clock=world.host.now) as mia:
        ours, theirs = await world.connect(shop, mia, "care")

        async def first() -> str:
            async for news in theirs.listen():
                return news.kind
            return ""

        hearing = asyncio.create_task(first())
        await asyncio.sleep(0.1)
        await ours.send_message("care", "hello")
        assert await asyncio.wait_for(hearing, 20) == "message"
    assert wire.transport.close is not None
    await wire.transport.close()


async def test_a_statement_of_the_server_against_a_signature_is_kept(world: SdkWorld) -> None:
    _, ours, mia, theirs = await pair(world)
    await ours.send_message("care", "hello")
    world.wires["mia"].after = lambda request, response: (
        Response(response.status, response.headers, response.body.replace(b'"kind":"act"', b'"kind":"event"'))
        if "/v1/inbox" in request.url
        else response
    )
    with pytest.raises(Contradiction):
        await theirs.sync()
    mia = await world.again(mia, "mia")
    (found,) = mia.contradictions()
    assert found.texts
    await mia.connections()[0].sync()
    assert [it.text for it in await mia.connections()[0].messages()] == ["hello"]


async def test_an_item_left_out_of_an_inbox_is_read_once_the_server_is_honest_again(world: SdkWorld) -> None:
    _, ours, _, theirs = await pair(world)
    await ours.send_message("care", "one")
    await ours.send_message("care", "two")

    def without_the_last(_: object, response: Response) -> Response:
        if b'"items":[{' not in response.body:
            return response
        page = json.loads(response.body)
        kept = page["items"][:-1]
        page = {"items": kept, "cursor": page["cursor"]}
        kept[-1]["cursor"] = page["cursor"]
        return Response(response.status, response.headers, json.dumps(page).encode())

    world.wires["mia"].after = without_the_last
    with pytest.raises(Contradiction):
        await theirs.sync()
    world.wires["mia"].after = None
    await theirs.sync()
    assert [it.text for it in await theirs.messages()] == ["one", "two"]
