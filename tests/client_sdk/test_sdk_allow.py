"""Offers that allow something, and what a customer's wallet grants by its own defaults (spec/offer.md, ALLOW-3 to
ALLOW-6), over HTTP with a real server."""

import pytest

from comity.client import Request
from comity.errors import Malformed
from support.sdk_world import TERMS, SdkWorld

ALLOW = {"purposes": ["care"], "days": 30, "budget": (10, "week")}


async def test_a_business_that_countersigns_by_hand_opens_its_door_with_it(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    link = await shop.offer(world.base, [TERMS], ["sales"], allow=ALLOW)
    shown = await mia.fetch_offer(link)
    assert shown.promised_grant is not None and (shown.promised_grant.purposes, shown.promised_grant.days) == (
        ("care",),
        30,
    )
    theirs = await mia.accept(shown)
    assert theirs.promise_status() is None
    ours = await (await shop.proposals())[0].countersign()
    await theirs.wait_until_open(timeout=20)
    await theirs.sync()
    assert (ours.promise_status(), theirs.promise_status()) == ("kept", "kept")
    assert (await theirs.send_message("care", "Thank you!")).outcome == "delivered"
    # Nothing was allowed to the shop by that.
    assert ours.may("sales").reason == "no_grant"


async def test_a_promise_that_is_not_kept_is_shown_to_her_as_one(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    link = await shop.offer(world.base, [TERMS], ["sales"], allow=ALLOW)
    theirs = await mia.accept(link)
    (proposal,) = await shop.proposals()

    def cut(request: Request) -> bool:
        return "/v1/status" in request.url

    world.wires["shop"].cut = cut
    ours = await proposal.countersign()
    await theirs.wait_until_open(timeout=20)
    assert (ours.phase, ours.promise_status(), theirs.promise_status()) == ("open", "waiting", "waiting")
    world.pass_time(days=1, hours=1)
    assert theirs.promise_status() == "broken"
    # The wallet has not forgotten it: with the next that it does, the grant is given.
    world.wires["shop"].cut = None
    shop = await world.again(shop, "shop")
    await shop.connections()[0].sync()
    await theirs.sync()
    assert theirs.promise_status() == "kept" and len(theirs.state.first.grants) == 1
    await shop.connections()[0].sync()
    assert len(shop.connections()[0].state.first.grants) == 1
    await shop.connections()[0].withdraw(theirs.state.first.grants[0].id)
    await theirs.sync()
    assert theirs.promise_status() == "broken"


async def test_a_person_may_promise_as_well(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    await shop.offer(world.base, [TERMS], ["care"])
    await mia.offer(world.base, [TERMS], ["service"], to=shop.did, allow={"purposes": ["care"]})
    (shown,) = await shop.received_offers()
    ours = await shop.accept(shown)
    await (await mia.proposals())[0].countersign()
    await ours.wait_until_open(timeout=20)
    await ours.sync()
    assert ours.promise_status() == "kept" and ours.may("care").decision == "allow"


async def test_a_wallet_suggests_what_its_owner_would_give_and_no_more(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    wanted = ["care", "care.checkin", "sales", "favour"]
    link = await shop.offer(world.base, [TERMS], wanted, channels=["app", "email"])
    first = (await mia.fetch_offer(link)).suggested_grants
    assert first == (
        {"purposes": ["care", "care.checkin"], "channels": ["app"], "days": 365, "budget": [2, "month"]},
        {"purposes": ["favour"], "channels": ["app"], "days": 365, "budget": [1, "month"]},
    )
    await mia.set_default("care", {"channels": ["email", "post"], "days": 30})
    await mia.set_default("favour", None)
    await mia.set_default("sales", {"channels": ["post"], "days": 30, "budget": (1, "week")})
    mia = await world.again(mia, "mia")
    assert mia.defaults()["favour"] is None
    shown = await mia.fetch_offer(link)
    # By post it did not ask, so for sales there is nothing to give.
    assert shown.suggested_grants == ({"purposes": ["care", "care.checkin"], "channels": ["email"], "days": 30},)
    theirs = await mia.accept(shown, grants=shown.suggested_grants)
    ours = await (await shop.proposals())[0].countersign()
    await theirs.wait_until_open(timeout=20)
    await ours.sync()
    assert [ours.may("care", by).decision for by in ("email", "app")] == ["allow", "refuse"]


@pytest.mark.parametrize(
    ("purpose", "default"),
    [
        ("care.checkin", None),
        *((rests, {"channels": ["app"], "days": 30}) for rests in ("note", "complaint", "renewal", "safety")),
        ("note", None),
        ("care", {"channels": [], "days": 30}),
        ("care", {"channels": ["app"], "days": 0}),
        ("care", {"channels": ["app"], "days": 30, "budget": (0, "week")}),
        ("care", {"channels": ["app"], "days": 30, "budget": (1, "hour")}),
        ("care", {"channels": ["app"], "days": 30, "text": "hello"}),
    ],
)
async def test_a_default_that_no_grant_could_have_is_refused(
    world: SdkWorld, purpose: str, default: dict[str, object] | None
) -> None:
    mia = await world.person("mia")
    with pytest.raises(Malformed):
        await mia.set_default(purpose, default)


async def test_nobody_asks_whether_somebody_may_be_reached_for_a_note(world: SdkWorld) -> None:
    """It is the purpose of words that are remembered, and of nothing else."""
    ours, theirs = await world.connect(await world.business("shop"), await world.person("mia"))
    for party in (ours, theirs):
        for purpose in ("note", "note.name"):
            with pytest.raises(Malformed, match="nobody can be reached"):
                party.may(purpose)
        assert party.may("notes").reason == "no_grant"
