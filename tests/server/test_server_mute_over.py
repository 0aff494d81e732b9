"""What a server says of a mute that is over, to whom, and what everybody else finds (AUD-1, AUD-2)."""

import inspect
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from comity.client import Connection, Request, Response
from comity.documents.events import MuteOver
from comity.encoding import b64u_decode
from comity.errors import Contradiction, Refused
from comity.rules import decide, fold, gate, mute_over
from comity.rules.state import MuteEnd
from comity.transparency.entries import Kind, LogEntry, parse_entry
from comity.transparency.receipts import Receipt, open_receipt
from comity.transparency.tiles import bundles_of, decode_bundle
from comity_server.fsck.checker import check_store
from support.log_rules import Entered, findings, week_by_week
from support.sdk_world import SdkWorld, sdk_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SdkWorld]:
    async with sdk_world(tmp_path) as made:
        yield made


async def pair(world: SdkWorld) -> tuple[Connection, Connection]:
    """A shop and Mia, who may write to each other about care."""
    ours, theirs = await world.connect(await world.business("shop"), await world.person("mia"), "care")
    await ours.grant(["care"])
    await theirs.sync()
    return ours, theirs


async def kinds(world: SdkWorld) -> list[Kind]:
    """The kinds of all entries of the log."""
    return [it.kind for it in await entries(world)]


async def entries(world: SdkWorld) -> list[LogEntry]:
    """All entries of the log, as anybody reads it."""
    served = (await world.host.send("GET", "/log/checkpoint")).body.decode()
    size = int(served.split("\n")[1])
    found = []
    for bundle in bundles_of(size):
        data = (await world.host.send("GET", f"/log/{bundle.path}")).body
        found += [parse_entry(it) for it in decode_bundle(bundle, data)]
    return found


async def named(world: SdkWorld) -> list[str]:
    """What the log alone shows of its server."""
    log = [Entered(it.time, "", it) for it in await entries(world)]
    return [code for _, code in findings(log, week_by_week)]


def over_of(party: Connection) -> MuteOver:
    """What this side was told of its mute."""
    (found,) = [it.event for it in party.records if isinstance(it.event, MuteOver)]
    return found


async def test_mia_holds_the_proof_that_her_own_end_let_the_message_in(world: SdkWorld) -> None:
    ours, theirs = await pair(world)
    mute = await theirs.mute(hours=1)
    await ours.send_message("care", "Are they tight?")
    await theirs.sync()
    assert Kind.MUTE_OVER not in await kinds(world)
    world.pass_time(hours=2)
    while not [it for it in await theirs.messages() if it.outcome == "delivered"]:
        assert "mute_over" not in [it.kind for it in await theirs.sync(wait=1)]
    over = over_of(theirs)
    assert over.act == mute
    end = theirs.queue.history.act(over.by)
    assert end is not None and end.kind == "mute_end"
    receipt = await _receipt(theirs, over.by)
    assert receipt.is_of(end.raw.encode()) and receipt.index == over.index
    assert (receipt.entry.kind, receipt.entry.side, receipt.entry.until) == (Kind.MUTE_OVER, "second", 0)
    assert (await kinds(world)).count(Kind.MUTE_OVER) == 1
    await ours.send_message("care", "And now?")
    await ours.sync()
    await theirs.sync()
    assert (await kinds(world)).count(Kind.MUTE_OVER) == 1
    assert not [it for it in ours.records if isinstance(it.event, MuteOver)]
    await world.host.stop()
    assert check_store(world.host.folder / "data").findings.first == []


async def _receipt(party: Connection, by: str) -> Receipt:
    core = party.queue.session
    for _ in range(100):
        await party.sync()
        if (text := core.records.get("overs", by, str)) is not None:
            break
    log = core.logs.find_known(party.info.home, over_of(party).log)
    assert log is not None and text is not None
    return open_receipt(text, log.key)


