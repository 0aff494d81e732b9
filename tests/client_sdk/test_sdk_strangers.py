"""What strangers can do to a wallet: choose its requests, fill its inbox, drive its terminal. Nothing, that is."""

import json
from shutil import copyfile

import click
import pytest

from comity.client import Request, Response
from comity.crypto.encryption import BodyKey, decrypt_body, encrypt_body
from comity.crypto.keys import Signer, SigningKey
from comity.documents.offers import sign_offer
from comity.encoding import b64u_encode, hash_id
from comity.errors import ComityError, Contradiction, Malformed, Refused
from comity_tools.cli.wallet.session import run
from support.sdk_world import TERMS, SdkWorld


async def test_a_wallet_names_no_mailbox_whose_key_it_does_not_hold(world: SdkWorld) -> None:
    """ACT-15."""
    shop, mia, eve = await world.business("shop"), await world.person("mia"), await world.person("eve")
    _, theirs = await world.connect(shop, mia, "care")
    _, with_eve = await world.connect(shop, eve, "care")
    with pytest.raises(ComityError, match="does not hold the key"):
        await with_eve.set_mailbox(theirs.own_did)
    await eve.use_mailbox(with_eve)
    await eve.use_mailbox(with_eve, on=False)


async def test_the_mailbox_of_a_wallet_with_two_copies_brings_an_old_one_news_that_are_not_its_own(
    world: SdkWorld,
) -> None:
    """What another copy of the wallet connected since is passed over, and the old copy reads on."""
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    await mia.use_mailbox(theirs)
    copyfile(world.folder / "mia", world.folder / "old")
    later_ours, later = await world.connect(shop, mia, "care")
    await mia.use_mailbox(later)
    await later_ours.send_message("care", "For the new one.")
    await ours.send_message("care", "For both.")
    old = await world.reopened("old")
    assert [news.kind for news in await old.sync()] == ["message"]
    (known,) = old.connections()
    assert [message.text for message in await known.messages()] == ["For both."]
    # Behind a setting that the other copy made meanwhile, the mailbox signs for the new place.
    await theirs.set_budget(messages=(9, "week"))
    await old.use_mailbox(known)
    assert known.state.second.settings.mailbox is not None and known.state.second.settings.seq == 3
    assert old.contradictions() == []


async def test_news_of_another_connection_is_still_no_news_of_this_one(world: SdkWorld) -> None:
    shop, mia, eve = await world.business("shop"), await world.person("mia"), await world.person("eve")
    ours, theirs = await world.connect(shop, mia, "care")
    await world.connect(shop, eve, "care")
    await ours.send_message("care", "For Mia.")

    def elsewhere(request: Request, response: Response) -> Response:
        if "/v1/inbox" not in request.url:
            return response
        page = json.loads(response.body)
        for item in page["items"]:
            item["cid"] = eve.connections()[0].cid
        return Response(response.status, response.headers, json.dumps(page).encode())

    world.wires["mia"].after = elsewhere
    with pytest.raises(Contradiction, match="a connection that this wallet does not have"):
        await theirs.sync()


async def test_an_offer_cannot_make_a_wallet_ask_somebody_else(world: SdkWorld) -> None:
    mia = await world.person("mia")
    shop = await world.business("shop")
    link = await shop.offer(world.base, [TERMS], ["care"])
    # The document that this name leads to would be fetched from Mia's own machine, or her neighbour's.
    stranger = Signer("did:web:127.0.0.1%3A9:admin:reset#key", SigningKey(b"s" * 32))
    signed = sign_offer((await mia.fetch_offer(link)).signed.offer.model_copy(update={"iss": stranger.did}), stranger)

    def swapped(request: Request, response: Response) -> Response:
        if "/v1/offers/" not in request.url:
            return response
        return Response(200, {"content-type": "application/jwt"}, signed.raw.encode())

    world.wires["mia"].after = swapped
    world.wires["mia"].seen.clear()
    for _ in range(2):
        with pytest.raises(Contradiction, match="unknown_key"):
            await mia.fetch_offer(signed.link())
    # What was signed against each other is kept, once.
    assert [it.texts for it in mia.contradictions()] == [(signed.raw,)]
    assert all(request.url.startswith(f"{world.base}/") for request, _ in world.wires["mia"].seen)


