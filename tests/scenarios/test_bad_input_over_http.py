"""What no honest client sends, to a server process: no 5xx, nothing in its log, and nothing changed by it."""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import base58

from comity.crypto.keys import Signer
from comity.documents.agreements import countersign
from comity.encoding import b64u_encode, dump_json, hash_id
from comity.http_api import ACTS, AGREEMENTS, CONNECTIONS, INBOX, JSON, JSON_LINES, JWT, OFFERS, STATUS_INDEXES
from comity.rules.next_act import blind_revoke, compose_act
from support.child_server import child_world
from support.parties import forge
from support.world import DAY, HOUR, Pair, Reply, body_of

ACT_TYP = "comity-act+jwt"


# --- acts

NOWHERE = hash_id(b"nowhere")


def acts_that_are_none(pair: Pair, shop: Signer, stranger: Signer) -> dict[str, tuple[bytes, str]]:
    """Bytes sent as an act of the shop, and the code of their refusal."""
    good = pair.compose("first", "message")
    payload = json.loads(good.payload.to_json())
    head, body, signature = good.raw.split(".")

    def signed(value: Any, header: dict[str, Any] | None = None, typ: str = ACT_TYP) -> bytes:
        return forge(value, typ, shop, header).encode()

    def text(change: Callable[[str], str]) -> bytes:
        return signed(change(json.dumps(payload)).encode())

    def header(**changes: Any) -> dict[str, Any]:
        return {"alg": "EdDSA", "typ": ACT_TYP, "kid": shop.kid, **changes}

    def mac(algorithm: str) -> bytes:
        line = f"{b64u_encode(json.dumps(header(alg=algorithm)).encode())}.{body}"
        secret = hmac.new(shop.key.public.raw, line.encode(), hashlib.sha256).digest()
        return f"{line}.{b64u_encode(secret)}".encode()

    def placed(**changes: Any) -> bytes:
        return signed({**payload, **changes})

    low = "z" + base58.b58encode(b"\xed\x01" + bytes(32)).decode()
    low_one = "z" + base58.b58encode(b"\xed\x01\x01" + bytes(31)).decode()
    twice = b64u_encode(json.dumps(header())[:-1].encode() + b', "alg": "none"}')
    unsigned = b64u_encode(json.dumps(header(alg="none")).encode())
    iat = f'"iat": {payload["iat"]}'
    foreign = Signer(shop.kid, stranger.key)
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    return {
        "a wrong signature": (f"{head}.{body}.{b64u_encode(bytes(64))}".encode(), "bad_signature"),
        "another key under this name": (forge(payload, ACT_TYP, foreign).encode(), "bad_signature"),
        "a stranger in the shop's name": (forge(payload, ACT_TYP, stranger).encode(), "bad_signature"),
        "a stranger in his own name": (
            forge({**payload, "iss": stranger.did}, ACT_TYP, stranger).encode(),
            "not_found",
        ),
        "a wrong audience": (placed(aud=stranger.did), "wrong_audience"),
        "alg none": (signed(payload, header(alg="none")), "malformed"),
        "alg none without a signature": (f"{unsigned}.{body}.".encode(), "malformed"),
        "HS256 with the public key": (mac("HS256"), "malformed"),
        "EdDSA with a MAC": (mac("EdDSA"), "malformed"),
        "an embedded key": (signed(payload, header(jwk=shop.key.public.jwk(shop.kid))), "malformed"),
        "a critical header": (signed(payload, header(crit=["b64"], b64=False)), "malformed"),
        "a key's address": (signed(payload, header(x5u="http://127.0.0.1:1/")), "malformed"),
        "another type": (signed(payload, header(typ="comity-offer+jwt")), "malformed"),
        "a setting's type": (signed(payload, typ="comity-setting+jwt"), "malformed"),
        "a key nobody publishes": (signed(payload, header(kid=f"{shop.did}#other")), "unknown_key"),
        "a did:web elsewhere": (signed(payload, header(kid="did:web:localhost%3A1#k")), "unknown_key"),
        "a low-order key": (signed(payload, header(kid=f"did:key:{low}#{low}")), "malformed"),
        "the neutral key": (signed(payload, header(kid=f"did:key:{low_one}#{low_one}")), "malformed"),
        "an extra member": (placed(more=1), "malformed"),
        "a missing member": (signed({name: it for name, it in payload.items() if name != "purpose"}), "malformed"),
        "a member that is null": (placed(topic=None), "malformed"),
        "a member twice": (text(lambda it: it.replace('"seq"', '"seq": 0, "seq"', 1)), "malformed"),
        "a header member twice": (f"{twice}.{body}.{signature}".encode(), "malformed"),
        "NaN": (text(lambda it: it.replace(iat, '"iat": NaN')), "malformed"),
        "infinity": (text(lambda it: it.replace(iat, '"iat": -Infinity')), "malformed"),
        "a number without end": (text(lambda it: it.replace(iat, '"iat": 1e999')), "malformed"),
        "a big integer": (placed(iat=2**53), "malformed"),
        "a very big integer": (text(lambda it: it.replace(iat, '"iat": ' + "9" * 5000)), "malformed"),
        "a fraction": (placed(seq=0.5), "malformed"),
        "a truth for a number": (placed(seq=False), "malformed"),
        "a negative place": (placed(seq=-1), "malformed"),
        "depth": (placed(topic=deep), "malformed"),
        "a lone surrogate": (text(lambda it: it.replace('"care"', '"care\\ud800"')), "malformed"),
        "a byte order mark": (signed(b"\xef\xbb\xbf" + json.dumps(payload).encode()), "malformed"),
        "other bytes than UTF-8": (signed(json.dumps(payload).encode().replace(b"care", b"c\xffre")), "malformed"),
        "UTF-16": (signed(json.dumps(payload).encode("utf-16")), "malformed"),
        "64 KiB and one": (good.raw.encode().ljust(65_537, b"A"), "too_large"),
        "a body that is too long": (placed(body=body_of(pair.cid) + "A" * 49_152), "too_large"),
        "nothing": (b"", "malformed"),
        "a line end": (good.raw.encode() + b"\n", "malformed"),
        "four parts": (good.raw.encode() + b".AA", "malformed"),
        "padding": (f"{head}=.{body}.{signature}".encode(), "malformed"),
        "not the shortest base64": (f"{head}.{body}.{signature[:-1]}{_same_bits(signature[-1])}".encode(), "malformed"),
        "JSON": (json.dumps(payload).encode(), "malformed"),
        "zeros": (bytes(1000), "malformed"),
        "a place ahead": (placed(seq=payload["seq"] + 1), "seq_gap"),
        "a place far ahead": (placed(seq=2**53 - 2), "seq_gap"),
        "a fork": (placed(prev=hash_id(b"another past")), "prev_mismatch"),
        "an unknown connection": (placed(cid=NOWHERE, body=body_of(NOWHERE)), "not_found"),
        "a clock a day behind": (placed(iat=payload["iat"] - 86_400), "iat_out_of_range"),
        "a clock a day ahead": (placed(iat=payload["iat"] + 86_400), "iat_out_of_range"),
        "over before it begins": (placed(exp=payload["iat"] - 1), "message_expired"),
        "another's grant taken back": (_next(pair, shop, "withdraw", grant=hash_id(b"x")), "no_such_grant"),
        "a grant without an index": (_grant(pair, shop, 7), "index_not_reserved"),
    }