async def test_the_shop_sees_its_message_go_through_and_nothing_else(world: SdkWorld) -> None:
    """Two customers: of the one a hidden end passed, the other muted nothing. The shop's answers are the same but for
    ids, times, numbers and signatures."""
    shop = await world.business("shop")
    seen = []
    for name, muted in (("mia", True), ("ben", False)):
        ours, theirs = await world.connect(shop, await world.person(name), "care")
        if muted:
            mute = await theirs.mute(hours=1)
            assert mute
            await ours.sync()
            world.pass_time(hours=2)
        before = len(world.wires["shop"].seen)
        await ours.send_message("care", "hello")
        await ours.sync()
        act = ours.records[-1].act
        assert act is not None
        await ours.receipt(act.id, delivery=True)
        seen.append([_form(it) for it in world.wires["shop"].seen[before:] if "/log/" not in it[0].url])
        assert not [it for it in ours.records if isinstance(it.event, MuteOver)]
    assert [it for it in seen[0] if "acts" in it[0]] == [it for it in seen[1] if "acts" in it[0]]


def _form(exchange: tuple[Request, Response]) -> tuple[str, int, Any]:
    request, response = exchange
    body = json.loads(response.body) if response.body[:1] == b"{" else {}
    event = json.loads(b64u_decode(body["event"].split(".")[1])) if "event" in body else {}
    route = request.url.partition("/v1/")[2].partition("/")[0].partition("?")[0]
    return route, response.status, (sorted(set(body) - {"receipt", "delivery"}), sorted(event), event.get("outcome"))


# --- servers that were changed


def _never(monkeypatch: pytest.MonkeyPatch) -> None:
    """It delivers behind the end and enters nothing."""
    real = decide.mute_over_before

    def relied_on(*given: Any) -> Any:
        found = real(*given)
        return None if _by_the_server() else found

    monkeypatch.setattr(decide, "mute_over_before", relied_on)


def _too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes every hidden end for one that has passed."""
    real = mute_over.latest_mute_end

    def latest_end(settings: Any, mute: str) -> Any:
        found = real(settings, mute)
        return found if found is None or not _by_the_server() else MuteEnd(found.mute, 0, found.id)

    monkeypatch.setattr(mute_over, "latest_mute_end", latest_end)
    monkeypatch.setattr(gate, "latest_mute_end", latest_end)


def _by_the_server() -> bool:
    """Whether it is the server's writer that asks; wallets in this process stay honest."""
    return any(frame.filename.endswith(("unit_of_work.py",)) for frame in inspect.stack(0))


