"""Mia says what she thinks of messages, and the wallets of both sides hold the server to it (CONN-23; GATE-21;
GRANT-12), over HTTP with a real server."""

import pytest

from comity.errors import Contradiction, Malformed, Refused
from comity.rules.renunciations import GrantPart, remaining_parts
from comity.rules.state import Renounced
from comity_server.writer import unit_of_work
from support.sdk_world import SdkWorld


async def test_an_advertisement_that_called_itself_care_is_contested_and_taken_back(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    sent = await ours.send_message("care", "20 % off all doors", topic="doors")
    await theirs.sync()
    (read,) = await theirs.messages()
    told = theirs.explain_feedback(read.id, "mislabelled", "sales")
    assert told[0].startswith(f"From now on {theirs.name} may send you what it calls care about doors")
    assert told[0].endswith("only if it may also send you advertising.")
    assert told[-1] == "They will see this. Undo at any time."
    await theirs.give_feedback(read, "mislabelled", as_="sales", topic="windows")
    await ours.sync()
    verdict = ours.may("care", topic="doors")
    assert (verdict.reason, [it.as_ for it in verdict.contest]) == ("no_grant", ["sales"])
    assert ours.may("care", topic="chairs").decision == "allow"
    (shown,) = ours.contests()
    assert (shown.by, shown.message, shown.had, shown.topic) == ("them", sent.id, "doors", "windows")
    assert [it.by for it in theirs.contests()] == ["me"]
    assert [it.feedback for it in await ours.messages()] == ["mislabelled"]
    assert "said that a message was something else than it said: care (doors) as sales (windows)" in str(
        await ours.timeline()
    )
    assert theirs.explain_feedback(read.id, "thanks") == [
        "This takes back that it was advertising.",
        "They will see this.",
    ]
    await theirs.give_feedback(read.id, "thanks")
    await ours.sync()
    assert ours.contests() == [] and ours.may("care", topic="doors").decision == "allow"
    assert "you said thank you for a message: care (doors)" in str(await theirs.timeline())
    again = await world.again(mia, "mia")
    assert [it.feedback for it in await again.connections()[0].messages()] == ["thanks"]


async def test_the_wallet_says_what_else_a_contest_touches(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care", "sales")
    await ours.record_milestone("installed", "windows.kitchen")
    care = await ours.send_message("care", "Doors")
    offer, tips = await ours.send_message("care.offer", "Doors"), await ours.send_message("care.tips", "Doors")
    recall = await ours.send_message("safety", "Do not open the window")
    claim = await ours.send_message("renewal", "A new contract")
    await theirs.sync()
    told = " ".join(theirs.explain_feedback(care.id, "mislabelled", "sales"))
    assert "That is all of care: check-ins, too." in told
    assert "has to say what it is about, as you have windows.kitchen." in told
    assert "all of care" not in " ".join(theirs.explain_feedback(offer.id, "mislabelled", "sales"))
    await theirs.give_feedback(offer, "mislabelled", as_="sales")
    assert "With what you said of another message, this is for all of care." in theirs.explain_feedback(
        tips.id, "mislabelled", "sales"
    )
    assert theirs.explain_feedback(recall.id, "mislabelled", "sales")[0].startswith("A notice of safety")
    assert "only if it may also send you advertising" in theirs.explain_feedback(claim.id, "mislabelled", "sales")[0]
    wrote = await theirs.send_message("complaint", "It does not close")
    await ours.sync()
    assert "Complaints rest on the agreement" in ours.explain_feedback(wrote.id, "mislabelled", "sales")[0]


async def test_feedback_is_about_what_the_other_side_sent_and_this_wallet_read(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    await theirs.mute(hours=1)
    waiting = await ours.send_message("care", "Hello")
    await theirs.sync()
    own = await theirs.send_message("complaint", "It does not close")
    for id_ in (waiting.id, own.id, "A" * 43):
        with pytest.raises(Refused) as refused:
            await theirs.give_feedback(id_, "thanks")
        assert refused.value.code == "no_such_message"
    await theirs.unmute()
    await theirs.sync()
    await theirs.give_feedback(waiting.id, "thanks")
    await ours.record_contact("phone", "care")
    await theirs.sync()
    call = next(it.act for it in theirs.records if it.act is not None and it.act.kind == "contacted")
    await theirs.give_feedback(call.id, "too_often")


async def test_a_server_that_takes_feedback_on_no_message_is_found_out(
    world: SdkWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A contest of a message that never was would close a door by somebody's word about nothing."""
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    monkeypatch.setattr(unit_of_work, "check_feedback_message", lambda *_: None)
    about = {"message": "A" * 43, "purpose": "care", "says": "mislabelled", "as_": "sales"}
    with pytest.raises(Contradiction, match="no_such_message"):
        await theirs.queue.send("feedback", **about)
    with pytest.raises(Contradiction, match="no_such_message"):
        await ours.sync()


async def test_a_business_gives_consents_up_and_her_wallet_says_so(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia)
    given = await theirs.grant(["care", "sales"], ["app", "email"])
    await ours.sync()
    await ours.renounce("reply_stop", purposes=["sales"], channels=["email"])
    await theirs.sync()
    assert "gave up your consent to sales, email: somebody answered STOP" in str(await theirs.timeline())
    assert ours.may("sales", "email").reason == "no_grant" and ours.may("care", "email").decision == "allow"
    await theirs.grant(["care", "sales"], ["app", "email"], replaces=given)
    await ours.sync()
    assert ours.may("sales", "email").reason == "no_grant", "what was given up is not given again by the way"
    assert ours.may("sales").decision == ours.may("care", "email").decision == "allow"


async def test_a_grant_in_the_place_of_one_that_was_given_up_whole_is_given_only_on_request(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia)
    given = await theirs.grant(["sales"])
    await ours.sync()
    await ours.renounce("told_us", [given])
    await theirs.sync()
    with pytest.raises(Malformed, match="renounced all of this"):
        await theirs.grant(["sales"], replaces=given)
    await theirs.grant(["sales"], replaces=given, again=True)
    await ours.sync()
    assert ours.may("sales").decision == "allow"


@pytest.mark.parametrize("again", [False, True])
async def test_a_new_key_gives_nothing_again_that_was_given_up(world: SdkWorld, again: bool) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia)
    await theirs.grant(["care", "sales"], ["app", "email"])
    await theirs.grant(["news"])
    await ours.sync()
    news = ours.state.second.grants[1].id
    await ours.renounce("one_click", purposes=["sales"], channels=["email"])
    await ours.renounce("not_needed", [news])
    await theirs.sync()
    await theirs.rotate_key(again=again)
    await ours.sync()
    asked = (("care", "email"), ("sales", "app"), ("sales", "email"), ("news", "app"))
    allowed = [ours.may(purpose, way).decision == "allow" for purpose, way in asked]
    assert allowed == [True, True, again, again]


def test_the_rest_of_a_grant_never_allows_more_than_before() -> None:
    had = GrantPart(("care", "sales"), ("app", "email"))

    def left(entry: Renounced, grant: str = "g", *, is_one: bool = False) -> tuple[GrantPart, ...]:
        return remaining_parts(grant, had, had, [entry], is_one=is_one)

    july, care = Renounced(("g",), ("sales.july",), ("email",)), GrantPart(("care",), ("app", "email"))
    assert left(july) == (care, GrantPart(("sales",), ("app",)))
    assert left(july, is_one=True) == (care,)
    assert left(july, "other") == (GrantPart(("care", "sales"), ("app", "email")),)
    assert left(Renounced(("g",))) == ()
    assert left(Renounced(("g",), (), ("app",))) == (GrantPart(("care", "sales"), ("email",)),)


def test_a_purpose_that_was_never_granted_was_not_given_up() -> None:
    had, whole = GrantPart(("care.offer",), ("app",)), [Renounced(("g",))]
    assert remaining_parts("g", had, GrantPart(("news",), ("app",)), whole, is_one=True) == (
        GrantPart(("news",), ("app",)),
    )
    assert remaining_parts("g", had, GrantPart(("care.offer",), ("app", "email")), whole, is_one=True) == (
        GrantPart(("care.offer",), ("email",)),
    )
    for wider in ("care", "care.offer", "care.offer.july"):
        assert remaining_parts("g", had, GrantPart((wider,), ("app",)), whole, is_one=True) == ()


async def test_another_purpose_in_the_place_of_one_that_was_given_up_is_given(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia)
    given = await theirs.grant(["care"])
    await ours.sync()
    await ours.renounce("told_us", [given])
    await theirs.sync()
    await theirs.grant(["news"], replaces=given)
    await ours.sync()
    assert (ours.may("news").decision, ours.may("care").reason) == ("allow", "no_grant")
