"""What was signed and got no answer: it goes out again, once, whatever happened meanwhile."""

import shutil
from email.utils import formatdate
from pathlib import Path

import pytest

from comity.client import Request, Response
from comity.errors import Refused, Unreachable
from comity.http_api import ACTS, LONGEST_RETRY_AFTER, PROBLEM, encode_problem, retry_after_seconds
from support.sdk_world import TERMS, SdkWorld


def _acts(request: Request) -> bool:
    return request.url.endswith(ACTS)


@pytest.mark.parametrize("how", ["cut", "lose"])
async def test_a_message_signed_anew_survives_a_lost_answer_too(world: SdkWorld, tmp_path: Path, how: str) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia)
    await ours.grant(["service"])
    await theirs.sync()
    await mia.close()
    shutil.copy(tmp_path / "mia", tmp_path / "phone")
    mia, phone = await world.reopened("mia"), await world.reopened("phone")
    at_home, outside = mia.connection(theirs.cid), phone.connection(theirs.cid)

    # The phone writes in a tunnel; meanwhile the same place of the chain is taken at home.
    world.wires["phone"].cut = _acts
    with pytest.raises(Unreachable):
        await outside.send_message("service", "Are you open on Friday?")
    await at_home.remember("small_talk")

    # Back in daylight the act is signed anew, and the connection breaks in that very moment.
    tries = 0

    def second(request: Request) -> bool:
        nonlocal tries
        tries += _acts(request)
        return _acts(request) and tries > 1

    world.wires["phone"].cut = None
    setattr(world.wires["phone"], how, second)
    with pytest.raises(Unreachable):
        await outside.sync()
    world.wires["phone"].cut = world.wires["phone"].lose = None
    phone = await world.again(phone, "phone")
    outside = phone.connection(theirs.cid)
    await outside.sync()
    await outside.sync()
    written = [message for message in await outside.messages() if message.by == "me"]
    assert [message.text for message in written] == ["Are you open on Friday?"]
    await ours.sync()
    assert [message.text for message in await ours.messages()] == ["Are you open on Friday?"]


@pytest.mark.parametrize("how", ["cut", "lose"])
async def test_a_message_of_a_broken_connection_goes_out_before_the_next_one(world: SdkWorld, how: str) -> None:
    """Mia does not look what became of it, and just writes on."""
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia)
    await ours.grant(["service"])
    await theirs.sync()
    setattr(world.wires["mia"], how, _acts)
    with pytest.raises(Unreachable):
        await theirs.send_message("service", "Are you open on Friday?")
    world.wires["mia"].cut = world.wires["mia"].lose = None
    await theirs.send_message("service", "Or on Saturday?")
    await ours.sync()
    assert [it.text for it in await ours.messages()] == ["Are you open on Friday?", "Or on Saturday?"]
    assert [it.text for it in await theirs.messages()] == ["Are you open on Friday?", "Or on Saturday?"]


async def test_unsent_acts_of_the_former_key_do_not_stop_a_business_with_the_next_key(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia, "care")
    await world.host.server.add_business_key("shop", await shop.make_next_key())
    # The answer to the rotation is lost; a copy of the wallet, or this one, learns of it from the chain.
    world.wires["shop"].lose = _acts
    with pytest.raises(Unreachable):
        await shop.rotate_key()
    world.wires["shop"].lose = None
    await ours.queue.enter_own_missing()
    await ours.send_message("care", "We have a new key.")
    await theirs.sync()
    assert [message.text for message in await theirs.messages()] == ["We have a new key."]


async def test_grants_that_go_with_an_acceptance_are_kept_before_it_is_sent(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    link = await shop.offer(world.base, [TERMS], ["care"])
    # The answer to the half is lost: nobody gets beyond that line of `accept`.
    world.wires["mia"].lose = lambda request: request.url.endswith("/agreements")
    with pytest.raises(Unreachable):
        await mia.accept(link, grants=[{"purposes": ["care"]}])
    mia = await world.again(mia, "mia")
    await (await shop.proposals())[0].countersign()
    (theirs,) = mia.connections()
    await theirs.wait_until_open(timeout=20)
    assert [grant.purposes for grant in theirs.state.door(theirs.side).grants] == [("care",)]


def _at(second: int) -> str:
    """1,900,000,000 s and so many, as HTTP says it."""
    return formatdate(1_900_000_000 + second, usegmt=True)


async def test_a_wallet_comes_back_when_the_server_says_the_hour_at_which_it_is_back(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia", patience=20.0)
    _, theirs = await world.connect(shop, mia)
    wire = world.wires["mia"]
    # A proxy before the server says when the upgrade is done, by a clock of its own.
    left = 2

    def upgrading(request: Request, response: Response) -> Response:
        nonlocal left
        if not _acts(request) or left == 0:
            return response
        left -= 1
        return Response(503, {"retry-after": _at(1), "date": _at(0)}, b"")

    wire.after = upgrading
    await theirs.mute(days=1)
    assert left == 0

    # What is free again in three days is an answer, and nobody waits for it.
    full = Response(
        429,
        {"retry-after": _at(3 * 86_400), "date": _at(0), "content-type": PROBLEM},
        encode_problem(Refused("exempt_limit")),
    )
    wire.after = lambda request, response: full if _acts(request) else response
    with pytest.raises(Refused) as told:
        await theirs.remember("small_talk")
    assert (told.value.code, told.value.retry_after) == ("exempt_limit", 3 * 86_400)


def test_a_servers_retry_after_is_read_as_seconds_or_not_at_all() -> None:
    now = 1_900_000_000
    for asked, seconds in {
        "0": 0,
        "120": 120,
        " 5 ": 5,
        "9" * 8000: LONGEST_RETRY_AFTER,
        _at(90): 90,
        "Sunday, 17-Mar-30 17:48:20 GMT": 100,
        "Sun Mar 17 17:48:20 2030": 100,
        _at(-90): 0,
        "": None,
        "soon": None,
        "-1": None,
        "1.5": None,
        "²": None,
        "Sun, 99 Mar 2030 99:99:99 GMT": None,
        "Sun, 17 Mar 2030 17:48:20 +9999": None,
    }.items():
        assert retry_after_seconds(asked, None, now) == seconds, asked
    # By the clock that wrote the date, where the answer shows it.
    assert retry_after_seconds(_at(90), _at(30), now + 10**6) == 60
    assert retry_after_seconds(_at(90), "a while ago", now) == 90
    assert retry_after_seconds(None, None, now) is None
