"""Signed reads: who may see what, and that a signature is good once."""

from comity.crypto.http_signatures import sign_request
from comity.crypto.keys import Signer, SigningKey
from comity.http_api import ACTS, CONNECTIONS, INBOX
from support.world import MINUTE, World


async def test_a_read_that_was_seen_before_is_refused(world: World) -> None:
    pair = await world.shop_and_customer()
    path = f"{CONNECTIONS}/{pair.cid}"
    headers = world.signature(pair.signers["first"], path)
    assert (await world.send("GET", path, headers=headers)).status == 200
    assert (await world.send("GET", path, headers=headers)).code == "signature_replayed"


async def test_a_read_signed_before_a_restart_is_refused_after_it(world: World) -> None:
    pair = await world.shop_and_customer()
    path = f"{CONNECTIONS}/{pair.cid}"
    headers = world.signature(pair.signers["first"], path)
    assert (await world.send("GET", path, headers=headers)).status == 200
    await world.stop()
    world.later(3000)
    await world.start()
    assert (await world.send("GET", path, headers=headers)).code == "signature_stale"


async def test_a_read_that_somebody_kept_is_refused_for_as_long_as_its_signature_is_good(world: World) -> None:
    """HTTP-8: whoever stands between keeps what Mia signed, and sends it again a second, nearly a minute, and for one
    that her clock dated ahead, nearly two minutes later."""
    pair = await world.shop_and_customer()
    mia, path = pair.signers["second"], f"{CONNECTIONS}/{pair.cid}"
    now = world.now() // 1000
    kept, ahead = world.signature(mia, path), sign_request("GET", world.origin + path, mia, now + 58, "n" * 20)
    for headers in (kept, ahead):
        assert (await world.send("GET", path, headers=headers)).status == 200
    world.at(now * 1000)
    for seconds, signed in ((1, (kept, ahead)), (57, (kept, ahead)), (115, (ahead,))):
        world.at((now + seconds) * 1000)
        for headers in signed:
            assert (await world.send("GET", path, headers=headers)).code == "signature_replayed", seconds


async def test_a_read_of_the_very_second_of_a_restart_is_not_taken_twice(world: World) -> None:
    """HTTP-8: what the process before saw in that second, this one does not know."""
    pair = await world.shop_and_customer()
    path = f"{CONNECTIONS}/{pair.cid}"
    for _ in range(10):
        # Both processes in one second: with a slow start it takes another try.
        world.at((world.now() // 1000 + 2) * 1000)
        second, headers = world.now() // 1000, world.signature(pair.signers["second"], path)
        assert (await world.send("GET", path, headers=headers)).status == 200
        await world.stop()
        world.at(second * 1000)
        await world.start()
        reply = await world.send("GET", path, headers=headers)
        if reply.code == "overloaded":
            break
        assert reply.code == "signature_stale"
    else:
        raise AssertionError("no start fell into the second of the signature")
    assert reply.headers["Retry-After"] == "1"
    assert (await pair.seen("second")).status == 200, "signed anew, it is answered"


async def test_a_read_of_another_minute_path_or_body_is_refused(world: World) -> None:
    pair = await world.shop_and_customer()
    path = f"{CONNECTIONS}/{pair.cid}"
    headers = world.signature(pair.signers["first"], path)
    assert (await world.send("GET", path + "?x=1", headers=headers)).code == "bad_signature"
    assert (await world.send("GET", path)).code == "signature_required"
    world.later(2 * MINUTE)
    assert (await world.send("GET", path, headers=headers)).code == "signature_stale"
    headers = world.signature(pair.signers["first"], "/v1/status/indexes", "POST", b'{"cid":"x"}')
    reply = await world.send("POST", "/v1/status/indexes", b'{"cid":"y"}', "application/json", headers=headers)
    assert reply.code == "bad_signature"


async def test_a_body_that_no_signature_covers_is_refused(world: World) -> None:
    pair = await world.shop_and_customer()
    headers = world.signature(pair.signers["first"], "/v1/status/indexes", "POST")
    body = b'{"cid":"' + pair.cid.encode() + b'"}'
    reply = await world.send("POST", "/v1/status/indexes", body, "application/json", headers=headers)
    assert reply.code == "bad_signature"


async def test_a_connection_that_is_not_mine_is_like_one_that_is_not(world: World) -> None:
    pair, stranger = await world.shop_and_customer(), world.person()
    act = await pair.go("first", "remember", key="name")
    replies = [
        await world.read(stranger, f"{CONNECTIONS}/{pair.cid}"),
        await world.read(stranger, f"{CONNECTIONS}/{'A' * 43}"),
        await world.read(stranger, f"{CONNECTIONS}/junk"),
        await world.read(stranger, f"{ACTS}/{act.id}"),
        await world.read(stranger, f"{ACTS}/{'A' * 43}"),
    ]
    assert {(reply.status, reply.plain) for reply in replies} == {(404, replies[0].plain)}
    assert (await world.read(stranger, INBOX)).json["items"] == []


async def test_a_message_that_waits_is_not_shown_before_its_time(world: World) -> None:
    pair = await world.shop_and_customer("care")
    await pair.go("second", "mute")
    held = await pair.go("first", "message")
    path = f"{ACTS}/{held.id}"
    assert "act" not in (await world.read(pair.signers["second"], path)).json
    assert (await world.read(pair.signers["first"], path)).json["act"] == held.raw
    await pair.go("second", "unmute")
    assert (await world.read(pair.signers["second"], path)).json["act"] == held.raw


async def test_a_request_signed_under_a_key_that_nobody_publishes_is_refused(world: World) -> None:
    shop = await world.business("shop")
    other = Signer(f"{shop.did}#other", SigningKey(b"o" * 32))
    assert (await world.read(other, INBOX)).code == "unknown_key"
    forged = Signer(shop.kid, SigningKey(b"o" * 32))
    assert (await world.read(forged, INBOX)).code == "bad_signature"


async def test_two_signatures_on_one_request_are_one_too_many(world: World) -> None:
    mia = world.person()
    headers = world.signature(mia, INBOX)
    second = sign_request("GET", world.origin + INBOX, mia, world.now() // 1000, "n" * 20)
    doubled = {
        "Signature-Input": f"{headers['Signature-Input']}, {second['Signature-Input'].replace('comity=', 'other=', 1)}",
        "Signature": f"{headers['Signature']}, {second['Signature'].replace('comity=', 'other=', 1)}",
    }
    assert (await world.send("GET", INBOX, headers=doubled)).status in (400, 401)


async def test_a_signature_under_another_label_is_none(world: World) -> None:
    """HTTP-4, HTTP-5: the label is not signed, so whoever stands between could give it any name."""
    mia = world.person()
    good = world.signature(mia, INBOX)
    other = {name: value.replace("comity=", "sig1=", 1) for name, value in good.items()}
    assert (await world.send("GET", INBOX, headers=other)).code == "bad_signature"
    assert (await world.send("GET", INBOX, headers=good)).status == 200


async def test_a_key_s_name_that_is_none_is_told_apart_from_one_that_nobody_knows(world: World) -> None:
    """HTTP-7."""
    mia = world.person()
    for kid, code in (("key-1", "malformed"), (f"{mia.did}#else", "malformed"), ("did:web:a.example#k", "unknown_key")):
        headers = world.signature(Signer(kid, mia.key), INBOX)
        assert (await world.send("GET", INBOX, headers=headers)).code == code