def _same_bits(character: str) -> str:
    """A character that differs in the bits that do not count."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(character) ^ 1]


def _next(pair: Pair, shop: Signer, kind: str, **fields: Any) -> bytes:
    return pair.compose("first", kind, **fields).raw.encode()


def _grant(pair: Pair, shop: Signer, idx: int) -> bytes:
    exp = pair.world.now() // 1000 + 86_400
    status = {"status_list": {"idx": idx, "uri": f"{pair.world.origin}/status/1"}}
    return _next(pair, shop, "grant", purposes=("care",), channels=("app",), exp=exp, status=status)


async def test_acts_that_are_none(tmp_path: Path) -> None:
    async with child_world(tmp_path) as world:
        pair = await world.shop_and_customer("care")
        before = await world.everything(pair)
        wrong = []
        for name, (raw, code) in acts_that_are_none(pair, pair.signers["first"], world.person()).items():
            reply = await world.send("POST", ACTS, raw, JWT)
            if reply.code != code:
                wrong.append((name, reply.status, reply.body[:200]))
        assert not wrong
        # As lines of a batch each is refused by itself, and the batch is answered.
        lines = [raw for raw, _ in acts_that_are_none(pair, pair.signers["first"], world.person()).values()]
        fit = [raw for raw in lines if b"\n" not in raw and raw]
        reply = await world.send("POST", ACTS, b"\n".join(fit), JSON_LINES)
        answers = [json.loads(line) for line in reply.body.splitlines()]
        assert (reply.status, len(answers)) == (200, len(fit))
        assert all(answer["status"] < 500 for answer in answers)
        assert await world.everything(pair) == before
        assert (await world.act(pair.compose("first", "message"))).status == 200


async def test_a_grant_under_a_made_up_key_and_other_peoples_places(tmp_path: Path) -> None:
    async with child_world(tmp_path) as world:
        pair, other = await world.shop_and_customer("care"), await world.shop_and_customer("care")
        made_up, now = world.person(), world.now() // 1000
        members: dict[str, Any] = {
            "iat": now, "cid": pair.cid, "seq": 0, "prev": pair.cid, "exp": now + 86_400, "purposes": ("sales",),
            "channels": ("app",), "status": {"status_list": await other.index("second")},
        }  # fmt: skip
        before = await world.everything(pair, other)
        forged = compose_act("grant", made_up, iss=made_up.did, aud=pair.state.first.did, **members)
        assert (await world.act(forged)).code == "not_found"
        theirs = pair.compose(
            "second", "grant", **{name: members[name] for name in ("exp", "purposes", "channels", "status")}
        )
        assert (await world.act(theirs)).code == "index_not_reserved"
        swapped = pair.compose("first", "message")
        elsewhere = {"cid": other.cid, "body": body_of(other.cid)}
        replayed = forge({**json.loads(swapped.payload.to_json()), **elsewhere}, ACT_TYP, pair.signers["first"])
        assert (await world.act(replayed)).code == "not_found"
        assert await world.everything(pair, other) == before


# --- the order of things


async def test_before_the_agreement_and_after_the_end(tmp_path: Path) -> None:
    async with child_world(tmp_path) as world:
        shop, mia = await world.business("shop"), world.person()
        offer = world.offer(shop)
        await world.publish(offer)
        half = world.half(offer, shop, mia)
        await world.propose(offer, half)
        rows = world.rows()
        early = blind_revoke(half.cid, shop.did, world.now() // 1000, mia)
        assert (await world.act(early)).code == "not_found"
        assert (await world.read(mia, f"{CONNECTIONS}/{half.cid}")).code == "not_found"
        assert world.rows() == rows

        pair = await world.shop_and_customer("care")
        late = [pair.compose("first", "message"), pair.compose("second", "unmute"), pair.compose("second", "mute")]
        again = pair.compose("second", "revoke", iat=world.now() // 1000 + 86_400)
        first = await world.act(again)
        assert first.status == 200, "a clock that is a day off does not stop a no"
        before = await world.everything(pair)
        assert [(await world.act(act)).code for act in late] == ["connection_ended"] * 3
        assert (await world.act(pair.compose("first", "revoke"))).code == "connection_ended"
        assert (await world.act(again)).json["event"] == first.json["event"]
        assert await world.everything(pair) == before


async def test_a_restored_wallet_can_still_say_no(tmp_path: Path) -> None:
    async with child_world(tmp_path) as world:
        pair = await world.shop_and_customer("care")
        await pair.go("second", "mute")
        revoke = blind_revoke(pair.cid, pair.state.first.did, world.now() // 1000 - 86_400, pair.signers["second"])
        assert (await world.act(revoke)).status == 200
        assert (await pair.seen("first")).json["state"]["phase"] == "ended"
        assert (await world.act(pair.compose("first", "message"))).code == "connection_ended"


async def test_an_accepted_act_sent_again_gets_its_first_answer(tmp_path: Path) -> None:
    async with child_world(tmp_path) as world:
        pair = await world.shop_and_customer("care")
        act = pair.compose("first", "message")
        first = await world.act(act)
        pair.take(first.json["event"], act)
        await pair.go("first", "message")
        before = await world.everything(pair)
        assert (await world.act(act)).json["event"] == first.json["event"]
        (line,) = await world.batch(act)
        assert line["event"] == first.json["event"]
        assert await world.everything(pair) == before
        world.later(400 * DAY)
        assert (await world.act(act)).json["event"] == first.json["event"]
        await world.stop()
        await world.start()
        assert (await world.act(act)).json["event"] == first.json["event"]


async def test_two_devices_write_the_same_place_at_once(tmp_path: Path) -> None:
    async with child_world(tmp_path) as world:
        pair = await world.shop_and_customer("care")
        for _ in range(8):
            rivals = [pair.compose("second", "remember", key=f"key_{number}") for number in range(6)]
            replies = await asyncio.gather(*(world.act(act) for act in rivals))
            taken = [(reply, act) for reply, act in zip(replies, rivals, strict=True) if reply.status == 200]
            assert len(taken) == 1
            assert {reply.code for reply in replies if reply.status != 200} == {"seq_taken"}
            pair.take(taken[0][0].json["event"], taken[0][1])
        assert world.rows()["acts"] == 1 + 8


async def test_a_batch_with_a_refused_act_in_the_middle(tmp_path: Path) -> None:
    async with child_world(tmp_path) as world:
        pair, other = await world.shop_and_customer("care"), await world.shop_and_customer("care")
        ahead = Pair(world, pair.agreement, pair.signers, pair.state)
        good = [pair.compose("second", "remember", key="language")]
        accepted = (await world.act(good[0])).json
        pair.take(accepted["event"], good[0])
        bad = pair.compose("second", "forget", key="nothing")
        after = pair.compose("second", "remember", key="name")
        setting = pair.compose("second", "budget")
        others = other.compose("second", "remember", key="name")
        revoke = ahead.compose("second", "revoke")
        lines = await world.batch(good[0], bad, after, "not an act", others, setting, revoke, setting)
        codes = [line.get("code", "accepted") for line in lines]
        assert codes == ["accepted", "nothing_remembered", "after_refused", "malformed", "accepted", "accepted",
                         "accepted", "accepted"]  # fmt: skip
        assert lines[0]["event"] == accepted["event"] and lines[5]["event"] == lines[7]["event"]
        many = b"\n".join(good[0].raw.encode() for _ in range(1001))
        assert (await world.send("POST", ACTS, many, JSON_LINES)).code == "too_large"
        assert (await world.send("POST", ACTS, bytes(8 * 1024 * 1024 + 1), JSON_LINES)).code == "too_large"


# --- agreements and offers


async def test_agreements_that_are_none(tmp_path: Path) -> None:
    async with child_world(tmp_path) as world:
        shop, mia = await world.business("shop"), world.person()
        offer = world.offer(shop, use="many")
        await world.publish(offer)
        half = world.half(offer, shop, mia)
        whole = json.loads(countersign(half, shop).raw)
        one, two = whole["signatures"]
        tampered = json.loads(base64.urlsafe_b64decode(whole["payload"] + "=="))
        tampered["operator"] = "Somebody Else"
        changed = b64u_encode(json.dumps(tampered).encode())
        path = f"{AGREEMENTS}/{half.cid}"
        cases: dict[str, tuple[Any, str]] = {
            "before it was proposed": (whole, "not_found"),
            "one signature": ({**whole, "signatures": [one]}, "malformed"),
            "the same one twice": ({**whole, "signatures": [one, one]}, "malformed"),
            "the other one twice": ({**whole, "signatures": [two, two]}, "malformed"),
            "three": ({**whole, "signatures": [one, two, one]}, "malformed"),
            "none": ({**whole, "signatures": []}, "malformed"),
            "another payload": ({**whole, "payload": changed}, "bad_signature"),
            "an unprotected header": ({**whole, "signatures": [{**one, "header": {}}, two]}, "malformed"),
            "one swapped": ({**whole, "signatures": [{**one, "signature": two["signature"]}, two]}, "bad_signature"),
            "one more member": ({**whole, "more": 1}, "malformed"),
            "a flattened one": ({"payload": whole["payload"], **one}, "malformed"),
        }
        rows = world.rows()
        for name, (value, code) in cases.items():
            assert (await world.send("PUT", path, dump_json(value), JSON)).code == code, name
        assert (
            await world.send("POST", f"{OFFERS}/{offer.short}/agreements", dump_json(whole), JSON)
        ).code == "malformed"
        assert world.rows() == rows
        assert (await world.propose(offer, half)).status == 202
        rows = world.rows()
        for name, (value, code) in list(cases.items())[1:]:
            assert (await world.send("PUT", path, dump_json(value), JSON)).code == code, name
        elsewhere = f"{AGREEMENTS}/{hash_id(b'elsewhere')}"
        assert (await world.send("PUT", elsewhere, dump_json(whole), JSON)).code == "not_found"
        world.later(2 * DAY)
        assert (await world.send("PUT", path, dump_json(whole), JSON)).code == "not_found", "after its time"
        late = world.half(offer, shop, world.person())
        assert (await world.propose(offer, late)).code == "not_found", "the offer is over"
        assert world.rows() == rows


async def test_offers_that_cannot_be_told_apart(tmp_path: Path) -> None:
    async with child_world(tmp_path) as world:
        shop, mia = await world.business("shop"), world.person()
        expired, used, taken = world.offer(shop, exp=world.now() // 1000 + 3600), world.offer(shop), world.offer(shop)
        for offer in (expired, used, taken):
            assert (await world.publish(offer)).status == 201
        half = world.half(used, shop, mia)
        await world.propose(used, half)
        assert (await world.countersign(countersign(half, shop))).status == 200
        turned_down = world.half(taken, shop, mia)
        await world.propose(taken, turned_down)
        assert (await world.read(shop, f"{AGREEMENTS}/{turned_down.cid}", "DELETE")).status == 204
        world.later(2 * HOUR)
        unknown = world.offer(shop)

        def bare(reply: Reply) -> tuple[int, bytes, list[str], str | None]:
            return reply.status, reply.plain, sorted(reply.headers), reply.headers.get("Content-Length")

        for path in (f"{OFFERS}/{{}}", "/i/{}"):
            shown = [bare(await world.send("GET", path.format(it.short))) for it in (unknown, expired, used)]
            shown.append(bare(await world.send("GET", path.format("!!"))))
            assert all(it == shown[0] for it in shown), path
        halves = [world.half(it, shop, world.person()) for it in (unknown, expired, used)] + [
            world.half(taken, shop, mia)
        ]
        offers = (unknown, expired, used, taken)
        replies = [bare(await world.propose(it, one)) for it, one in zip(offers, halves, strict=True)]
        assert all(it == replies[0] for it in replies) and replies[0][0] == 404


# --- reading


async def test_reads_that_are_not_ones_own(tmp_path: Path) -> None:
    async with child_world(tmp_path) as world:
        pair, mine = await world.shop_and_customer("care"), world.person()
        message = await pair.go("first", "message")
        before = await world.everything(pair)
        theirs, nobodys = f"{CONNECTIONS}/{pair.cid}", f"{CONNECTIONS}/{hash_id(b'nobody')}"
        replies = [await world.read(mine, path) for path in (theirs, nobodys)]
        replies += [await world.read(mine, f"{ACTS}/{id_}") for id_ in (message.id, hash_id(b"none"))]
        assert {reply.plain for reply in replies} == {replies[0].plain} and replies[0].code == "not_found"
        assert (await world.send("GET", theirs)).code == "signature_required"
        signed = world.signature(pair.signers["first"], theirs)
        assert (await world.send("GET", theirs, headers=signed)).status == 200
        assert (await world.send("GET", theirs, headers=signed)).code == "signature_replayed"
        elsewhere = world.signature(pair.signers["first"], nobodys)
        assert (await world.send("GET", theirs, headers=elsewhere)).code == "bad_signature"
        asked = dump_json({"cid": pair.cid})
        unsigned_body = world.signature(pair.signers["second"], STATUS_INDEXES, "POST", b"{}")
        assert (await world.send("POST", STATUS_INDEXES, asked, JSON, unsigned_body)).code == "bad_signature"
        assert (await world.read(mine, STATUS_INDEXES, "POST", asked, JSON)).code == "not_found"
        assert (await world.read(mine, f"{INBOX}?cursor=AAAA")).code == "malformed"
        assert await world.everything(pair) == before


# --- half a body and silence


async def test_half_a_body_and_silence(tmp_path: Path) -> None:
    async with child_world(tmp_path, body_timeout=0.5, idle_timeout=1.0) as world:
        pair = await world.shop_and_customer("care")
        before = await world.everything(pair)
        starts = [
            b"POST /v1/acts HTTP/1.1\r\nHost: x\r\nContent-Type: application/jwt\r\nContent-Length: 500\r\n\r\nabc",
            b"POST /v1/acts HTTP/1.1\r\nHost: x\r\nContent-Type: application/jwt\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
            b"PUT /v1/agreements/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
            b"POST /v1/ac",
            b"",
        ]
        quiet = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(8) for _ in starts]
        for (_, writer), start in zip(quiet, itertools.cycle(starts), strict=False):
            writer.write(start)
        # Others are served all the while.
        assert (await pair.refused("second", "unmute")) == "no_such_mute"
        answers = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in quiet)), 20)
        for answer, start in zip(answers, itertools.cycle(starts), strict=False):
            status = answer.split(b" ", 2)[1:2]
            assert status in ([], [b"400"], [b"408"]), (start, answer[:200])
            assert b"\r\n\r\n" not in start or status == [b"408"], (start, answer[:200])
        for _, writer in quiet:
            writer.close()
        assert await world.everything(pair) == before
