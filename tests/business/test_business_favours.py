"""Favours between a business and its customers, over REST: the etiquette in words.

Rules of spec/business-messages.md: SAY-8, SAY-9.
"""

from pathlib import Path

from comity.documents.acts import open_act
from comity.rules.decide import RULES
from comity_server.api.business.endpoints.favours import WHY
from comity_server.api.business.outgoing import EncryptedBody
from support.business_world import a_shop
from support.world import DAY, HOUR, Pair, a_world


async def caught_up(pair: Pair) -> None:
    """What the business did reaches the customer."""
    for item in (await pair.news("second"))["items"]:
        if "act" in item:
            pair.take(item["event"], open_act(item["act"], pair.world.server.directory.find_key))


REVIEW = {"kind": "review", "effort": "minute", "text": "Would you tell your neighbours?"}


def test_everything_that_stands_in_the_way_of_asking_is_told_in_words() -> None:
    assert set(WHY) == {*RULES["ask"].verdicts, "recovering", "ended"}
    assert all(text.endswith(".") and "_" not in text for text in WHY.values())


async def test_a_favour_is_asked_promised_done_and_thanked_for(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("favour")
        at = f"/connections/{pair.cid}/favours"
        free = await shop.get(at)
        assert free["may_ask"] == {"status": "free", "why": WHY["free"]}
        assert free["balance"] == {"by_us": 0, "by_them": 0} and len(free) == 3
        made = await shop.post(at, {**REVIEW, "in_return": "A coffee", "answer_by": "2024-06-20T10:00:00+00:00"})
        assert made["ends_at"] == "2024-06-20T10:00:00.000Z"
        told = await shop.get(at)
        asked = told["asked_by_us"]
        assert (asked["id"], asked["status"], asked["answer_by"]) == (
            made["id"], "asked", "2024-06-20T10:00:00.000Z",
        )  # fmt: skip
        # What was sealed for the customer cannot be read here again.
        assert "text" not in asked and told["may_ask"]["status"] == "open"
        again = await shop.ask("POST", at, REVIEW)
        assert again.code == "ask_open" and again.json["may_ask"]["why"] == WHY["open"]
        await caught_up(pair)
        await pair.go("second", "answer", ask=made["id"], answer="yes")
        await pair.go("second", "done", ask=made["id"])
        assert (await shop.get(at))["balance"] == {"by_us": 0, "by_them": 1}
        await shop.post(f"{at}/{made['id']}/thank", {"text": "Thank you!"})
        assert (await shop.get(at))["asked_by_us"]["status"] == "thanked"
        assert await shop.refused("POST", f"{at}/{made['id']}/thank", {}) == "no_such_ask"


async def test_an_agent_reads_what_a_customer_asks_and_answers_it(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        at = f"/connections/{pair.cid}"
        await shop.post(f"{at}/grants", {
            "purposes": ["favour"], "channels": ["app"], "expires_at": "2025-01-01T00:00:00Z",
        })  # fmt: skip
        said = {"text": "Keep the <blue> one?", "in_return": "=CAKE()"}
        sealed = EncryptedBody(pair.cid, said).jwe(pair.state, "second")
        ask = await pair.go("second", "ask", body=sealed, effort="hour")
        theirs = (await shop.get(f"{at}/favours"))["asked_by_them"]
        assert (theirs["id"], theirs["status"], theirs["effort"]) == (ask.id, "asked", "hour")
        assert {name: theirs[name] for name in said} == said
        for path, body in (("done", None), ("thank", {})):
            assert await shop.refused("POST", f"{at}/favours/{ask.id}/{path}", body) == "no_such_ask"
        assert await shop.refused("POST", f"{at}/favours/x/answer", {"answer": "no"}) == "no_such_ask"
        wrong = await shop.ask("POST", f"{at}/favours/{ask.id}/answer", {"answer": "maybe", "text": "\x00", "x": 1})
        assert {it["pointer"] for it in wrong.json["errors"]} == {"/answer", "/text", "/x"}
        await shop.post(f"{at}/favours/{ask.id}/answer", {"answer": "yes", "text": "With pleasure"})
        assert await shop.refused("POST", f"{at}/favours/{ask.id}/answer", {"answer": "no"}) == "no_such_ask"
        await shop.post(f"{at}/favours/{ask.id}/done")
        told = await shop.get(f"{at}/favours")
        assert (told["asked_by_them"]["status"], told["balance"]) == ("done", {"by_us": 1, "by_them": 0})
        counts = (await shop.get("/report"))["total"]
        assert {counts[what] for what in ("asks.received", "answers.given", "favours.done")} == {1}


async def test_a_business_learns_why_it_is_not_the_time_and_when_it_is(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        at = f"/connections/{pair.cid}/favours"

        async def told(code: str) -> tuple[str, bool]:
            reply = await shop.ask("POST", at, REVIEW)
            may = reply.json["may_ask"]
            assert reply.code == code and may["why"] == WHY[may["status"]] != WHY["free"]
            assert (await shop.get(at))["may_ask"] == may
            return may["status"], "ends_at" in may

        assert await told("no_grant") == ("no_grant", False)
        await pair.grant("second", "favour", "care")
        await pair.go("second", "mute")
        assert await told("not_now") == ("not_now", False)
        await pair.go("second", "mute", until=world.now() // 1000 + 3600)
        assert await told("not_now") == ("not_now", True)
        await pair.go("second", "unmute")
        # A setting of hers says no more than a mute does.
        await pair.go("second", "budget", asks={"max": 0, "per": "day"})
        assert await told("not_now") == ("not_now", False)
        await pair.go("second", "budget")
        await shop.post(f"/connections/{pair.cid}/messages", {"purpose": "safety", "text": "Mind the step."})
        assert await told("after_exempt_notice") == ("after_notice", True)
        world.later(DAY + HOUR)
        made = await shop.post(at, REVIEW)
        await caught_up(pair)
        await pair.go("second", "answer", ask=made["id"], answer="no")
        assert await told("cooling_down") == ("cooling", True)
        world.later(30 * DAY)
        assert (await shop.post(at, REVIEW))["id"]
        await pair.go("second", "revoke")
        assert await told("connection_ended") == ("ended", False)
