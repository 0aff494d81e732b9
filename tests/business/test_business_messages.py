"""What a business writes to its customers: delivered, held, dropped, or refused with the reason in words.

Rules of spec/business-messages.md: SAY-1 to SAY-7, SAY-12, SAY-13, SAY-17.
"""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from comity.client import Wallet
from comity.crypto.encryption import decrypt_body
from comity.documents.acts import Message, open_act
from comity.documents.types import SIDES
from comity.errors import Refused
from comity_server.api.business.endpoints import drafts
from comity_server.api.business.outgoing import EncryptedBody, decrypt_for_business
from comity_server.api.business.reasons import WHY
from comity_server.data_dir import STORE
from comity_server.schema import instant
from support.business_world import Shop, a_shop, again, at_once
from support.sdk_world import IDENTITY, Bent, sdk_world
from support.world import DAY, HOUR, MINUTE, Pair, World, a_world

HELLO = {"purpose": "care", "text": "Is everything all right?"}


async def arrived(pair: Pair) -> list[dict[str, Any]]:
    """The bodies of the messages in a customer's inbox, opened with her key."""
    page = await pair.news("second")
    acts = [open_act(it["act"], pair.world.server.directory.find_key) for it in page["items"] if "act" in it]
    key = pair.signers["second"].key
    return [decrypt_body(it.payload.body, pair.cid, key) for it in acts if isinstance(it.payload, Message)]


async def counted(shop: Shop) -> dict[str, int]:
    total: dict[str, int] = (await shop.get("/report"))["total"]
    return {what: n for what, n in total.items() if not what.startswith("offers.")}


def messages(pair: Pair) -> str:
    return f"/connections/{pair.cid}/messages"


async def test_a_customer_reads_in_her_wallet_what_a_marketer_wrote_over_rest(tmp_path: Path) -> None:
    async with sdk_world(tmp_path) as world:
        shop = await a_shop(world.host)
        signer = world.host.server.context.kept.newest("shop")
        assert signer is not None
        wire, about = Bent(), {"name": "Shop", "business": signer.did, "key": signer.key}
        made = Wallet.create(
            tmp_path / "w", identity=IDENTITY, send=wire.transport, clock=world.host.now, **about  # type: ignore[arg-type]
        )  # fmt: skip
        async with made as wallet:
            mia = await world.person("mia")
            ours, theirs = await world.connect(wallet, mia, "care")
            texts = ["Hello, Mia.", "<script>alert(1)</script>", '=HYPERLINK("http://x")', "two\n\tlines"]
            for text in texts:
                body = {"link": "https://shop.example/care"}
                sent = await shop.post(f"/connections/{theirs.cid}/messages", {**HELLO, "text": text, "body": body})
                assert sent["status"] == "delivered"
            notice = {"purpose": "safety", "text": "Do not lean out."}
            assert (await shop.post(f"/connections/{theirs.cid}/messages", notice))["verdict"]["reason"] == "exempt"
            contact = {"channel": "phone", "purpose": "legal_notice"}
            await shop.post(f"/connections/{theirs.cid}/contacts", contact)
            await theirs.sync()
            found = await theirs.messages()
            assert [it.text for it in found] == [*texts, "Do not lean out."]
            assert found[0].body == {"text": "Hello, Mia.", "link": "https://shop.example/care"}
            # Every exempt notice of the shop's is counted in her wallet, out of what was signed (SAY-13).
            await theirs.send_message("safety", "Your ladder stands in the road.")
            notices = await theirs.exempt_notices()
            assert {purpose: len(times) for purpose, times in notices.items()} == {"safety": 1, "legal_notice": 1}
            assert notices["safety"] == (found[-1].at,)
            # Over REST and by the business's own wallet alike, which does not wait a month for room.
            for _ in range(3):
                await ours.send_message("security", "Change your lock.")
            with pytest.raises(Refused, match="exempt_limit"):
                await ours.send_message("security", "Change your lock.")
            assert [response.status for _, response in wire.seen].count(429) == 1


