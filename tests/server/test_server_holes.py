"""Ways past a no, tried on a running server with its own store (spec/gate.md, GATE-6, GATE-21, GATE-22;
spec/connection.md, CONN-2, CONN-23)."""

import asyncio
from typing import Any

from comity.documents.acts import SignedAct
from comity.encoding import hash_id
from comity.http_api import INBOX
from comity.rules.next_act import compose_act
from support.world import DAY, HOUR, MINUTE, Pair, Reply, World, body_of


async def feedback(pair: Pair, message: str, says: str = "mislabelled", **changes: Any) -> Reply:
    """Mia's feedback on a message of the shop, sent; not folded."""
    fields = {"as_": "sales"} if says == "mislabelled" else {}
    about = {"purpose": "care", **fields, **changes}
    return await pair.world.act(pair.compose("second", "feedback", message=message, says=says, **about))


def behind(act: SignedAct, pair: Pair, kind: str, **fields: Any) -> SignedAct:
    """The act of the same side that follows, before the first was sent."""
    base = {name: getattr(act.payload, name) for name in ("iss", "aud", "iat", "cid")}
    return compose_act(kind, pair.signers["second"], **base, seq=act.payload.seq + 1, prev=act.id, **fields)


async def texts_of(pair: Pair) -> int:
    """How many messages Mia has in her inbox, over all pages."""
    found, cursor = 0, None
    while True:
        query = f"?limit=100&cursor={cursor}" if cursor else "?limit=100"
        page = (await pair.world.read(pair.signers["second"], INBOX + query)).json
        kinds = [pair._kind(item) for item in page["items"]]
        found += kinds.count("message")
        if page["cursor"] == cursor or not page["items"]:
            return found
        cursor = page["cursor"]


async def test_three_thousand_safety_messages_of_a_seller_who_signs_as_a_key_do_not_pass_a_mute(world: World) -> None:
    pair = await world.connect(world.person(), world.person())
    await pair.go("second", "mute")
    for _ in range(6):
        await pair.go("first", "message", purpose="safety")
    act = pair.compose("first", "message", purpose="safety")
    codes: set[str] = set()
    for _ in range(60):
        replies = await asyncio.gather(*(world.act(act) for _ in range(50)))
        codes |= {reply.code for reply in replies}
    assert codes == {"exempt_limit"}
    assert await texts_of(pair) == 6
    retry = int((await world.act(act)).headers["Retry-After"])
    assert 29 * 86_400 < retry <= 30 * 86_400


async def test_forty_complaints_of_a_shop_that_was_granted_nothing_do_not_all_reach_her(world: World) -> None:
    pair = await world.shop_and_customer()
    for _ in range(40):
        await pair.go("first", "message", purpose="complaint", if_muted="drop")
    assert await texts_of(pair) == 5
    assert await pair.refused("first", "message", purpose="renewal", if_muted="fail") == "over_budget"
    await pair.go("second", "message", purpose="complaint")
    await pair.go("first", "message", purpose="complaint", if_muted="fail")


async def test_forty_little_things_with_words_do_not_all_reach_her(world: World) -> None:
    pair = await world.shop_and_customer()
    for number in range(5):
        await pair.go("first", "remember", key=f"thing_{number}", body=body_of(pair.cid))
    act = pair.compose("first", "remember", key="thing_6", body=body_of(pair.cid))
    replies = await asyncio.gather(*(world.act(act) for _ in range(35)))
    assert {reply.code for reply in replies} == {"over_budget"}
    await pair.go("second", "mute")
    assert await pair.refused("first", "milestone", kind="bought", topic="tea", when=1, body=body_of(pair.cid)) == (
        "not_now"
    )
    await pair.go("first", "milestone", kind="bought", topic="tea", when=1)


async def test_a_mail_house_is_told_to_ask_in_the_commit_of_the_contest(world: World) -> None:
    pair = await world.shop_and_customer()
    care, news = await pair.grant("second", "care"), await pair.grant("second", "news")
    advert = await pair.go("first", "message", purpose="care.offer")
    assert [await pair.status(it) for it in (care, news)] == [0, 0]
    await pair.go("second", "feedback", message=advert.id, purpose="care.offer", says="mislabelled", as_="sales")
    assert [await pair.status(it) for it in (care, news)] == [2, 0]
    await world.stop()
    await world.start()
    assert [await pair.status(it) for it in (care, news)] == [2, 0]
    await pair.go("second", "feedback", message=advert.id, purpose="care.offer", says="useful")
    assert [await pair.status(it) for it in (care, news)] == [0, 0]


