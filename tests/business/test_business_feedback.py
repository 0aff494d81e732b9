"""What customers say of messages, as a business hears it, and what it says itself (SAY-18 to SAY-21, NEWS-11,
CHECK-2)."""

import json
from pathlib import Path
from typing import Any

import pytest

from comity.documents.acts import SignedAct
from comity.encoding import hash_id
from comity.http_api import JSON_LINES
from comity_server.api.business.routes import ROUTES
from support.business_world import Shop, a_shop, again
from support.world import DAY, HOUR, Pair, a_world


async def contested(shop: Shop, *grants: str, purpose: str = "care", **about: Any) -> tuple[Pair, str]:
    """A customer who allowed these purposes, and contested a message of that purpose as a sale; the message's id."""
    pair = await shop.customer(*grants)
    sent = await shop.post(f"/connections/{pair.cid}/messages", {"purpose": purpose, "text": "20 % off all doors"})
    await again(pair)
    await pair.go("second", "feedback", message=sent["id"], purpose=purpose, says="mislabelled", as_="sales",
                  **about)  # fmt: skip
    return pair, str(sent["id"])


def lines(*questions: dict[str, Any]) -> bytes:
    return "\n".join(json.dumps(question) for question in questions).encode()


async def test_a_contest_is_in_every_verdict_on_its_purpose_and_in_no_other(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair, message = await contested(shop, "care", "news")
        question = {"connection": pair.cid, "purpose": "care.checkin"}
        asked = await shop.post("/check", question)
        (shown,) = asked["contest"]
        assert (asked["decision"], asked["reason"]) == ("refuse", "no_grant")
        assert {**shown, "started_at": 0, "ends_at": 0} == {
            "message": message, "purpose": "care", "actual_purpose": "sales", "started_at": 0, "ends_at": 0,
        }  # fmt: skip
        # Asked again, the answer is one that was kept.
        assert (await shop.post("/check", question))["contest"] == asked["contest"]
        for _ in range(2):
            sent = lines(question, {**question, "ref": "2"}, {**question, "purpose": "news"})
            reply = await shop.ask("POST", "/check", raw=sent, kind=JSON_LINES)
            told = [json.loads(line) for line in reply.body.splitlines()]
            assert [it.get("contest") for it in told] == [asked["contest"], asked["contest"], None]
            assert [it["reason"] for it in told] == ["no_grant", "no_grant", "granted"]


async def test_the_kept_answer_of_a_list_changes_with_the_contest_and_with_its_end(tmp_path: Path) -> None:
    """Both answers before, after, and when it is taken back; and a year later."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        await pair.grant("second", "care", exp=world.now() // 1000 + 700 * 86_400)
        about = {"connection": pair.cid, "purpose": "care"}

        async def told() -> list[str]:
            one = await shop.post("/check", about)
            reply = await shop.ask("POST", "/check", raw=lines(about), kind=JSON_LINES)
            many = json.loads(reply.body)
            assert [one.get("contest"), one["reason"]] == [many.get("contest"), many["reason"]]
            return [one["reason"], str(len(one.get("contest", ())))]

        sent = await shop.post(f"/connections/{pair.cid}/messages", {"purpose": "care", "text": "Hello"})
        await again(pair)
        assert await told() == ["granted", "0"] == await told()
        says: dict[str, Any] = {"message": sent["id"], "purpose": "care"}
        await pair.go("second", "feedback", says="mislabelled", as_="sales", **says)
        assert await told() == ["no_grant", "1"] == await told()
        await pair.go("second", "feedback", says="useful", **says)
        assert await told() == ["granted", "0"]
        await pair.go("second", "feedback", says="mislabelled", as_="sales", **says)
        assert await told() == ["no_grant", "1"]
        world.later(365 * DAY)
        assert await told() == ["granted", "0"]


async def test_a_refused_message_says_which_contest_there_is_and_its_text_is_a_draft(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair, message = await contested(shop, "care")
        refused = await shop.ask("POST", f"/connections/{pair.cid}/messages", {"purpose": "care", "text": "More doors"})
        assert refused.code == "no_grant" and refused.json["draft"]
        assert [it["message"] for it in refused.json["verdict"]["contest"]] == [message]
        stated = await shop.post(
            f"/connections/{pair.cid}/contacts", {"channel": "phone", "purpose": "care", "topic": "doors"}
        )
        assert stated["verdict"]["contest"][0]["actual_purpose"] == "sales"


async def test_a_sale_that_waits_as_care_becomes_a_draft_once_it_is_contested(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        at = f"/connections/{pair.cid}/messages"
        sent = await shop.post(at, {"purpose": "care", "text": "Doors"})
        await again(pair)
        await pair.go("second", "mute", until=(world.now() + DAY) // 1000)
        held = await shop.ask("POST", at, {"purpose": "care.offer", "text": "More doors"})
        assert held.status == 202
        await again(pair)
        await pair.go("second", "feedback", message=sent["id"], purpose="care", says="mislabelled", as_="sales")
        (told,) = (await shop.get("/notifications?order=oldest&types=message.expired"))["items"]
        (draft,) = (await shop.get("/drafts"))["items"]
        assert draft["id"] == told["data"]["draft"]


async def test_a_business_reads_its_contests_page_by_page(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        made = [await contested(shop, "care", topic="doors"), await contested(shop, "care")]
        back, revoked = await contested(shop, "care"), await contested(shop, "care")
        await contested(other, "care")
        await back[0].go("second", "feedback", message=back[1], purpose="care", says="thanks")
        await revoked[0].go("second", "revoke")
        found, cursor = list[dict[str, Any]](), None
        for _ in range(4):
            page = await shop.get(f"/contests?limit=1{f'&cursor={cursor}' if cursor else ''}")
            found += page["items"]
            cursor = page.get("next_cursor")
        assert cursor is None
        assert [it["message"] for it in reversed(found)] == [message for _, message in (*made, back, revoked)]
        assert [it["status"] for it in reversed(found)] == ["active", "active", "ended", "ended"]
        first = found[-1]
        assert (first["connection"], first["purpose"], first["actual_purpose"], first["actual_topic"]) == (
            made[0][0].cid, "care", "sales", "doors",
        )  # fmt: skip
        assert first["ends_at"][:4] == "2025" and "ends_at" not in found[0]
        world.later(366 * DAY)
        assert not any(it["status"] == "active" for it in (await shop.get("/contests"))["items"])


async def test_a_business_is_told_of_each_contest_and_once_a_day_of_other_words(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair, message = await contested(shop, "care", topic="doors")
        about: dict[str, Any] = {"message": message, "purpose": "care"}
        for word in ("useful", "thanks", "too_often"):
            await pair.go("second", "feedback", says=word, **about)
        await pair.go("second", "feedback", says="mislabelled", as_="news", **about)
        world.later(DAY)
        await pair.go("second", "feedback", says="not_useful", **about)
        elsewhere, second = await contested(shop, "care")
        await elsewhere.go("second", "feedback", message=second, purpose="care", says="thanks")
        types = "message.contested,message.feedback"
        told = (await shop.get(f"/notifications?order=oldest&types={types}"))["items"]
        words = [(it["type"], it["data"].get("says"), it["data"].get("actual_purpose")) for it in told]
        assert words == [
            ("message.contested", None, "sales"), ("message.feedback", "useful", None),
            ("message.contested", None, "news"), ("message.feedback", "not_useful", None),
            ("message.contested", None, "sales"), ("message.feedback", "thanks", None),
        ]  # fmt: skip
        assert told[0]["data"] == {
            "connection": pair.cid, "act": told[0]["data"]["act"], "by": "them", "message": message,
            "purpose": "care", "actual_purpose": "sales", "actual_topic": "doors",
        }  # fmt: skip


async def test_the_report_counts_words_and_contests_and_the_operator_those_of_notices(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair, message = await contested(shop, "care")
        await contested(shop, purpose="safety")
        about: dict[str, Any] = {"message": message, "purpose": "care"}
        for word in ("useful", "useful", "not_useful", "too_often", "not_interested", "thanks"):
            await pair.go("second", "feedback", says=word, **about)
        total = (await shop.get("/report"))["total"]
        counted = {name: n for name, n in total.items() if name.startswith(("feedback.", "contests."))}
        assert counted == {
            "feedback.useful": 2, "feedback.not_useful": 1, "feedback.too_often": 1, "feedback.not_interested": 1,
            "feedback.thanks": 1, "contests.received": 2, "contests.exempt": 1, "contests.withdrawn": 1,
        }  # fmt: skip
        assert b"comity_exempt_contests_total 1.0" in world.server.metrics.text()


async def test_a_contest_of_a_recall_is_listed_and_changes_nothing(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair, _ = await contested(shop, purpose="safety")
        sent = await shop.ask(
            "POST", f"/connections/{pair.cid}/messages", {"purpose": "safety", "text": "Do not use the door"}
        )
        assert sent.status == 201 and sent.json["verdict"]["contest"]
        assert (await shop.get("/contests"))["items"][0]["status"] == "active"


async def test_a_business_thanks_for_a_complaint_and_its_purpose_is_looked_up(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        wrote = await pair.go("second", "message", purpose="complaint", topic="doors")
        at = f"/connections/{pair.cid}/feedback"
        await shop.post(at, {"message": wrote.id, "says": "useful"})
        await shop.post(
            at, {"message": wrote.id, "says": "mislabelled", "actual_purpose": "sales", "actual_topic": "windows"}
        )
        await again(pair)
        (contest,) = pair.state.first.contests
        assert (contest.purpose, contest.had, contest.as_, contest.topic) == ("complaint", "doors", "sales", "windows")
        await pair.go("second", "message", purpose="complaint", if_muted="fail")
        seen = await shop.get(f"/connections/{pair.cid}")
        assert [it["actual_purpose"] for it in seen["us"]["contests"]] == ["sales"]
        kinds = [(it["kind"], it.get("status")) for it in (await shop.get(f"{at[:-9]}/timeline"))["items"]]
        assert ("feedback", "useful") in kinds and ("feedback", "mislabelled") in kinds
        for body in (
            {"message": wrote.id, "says": "mislabelled"},
            {"message": wrote.id, "says": "mislabelled", "actual_purpose": "safety"},
            {"message": wrote.id, "says": "thanks", "actual_purpose": "sales"},
            {"message": wrote.id, "says": "rude"},
        ):
            assert await shop.refused("POST", at, body) == "invalid_request"


async def test_over_rest_too_no_refusal_says_which_messages_there_are(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair, elsewhere = await shop.customer("care"), await shop.customer("care")
        theirs = await elsewhere.go("second", "message", purpose="complaint")
        old = await pair.go("second", "message", purpose="complaint")
        world.later(91 * DAY)
        at = f"/connections/{pair.cid}"
        own = await shop.post(f"{at}/messages", {"purpose": "care", "text": "Hello"})
        await again(pair)
        await shop.post(f"{at}/mute", {})
        await again(pair)
        waiting = await pair.go("second", "message", purpose="complaint")
        replies = [
            await shop.ask("POST", f"{at}/feedback", {"message": id_, "says": "thanks"})
            for id_ in (theirs.id, old.id, own["id"], waiting.id, hash_id(b"nothing"))
        ]
        assert {reply.code for reply in replies} == {"no_such_message"}
        assert len({reply.plain for reply in replies}) == 1


async def test_a_business_that_signs_itself_is_held_to_the_same(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        wrote = await pair.go("second", "message", purpose="complaint")
        at = f"/connections/{pair.cid}/feedback"

        def signed(**fields: Any) -> SignedAct:
            return pair.compose("first", "feedback", **{"message": wrote.id, "purpose": "complaint", **fields})

        wrong = signed(purpose="care", says="thanks")
        assert await shop.refused("POST", at, jws=wrong.raw) == "no_such_message"
        unknown = signed(message=hash_id(b"nothing"), says="thanks")
        assert await shop.refused("POST", at, jws=unknown.raw) == "no_such_message"
        right = signed(says="thanks")
        made = await shop.post(at, jws=right.raw)
        assert made["id"] == right.id and (await shop.post(at, jws=right.raw)) == made


async def test_a_customer_who_says_stop_on_the_phone_is_heard(tmp_path: Path) -> None:
    async with a_world(tmp_path, business_rate=8) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care", "sales")
        (given,) = pair.state.second.grants
        at, about = f"/connections/{pair.cid}", {"grants": [given.id], "reason": "told_us"}
        for _ in range(10):
            await shop.ask("GET", "/self")
        made = await shop.ask("POST", f"{at}/renounce", {**about, "purposes": ["sales"]})
        assert made.status == 201, "a no is not kept out by a rate that is used up"
        await again(pair)
        assert pair.state.first.renounced[0].purposes == ("sales",)
        assert await pair.refused("first", "message", purpose="sales", topic="doors") == "no_grant"
        await pair.go("first", "message", purpose="care")
        again_ = await world.act(pair.compose("first", "renounce", grants=(hash_id(b"x"),), because="told_us"))
        assert again_.code == "no_such_grant"


async def test_a_customer_gives_up_what_a_business_allowed_her_and_it_is_told(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        given = await shop.post(f"/connections/{pair.cid}/grants", {
            "purposes": ["favour"], "channels": ["app"], "expires_at": "2024-12-31T00:00:00Z",
        })  # fmt: skip
        await again(pair)
        await pair.go("second", "renounce", grants=(given["id"],), because="not_needed")
        (told,) = (await shop.get("/notifications?order=oldest&types=grant.renounced"))["items"]
        assert (told["data"]["grants"], told["data"]["reason"]) == ([given["id"]], "not_needed")
        shown = await shop.get(f"/connections/{pair.cid}")
        assert shown["them"]["renounced"] == [{"grants": [given["id"]]}]


FILTERS = ("feedback", "says", "word", "useful", "thanks", "contested", "contest")


@pytest.mark.parametrize("route", [it for it in ROUTES if it.method == "GET"], ids=lambda it: it.operation)
def test_no_list_is_sifted_by_what_customers_said(route: Any) -> None:
    """SAY-20. Whoever adds one must change this test, and the rule with it."""
    assert route.query is None or not set(route.query.model_fields) & set(FILTERS)


async def test_a_query_that_names_feedback_is_refused(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        for name in FILTERS:
            for path in ("/connections", "/contests", "/report"):
                assert await shop.refused("GET", f"{path}?{name}=useful") == "invalid_request"


async def test_contests_outlive_a_restart_and_hours_go_by(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair, _ = await contested(shop, "care")
        await world.stop()
        await world.start()
        world.later(HOUR)
        assert (await shop.post("/check", {"connection": pair.cid, "purpose": "care"}))["reason"] == "no_grant"
        assert len((await shop.get("/contests"))["items"]) == 1


async def test_a_grant_in_the_place_of_another_gives_nothing_again_that_was_given_up(tmp_path: Path) -> None:
    """GRANT-12, over REST: as the SDK does it."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        at = f"/connections/{pair.cid}/grants"
        wide = {"purposes": ["care", "favour", "news"], "channels": ["app", "email"]}
        until = {"expires_at": "2024-12-31T00:00:00Z"}
        given = await shop.post(at, {**wide, **until})
        await again(pair)
        await pair.go("second", "renounce", grants=(given["id"],), purposes=("news",), because="not_needed")
        second = await shop.post(at, {**wide, **until, "replaces": given["id"]})
        assert (second["purposes"], second["channels"]) == (["care", "favour"], ["app", "email"])
        await again(pair)
        part = {"purposes": ("care",), "channels": ("email",)}
        await pair.go("second", "renounce", grants=(second["id"],), because="not_needed", **part)
        third = await shop.post(at, {**wide, **until, "replaces": second["id"]})
        assert (third["purposes"], third["channels"]) == (["favour", "news"], ["app", "email"]), "the larger of two"
        await again(pair)
        assert [it.purposes for it in pair.state.first.grants] == [("favour", "news")]
        await pair.go("second", "renounce", grants=(third["id"],), because="not_needed")
        problem = await shop.ask(
            "POST", at, {**wide, "channels": ["app"], "purposes": ["favour"], **until, "replaces": third["id"]}
        )
        assert problem.code == "invalid_request" and [it["pointer"] for it in problem.json["errors"]] == ["/replaces"]
        fourth = await shop.post(at, {**wide, **until, "replaces": third["id"], "again": True})
        assert fourth["purposes"] == wide["purposes"]
        await again(pair)
        assert await world.act(pair.compose("second", "message", purpose="news"))
        gone = await shop.refused("POST", at, {**wide, **until, "replaces": third["id"]})
        assert gone == "no_such_grant"