async def test_a_marketer_sees_why_a_message_waits_and_a_later_one_arrives(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        sent = await shop.ask("POST", messages(pair), {**HELLO, "topic": "windows"})
        assert sent.status == 201 and sent.json["status"] == "delivered"
        assert sent.json["verdict"]["reason"] == "granted" and sent.json["verdict"]["why"] == WHY["granted"]
        assert sent.headers["Location"] == f"/v1/business/connections/{pair.cid}/acts/{sent.json['id']}"
        end = world.now() // 1000 + 3600
        await pair.go("second", "mute", until=end)
        held = await shop.ask("POST", messages(pair), {**HELLO, "text": "Later, then."})
        assert held.status == 202 and held.json["status"] == "held"
        verdict = held.json["verdict"]
        assert (verdict["decision"], verdict["reason"], verdict["why"]) == ("hold", "not_now", WHY["not_now"])
        assert verdict["ends_at"].endswith("Z") and held.json["expires_at"] > verdict["ends_at"]
        dropped = await shop.ask("POST", messages(pair), {**HELLO, "if_muted": "drop"})
        assert (dropped.status, dropped.json["status"]) == (202, "dropped")
        assert [it["text"] for it in await arrived(pair)] == ["Is everything all right?"]
        # What waited goes out before what is sent next, and both are decided on the same state.
        world.later(HOUR + MINUTE)
        await shop.post(messages(pair), {**HELLO, "text": "Now."})
        assert [it["text"] for it in await arrived(pair)] == ["Is everything all right?", "Later, then.", "Now."]
        assert await counted(shop) == {
            "connections.opened": 1,
            "messages.delivered": 3,
            "messages.dropped": 1,
            "messages.held": 1,
        }


async def test_a_message_outlasts_a_mute_of_two_months_that_shows_its_end(tmp_path: Path) -> None:
    """HOLD-1, HOLD-3, over REST."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        end = world.now() // 1000 + 60 * DAY // 1000
        await pair.go("second", "mute", until=end)
        held = await shop.ask("POST", messages(pair), HELLO)
        assert (held.status, held.json["expires_at"]) == (202, instant(end * 1000 + DAY)) and "warning" not in held.json
        early = await shop.post(messages(pair), {**HELLO, "expires_at": instant(end * 1000 - DAY)})
        assert (early["status"], early["warning"]) == ("held", "expires_before_end")
        world.at(end * 1000 + HOUR)
        await shop.post(messages(pair), {**HELLO, "text": "Welcome back."})
        assert [it["text"] for it in await arrived(pair)] == [HELLO["text"], "Welcome back."]


async def test_a_shop_learns_nothing_of_a_hidden_end_from_how_long_its_message_waits(tmp_path: Path) -> None:
    """The same message twice, before and after Mia set an end for herself alone: equal but for its name (HOLD-2)."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        mute = await pair.go("second", "mute")
        # At the beginning of a second: the expiry counts whole ones.
        moment = (world.now() // 1000 + 1) * 1000
        world.at(moment)
        before = await shop.ask("POST", messages(pair), HELLO)
        await pair.go("second", "mute_end", mute=mute.id, until=moment // 1000 + 70 * DAY // 1000)
        world.at(moment)
        after = await shop.ask("POST", messages(pair), HELLO)

        def shown(answer: Any) -> dict[str, Any]:
            told = dict(answer.json)
            told["verdict"] = {**told["verdict"], "valid_until": "", "as_of": ""}
            return {**told, "id": "", "draft": "", "accepted_at": ""}

        assert before.status == after.status == 202 and shown(before) == shown(after)
        assert (before.json["expires_at"] < instant(moment + 35 * DAY + MINUTE)) and "ends_at" not in after.json[
            "verdict"
        ]


async def test_hidden_hours_beside_a_contest_and_a_shown_end_do_not_move_the_expiry(tmp_path: Path) -> None:
    """Of Mia's two twins one has hours of her own: care muted for 60 days, `care.offer` judged as sales, too (HOLD-2).
    What the gate answers to both differs in the end that is shown; how long the message waits does not."""
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        start, waits = world.now(), []
        for has_hours in (False, True):
            world.at(max(start, world.now()))
            pair = await shop.customer("care", "sales")
            sent = await shop.post(messages(pair), {**HELLO, "purpose": "care.offer"})
            about = {"message": sent["id"], "purpose": "care.offer", "says": "mislabelled", "as_": "sales"}
            await again(pair)
            await pair.go("second", "feedback", **about)
            end = start // 1000 + 60 * DAY // 1000
            await pair.go("second", "mute", purposes=("care",), until=end)
            if has_hours:
                windows = ({"days": ("su",), "start": "03:00", "end": "03:15"},)
                await pair.go("second", "hours", zone="Europe/Berlin", windows=windows, shown="not_now")
            held = await shop.ask("POST", messages(pair), {**HELLO, "purpose": "care.offer"})
            early = await shop.post(
                messages(pair), {**HELLO, "purpose": "care.offer", "expires_at": instant(end * 1000 - DAY)}
            )
            assert held.status == 202 and early["status"] == "held"
            waits.append((held.json["expires_at"], early.get("warning")))
        assert waits == [(instant(end * 1000 + DAY), "expires_before_end")] * 2


async def test_a_released_message_counts_before_the_next_one_is_judged(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        await pair.grant("second", "care", budget={"max": 1, "per": "day"})
        await pair.go("second", "mute", until=world.now() // 1000 + 3600)
        assert (await shop.post(messages(pair), HELLO))["status"] == "held"
        world.later(HOUR + MINUTE)
        spent = await shop.ask("POST", messages(pair), {**HELLO, "text": "And again?", "if_muted": "fail"})
        assert (spent.code, spent.json["verdict"]["reason"]) == ("over_budget", "over_budget")
        assert len(await arrived(pair)) == 1


async def test_a_refused_message_is_a_draft_until_it_may_be_sent(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        await pair.go("second", "mute", until=world.now() // 1000 + 3600)
        letter = {**HELLO, "topic": "windows", "if_muted": "fail", "body": {"n": 1.5}}
        refused = await shop.ask("POST", messages(pair), letter, again="once")
        assert refused.code == "not_now" and refused.json["verdict"]["why"] == WHY["not_now"]
        assert refused.json["documentation"].endswith("#not_now")
        id_ = refused.json["draft"]
        # The same again, under the same key or none, is the same draft.
        for again in ("once", None):
            reply = await shop.ask("POST", messages(pair), letter, again=again)
            assert (reply.code, reply.json["draft"]) == ("not_now", id_)
        (draft,) = (await shop.get("/drafts"))["items"]
        assert (draft["id"], draft["connection"], draft["message"]) == (id_, pair.cid, letter)
        assert (await shop.ask("POST", f"/drafts/{id_}/send")).json["draft"] == id_
        changed = {**letter, "text": "Are you back?"}
        assert (await shop.ask("PUT", f"/drafts/{id_}", changed)).json["message"] == changed
        assert (await shop.get(f"/drafts/{id_}"))["message"] == changed
        other = await a_shop(world, "other")
        for method, path, body in (
            ("GET", f"/drafts/{id_}", None),
            ("PUT", f"/drafts/{id_}", changed),
            ("DELETE", f"/drafts/{id_}", None),
            ("POST", f"/drafts/{id_}/send", None),
        ):
            theirs = await other.ask(method, path, body)
            nowhere = await shop.ask(method, path.replace("draft_", "draft-"), body)
            assert theirs.code == "not_found" and theirs.plain == nowhere.plain
        world.later(HOUR + MINUTE)
        assert (await shop.post(f"/drafts/{id_}/send", again="send"))["status"] == "delivered"
        assert await shop.refused("GET", f"/drafts/{id_}") == "not_found"
        repeated = await shop.ask("POST", f"/drafts/{id_}/send", again="send")
        assert repeated.status == 201 and repeated.headers["Idempotency-Replayed"] == "true"
        assert [it["text"] for it in await arrived(pair)] == ["Are you back?"]


async def test_drafts_are_listed_the_newest_first_thrown_away_and_end_after_ninety_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "MOST_DRAFTS", 3)
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        ids = []
        for number in range(3):
            reply = await shop.ask("POST", messages(pair), {**HELLO, "text": f"Number {number}"})
            assert reply.code == "no_grant" and reply.json["verdict"]["why"] == WHY["no_grant"]
            ids.append(reply.json["draft"])
            world.later(MINUTE)
        full = await shop.ask("POST", messages(pair), {**HELLO, "text": "One too many"})
        assert (full.code, full.json["no_draft"], "draft" in full.json) == ("no_grant", "too_many_drafts", False)
        page = await shop.get("/drafts?limit=2")
        rest = await shop.get(f"/drafts?limit=2&cursor={page['next_cursor']}")
        assert [it["id"] for it in page["items"] + rest["items"]] == ids[::-1] and "next_cursor" not in rest
        other = await a_shop(world, "other")
        assert await other.refused("GET", f"/drafts?cursor={page['next_cursor']}") == "invalid_request"
        # What is thrown away makes room in the very same moment, for one.
        async with at_once(world) as ask:
            deleted = await ask(shop.ask("DELETE", f"/drafts/{ids[0]}"))
            more = [await ask(shop.ask("POST", messages(pair), {**HELLO, "text": f"More {n}"})) for n in range(2)]
        kept, full = await asyncio.gather(*more)
        assert (await deleted).status == 204 and "too_many_drafts" not in kept.json.values()
        assert full.json["no_draft"] == "too_many_drafts"
        assert (await shop.ask("DELETE", f"/drafts/{kept.json['draft']}")).status == 204
        assert await shop.refused("DELETE", f"/drafts/{ids[0]}") == "not_found"
        world.later(90 * DAY - 2 * MINUTE)
        assert (await shop.ask("PUT", f"/drafts/{ids[2]}", HELLO)).status == 200
        assert [it["id"] for it in (await shop.get("/drafts"))["items"]] == [ids[2]]
        # One that is too old is gone from the store once it was pruned.
        await world.server.pruner.round()
        with sqlite3.connect(f"file:{tmp_path}/data/{STORE}?mode=ro", uri=True) as raw:
            assert raw.execute("SELECT COUNT(*) FROM drafts").fetchone() == (1,)


async def test_a_held_message_keeps_its_text_and_becomes_a_draft_only_when_it_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "MOST_DRAFTS", 2)
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair, leaving = await shop.customer("care"), await shop.customer("care")
        for each in (pair, leaving):
            await each.go("second", "mute", until=world.now() // 1000 + 3600)
        short = instant(world.now() + 30 * MINUTE)

        async def write(to: Pair, **changes: Any) -> dict[str, Any]:
            sent: dict[str, Any] = await shop.post(messages(to), {**HELLO, **changes})
            assert sent["status"] == "held"
            return sent

        async def kept() -> list[str]:
            return [it["id"] for it in (await shop.get("/drafts"))["items"]]

        expires = await write(pair, text="Come today.", expires_at=short)
        ends = await write(leaving, text="See you.")
        full = await write(pair, text="One too many.")
        assert (full["no_draft"], "draft" in full, "no_draft" in expires) == ("too_many_drafts", False, False)
        # It waits, so it is no draft: nobody sends it twice, or changes what is on its way.
        assert await kept() == []
        for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/send")):
            body = HELLO if method == "PUT" else None
            assert await shop.refused(method, f"/drafts/{expires['draft']}{path}", body) == "not_found"
        # The connection ends: the text is a draft, and there is room for another.
        await leaving.go("second", "revoke")
        assert await kept() == [ends["draft"]]
        first = await write(pair, text="Roof, once.", topic="roof")
        second = await write(pair, text="Roof, twice.", topic="roof")
        assert second["replaces"] == first["id"] and second["no_draft"] == "too_many_drafts"
        third = await write(pair, text="Door.", topic="door")
        world.later(31 * MINUTE)
        await pair.go("second", "unmute")
        assert [it["text"] for it in await arrived(pair)] == ["One too many.", "Roof, twice.", "Door."]
        assert await kept() == [expires["draft"], ends["draft"]]
        assert (await shop.get(f"/drafts/{expires['draft']}"))["message"]["text"] == "Come today."
        (news,) = (await shop.get("/notifications?order=oldest&types=message.expired"))["items"]
        assert (news["data"]["act"], news["data"]["draft"]) == (expires["id"], expires["draft"])
        # What was delivered, or replaced, has left nothing behind.
        assert third["draft"] not in await kept()
        with sqlite3.connect(f"file:{tmp_path}/data/{STORE}?mode=ro", uri=True) as raw:
            assert raw.execute("SELECT COUNT(*) FROM drafts").fetchone() == (2,)


async def test_a_draft_that_is_sent_and_waits_is_there_once_and_gone_when_it_arrives(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        await pair.go("second", "mute", until=world.now() // 1000 + 3600)
        refused = await shop.ask("POST", messages(pair), {**HELLO, "if_muted": "fail"})
        changed = {**HELLO, "if_muted": "hold"}
        await shop.ask("PUT", f"/drafts/{refused.json['draft']}", changed)
        sent = await shop.post(f"/drafts/{refused.json['draft']}/send")
        assert sent["status"] == "held" and sent["draft"] != refused.json["draft"]
        assert (await shop.get("/drafts"))["items"] == []
        await world.stop()
        await world.start()
        world.later(HOUR + MINUTE)
        await shop.post(messages(pair), {**HELLO, "text": "Now."})
        assert len(await arrived(pair)) == 2
        with sqlite3.connect(f"file:{tmp_path}/data/{STORE}?mode=ro", uri=True) as raw:
            assert raw.execute("SELECT COUNT(*) FROM drafts").fetchone() == (0,)


async def test_a_draft_says_nothing_to_who_has_the_store_and_cannot_be_put_in_anothers_place(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        ids = [(await shop.ask("POST", messages(pair), {**HELLO, "text": text})).json["draft"] for text in "ab"]
        letter = {**HELLO, "text": "The windows of Weststrasse 7"}
        await shop.ask("POST", messages(pair), letter)
        await world.stop()
        files = [path.read_bytes() for path in (tmp_path / "data").iterdir() if path.suffix != ".key"]
        assert not any(b"Weststrasse" in data for data in files)
        with sqlite3.connect(tmp_path / "data" / STORE) as raw:
            (first,) = raw.execute("SELECT sealed FROM drafts WHERE id = ?", (ids[0],)).fetchone()
            raw.execute("UPDATE drafts SET sealed = ? WHERE id = ?", (first, ids[1]))
        await world.start()
        assert (await shop.get(f"/drafts/{ids[0]}"))["message"]["text"] == "a"
        assert await shop.refused("GET", f"/drafts/{ids[1]}") == "internal"


async def test_each_reason_is_told_with_its_own_code_and_nothing_private(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care", "sales")
        when = world.now() // 1000
        await pair.go("second", "milestone", kind="bought", topic="windows.kitchen", when=when)
        await pair.go("second", "remember", key="no_interest", topic="doors")
        now = world.now() // 1000

        async def told(**changes: Any) -> tuple[str, str | None]:
            reply = await shop.ask("POST", messages(pair), {**HELLO, "if_muted": "fail", **changes})
            verdict = reply.json.get("verdict", {})
            assert verdict.get("why") in (None, WHY.get(verdict.get("reason", "")))
            return reply.code, verdict.get("reason")

        assert await told(purpose="news") == ("no_grant", "no_grant")
        sold = {"purpose": "sales.spring", "topic": "windows.kitchen.blinds"}
        assert await told(**sold) == ("already_has", "already_has")
        assert await told(purpose="sales", topic="doors") == ("no_interest", "no_interest")
        past = f"2024-06-18T09:{now % 60:02}:00Z"
        assert await told(expires_at=past) == ("message_expired", None)
        # A hidden mute, hours and a limit of her own read the same, but for what the verdict rests on.
        seen = []
        for kind, fields, back in (
            ("mute", {}, ("unmute", {})),
            (
                "hours",
                {
                    "zone": "Europe/Berlin",
                    "windows": ({"days": ("su",), "start": "03:00", "end": "04:00"},),
                    "shown": "not_now",
                },
                ("hours", {"zone": "Europe/Berlin", "windows": (), "shown": "not_now"}),
            ),
            ("budget", {"messages": {"max": 0, "per": "day"}}, ("budget", {})),
        ):
            await pair.go("second", kind, **fields)
            reply = await shop.ask("POST", messages(pair), {**HELLO, "if_muted": "fail"})
            problem = reply.json
            del problem["request_id"]
            for member in ("as_of", "valid_until"):
                del problem["verdict"][member]
            seen.append(problem)
            await pair.go("second", back[0], **back[1])
        assert seen[0] == seen[1] == seen[2] and "ends_at" not in seen[0]["verdict"]
        await pair.go("second", "revoke")
        assert await told() == ("connection_ended", "ended")
        assert await told(purpose="legal_notice") == ("connection_ended", "ended")
        totals = await counted(shop)
        assert {what.rpartition(".")[2]: n for what, n in totals.items() if ".refused." in what} == {
            "no_grant": 1,
            "already_has": 1,
            "no_interest": 1,
            "message_expired": 1,
            "not_now": 3,
            "connection_ended": 2,
        }
        assert totals["connections.ended_by_them"] == 1


async def test_every_fault_of_a_message_is_told_at_once_and_nothing_is_quoted(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        wrong = {
            "purpose": "Care!",
            "topic": "",
            "text": "evil \u202e text",
            "body": {"text": "beside"},
            "if_muted": "wait",
            "expires_at": "tomorrow",
            "reply_to": "x",
            "colour": "red",
        }
        reply = await shop.ask("POST", messages(pair), wrong)
        assert reply.code == "invalid_request"
        assert {it["pointer"] for it in reply.json["errors"]} == {f"/{name}" for name in wrong}
        assert b"evil" not in reply.body and b"tomorrow" not in reply.body
        for body, pointer in (
            ({"purpose": "care"}, ""),
            ({**HELLO, "body": {"note": ["fine", {"deep": "\x1b[31m"}]}}, "/body"),
            ({**HELLO, "body": {"na\u2066me": 1}}, "/body"),
            ({**HELLO, "text": "bell \x07"}, "/text"),
            ({**HELLO, "text": "a" * 10_001}, "/text"),
            ({**HELLO, "expires_at": "2024-12-18T10:00:00Z"}, "/expires_at"),
        ):
            reply = await shop.ask("POST", messages(pair), body)
            assert (reply.code, [it["pointer"] for it in reply.json["errors"]]) == ("invalid_request", [pointer]), body
        long = '{"purpose": "care", "body": {"n": "' + "ü" * 15_500 + '"}}'
        assert await shop.refused("POST", messages(pair), raw=long.encode()) == "invalid_request"
        lone = b'{"purpose": "care", "text": "\\ud800"}'
        assert await shop.refused("POST", messages(pair), raw=lone) == "invalid_request"
        assert await shop.refused("POST", messages(pair), raw=b"[1]") == "invalid_request"
        assert await arrived(pair) == [] and (await shop.get("/drafts"))["items"] == []


async def test_a_message_sent_twice_under_one_key_arrives_once(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop, other = await a_shop(world), await a_shop(world, "other")
        pair = await shop.customer("care")
        first = await shop.ask("POST", messages(pair), HELLO, again="k1")
        second = await shop.ask("POST", messages(pair), HELLO, again="k1")
        assert (first.status, first.body) == (second.status, second.body) and len(await arrived(pair)) == 1
        assert await shop.refused("POST", messages(pair), {**HELLO, "text": "Else"}, again="k1") == (
            "idempotency_mismatch"
        )
        theirs = await other.ask("POST", messages(pair), HELLO)
        nowhere = await other.ask("POST", "/connections/" + "A" * 43 + "/messages", HELLO)
        assert theirs.code == "not_found" and theirs.plain == nowhere.plain


async def test_words_are_sealed_to_the_key_that_the_customer_has_when_they_are_decided(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer("care")
        encrypted = EncryptedBody(pair.cid, {"text": "Hello"})
        early = encrypted.jwe(pair.state, "first")
        assert encrypted.jwe(pair.state, "first") == early
        old, new = pair.signers["second"], world.person()
        await pair.rotate("second", new)
        late = encrypted.jwe(pair.state, "first")
        assert decrypt_body(early, pair.cid, old.key) == decrypt_body(late, pair.cid, new.key) == {"text": "Hello"}
        await pair.grant("second", "care")
        await shop.post(messages(pair), HELLO)
        assert [it["text"] for it in await arrived(pair)] == [HELLO["text"]]
        # What a customer writes to a business that leaves its key here can be read here, and nothing else can.
        kept = world.server.context.kept
        back = EncryptedBody(pair.cid, {"text": "Thanks"}).jwe(pair.state, "second")
        assert decrypt_for_business(kept, shop.did, back, pair.cid) == {"text": "Thanks"}
        assert decrypt_for_business(kept, pair.signers["second"].did, back, pair.cid) is None
        assert (
            decrypt_for_business(kept, shop.did, late, pair.cid) is None
            and decrypt_for_business(kept, shop.did, "x.y.z", pair.cid) is None
        )


async def test_a_sale_may_not_hide_among_notices_for_long(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        pair = await shop.customer()
        notice = {"purpose": "legal_notice", "text": "Please close the windows tonight."}
        await shop.post(messages(pair), notice)
        world.later(DAY)
        for _ in range(3):
            await shop.post(messages(pair), {**notice, "purpose": "security"})
        over = await shop.ask("POST", messages(pair), notice)
        assert over.code == "exempt_limit" and over.json["verdict"]["reason"] == "exempt_limit" and over.json["draft"]
        assert 28 * 86_400 < int(over.headers["Retry-After"]) <= 29 * 86_400
        # A contact outside is on record whatever the count (SAY-14). Two places stay for safety.
        contact = {"channel": "post", "purpose": "safety"}
        assert (await shop.post(f"/connections/{pair.cid}/contacts", contact))["verdict"]["reason"] == "exempt"
        await shop.post(messages(pair), {**notice, "purpose": "safety"})
        assert (await shop.ask("POST", messages(pair), {**notice, "purpose": "safety"})).code == "exempt_limit"
        assert (await shop.post(f"/connections/{pair.cid}/contacts", contact))["verdict"]["reason"] == "exempt_limit"
        another = await shop.customer()
        await shop.post(messages(another), notice)
        assert await counted(shop) == {
            "connections.opened": 2,
            "contacts.stated": 2,
            "messages.delivered": 6,
            "messages.exempt": 6,
            "messages.exempt_over_limit": 2,
        }
        world.later(30 * DAY + HOUR)
        assert (await shop.post(messages(pair), notice))["status"] == "delivered"


async def test_the_limit_of_notices_holds_on_every_way_in_and_for_both_sides(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        pair = await world.shop_and_customer()
        for side in SIDES:
            for _ in range(4):
                await pair.go(side, "message", purpose="security")
            reply = await world.act(pair.compose(side, "message", purpose="security"))
            assert reply.code == "exempt_limit" and int(reply.headers["Retry-After"]) > 29 * 86_400


async def made_anew(world: World) -> Shop:
    """A business that keeps its signing key itself."""
    signer = await world.business("own")
    return Shop(world, "own", signer.did, await world.server.add_owner_key("own"))


async def test_nobody_is_reached_by_words_in_which_nothing_can_be_seen(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        mia = await shop.customer("care", "favour")
        for nothing in (" ", "\r\n", "\u200b", "\u2800"):
            for path, body in (
                ("messages", {"purpose": "care", "text": nothing}),
                ("favours", {"kind": "review", "effort": "minute", "text": nothing}),
            ):
                reply = await shop.ask("POST", f"/connections/{mia.cid}/{path}", body)
                assert reply.json["errors"] == [
                    {"in": "body", "pointer": "/text", "detail": "a text needs a visible character"}
                ]