async def test_an_offer_of_a_sandbox_is_accepted_by_no_wallet(world: SdkWorld) -> None:
    mia, shop = await world.person("mia"), await world.business("shop")
    link = await shop.offer(world.base, [TERMS], ["care"])
    signer = shop._session.signer(shop._session.owner.kid or "")
    signed = sign_offer((await mia.fetch_offer(link)).signed.offer.model_copy(update={"test": True}), signer)

    def swapped(request: Request, response: Response) -> Response:
        return Response(200, {"content-type": "application/jwt"}, signed.raw.encode())

    world.wires["mia"].after = swapped
    for way in (mia.fetch_offer, mia.accept):
        with pytest.raises(Refused, match="test_only"):
            await way(signed.link())
    assert mia.connections() == [] and mia.contradictions() == []


async def test_a_wallet_that_is_open_for_long_finds_keys_that_are_published_meanwhile(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    link = await shop.offer(world.base, [TERMS], ["care"])
    await mia.fetch_offer(link)
    for _ in range(2):
        await world.host.server.add_business_key("shop", await shop.make_next_key())
        await shop.rotate_key()
        assert (await mia.fetch_offer(await shop.offer(world.base, [TERMS], ["care"]))).did == shop.did


def test_a_server_s_words_do_not_drive_the_terminal() -> None:
    async def refused() -> None:
        raise Refused("not_now", "\x1b]0;gotcha\x07 not\nnow")

    with pytest.raises(click.ClickException) as caught:
        run(refused)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("more", [{"apu": "QQ"}, {"typ": "x"}, {"zip": "DEF"}, {"jku": "https://stranger.example"}])
def test_a_body_says_no_more_than_it_must_about_how_to_open_it(more: dict[str, str]) -> None:
    from joserfc import jwe, jwk

    key, cid = SigningKey(b"m" * 32), hash_id(b"a connection")
    header = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "kid": key.public.kid, "apv": cid}
    to = jwk.OKPKey.import_key({"kty": "OKP", "crv": "X25519", "x": b64u_encode(key.public.x25519())})
    registry = jwe.JWERegistry(algorithms=[header["alg"], header["enc"], "DEF"])
    plain = jwe.encrypt_compact({**header}, b'{"text":"Hello."}', to, registry=registry)
    assert decrypt_body(plain, cid, key) == {"text": "Hello."}
    with pytest.raises(Malformed):
        decrypt_body(jwe.encrypt_compact({**header, **more}, b'{"text":"Hello."}', to, registry=registry), cid, key)


def test_nothing_is_sealed_to_a_key_that_shares_no_secret() -> None:
    for low in (bytes(32), bytes([1, *bytes(31)]), b"short"):
        with pytest.raises(Malformed):
            encrypt_body({"text": "Hello."}, hash_id(b"a connection"), BodyKey("did:key:x#x", low))


async def test_a_crowd_of_strangers_on_a_shop_s_offer_leaves_its_wallet_what_still_waits(world: SdkWorld) -> None:
    """What gave way at the server is no proposal in the wallet any more; whoever made it may come again (INV-15)."""
    await world.host.stop()
    world.host.change(max_proposals=2)
    await world.host.start()
    shop, people = await world.business("shop"), [await world.person(f"person-{n}") for n in range(4)]
    link = await shop.offer(world.base, [TERMS], ["care"])
    halves = [await person.accept(link) for person in people]
    assert {it.cid for it in await shop.proposals()} == {it.cid for it in halves[2:]}
    await halves[0].sync()
    assert halves[0].phase == "closed"
    again = await people[0].accept(link, again=True)
    (proposal,) = [it for it in await shop.proposals() if it.cid == again.cid]
    await proposal.countersign()
    await again.wait_until_open(timeout=20)
