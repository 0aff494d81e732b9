"""Somebody follows a log from outside, over HTTP: he sees all of it, once, and goes on where he was."""

import asyncio
import json
import os
import pty
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from comity.client.http.aiohttp_transport import over_aiohttp
from comity.client.http.transport import Request, Response, Transport
from comity.client.log.monitor import Report, follow_log
from comity.client.log.monitor_state import MonitorFile, MonitorFileError, MonitorState, default_file
from comity.client.log.tile_reader import LogFinding, TileReader, log_prefix
from comity.errors import Malformed
from comity.transparency.checkpoints import open_checkpoint
from comity.transparency.entries import Kind
from comity.transparency.merkle import check_consistency, needed_nodes, prove_consistency
from comity.transparency.tiles import ENTRIES, WIDTH, Tile, bundles_of, decode_bundle, tiles_of
from support.served_log import MINUTE, Host, TrueLog, command, entries, entry, follow_host, hosting, signer, witness

LARGE = 70_000
"""Entries: a full tile of level 1, and a third level."""


@pytest.fixture(scope="module")
def large() -> TrueLog:
    return TrueLog("large.example/log", entries(LARGE))


def from_memory(log: TrueLog, asked: list[str]) -> Transport:
    """A wire with the log at its other end."""

    async def send(request: Request) -> Response:
        path = request.url.partition("/log/")[2]
        asked.append(path)
        data = log.file(path)
        return Response(404, {}, b"") if data is None else Response(200, {}, data)

    return Transport(send)


async def followed(host: Host, kept: MonitorState | None = None, **more: Any) -> Report:
    transport = over_aiohttp()
    assert transport.close is not None
    try:
        return await follow_log(TileReader(host.url, transport), kept or MonitorState(host.log.signer.verifier), **more)
    finally:
        await transport.close()


def everything(size: int) -> set[str]:
    """The paths of all that is to be seen of a log."""
    return {"checkpoint", *(tile.path for tile in (*tiles_of(size), *bundles_of(size)))}


