"""What a customer's wallet shows of a shop that is away (spec/away.md, NOTICE-3, NOTICE-4, NOTICE-8)."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from comity.client import Connection, Response, Wallet
from comity.documents.notices import AwayNotice, away_notice, choose_text, sign_notice
from comity.errors import Contradiction
from support.business_world import Shop, a_shop
from support.parties import public
from support.sdk_world import IDENTITY, Bent, SdkWorld

TEXTS = {"en": "At the sea. https://sea.example", "de": "Am Meer."}


async def mia_and_shop(world: SdkWorld) -> tuple[Shop, Wallet, Connection]:
    """A shop whose key the server keeps, Mia's wallet, and her view of the connection."""
    shop = await a_shop(world.host)
    signer = world.host.server.context.kept.newest("shop")
    assert signer is not None
    about: Any = {"name": "Shop", "business": signer.did, "key": signer.key}
    async with Wallet.create(
        world.folder / "w", identity=IDENTITY, send=Bent().transport, clock=world.host.now, **about
    ) as wallet:
        mia = await world.person("mia")
        _, theirs = await world.connect(wallet, mia, "care")
    await shop.post(f"/connections/{theirs.cid}/grants", {
        "purposes": ["care"], "channels": ["app"], "expires_at": due(world, days=300),
    })  # fmt: skip
    await theirs.sync()
    return shop, mia, theirs


def due(world: SdkWorld, days: float) -> str:
    return datetime.fromtimestamp(world.host.now() // 1000 + int(days * 86_400), UTC).isoformat()


async def away(shop: Shop, world: SdkWorld, starts: float = -1, until: float = 14) -> None:
    body = {"starts_at": due(world, starts), "ends_at": due(world, until), "texts": TEXTS}
    assert (await shop.ask("PUT", "/notices/away", body)).status == 200


async def test_mia_reads_that_the_shop_is_away_when_she_writes_and_her_message_arrives(world: SdkWorld) -> None:
    shop, _, theirs = await mia_and_shop(world)
    assert await theirs.notices() == [] and theirs.away_until() is None
    await away(shop, world)
    news = await theirs.sync()
    assert news == []
    (notice,) = await theirs.notices()
    assert isinstance(notice, AwayNotice) and notice.texts == TEXTS
    assert theirs.away_until() == notice.until
    sent = await theirs.send_message("care", "A pane is broken.")
    assert (sent.outcome, sent.away_until, theirs.may("care").reason) == ("delivered", notice.until, "granted")
    world.pass_time(days=15)
    assert theirs.away_until() is None and await theirs.notices() == []


async def test_while_she_has_muted_the_shop_she_sees_the_dates_alone(world: SdkWorld) -> None:
    shop, _, theirs = await mia_and_shop(world)
    await away(shop, world)
    await theirs.mute(purposes=["sales"])
    assert [it.texts for it in await theirs.notices() if isinstance(it, AwayNotice)] == [TEXTS]
    ways: list[dict[str, Any]] = [{"channels": ["app"]}, {"days": 3}, {}]
    for by in ways:
        mute = await theirs.mute(**by)
        (notice,) = await theirs.notices()
        assert isinstance(notice, AwayNotice) and notice.texts == {} and theirs.away_until() == notice.until
        await theirs.unmute(mute)
    assert [it.texts for it in await theirs.notices() if isinstance(it, AwayNotice)] == [TEXTS]


async def test_an_announced_notice_is_read_before_it_begins(world: SdkWorld) -> None:
    shop, _, theirs = await mia_and_shop(world)
    await away(shop, world, starts=7)
    assert len(await theirs.notices()) == 1 and theirs.away_until() is None
    world.pass_time(days=8)
    assert theirs.away_until() is not None


async def test_a_notice_that_the_shop_did_not_sign_is_a_contradiction(world: SdkWorld) -> None:
    shop, _, theirs = await mia_and_shop(world)
    await away(shop, world)
    now = world.host.now() // 1000
    stranger = public(shop.did, "a-key-of-nobody")
    forged = sign_notice(away_notice(shop.did, now, now, now + 99, {"en": "Closed for good."}), stranger).raw

    def bend(request: Any, response: Response) -> Response:
        if b'"notices":[' not in response.body:
            return response
        answer = json.loads(response.body)
        answer["notices"] = [forged]
        return Response(response.status, response.headers, json.dumps(answer).encode())

    world.wires["mia"].after = bend
    with pytest.raises(Contradiction, match="an invalid notice"):
        await theirs.notices()
    with pytest.raises(Contradiction):
        await theirs.sync()


@pytest.mark.parametrize(
    ("languages", "text"),
    [
        (["de-CH"], "Am Meer."),
        (["fr", "de"], "Am Meer."),
        (["fr"], TEXTS["en"]),
        ([], TEXTS["en"]),
        (["DE"], "Am Meer."),
    ],
)
def test_she_reads_it_in_her_own_language_where_there_is_one(languages: list[str], text: str) -> None:
    assert choose_text(TEXTS, languages) == text and choose_text({}, languages) is None


async def test_an_ask_that_ends_before_the_shop_is_back_says_so(world: SdkWorld) -> None:
    """The clock of a favour goes on while the other side is away."""
    shop, _, theirs = await mia_and_shop(world)
    await shop.post(f"/connections/{theirs.cid}/grants", {
        "purposes": ["favour"], "channels": ["app"], "expires_at": due(world, days=300),
    })  # fmt: skip
    await away(shop, world, until=14)
    await theirs.notices()
    back = theirs.away_until()
    assert back is not None
    favour = await theirs.ask("review", "Two lines?", by=back)
    assert favour.ends_at == back
    warned = [favour.ends_before_return]
    for until in (13, 31):
        await away(shop, world, until=until)
        await theirs.notices()
        warned.append(favour.ends_before_return)
    assert warned == [True, False, True]
