"""Each event names the last act of both sides before it: a wallet reads on where it does not know one, and misses what
was left out (EVENT-7)."""

import asyncio
import json
from pathlib import Path

import pytest

from comity.client import Connection, Request, Response, Wallet
from comity.errors import Contradiction, Unreachable
from comity.http_api import ACTS
from comity.rules.state import public_state
from support.sdk_world import SdkWorld


async def pair(world: SdkWorld) -> tuple[Connection, Connection]:
    """A shop and Mia, who may write to each other about care."""
    ours, theirs = await world.connect(await world.business("shop"), await world.person("mia"), "care")
    await ours.grant(["care"])
    await theirs.sync()
    return ours, theirs


async def agree(*parties: Connection) -> None:
    """Both have read everything, and have one state."""
    for party in parties:
        await party.sync()
    assert public_state(parties[0].state) == public_state(parties[1].state)


async def test_an_answer_before_reading_brings_the_acts_accepted_before_it(world: SdkWorld) -> None:
    ours, theirs = await pair(world)
    await ours.send_message("care", "Are they tight?")
    await ours.send_message("care", "And the roof?")
    sent = await theirs.send_message("care", "I am away this week.")
    # The acceptance named the second message, so both are here, in their order, without anybody having asked for news.
    assert [it.text for it in await theirs.messages()] == ["Are they tight?", "And the roof?", "I am away this week."]
    assert sent.outcome == "delivered"
    assert [it.kind for it in await theirs.sync()] == ["message", "message"]
    await agree(ours, theirs)


async def test_an_answer_while_listening_waits_for_nobody_and_misses_nothing(world: SdkWorld) -> None:
    """The answer is accepted after a message that the stream is still to bring."""
    ours, theirs = await pair(world)
    heard: list[str | None] = []

    async def answer_all() -> None:
        async for news in theirs.listen():
            heard.append(news.act)
            if len(heard) == 1:
                await ours.send_message("care", "two")
                await ours.send_message("care", "three")
            await theirs.send_message("care", f"thank you for {len(heard)}")
            if len(heard) == 3:
                return

    listening = asyncio.create_task(answer_all())
    await world.host.are_waiting()
    await ours.send_message("care", "one")
    await asyncio.wait_for(listening, 20)
    assert heard == [it.id for it in await theirs.messages() if it.by == "them"]
    assert await theirs.sync() == []
    await agree(ours, theirs)


async def test_a_mailbox_listener_hears_what_an_answer_had_to_read(world: SdkWorld) -> None:
    mia = await world.person("mia")
    ours, theirs = await world.connect(await world.business("shop"), mia, "care")
    await ours.grant(["care"])
    await mia.use_mailbox(theirs)
    heard: list[str] = []

    async def follow(wallet: Wallet) -> None:
        async for news in wallet.listen():
            heard.append(news.kind)
            if len(heard) == 1:
                await ours.send_message("care", "two")
                await theirs.send_message("care", "hello")
            elif len(heard) == 2:
                return

    await mia.sync()
    listening = asyncio.create_task(follow(mia))
    await world.host.are_waiting()
    await ours.send_message("care", "one")
    await asyncio.wait_for(listening, 20)
    assert heard == ["message", "message"]
    await agree(ours, theirs)


async def test_an_act_whose_answer_was_lost_is_fetched_when_the_other_side_names_it(world: SdkWorld) -> None:
    ours, theirs = await pair(world)
    wire = world.wires["mia"]
    wire.lose = lambda request: request.url.endswith(ACTS)
    with pytest.raises(Unreachable):
        await theirs.send_message("care", "Are you open?")
    wire.lose = None
    await ours.sync()
    await ours.send_message("care", "Until six.")

    async def first() -> str:
        async for news in theirs.listen():
            return news.kind
        return ""

    assert await asyncio.wait_for(first(), 20) == "message"
    assert [it.text for it in await theirs.messages()] == ["Are you open?", "Until six."]
    await agree(ours, theirs)
    assert [it.text for it in await ours.messages()] == ["Are you open?", "Until six."]


async def test_a_revoke_from_an_old_copy_leads_to_everything_before_it(world: SdkWorld, tmp_path: Path) -> None:
    """It names a head of long ago (CONN-5); its acceptance names the last act before it, and that the one before."""
    ours, theirs = await pair(world)
    old = (tmp_path / "mia").read_bytes()
    for number in range(3):
        await theirs.send_message("care", f"{number}")
        await ours.send_message("care", f"answer {number}")
    (tmp_path / "copy").write_bytes(old)
    copy = (await world.reopened("copy")).connection(theirs.cid)
    await copy.revoke()
    assert copy.phase == "ended"
    assert len([it for it in copy.records if it.act is not None and it.act.kind == "message"]) == 6
    await agree(copy, ours)
    await agree(theirs, ours)


def _without(kind: str) -> object:
    """Leaves an act of that kind out of every page of an inbox, and closes the gap of cursors."""

    def after(request: Request, response: Response) -> Response:
        if "/v1/inbox" not in request.url or response.status != 200:
            return response
        page = json.loads(response.body)
        page["items"] = [it for it in page["items"] if f'"kind":"{kind}"' not in _payload(it.get("event", ""))]
        if page["items"]:
            page["items"][-1]["cursor"] = page["cursor"]
        return Response(response.status, response.headers, json.dumps(page).encode())

    return after


def _payload(event: str) -> str:
    from comity.encoding import b64u_decode

    return b64u_decode(event.split(".")[1]).decode() if event else ""


async def test_an_act_that_is_withheld_at_the_end_of_a_chain_is_missed(world: SdkWorld) -> None:
    """The shop took its mute back; the server shows Mia the mute alone, and no act of the shop's behind it that would
    leave a gap. Her own next act was accepted after the unmute, and says so."""
    ours, theirs = await pair(world)
    await ours.mute()
    await theirs.sync()
    await ours.unmute()
    world.wires["mia"].after = _without("unmute")  # type: ignore[assignment]
    with pytest.raises(Contradiction, match="other heads") as caught:
        await theirs.remember("small_talk")
    assert len(caught.value.evidence) == 2
    # Told the truth, she believes it; her act was accepted, and is there once.
    world.wires["mia"].after = None
    await theirs._news_source.reset_cursor(theirs)
    await theirs.sync()
    assert [it.key for it in theirs.state.second.little] == ["small_talk"]
    await agree(ours, theirs)


async def test_an_act_that_is_withheld_before_a_delivery_is_missed(world: SdkWorld) -> None:
    """What the shop sent was let go after its own mute, which the server leaves out: no chain has a gap."""
    ours, theirs = await pair(world)
    await theirs.mute(until=world.host.now() // 1000 + 3600, shown="end")
    await ours.send_message("care", "Tomorrow?")
    await theirs.sync()
    await ours.mute()
    world.pass_time(hours=2)
    while "delivered" not in [it.kind for it in await ours.sync(wait=1)]:
        pass
    world.wires["mia"].after = _without("mute")  # type: ignore[assignment]
    with pytest.raises(Contradiction, match="other heads"):
        await theirs.sync()
    world.wires["mia"].after = None
    await theirs.sync()
    await agree(ours, theirs)