# --- all of it


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 600])
async def test_every_tile_and_every_entry_is_looked_at(size: int) -> None:
    async with hosting(size) as host:
        report = await followed(host)
        assert set(host.asked) == everything(size)
        assert len(host.asked) == len(set(host.asked))
    assert (report.new, report.state.position, report.served.size, report.is_lagging) == (size, size, size, False)
    assert report.state.verified == report.state.seen == report.served
    assert sum(report.state.kinds.values()) == size
    assert report.state.minute == (MINUTE + (size - 1) // 10 if size else 0)


async def test_a_large_log_has_all_of_its_levels_looked_at(large: TrueLog) -> None:
    asked: list[str] = []
    steps: list[tuple[int, int]] = []
    source = TileReader("https://large.example/log", from_memory(large, asked))
    report = await follow_log(
        source, MonitorState(large.signer.verifier), progress=lambda done, size: steps.append((done, size))
    )
    assert set(asked) == everything(LARGE) and "tile/2/000.p/1" in asked and "tile/1/000" in asked
    assert report.state.kinds == dict.fromkeys((Kind.ACT, Kind.DELIVERED, Kind.PRIVATE, Kind.MUTE_ALL), LARGE // 4)
    assert steps[0] == (0, LARGE) and steps[-1] == (LARGE, LARGE) and steps == sorted(steps)


async def test_a_log_that_grows_is_looked_at_from_where_it_was() -> None:
    async with hosting() as host:
        kept, seen = MonitorState(host.log.signer.verifier), list[MonitorState]()
        for size in (0, 1, 2, 255, 256, 257, 257, 600, 1024):
            host.log.grow(entries(size - host.log.size, host.log.size))
            host.asked.clear()
            report = await followed(host, kept, store=seen.append)
            assert (report.new, report.served.size) == (size - kept.position, size)
            bundles = [path for path in host.asked if path.startswith("tile/entries")]
            first = kept.position // WIDTH
            assert bundles == [it.path for it in bundles_of(size) if it.number >= first and size > kept.position]
            kept = report.state
            assert seen[-1] == kept
        assert sum(kept.kinds.values()) == 1024


# --- what may be otherwise


async def test_a_partial_tile_that_is_gone_is_cut_out_of_the_full_one() -> None:
    async with hosting(300) as host:
        early = host.log.checkpoint().encode()
        host.log.grow(entries(400, 300))
        host.lie = lambda path, data: early if path == "checkpoint" else None if ".p/44" in path else data
        report = await followed(host)
        assert report.served.size == report.new == 300
        assert {"tile/0/001", "tile/entries/001"} <= set(host.asked)


async def test_a_checkpoint_that_lags_is_all_right_where_the_larger_tree_is_served(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with hosting(300) as host:
        early = host.log.checkpoint().encode()
        host.log.grow(entries(400, 300))
        assert (await follow_host(host, state)).code == 0
        host.lie = lambda path, data: early if path == "checkpoint" else data
        said = await follow_host(host, state)
        assert said.code == 0 and "behind      the checkpoint has 300" in said.out
        assert (await follow_host(host, state, "--json")).json["size"] == 700
        host.lie = None
        host.log.grow(entries(1, 700))
        assert (await follow_host(host, state, "--json")).json["new"] == 1


async def test_nodes_for_a_proof_are_fetched_by_tiles() -> None:
    async with hosting(600) as host:
        old = open_checkpoint(host.log.checkpoint(), host.log.signer.verifier)
        host.log.grow(entries(1400, 600))
        transport = over_aiohttp()
        assert transport.close is not None
        source = TileReader(f"{host.url}/", transport)
        new = open_checkpoint(await source.checkpoint(), host.log.signer.verifier)
        for _ in range(2):
            node = await source.nodes(needed_nodes(lambda node: prove_consistency(600, 2000, node)), 2000)
            proof = prove_consistency(600, 2000, node)
            assert check_consistency(600, old.root, 2000, new.root, proof)
        # Asked for once: what is in hand is not fetched again.
        assert len(host.asked) == len(set(host.asked)) <= 6
        bundle = Tile(ENTRIES, 7, 208)
        assert decode_bundle(bundle, await source.tile(bundle)) == host.log.entries[1792:]
        with pytest.raises(LogFinding, match="is not there"):
            await source.tile(Tile(3, 0, 1))
        await transport.close()


@pytest.mark.parametrize(
    "url", ["http://log.example/log", "ftp://localhost/log", "https://a@b.example/", "https://b.example/x?y", "nothing"]
)
async def test_a_log_is_read_over_https_alone_but_on_loopback(url: str) -> None:
    with pytest.raises(Malformed):
        log_prefix(url)
    said = await command(url)
    assert said.code == 2 and "Usage" in said.err


def test_a_log_has_one_prefix_however_its_url_is_written() -> None:
    for url in ("HTTPS://Log.Example:443/log/", "https://log.example/log", "https://log.example:/log"):
        assert log_prefix(url) == "https://log.example/log"
    assert log_prefix("https://log.example/LOG") == "https://log.example/LOG"


# --- whom he trusts


async def test_without_a_key_the_first_one_that_is_told_is_kept(tmp_path: Path) -> None:
    async with hosting(3) as host:
        said = await command(host.url, data=tmp_path)
        assert said.code == 0 and "the key that the server announces is used" in said.out
        assert host.log.signer.verifier.text in said.out
        host.asked.clear()
        host.logs = []
        assert (await command(host.url, data=tmp_path)).code == 0
        assert "/.well-known/comity" not in host.asked
        # Whoever signs with another key from then on is found out, whatever he announces.
        host.log.signer = signer(host.origin, seed="another")
        host.logs = None
        said = await command(host.url, data=tmp_path)
        assert said.code == 1 and "no known key signed this note" in said.err
        said = await command(host.url, "--vkey", host.log.signer.verifier.text, data=tmp_path)
        assert said.code == 2 and "has another key for this log" in said.err


@pytest.mark.parametrize("logs", [[], "none", [{"origin": "x", "url": "here", "vkey": "that"}], [{"url": 1}]])
async def test_a_server_that_announces_no_such_log_is_no_reason_to_trust_anything(tmp_path: Path, logs: Any) -> None:
    async with hosting(3) as host:
        host.logs = json.loads(json.dumps(logs).replace('"here"', f'"{host.url}"'))
        said = await command(host.url, data=tmp_path)
        assert said.code == 2 and said.err.startswith("Error: ")
        assert not list(tmp_path.rglob("*.json"))


async def test_no_server_takes_the_name_of_another_s_log(tmp_path: Path) -> None:
    async with hosting(3) as good, hosting(3) as evil:
        evil.log = evil.log.named(good.origin)
        evil.logs = [{"origin": good.origin, "vkey": signer(good.origin, seed="x").verifier.text, "url": evil.url}]
        said = await command(evil.url, data=tmp_path)
        assert said.code == 2 and "another name" in said.err
        assert (await command(good.url, data=tmp_path)).code == 0


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0", "3601", "soon"])
async def test_a_time_to_wait_is_some_seconds(tmp_path: Path, seconds: str) -> None:
    said = await command("http://localhost:1/log", "--timeout", seconds, data=tmp_path)
    assert said.code == 2 and "--timeout" in said.err


async def test_a_minute_beyond_every_calendar_is_told_as_a_number(tmp_path: Path) -> None:
    async with hosting(3) as host:
        host.log.witnesses = [(witness(1), 2**63 - 1)]
        host.log.grow([entry(3, minute=2**32 - 1)])
        said = await follow_host(host, tmp_path / "state", "--witness", witness(1).verifier.text)
        assert said.code == 0 and said.out.count("outside the calendar") == 2


async def test_witnesses_are_named_and_counted(tmp_path: Path) -> None:
    one, two, three = (witness(number) for number in (1, 2, 3))
    (tmp_path / "two").write_text(f"{two.verifier.text}\n")
    named: list[str | Path] = ["--witness", one.verifier.text, "--witness", tmp_path / "two"]
    async with hosting(3) as host:
        host.log.witnesses = [(one, 1_760_000_000), (three, 1_760_000_000)]
        said = await follow_host(host, tmp_path / "state", *named)
        assert said.code == 1 and "1 of 2 did, 2 must" in said.err
        said = await follow_host(host, tmp_path / "state", *named, "--cosignatures", "1")
        assert said.code == 0 and "witness-1.example/w signed 2025-10-09" in said.out
        host.log.witnesses.append((two, 1_760_000_060))
        said = await follow_host(host, tmp_path / "state", *named, "--json")
        assert set(said.json["witnesses"]) == {one.name, two.name}
        assert (await follow_host(host, tmp_path / "state", "--cosignatures", "1")).code == 2
        assert (await follow_host(host, tmp_path / "state", "--witness", host.log.signer.verifier.text)).code == 2
        assert (await follow_host(host, tmp_path / "state", "--witness", tmp_path / "none")).code == 2


# --- what is kept


async def test_output_and_state_file_of_follow(tmp_path: Path) -> None:
    async with hosting(600) as host:
        told = (await command(host.url, "--vkey", host.log.signer.verifier.text, "--json", data=tmp_path)).json
        kept = Path(told["state"])
        assert kept.is_relative_to(tmp_path / "comity" / "logs") and kept.stat().st_mode & 0o77 == 0
        assert told == {
            "ok": True, "url": host.url, "vkey": host.log.signer.verifier.text, "first_use": False, "state": str(kept),
            "size": 600, "served": 600, "new": 600, "newest": (MINUTE + 59) * 60, "witnesses": {},
            "entries": {"act": 150, "mute_all": 150, "delivered": 150, "private": 150},
            "root": host.log.checkpoint().split("\n")[2],
        }  # fmt: skip
        said = await command(host.url, data=tmp_path)
        assert "600 entries, 0 of them new" in said.out and said.out.endswith("All checks passed.\n")
        assert str(kept) in said.out and "2025-02-19" in said.out and said.err == ""


async def test_a_place_that_is_no_folder_of_its_own_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/somebody")
    assert default_file("a/log").path.parent == Path("/somebody/.local/share/comity/logs")
    assert default_file("a/log").path.name != default_file("b/log").path.name


async def test_a_file_that_was_spoiled_is_refused_and_not_begun_anew(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with hosting(300) as host:
        assert (await follow_host(host, state)).code == 0
        good = state.read_bytes()
        spoiled = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(0, len(good) - 1, 7)]
        for bad in (b"", b"{}", b"[1]", good[:-20], good + b"x", *spoiled):
            state.write_bytes(bad)
            with pytest.raises(MonitorFileError):
                MonitorFile(state).load()
        said = await follow_host(host, state)
        assert said.code == 2 and "damaged" in said.err and state.read_bytes() == bad
        state.write_bytes(good)
        said = await command(host.url, "--vkey", signer("other.example/log").verifier.text, "--state", state)
        assert said.code == 2 and "belongs to another log" in said.err


async def test_a_file_from_before_the_second_version_of_entries_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state").write_text('{"comity": "followed log 2", "sum": "", "state": {}}')
    with pytest.raises(MonitorFileError, match="remove it, and the log is read again"):
        MonitorFile(tmp_path / "state").load()


async def test_two_at_once_do_not_write_over_each_other(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with hosting(3) as host:
        with MonitorFile(state).lock():
            said = await follow_host(host, state)
        assert said.code == 2 and "another process follows this log" in said.err
        assert (await follow_host(host, state)).code == 0


async def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with hosting(3) as host:
        said = await follow_host(host, tmp_path / "file" / "state")
        assert said.code == 2 and "cannot" in said.err
        (tmp_path / "folder").mkdir()
        assert (await follow_host(host, tmp_path / "folder")).code == 2


# --- a process that is killed


async def test_killed_in_the_middle_it_goes_on_from_there(tmp_path: Path, large: TrueLog) -> None:
    async with hosting() as host:
        host.log = large.named(host.origin)
        reached = asyncio.Event()

        async def hold(request: web.BaseRequest) -> web.StreamResponse:
            reached.set()
            await asyncio.sleep(60)
            raise AssertionError("the child should be dead by now")

        # Asked for when the bundle eight before it was looked at: the first 64 are kept by then.
        host.stalls = {Tile(ENTRIES, 80).path: hold}
        bar = await _killed_when(reached, host, tmp_path / "state")
        assert b"entries" in bar
        host.honest()
        said = (await follow_host(host, tmp_path / "state", "--json")).json
        assert said["ok"] and said["size"] == LARGE and said["new"] == LARGE - 64 * WIDTH
        assert sum(said["entries"].values()) == LARGE
        bundles = sorted(path for path in host.asked if path.startswith("tile/entries"))
        assert bundles == sorted(it.path for it in bundles_of(LARGE) if it.number >= 64)


async def _killed_when(reached: asyncio.Event, host: Host, state: Path) -> bytes:
    """Follows in a process of its own, before a terminal, and kills it then; what the terminal showed."""
    terminal, end = pty.openpty()
    words = ["log", "follow", host.url, "--vkey", host.log.signer.verifier.text, "--state", str(state)]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "comity_tools", *words, stderr=end, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await asyncio.wait_for(reached.wait(), 60)
    finally:
        child.send_signal(signal.SIGKILL)
        await child.wait()
    os.set_blocking(terminal, False)
    shown = os.read(terminal, 1 << 16)
    os.close(terminal)
    os.close(end)
    return shown