async def test_a_recorded_no_is_in_the_status_of_sales_and_of_nothing_else(world: World) -> None:
    pair = await world.shop_and_customer()
    care, sales = await pair.grant("second", "care"), await pair.grant("second", "sales")
    now = world.now() // 1000
    await pair.go("first", "milestone", kind="installed", topic="windows", when=now, lasts=now + 3600)
    assert [await pair.status(it) for it in (care, sales)] == [0, 2]
    world.later(HOUR + MINUTE)
    assert [await pair.status(it) for it in (care, sales)] == [0, 0]


async def test_the_next_act_of_the_same_group_meets_the_contest(world: World) -> None:
    """The contest and an advertisement come in one request, and are decided in one group."""
    pair = await world.shop_and_customer("care")
    advert = await pair.go("first", "message", purpose="care")
    contest = pair.compose("second", "feedback", message=advert.id, purpose="care", says="mislabelled", as_="sales")
    again = pair.compose("first", "message", purpose="care")
    answers = await world.batch(contest, again)
    assert [answer.get("code") for answer in answers] == [None, "no_grant"]


async def test_feedback_on_a_message_of_the_same_group_is_taken(world: World) -> None:
    pair = await world.shop_and_customer("care")
    advert = pair.compose("first", "message", purpose="care")
    thanks = pair.compose("second", "feedback", message=advert.id, purpose="care", says="thanks")
    answers = await world.batch(advert, thanks)
    assert [answer.get("code") for answer in answers] == [None, None]


async def test_a_contest_and_the_end_of_the_connection_go_in_one_group(world: World) -> None:
    pair = await world.shop_and_customer()
    grant = await pair.grant("second", "care")
    advert = await pair.go("first", "message", purpose="care")
    contest = pair.compose("second", "feedback", message=advert.id, purpose="care", says="mislabelled", as_="sales")
    answers = await world.batch(contest, behind(contest, pair, "revoke"))
    assert [answer.get("code") for answer in answers] == [None, None]
    assert await pair.status(grant) == 1
    assert await pair.refused("first", "message", purpose="care") == "connection_ended"


async def test_a_sale_that_waits_as_care_expires_with_the_contest(world: World) -> None:
    pair = await world.shop_and_customer("care")
    advert = await pair.go("first", "message", purpose="care")
    await pair.go("second", "mute", until=(world.now() + HOUR) // 1000)
    await pair.go("first", "message", purpose="care")
    await pair.go("second", "feedback", message=advert.id, purpose="care", says="mislabelled", as_="sales")
    world.later(2 * HOUR)
    assert (await pair.kinds("second"))[-1] == "expired"
    assert await texts_of(pair) == 1


async def test_nobody_learns_from_a_refusal_which_messages_there_are(world: World) -> None:
    """Unknown, not delivered, own, of another connection, too old, or of another purpose: one answer, byte for byte."""
    pair = await world.shop_and_customer("care")
    other = await world.shop_and_customer("care")
    old = await pair.go("first", "message", purpose="care")
    world.later(91 * DAY)
    own = await pair.go("second", "message", purpose="complaint")
    theirs = await other.go("first", "message", purpose="care")
    new = await pair.go("first", "message", purpose="care")
    await pair.go("second", "mute")
    waiting = await pair.go("first", "message", purpose="care")
    dropped = await pair.go("first", "message", purpose="care", if_muted="drop")
    setting = await pair.go("second", "budget", messages={"max": 3, "per": "week"})
    named = [old.id, own.id, theirs.id, waiting.id, dropped.id, setting.id, hash_id(b"nothing")]
    for says in ("thanks", "mislabelled"):
        replies = [await feedback(pair, id_, says) for id_ in named]
        replies.append(await feedback(pair, new.id, says, purpose="news"))
        replies.append(await feedback(pair, new.id, says, had="windows"))
        assert {reply.code for reply in replies} == {"no_such_message"}
        assert len({reply.plain for reply in replies}) == 1
    assert (await feedback(pair, new.id)).status == 200


async def test_a_contest_is_taken_back_long_after_the_message(world: World) -> None:
    pair = await world.shop_and_customer("care")
    advert = await pair.go("first", "message", purpose="care")
    await pair.go("second", "feedback", message=advert.id, purpose="care", says="mislabelled", as_="sales")
    world.later(200 * DAY)
    assert await pair.refused("first", "message", purpose="care") == "no_grant"
    await pair.go("second", "feedback", message=advert.id, purpose="care", says="useful")
    await pair.go("first", "message", purpose="care")


async def test_the_201st_word_is_refused_and_a_contest_is_not(world: World) -> None:
    pair = await world.shop_and_customer("care")
    advert = await pair.go("first", "message", purpose="care")
    about = {"message": advert.id, "purpose": "care"}
    for _ in range(200):
        await pair.go("second", "feedback", says="useful", **about)
    assert await pair.refused("second", "feedback", says="thanks", **about) == "too_much_feedback"
    await pair.go("second", "feedback", says="mislabelled", as_="sales", **about)
    assert await pair.refused("first", "message", purpose="care") == "no_grant"
