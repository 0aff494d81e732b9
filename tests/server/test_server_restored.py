"""A server that was put back from an older copy reaches nobody until both sides have confirmed what they hold (REC-1 to
REC-6)."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.documents.acts import SignedAct
from comity.documents.events import Restored, open_event
from comity.documents.status_lists import GrantStatus, open_status_list
from comity.documents.types import SIDES
from comity.http_api import CONNECTIONS, JSON, STATUS_INDEXES
from comity_server.log.restores import CannotRestore
from comity_server.writer import recovery
from comity_tools.cli import main
from support.restored_server import Backup, confirm, state_at_server
from support.world import HOUR, Pair, World


async def lost_revoke(world: World) -> tuple[Pair, SignedAct]:
    """Mia ended it after the copy was made that was put back; a hosted shop without a kept key."""
    pair = await world.shop_and_customer("care")
    await pair.go("second", "remember", key="paper")
    backup = await Backup.of(world)
    world.later(HOUR)
    revoke = await pair.go("second", "revoke")
    world.later(HOUR)
    await backup.put_back()
    return pair, revoke


def news_of(items: list[dict[str, str]]) -> list[str]:
    """The events of an inbox that are about no act."""
    return [item["event"] for item in items if item["kind"] == "event" and "act" not in item]


async def test_every_open_connection_is_told_and_nobody_is_reached(world: World) -> None:
    ended = await world.shop_and_customer()
    await ended.go("second", "revoke")
    pair, _ = await lost_revoke(world)
    state = await state_at_server(world, pair.cid)
    assert state.phase == "open" and state.recovering == ("first", "second")
    assert (await state_at_server(world, ended.cid)).restored_at == 0
    for side in SIDES:
        items = (await world.read(pair.signers[side], "/v1/inbox")).json["items"]
        (raw,) = news_of(items)
        event = open_event(raw, world.server.directory.find_key).event
        assert isinstance(event, Restored)
        assert (event.first, event.second) == (state.first.head, state.second.head)
        assert event.log == f"localhost:{world.port}/log/again"
    pair.state = state
    for purpose in ("care", "safety"):
        assert await pair.refused("first", "message", purpose=purpose) == "recovering"
    wanted = b'{"cid":"%s"}' % pair.cid.encode()
    index = await world.read(pair.signers["second"], STATUS_INDEXES, "POST", wanted, JSON)
    assert index.code == "recovering"


async def test_the_server_says_that_it_was_restored_and_serves_no_log_that_it_cannot_vouch_for(world: World) -> None:
    pair, _ = await lost_revoke(world)
    (log,) = (await world.send("GET", "/.well-known/comity")).json["logs"]
    assert log["origin"] == f"localhost:{world.port}/log/again"
    assert 0 <= world.now() - log["restored_at"] < HOUR
    assert (await world.send("GET", "/log/checkpoint")).code == "not_found"
    await world.stop()
    world.change(consent_log=None, restored=False)
    await world.start()
    assert (await world.send("GET", "/.well-known/comity")).json["logs"][0]["restored_at"] == log["restored_at"]
    assert (await state_at_server(world, pair.cid)).recovering == ("first", "second"), "stated once"
    assert len(news_of((await world.read(pair.signers["second"], "/v1/inbox")).json["items"])) == 1


async def test_news_are_not_missed_by_who_has_read_further_than_the_copy(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    for number in range(5):
        await pair.go("first", "remember", key=f"key_{number}")
    page = (await world.read(pair.signers["second"], "/v1/inbox")).json
    await backup.put_back()
    later = (await world.read(pair.signers["second"], f"/v1/inbox?cursor={page['cursor']}")).json
    assert len(news_of(later["items"])) == 1


async def test_offline_a_consent_means_ask_the_server(world: World) -> None:
    pair, _ = await lost_revoke(world)
    (grant,) = (await state_at_server(world, pair.cid)).second.grants
    token = await world.send("GET", grant.uri.removeprefix(world.origin))
    listed = open_status_list(token.body.decode(), grant.uri, world.server.directory.find_key)
    assert listed.at(grant.idx) == GrantStatus.ASK


async def test_a_side_confirms_what_the_server_has_and_nothing_else(world: World) -> None:
    pair = await world.shop_and_customer("care")
    backup = await Backup.of(world)
    mute = await pair.go("second", "mute")
    await pair.go("second", "hours", zone="Europe/Berlin", windows=(), shown="not_now")
    await backup.put_back()
    assert (await confirm(pair, "second")).json == {"lacks": ["second", "settings"], "recovering": ["first", "second"]}
    assert (await confirm(pair, "first")).json["lacks"] == ["second"]
    kept = await state_at_server(world, pair.cid)
    assert kept.recovering == ("first", "second")
    # What the other side's settings are is nobody's business: their head is as good as none.
    answer = await confirm(pair, "first", second=kept.second.head, settings=pair.state.second.settings.head)
    assert answer.json["lacks"] == ["settings"]
    ready = {"second": kept.second.head}
    assert (await confirm(pair, "first", **ready)).json == {"lacks": [], "recovering": ["second"]}
    assert (await confirm(pair, "first", **ready)).json == {"lacks": [], "recovering": ["second"]}
    assert (await state_at_server(world, pair.cid)).second.mutes == ()
    assert mute.id == pair.state.second.head


async def test_a_side_that_has_not_read_the_others_later_acts_confirms_all_the_same(world: World) -> None:
    """REC-5: what it knows is behind by an act, and the server has all of it; so is an older phone of her own."""
    pair = await world.shop_and_customer("care")
    settings = {"windows": (), "shown": "not_now"}
    older = await pair.go("second", "hours", zone="UTC", **settings)
    await pair.go("second", "hours", zone="Asia/Tokyo", **settings)
    backup = await Backup.of(world)
    await backup.put_back()
    mute = pair.compose("second", "mute")
    assert (await world.act(mute)).status == 200
    assert (await confirm(pair, "second", second=mute.id, settings=older.id)).json["lacks"] == []
    assert (await confirm(pair, "first")).json == {"lacks": [], "recovering": []}


async def test_heads_are_taken_from_a_side_alone(world: World) -> None:
    pair, _ = await lost_revoke(world)
    body = b'{"first":"%s","second":"%s","settings":"%s"}' % ((pair.cid.encode(),) * 3)
    path = f"{CONNECTIONS}/{pair.cid}/heads"
    assert (await world.read(world.person(), path, "POST", body, JSON)).code == "not_found"
    assert (await world.send("POST", path, body, JSON)).code == "signature_required"
    mine = pair.signers["second"]
    assert (await world.read(mine, path, "POST", b"{}", JSON)).code == "malformed"
    assert (await world.read(mine, path, "POST", body, "text/plain")).code == "unsupported_media_type"
    assert (await world.read(mine, f"{CONNECTIONS}/{'A' * 43}/heads", "POST", body, JSON)).code == "not_found"


async def test_a_no_gets_in_while_the_doors_wait(world: World) -> None:
    pair, revoke = await lost_revoke(world)
    assert (await world.act(revoke)).status == 200
    assert (await state_at_server(world, pair.cid)).phase == "ended"


async def test_a_recovery_goes_on_where_a_start_was_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [await world.shop_and_customer("care") for _ in range(3)]
    backup = await Backup.of(world)
    monkeypatch.setattr(recovery, "AT_ONCE", 1)
    told = 0

    async def cut_off(cids: list[str], at: int, group: object) -> int:
        nonlocal told
        told += 1
        if told == 2:
            raise RuntimeError("the power goes")
        return await whole(cids, at, group)  # type: ignore[arg-type]

    whole = recovery._state_restored
    monkeypatch.setattr(recovery, "_state_restored", cut_off)
    with pytest.raises(Exception, match=r"overloaded|power"):
        await backup.put_back()
    monkeypatch.setattr(recovery, "_state_restored", whole)
    world.change(restored=False)
    await world.start()
    for pair in pairs:
        state = await state_at_server(world, pair.cid)
        assert state.recovering == ("first", "second")
        assert len(news_of((await world.read(pair.signers["second"], "/v1/inbox")).json["items"])) == 1


# --- how a start knows


async def test_a_store_that_was_put_back_does_not_go_on_in_its_log(world: World) -> None:
    await world.shop_and_customer("care")
    backup = await Backup.of(world)
    with pytest.raises(CannotRestore, match="COMITY_CONSENT_LOG"):
        await backup.put_back(None)
    world.change(consent_log=None, restored=False)
    await world.start()


@pytest.mark.parametrize("lost", ["the database alone was put back", "the head file is gone"])
async def test_a_log_that_begins_where_more_was_signed_begins_after_a_restore(world: World, lost: str) -> None:
    pair = await world.shop_and_customer("care")
    await Backup.of(world)
    await pair.go("second", "mute")
    await world.stop()
    data = world.folder / "data"
    if lost == "the head file is gone":
        (data / "log.head").unlink()
    else:
        _put_back_the_database(world.folder / "backup", data)
    world.change(consent_log="again")
    await world.start()
    assert (await state_at_server(world, pair.cid)).recovering == ("first", "second")


def _put_back_the_database(backup: Path, data: Path) -> None:
    for path in data.glob("comity.db*"):
        path.unlink()
    for path in backup.glob("comity.db*"):
        (data / path.name).write_bytes(path.read_bytes())


async def test_a_log_that_is_begun_for_another_reason_holds_nobody_back(world: World) -> None:
    pair = await world.shop_and_customer("care")
    await world.stop()
    world.change(consent_log="another")
    await world.start()
    assert (await state_at_server(world, pair.cid)).restored_at == 0
    await pair.go("first", "message")


async def test_the_store_of_a_restored_server_holds_together(world: World) -> None:
    pair, _ = await lost_revoke(world)
    await confirm(pair, "first")
    await world.stop()
    result = CliRunner().invoke(main, ["fsck", "--data", str(world.folder / "data")])
    assert result.exit_code == 0, result.output
    await world.start()
