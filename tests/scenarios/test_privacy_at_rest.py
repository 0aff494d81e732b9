"""What two people write is theirs: it is looked for in every file left behind, and in every answer to others."""

import base64
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from comity.client import Connection
from comity.errors import Refused
from comity.http_api import ACTS, INBOX, JWT
from support.child_server import ChildWorld
from support.sdk_world import SdkWorld

TEXTS = {
    "message": "quincunx-of-larches",
    "answer": "marmalade-by-moonlight",
    "ask": "borrow-the-zeppelin",
    "return": "nineteen-figs",
    "remember": "prefers-vermilion",
    "milestone": "a-cracked-gargoyle",
    "waits": "sotto-voce-semaphore",
}
NAMES = ("Quillfeather", "Obadiah", "Larkspur")
TOPIC = "bay-windows.larder"
"""In clear, since the rules need it: where a search does not find this, it does not search."""


class Told(SdkWorld):
    """People with wallets, and a server in a process of its own that says all it has to say."""

    host: ChildWorld

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        super().__init__(folder, stack)
        self.host = ChildWorld(folder, {"log_level": "debug", "stop_timeout": 0.5})


@asynccontextmanager
async def told(folder: Path) -> AsyncIterator[Told]:
    """A world with a running server and nobody in it."""
    async with AsyncExitStack() as stack:
        world = Told(folder, stack)
        await world.host.start()
        try:
            yield world
        finally:
            await stack.aclose()
            await world.host.close()


async def a_year(world: Told) -> tuple[Connection, Connection, int]:
    """Two who write to each other about everything; (the shop's view, hers, the hidden end of her mute)."""
    shop, mia = await world.business("larkspur"), await world.person("quillfeather")
    ours, theirs = await world.connect(shop, mia, "care", "favour", "sales")
    await ours.grant(["care", "favour"])
    await ours.send_message("care", TEXTS["message"], topic=TOPIC, more={"signed": "Obadiah"})
    await theirs.sync()
    await theirs.send_message("care", TEXTS["answer"])
    await theirs.remember("colour", text=TEXTS["remember"])
    await ours.sync()
    await ours.record_milestone("installed", TOPIC, text=TEXTS["milestone"])
    await ours.ask("loan", TEXTS["ask"], in_return=TEXTS["return"])
    await theirs.sync()
    await theirs.favours()[0].answer("not_now", TEXTS["answer"])
    end = world.host.now() // 1000 + 86_413
    await theirs.mute(until=end, purposes=["care"])
    await theirs.set_hours("Pacific/Chatham", [(["tu", "sa"], "13:37", "21:43")])
    await theirs.set_budget(messages=(17, "week"), asks=(3, "month"))
    await mia.use_mailbox(theirs)
    await ours.sync()
    assert (await ours.send_message("care", TEXTS["waits"])).outcome == "held"
    with pytest.raises(Refused):
        await ours.send_message("sales", TEXTS["waits"], topic=TOPIC)
    await theirs.sync()
    return ours, theirs, end


def forms(text: str) -> Iterator[bytes]:
    """A text as it stands, and inside any base64 of anything that contains it."""
    raw = text.encode()
    yield raw
    for offset in range(3):
        coded = base64.urlsafe_b64encode(b"\0" * offset + raw).decode().rstrip("=")
        # The characters at both ends depend on what stands beside it.
        yield coded[2 if offset else 0 : -2][offset and 1 :].encode()


def holds(data: bytes, text: str) -> bool:
    """Whether the text is in there, in clear or in base64."""
    return any(form in data for form in forms(text))


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}


async def test_texts_are_nowhere_in_clear(tmp_path: Path) -> None:
    async with told(tmp_path) as world:
        ours, theirs, _ = await a_year(world)
        assert {it.text for it in await theirs.messages()} == {TEXTS["message"], TEXTS["answer"]}
        running = files(tmp_path)
        names = [*NAMES, ours.did, theirs.own_did, ours.cid, *(line.raw for line in theirs.records)]
    stopped = files(tmp_path)
    assert {"data/comity.db", "data/comity.db-wal", "data/home.key", "server.log", "larkspur"} <= set(running)
    for left in (running, stopped):
        found = [(name, text) for name, data in left.items() for text in TEXTS.values() if holds(data, text)]
        assert not found
        # The search finds what is there.
        assert any(holds(data, TOPIC) for name, data in left.items() if name.startswith("data/comity.db"))
        for wallet in ("larkspur", "quillfeather"):
            assert not [text for text in (*names, *TEXTS.values(), TOPIC) if holds(left[wallet], text)]


async def test_the_log_names_nobody_and_nothing(tmp_path: Path) -> None:
    async with told(tmp_path) as world:
        ours, theirs, _ = await a_year(world)
        act, event = next((line.act, line.raw) for line in theirs.records if line.act is not None)
        # Faults are where logs grow talkative.
        await world.host.send("POST", ACTS, act.raw[:-2].encode(), JWT)
        await world.host.send("POST", ACTS, event.encode(), JWT)
        await world.host.send("GET", f"{INBOX}?cursor={event[:40]}&wait=x")
        await world.host.send("GET", f"/nowhere/{theirs.own_did}", headers={"Authorization": f"Bearer {act.raw}"})
        ids = [ours.cid, act.id, theirs.own_did.rpartition(":")[2], ours.did.rpartition(":")[2]]
        texts = [*NAMES, *TEXTS.values(), TOPIC, *(name.lower() for name in NAMES)]
    lines = world.host.log().splitlines()
    assert any("Comity serves" in line for line in lines)
    where = f"http://localhost:{world.host.port}"
    said = "\n".join(line.replace(where, "") for line in lines if "data in" not in line)
    for secret in (*ids, *texts, "did:", "eyJ", "/v1/", "cursor", "Bearer", "/nowhere"):
        assert secret not in said, secret


def opened(body: bytes) -> str:
    """An answer with every signed text in it taken apart."""
    text = body.decode("utf-8", "replace")
    parts = re.findall(r"eyJ[A-Za-z0-9_-]+", text)
    inside = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("utf-8", "replace") for part in parts]
    return "\n".join([text, *inside])


async def test_private_settings_of_one_side_do_not_reach_the_other(tmp_path: Path) -> None:
    async with told(tmp_path) as world:
        ours, theirs, end = await a_year(world)
        settings = theirs.state.door("second").settings
        assert (
            settings.mailbox is not None and settings.zone == "Pacific/Chatham" and settings.mute_ends[0].until == end
        )
        for hours in (5, 30, 200):
            world.pass_time(hours=hours)
            await ours.sync(wait=1)
            assert ours.may("care").ends_at is None
        await ours.tokens()
        answers = [opened(response.body) for _, response in world.wires["larkspur"].seen]
        own = [opened(response.body) for _, response in world.wires["quillfeather"].seen]
    private = [
        *("Chatham", "13:37", "21:43", 'windows":', '"max":17', '"max":3', str(end), settings.mailbox, settings.head),
        *(
            "mute_end",
            '"chain":"settings"',
            '"act":"hours"',
            '"act":"budget"',
            "outside_hours",
            "over_limit",
            '"muted"',
        ),
    ]
    found = [(word, answer[:200]) for word in private for answer in answers if word in answer]
    assert not found
    # Her own answers hold some of it, so the search works.
    assert any('"chain":"settings"' in answer for answer in own)
    shown = [json.loads(answer.split("\n")[0]) for answer in answers if answer.startswith('{"cid"')]
    state = [answer["state"] for answer in shown if "state" in answer]
    assert state and all("settings" not in it["second"] for it in state)
