"""`comity wallet`, as somebody types it: a customer and a business, over HTTP."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.client import Request, Response, Transport, over_aiohttp
from comity.client.log import known_logs
from comity.crypto.keys import SigningKey
from comity.http_api import ACTS
from comity.transparency.notes import COSIGNATURE, NoteSigner
from comity_tools.cli import main
from support.business_world import EXAMPLE_OFFER, Shop, a_shop
from support.terminal_world import Terminal, connected
from support.world import World


async def test_a_customer_and_a_business_in_two_terminals(host: World, tmp_path: Path) -> None:
    mia, shop = Terminal(tmp_path / "mia"), Terminal(tmp_path / "shop")
    (tmp_path / "terms.txt").write_text("We write for what you allowed.")
    did = f"did:web:localhost%3A{host.port}:b:shop"
    made = await shop("create", "--business", did, "--name", "The Blue Shop")
    key = re.search(r"did:key:\S+", made)
    assert key is not None
    await host.server.add_business_key("shop", key[0])
    await mia("create")
    assert "already there" in await mia("create", code=1)
    assert "no connections yet" in await mia("show")

    link = (await shop("offer", host.origin, "-p", "care", "--terms", str(tmp_path / "terms.txt"))).split()[0]
    assert "The Blue Shop" in await mia("look", link)
    assert "has signed too" in await mia("accept", link)
    assert "has not signed yet" in await mia("mute", "The Blue Shop", code=1)
    proposal = (await shop("proposals")).split()[0]
    cid = re.search(r"The id is (\S+)\.", await shop("countersign", proposal))
    assert cid is not None
    assert "Nobody waits" in await shop("proposals")
    assert "1 new" in await mia("sync")
    assert "may contact you for care, favour" in await mia("grant", "The Blue Shop", "care", "favour")
    assert "Delivered." in await shop("send", cid[1], "care", "How are you?")
    assert "How are you?" in await mia("messages", "The Blue Shop")
    assert "you may contact" in await shop("tokens", cid[1])
    await mia("mute", "The Blue Shop", "--days", "3")
    assert "The message waits: not now. It expires on " in await shop("send", cid[1], "care", "Still there?")
    await mia("unmute", "The Blue Shop")
    day = f"{datetime.now(UTC) + timedelta(days=14):%Y-%m-%d}"
    assert f"The Blue Shop reads that you are away until {day}." in await mia("away", "--until", day, "The Blue Shop")
    assert "already muted until then or longer" in await mia("away", "--until", day)
    told = await shop("send", cid[1], "care", "Are you there?")
    assert (
        f"The message waits: not now, until {day} 00:00 UTC. It expires on " in told
        and f"is away until {day}\n" in told
    )
    assert f"is away until {day}\n" in await shop("show", cid[1])
    told = await mia("back")
    assert "The Blue Shop no longer reads that you are away." in told and "You are back." in told
    assert "is away" not in await shop("show", cid[1])
    assert "(until_passed)" in await mia("away", "--until", "2020-01-01", code=1)
    await mia("snooze", "The Blue Shop")
    assert "You asked" in await shop("ask", cid[1], "review", "Two lines?", "--in-return", "tea")
    assert "You said yes" in await mia("answer", "The Blue Shop", "yes")
    await mia("done", "The Blue Shop")
    assert "You thanked" in await shop("thank", cid[1])
    assert "favour  asked of you: Two lines? (thanked)" in await mia("show", "The Blue Shop")
    token = (await mia("tokens", "The Blue Shop")).split()[0]
    assert (await mia("receipt", "The Blue Shop", token)).startswith("c2sp.org/tlog-proof@v1\n")
    out = tmp_path / "grant.tlog-proof"
    assert "is in" in await mia("receipt", "The Blue Shop", token, "--out", str(out))
    assert "cannot write" in await mia("receipt", "The Blue Shop", token, "--out", str(out), code=1)
    assert "is not an id" in await mia("receipt", "The Blue Shop", "nothing", code=1)
    assert "not been delivered" in await mia("receipt", "The Blue Shop", token, "--delivery", code=1)
    # The same entry, under a checkpoint of another moment.
    theirs = await shop("receipt", cid[1], token)
    assert theirs.splitlines()[:3] == out.read_text(encoding="utf-8").splitlines()[:3]
    message = (await mia("messages", "The Blue Shop")).split()[0]
    told = await mia("feedback", "The Blue Shop", message, "mislabelled", "--as", "sales")
    assert told.startswith("From now on The Blue Shop may send you what it calls care only if it may also send you ad")
    assert "They will see this. Undo at any time." in told and told.rstrip().endswith("Feedback given.")
    assert "you: care is judged as sales, too, until " in await mia("contests", "The Blue Shop")
    assert "contest " in await mia("show", "The Blue Shop") and "[mislabelled]" in await mia(
        "messages", "The Blue Shop"
    )
    assert "(no_grant)" in await shop("send", cid[1], "care", "More doors", code=1)
    assert "This takes back that it was advertising." in await mia("feedback", "The Blue Shop", message, "too_often")
    assert "At most 2 a month" in await mia("feedback", "The Blue Shop", message, "too_often", "--limit", "2/month")
    assert "Nothing is contested." in await mia("contests", "The Blue Shop")
    assert "is not an id" in await mia("feedback", "The Blue Shop", "nothing", "thanks", code=1)
    await mia("budget", "The Blue Shop")
    assert "You gave that up" in await shop("renounce", cid[1], "-p", "favour", "--because", "told_us")
    assert "The Blue Shop gave up your consent: favour" in await mia("show", "The Blue Shop")
    assert "Taken back" in await mia("withdraw", "The Blue Shop", token)
    assert "(no_grant)" in await shop("send", cid[1], "care", "?", code=1)
    assert "Delivered." in await shop("send", cid[1], "safety", "Do not lean out.")
    assert "notices safety: 1, the last on" in await mia("show", "The Blue Shop")
    told = await mia("timeline", "The Blue Shop")
    assert "you muted The Blue Shop" in told
    assert "has ended" in await mia("revoke", "The Blue Shop", "--yes")
    assert "(connection_ended)" in await mia("grant", cid[1], "care", code=1)
    assert '"phase": "ended"' in await mia("export")
    assert "is to say by this time what became of your data" in await mia("timeline", "The Blue Shop")
    assert "write it as 2034-12-31" in await shop("erasure", cid[1], "--keep", "payments=contract=soon", code=1)
    assert "(malformed)" in await shop("erasure", cid[1], "everything", code=1)
    kept = ("--keep", "payments=legal_obligation=2048-12-31", "--keep", "history=legal_claims")
    assert "Signed" in await shop("erasure", cid[1], "contact", "messages", *kept, "--told", "Zahlwerk 24")
    told = "deleted contact, messages; kept payments (legal obligation, until 2048-12-31), history (legal claims)"
    assert f"The Blue Shop said what became of your data: {told}; 1 other was told" in await mia(
        "timeline", "The Blue Shop"
    )
    assert "informed: Zahlwerk 24" in await mia("statement", "The Blue Shop")
    assert "has made no statement" in await shop("statement", cid[1])
    assert "is https, and http on loopback only" in await mia("look", "http://nowhere", code=1)
    assert "no connection is called" in await mia("timeline", "green", code=1)


async def test_an_offer_that_allows_something_and_defaults_that_suggest_something(host: World, tmp_path: Path) -> None:
    mia, shop = Terminal(tmp_path / "mia"), Terminal(tmp_path / "shop")
    (tmp_path / "terms.txt").write_text("We write for what you allowed.")
    made = await shop("create", "--business", f"did:web:localhost%3A{host.port}:b:shop", "--name", "The Blue Shop")
    key = re.search(r"did:key:\S+", made)
    assert key is not None
    await host.server.add_business_key("shop", key[0])
    await mia("create")
    assert "sales: nothing" in await mia("defaults")
    told = await mia("defaults", "care", "--days", "30", "--budget", "3/month")
    assert "care: by app, 3 a month, for 30 days" in told
    assert "(malformed)" in await mia("defaults", "care.checkin", "--none", code=1)
    terms = ("--terms", str(tmp_path / "terms.txt"))
    link = (await shop("offer", host.origin, "-p", "care", "-p", "sales", "--allow", "care", *terms)).split()[0]
    shown = await mia("look", link)
    assert (
        "If you accept, you may write to them about care by app, for 365 days; complaints are always allowed." in shown
    )
    assert "Your defaults suggest to allow: care by app, 3 a month, for 30 days." in shown
    await mia("accept", link, "--only", "care", "--only", "sales")
    await shop("countersign")
    assert "  promise you may write to them, as they promised" in await mia("show", "The Blue Shop")
    assert "Delivered." in await mia("send", "The Blue Shop", "care", "Good morning!")
    assert "you may contact The Blue Shop for care" in await mia("tokens", "The Blue Shop")
    (ours,) = [
        line for line in (await shop("tokens", (await shop("show")).split()[0])).splitlines() if "you may" in line
    ]
    assert "care" in ours and "sales" not in ours


async def test_a_no_in_a_terminal_comes_before_any_complaint(
    host: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_logs, "WITNESSED_WITHIN", 0.3)
    mia, shop = await connected(host, tmp_path)
    await shop("send", "mia", "care", "How are you?")
    witness = NoteSigner("w.example", COSIGNATURE, SigningKey(b"w" * 32)).verifier.text
    assert "witnesses cosigned" in await mia("--witness", witness, "mute", "The Blue Shop", code=1)
    assert "The message waits" in await shop("send", "mia", "care", "Still there?")
    await mia("unmute", "The Blue Shop")
    # What came is told before the complaint, or it would be told to nobody.
    await shop("send", "mia", "care", "And now?")
    assert "message from The Blue Shop" in await mia("--witness", witness, "sync", code=1, told=True)
    assert "is not an id" in await mia("receipt", "The Blue Shop", "", code=1)


async def test_a_no_whose_receipt_is_false_took_effect_and_that_is_told(
    host: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mia, shop = await connected(host, tmp_path)

    def wired() -> Transport:
        real = over_aiohttp()

        async def send(request: Request) -> Response:
            answer = await real.send(request)
            false = answer.body.replace(b"index ", b"index 1") if request.url.endswith(ACTS) else answer.body
            return replace(answer, body=false)

        return replace(real, send=send)

    monkeypatch.setattr("comity.client.opening.over_aiohttp", wired)
    assert "It took effect" in await mia("mute", "The Blue Shop", code=1, told=True)
    monkeypatch.undo()
    assert "The message waits" in await shop("send", "mia", "care", "Are you there?")


async def customer_of_two(host: World, tmp_path: Path) -> tuple[Terminal, Shop]:
    """Mia in two connections with a shop whose key the server keeps, and which lets her ask for favours."""
    mia, shop = Terminal(tmp_path / "mia"), await a_shop(host)
    await mia("create")
    allow = {"purposes": ["favour"], "channels": ["app"], "days": 300}
    ends = (datetime.now(UTC) + timedelta(days=9)).isoformat(timespec="seconds")
    for name in ("Red", "Green"):
        offer = {**EXAMPLE_OFFER, "name": name, "allow": allow, "expires_at": ends}
        await mia("accept", (await shop.post("/offers", offer))["link"], "--again")
    await mia("sync")
    return mia, shop


async def test_going_away_takes_minutes_unless_it_is_now_and_what_was_interrupted_goes_on(
    host: World, tmp_path: Path
) -> None:
    """AWAY-5: equal times would tell which connections are one wallet's."""
    mia, shop = await customer_of_two(host, tmp_path)
    day = f"{datetime.now(UTC) + timedelta(days=14):%Y-%m-%d}"
    comity = Path(sys.executable).with_name("comity")
    for command, rest in (("away", ("--until", day)), ("back", ())):
        child = await asyncio.create_subprocess_exec(
            comity, "wallet", "-w", mia.file, command, *rest,
            env={**os.environ, "COMITY_WALLET_IDENTITY": mia.identity}, stdout=PIPE, stderr=PIPE,
            # As in her terminal: what a shell starts in the background is started with the signal ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        assert child.stdout is not None
        async with asyncio.timeout(30):
            told = [(await child.stdout.readline()).decode() for _ in range(2)]
            child.send_signal(signal.SIGINT)
            await child.wait()
        assert "Telling 2 connections at random moments within 10 minutes" in told[0]
        assert f"The next `{command}` continues" in told[1] and child.returncode
        assert "random moments" not in await mia(command, *rest, "--now")
        mutes = [it["mutes"] for it in (await shop.get("/connections"))["items"]]
        assert [[it["reason"] for it in of_one] for of_one in mutes] == [["away"] if command == "away" else []] * 2


async def test_an_ask_to_a_party_who_is_away_for_longer_brings_a_warning(host: World, tmp_path: Path) -> None:
    mia, shop = await customer_of_two(host, tmp_path)

    async def away(days: int) -> str:
        now = datetime.now(UTC).replace(microsecond=0)
        back = now + timedelta(days=days)
        body = {"starts_at": now.isoformat(), "ends_at": back.isoformat(), "texts": {"en": "At the sea."}}
        assert (await shop.ask("PUT", "/notices/away", body)).status == 200
        return f"Red is away until {back:%Y-%m-%d}: At the sea."

    told = await away(40)
    asked = await mia("ask", "Red", "review", "Two lines?")
    assert told in asked and "Note: your question ends on " in asked and asked.rstrip().endswith(", before that.")
    told = (await away(20)).replace("Red", "Green")
    asked = await mia("ask", "Green", "review", "Two lines?")
    assert told in asked and "Mind" not in asked


def test_a_witness_s_name_is_no_address() -> None:
    said = CliRunner().invoke(main, ["witness", "--name", "https://witness.example/w1"])
    assert said.exit_code == 2 and "without https://" in said.stderr


async def test_the_relationship_in_a_terminal(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    await shop("milestone", "mia", "installed", "windows", "--when", "2023-05-02", "--lasts", "2048-05-02")
    assert "(already_has)" in await shop("send", "mia", "sales", "New windows!", "--topic", "windows", code=1)
    await mia("remember", "The Blue Shop", "no_interest", "--topic", "shutters")
    await mia("remember", "The Blue Shop", "language", "--value", '["de", "en"]', "Grüß Gott")
    await mia("remember", "The Blue Shop", "receipt", "--value", "paper")
    assert "Did you mean language?" in await mia("remember", "The Blue Shop", "lang", "--value", "de", code=1)
    assert "value" in await mia("remember", "The Blue Shop", "receipt", "--value", "fax", code=1)
    assert (await mia("notes", "The Blue Shop")).splitlines() == [
        "you: no_interest (shutters)", "you: language: de, en – Grüß Gott", "you: receipt: paper",
    ]  # fmt: skip
    assert "(no_interest)" in await shop("send", "mia", "sales", "Shutters!", "--topic", "shutters", code=1)
    await mia("forget", "The Blue Shop", "no_interest", "--topic", "shutters")
    assert "Delivered." in await shop("send", "mia", "sales", "Shutters!", "--topic", "shutters")
    assert "would have said: no grant" in await shop("contacted", "mia", "phone", "care")
    assert "The old key signs nothing" in await mia("rotate", "The Blue Shop")
    assert "Delivered." in await shop("send", "mia", "care", "Still there?")


async def test_hours_and_budgets_in_a_terminal(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    now = datetime.now(UTC)
    later, end = (f"{now + timedelta(hours=hours):%H:00}" for hours in (3, 4))
    assert "is not told your hours" in await mia("hours", "The Blue Shop", "UTC", f"mo,tu,we,th,fr,sa,su={later}-{end}")
    assert "The message waits" in await shop("send", "mia", "care", "Are you there?")
    await mia("hours", "The Blue Shop", "UTC")
    await mia("budget", "The Blue Shop", "--messages", "1/week")
    assert "The message waits" in await shop("send", "mia", "care", "And now?")
    assert "zone" in await mia("hours", "The Blue Shop", "Mars/Olympus", "mo=09:00-10:00", code=1)
    assert "HH:MM" in await mia("hours", "The Blue Shop", "UTC", "mo=9-10", code=1)
    assert "write it as" in await mia("hours", "The Blue Shop", "UTC", "always", code=1)
    assert "write it as 3/week" in await mia("budget", "The Blue Shop", "--messages", "many", code=1)


async def test_a_mailbox_brings_news_and_is_let_go_in_a_terminal(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    for words, says in (((), "through your mailbox on its server"), (("--off",), "fetched separately")):
        assert says in await mia("mailbox", "The Blue Shop", *words)
        assert "Delivered." in await shop("send", "mia", "care", f"News, {says}?")
        assert "1 new" in await mia("sync")
        assert f"News, {says}?" in await mia("messages", "The Blue Shop")


async def test_a_business_turns_its_key_in_a_terminal(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    following = (await shop("key", "--next")).strip()
    assert "does not publish" in await shop("key", "--turn", code=1)
    await host.server.add_business_key("shop", following)
    assert "1 open connections" in await shop("key", "--turn")
    assert (await shop("key")).strip() == following
    assert "Delivered." in await shop("send", "mia", "care", "With a new key.")
    assert "With a new key." in await mia("messages", "The Blue Shop")
    assert "a different key in every connection" in await mia("key", code=1)
    assert "changes its key in all connections" in await shop("rotate", "mia", code=1)
