"""Whom a word or a "no" reaches is its writer's choice, whatever others call themselves (WHO-1 to WHO-3)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from comity.client import AmbiguousName, NameNotFound, make_terms
from comity.client.petnames import find_by_name, find_id
from comity.errors import Malformed
from support.sdk_world import SdkWorld
from support.terminal_world import Terminal, a_shop, an_offer, connected
from support.world import World

SALON = "did:web:salon.example"


@dataclass
class Somebody:
    """A connection as far as it can be named."""

    cid: str
    did: str
    petname: str | None = None
    offered_name: str | None = None
    phase: Literal["open", "ended"] = "open"

    @property
    def name(self) -> str:
        return self.petname or self.offered_name or self.did[-16:]


MIA = Somebody("kT0uQw7eRt9yUiOpAsDfGhJkLzXcVbNm0123456789a", "did:key:z6MkOne", petname="Mia")
STRANGER = Somebody("MiaQw7eRt9yUiOpAsDfGhJkLzXcVbNm01234567890a", "did:key:z6MkmiaTwo")
BLUE = Somebody("9lueQw7eRt9yUiOpAsDfGhJkLzXcVbNm0123456789a", "did:web:blue.example", offered_name="The Blue Shop")


def test_a_stranger_whose_id_or_did_begins_with_mia_is_not_mia() -> None:
    assert find_by_name([STRANGER, MIA], "Mia") is MIA
    assert find_by_name([STRANGER, MIA], "mia") is MIA
    for typed in ("Mia", "MiaQw7eRt9", "miaTwo", "did:key:z6Mkmia", ""):
        with pytest.raises(NameNotFound):
            find_by_name([STRANGER, BLUE], typed)
    assert find_by_name([STRANGER, MIA], "id:MiaQw7eR") is STRANGER
    assert find_by_name([STRANGER, MIA], STRANGER.cid) is STRANGER
    assert find_by_name([STRANGER, MIA], STRANGER.did) is STRANGER


def test_a_stranger_who_calls_himself_mia_is_not_mia_either() -> None:
    calls_himself = Somebody("s" * 43, "did:web:stranger.example", offered_name="Mia")
    assert find_by_name([calls_himself, MIA], "Mia") is MIA
    miller = Somebody("m" * 43, "did:key:z6MkThree", petname="Mia Miller")
    with pytest.raises(AmbiguousName, match="Mia Miller"):
        find_by_name([calls_himself, miller], "Mia")
    assert find_by_name([BLUE, miller], "mia") is miller


def test_a_part_of_what_others_call_themselves_is_a_hint_and_no_name() -> None:
    with pytest.raises(NameNotFound, match=f"perhaps The Blue Shop \\(id:{BLUE.cid}, open\\)"):
        find_by_name([BLUE, MIA], "blue")
    # Of two with one name, no hint names one alone.
    other = Somebody("o" * 43, "did:web:other.example", offered_name="THE BLUE SHOP")
    with pytest.raises(NameNotFound, match=f"perhaps The Blue Shop \\(id:{BLUE.cid}, open\\); THE BLUE SHOP "):
        find_by_name([BLUE, other], "blue")
    assert find_by_name([BLUE, MIA], "the  blue\N{NO-BREAK SPACE}shop") is BLUE


def test_a_refusal_shows_as_much_of_what_was_typed_as_a_line_has_room_for() -> None:
    for typed in ("x" * 5000, "id:" + "x" * 5000):
        with pytest.raises(NameNotFound) as refused:
            find_by_name([BLUE], typed)
        assert len(str(refused.value)) < 250
    with pytest.raises(NameNotFound, match='is called ""'):
        find_by_name([BLUE], "")


def test_an_ended_connection_does_not_hand_its_name_to_another_party() -> None:
    ended = Somebody("e" * 43, SALON, offered_name="Example Salon", phase="ended")
    again = Somebody("a" * 43, SALON, offered_name="Example Salon")
    other = Somebody("o" * 43, "did:web:other.example", offered_name="Example Salon")
    assert find_by_name([ended, again], "Example Salon") is again
    with pytest.raises(AmbiguousName) as several:
        find_by_name([ended, other], "Example Salon")
    assert several.value.cids == (ended.cid, other.cid)
    assert str(several.value).count("Example Salon (id:") == 2
    mia_before = Somebody("b" * 43, "did:key:z6MkFour", petname="Mia", phase="ended")
    assert find_by_name([mia_before, MIA], "Mia") is MIA


def test_an_id_is_named_by_eight_characters_of_it_and_by_no_fewer() -> None:
    ids = ["--CvSJaEqHCFX4xyz", "abcdefgh1", "abcdefgh2"]
    assert find_id(ids, "id:--CvSJaE", "act") == ids[0]
    assert find_id(ids, ids[1], "act") == ids[1]
    for typed in ("id:--CvSJa", "--CvSJaE", "id:", ""):
        with pytest.raises(NameNotFound, match="not an id"):
            find_id(ids, typed, "act")
    with pytest.raises(NameNotFound, match="no act has an id"):
        find_id(ids, "id:elsewhere", "act")
    with pytest.raises(AmbiguousName, match="id:abcdefgh1, id:abcdefgh2"):
        find_id(ids, "id:abcdefgh", "act")


async def test_nobody_can_be_called_by_what_reads_as_an_id(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, _ = await world.connect(shop, mia)
    for name in ("id:abcdefgh", " ID:abc", "did:web:salon.example", " ", "x" * 101):
        with pytest.raises(Malformed):
            await ours.set_petname(name)
    await ours.set_petname(" Mia ")
    assert shop.find_connection("mia") is ours and ours.petname == "Mia"
    with pytest.raises(NameNotFound):
        shop.connection(ours.cid[:20])
    assert shop.connection(ours.cid) is ours


async def test_terms_of_one_name_are_not_chosen_between(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    two = [make_terms("example:terms", version, "en", f"We write {version} times a week.") for version in ("1", "7")]
    link = await shop.offer(world.base, two, ["care"])
    with pytest.raises(Malformed, match="by their place"):
        await mia.accept(link, terms="example:terms")
    await mia.accept(link, terms=1)
    assert [it.terms.version for it in await shop.proposals()] == ["7"]


async def test_several_who_wait_are_told_apart_and_named_before_anything_is_signed(host: World, tmp_path: Path) -> None:
    shop = await a_shop(host, tmp_path)
    counter, fair = await an_offer(host, shop), await an_offer(host, shop, "-p", "sales", "--terms-version", "2")
    for name, link in (("mia", counter), ("noor", fair)):
        wallet = Terminal(tmp_path / name)
        await wallet("create")
        await wallet("accept", link)
    told = await shop("countersign", code=1, told=True)
    for link, purposes, version in ((counter, "care", "1"), (fair, "care, sales", "2")):
        short = link.rpartition("#")[2][:12]
        assert f"offer   {short}" in told and f"for {purposes}\n" in told
        assert f"terms   own:terms, version {version} (en)" in told
    assert told.count("  received on 20") == 2
    assert "name one" in await shop("countersign", code=1)
    first, second = [line.split()[0] for line in told.splitlines() if line.startswith("id:")]
    await shop("call", second, "Noor")
    assert "who     Noor, did:key:" in await shop("proposals")
    assert "no proposal is called" in await shop("countersign", first[3:9], code=1)
    assert "You and Noor are connected, under own:terms, version 2." in await shop("countersign", "noor")
    assert "You declined" in await shop("decline", first)
    assert "open      Noor" in await shop("show")


async def test_a_word_by_name_reaches_whom_its_writer_named_so(host: World, tmp_path: Path) -> None:
    _, shop = await connected(host, tmp_path)
    stranger = Terminal(tmp_path / "stranger")
    await stranger("create")
    await stranger("accept", await an_offer(host, shop), "--grant", "care")
    cid = (await shop("countersign")).rpartition("The id is id:")[2][:12]
    await stranger("sync")
    assert "no connection is called" in await shop("send", "--", cid, "care", "For Mia alone", code=1)
    await shop("send", "Mia", "care", "For Mia alone")
    assert "There are no messages." in await stranger("messages", "The Blue Shop")
    # As if the stranger had tried ids until one began with what the shop calls her.
    await shop("call", "--", "Mia", cid[:3])
    await shop("send", "--", cid[:3], "care", "For Mia alone, again")
    assert "There are no messages." in await stranger("messages", "The Blue Shop")
    await shop("call", "--", cid[:3], "Mia")
    await shop("call", f"id:{cid}", "Mia")
    told = await shop("revoke", "Mia", "--yes", code=1)
    assert told.count("Mia (id:") == 2