async def test_a_server_that_enters_no_end_is_found_by_the_one_who_muted(
    world: SdkWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = await pair(world)
    await theirs.mute(hours=1)
    await ours.sync()
    world.pass_time(hours=2)
    _never(monkeypatch)
    await ours.send_message("care", "hello")
    with pytest.raises(Contradiction, match="does not state"):
        await theirs.sync()


async def test_a_server_that_ends_a_mute_before_its_time_is_found(
    world: SdkWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = await pair(world)
    await theirs.mute(hours=5)
    await ours.sync()
    _too_early(monkeypatch)
    await ours.send_message("care", "hello")
    with pytest.raises(Contradiction, match="false_over"):
        await theirs.sync()


def _by_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes every mute for one that has ended by itself."""
    real = mute_over.ended_by

    def over_by(door: Any, at: int) -> str | None:
        found = door.settings.standing
        return found.id if _by_the_server() and found is not None else real(door, at)

    monkeypatch.setattr(mute_over, "ended_by", over_by)
    monkeypatch.setattr(decide, "ended_by", over_by)
    monkeypatch.setattr(gate, "_mute_block", lambda *given: None)


def _by_an_older_end(monkeypatch: pytest.MonkeyPatch, first: MuteEnd) -> None:
    """It holds on to the first end that was set for a mute."""
    real = mute_over.latest_mute_end

    def latest_end(settings: Any, mute: str) -> Any:
        found = real(settings, mute)
        return first if found is not None and _by_the_server() else found

    monkeypatch.setattr(mute_over, "latest_mute_end", latest_end)
    monkeypatch.setattr(gate, "latest_mute_end", latest_end)


def _goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a revoke in, and goes on as if there were none."""

    def revoke(state: Any, side: Any, payload: Any, event: Any) -> Any:
        return state if _by_the_server() else real(state, side, payload, event)

    real = fold._FOLDS["revoke"]
    monkeypatch.setitem(fold._FOLDS, "revoke", revoke)


async def test_a_server_that_ends_a_mute_by_nothing_is_found_by_her_alone(
    world: SdkWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = await pair(world)
    await theirs.mute()
    await ours.sync()
    _by_nothing(monkeypatch)
    await ours.send_message("care", "hello")
    with pytest.raises(Contradiction, match="false_over"):
        await theirs.sync()
    # The label is the server's word, as that of an unmute is: nobody else can tell.
    assert await named(world) == []


async def test_a_server_that_ends_a_mute_by_an_end_that_she_has_put_off_is_found(
    world: SdkWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = await pair(world)
    mute = await theirs.mute(hours=1)
    (first,) = theirs.state.second.settings.mute_ends
    await theirs.queue.send("mute_end", mute=mute, until=world.host.now() // 1000 + 5 * 3600)
    await ours.sync()
    world.pass_time(hours=2)
    _by_an_older_end(monkeypatch, first)
    await ours.send_message("care", "hello")
    with pytest.raises(Contradiction, match="false_over"):
        await theirs.sync()
    assert await named(world) == []


@pytest.mark.parametrize("purpose", ["care", "safety"])
async def test_a_server_that_delivers_after_her_no_is_found_by_her_and_by_whoever_reads_the_log(
    world: SdkWorld, monkeypatch: pytest.MonkeyPatch, purpose: str
) -> None:
    ours, theirs = await pair(world)
    _goes_on(monkeypatch)
    await theirs.revoke()
    for party in (ours, theirs):
        # The shop's own wallet, which has not heard of her no before, holds the server to it as well.
        with pytest.raises(Contradiction, match="connection_ended"):
            await (ours.send_message(purpose, "One more thing.") if party is ours else party.sync())
    assert await named(world) == ["delivered_after_revoke"]


async def test_a_server_that_lets_a_waiting_message_go_after_her_no_is_found(
    world: SdkWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = await pair(world)
    await theirs.mute(hours=1, purposes=["care"])
    await ours.send_message("care", "Are they tight?")
    await theirs.sync()
    _goes_on(monkeypatch)
    await theirs.revoke()
    world.pass_time(hours=2)
    with pytest.raises(Contradiction, match="is not held"):
        for _ in range(100):
            await theirs.sync(wait=1)
    assert "delivered_after_revoke" in await named(world)


async def test_a_server_that_gives_no_receipt_of_an_end_is_found(world: SdkWorld) -> None:
    ours, theirs = await pair(world)
    await theirs.mute(hours=1)
    await ours.sync()
    world.pass_time(hours=2)
    await ours.send_message("care", "hello")

    def after(request: Request, response: Response) -> Response:
        if "/v1/acts/" not in request.url or response.status != 200:
            return response
        whole = json.loads(response.body)
        whole.pop("over", None)
        return Response(response.status, response.headers, json.dumps(whole).encode())

    world.wires["mia"].after = after
    with pytest.raises(Contradiction, match="false_over") as caught:
        for _ in range(100):
            await theirs.sync()
    assert len(caught.value.evidence) >= 3
    world.wires["mia"].after = None
    assert (await _receipt(theirs, over_of(theirs).by)).entry.kind is Kind.MUTE_OVER


async def test_only_who_muted_is_given_the_receipt(world: SdkWorld) -> None:
    ours, theirs = await pair(world)
    mute = await theirs.mute(until=world.host.now() // 1000 + 3600, shown="end")
    await ours.sync()
    world.pass_time(hours=2)
    await ours.send_message("care", "hello")
    await theirs.sync()
    assert over_of(theirs).by == mute
    await _receipt(theirs, mute)
    home = ours.queue.session.server(ours.info.home)
    assert (await home.get_act(mute, ours.queue.signer)).over is None
    assert (await home.get_act(mute, theirs.queue.signer)).over is not None
    with pytest.raises(Refused):
        await home.get_act("A" * 43, ours.queue.signer)
