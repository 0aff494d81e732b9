"""Receipts of a wallet's acts: each is checked against the act, the acceptance and the log (LOG-11, LOG-16).

An acceptance names a place in a log. Its receipt must be of that place, of these very bytes, with the kind, side, time
and tag that follow from them, under a checkpoint that goes on from all those that this wallet has seen. A receipt may
come late, since a log that stands still stops nobody (LOG-13); it may not stay away once a checkpoint covers its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from comity import http_api
from comity.client.connection.history import Ledger, Line
from comity.client.connection.stored_connection import StoredConnection
from comity.client.log.known_logs import PATIENCE, Log, LogGone, beginning
from comity.client.models import News
from comity.client.session import Core, Faults
from comity.client.storage.records import Entry, Link, Owed, TagKeys
from comity.crypto.jws import decode_header
from comity.documents.acts import Mute, SignedAct, Unmute
from comity.documents.events import Accepted, Delivered, Erased, MuteOver
from comity.documents.types import Side
from comity.encoding import b64u_decode
from comity.errors import ComityError, Contradiction, Refused, Unreachable
from comity.transparency.entries import LogEntry, entry_of_act, entry_of_delivery, entry_of_mute_over, tag_scope_of
from comity.transparency.receipts import Receipt, open_receipt


@dataclass(frozen=True, slots=True)
class Place:
    """Where an act, its delivery, or that a mute was over by it stands in a log, and what the entry there must say."""

    table: Literal["receipts", "deliveries", "overs"]
    act: SignedAct
    side: Side
    purpose: str
    log: str
    index: int
    at: int
    evidence: tuple[str, ...]
    muted: Mute | None = None
    """The mute that an unmute names."""
    acceptance: str = ""
    """The server's event about the act."""

    @property
    def key(self) -> str:
        """Under which its receipt is owed."""
        return f"{self.act.id}/over" if self.table == "overs" else self.act.id

    def entry(self, key: bytes, salt: bytes) -> LogEntry:
        """The entry, with the tag and the commitment that these make."""
        if self.table == "deliveries":
            return entry_of_delivery(self.act.raw, self.purpose, self.side, key, salt, self.at)
        if self.table == "overs":
            return entry_of_mute_over(self.act.raw, self.side, key, salt, self.at)
        return entry_of_act(self.act, self.side, key, salt, self.at, self.muted)

    @property
    def tag(self) -> Literal["both", "own"]:
        """Which of a side's tag keys its entry takes."""
        return "both" if self.table == "overs" or tag_scope_of(self.act, self.side) == "both" else "own"


def place_of(line: Line, book: Ledger) -> Place | None:
    """The place of an accepted act, or of a mute's being over; None for any other line, or where this side does not
    have the act."""
    event, act = line.event, line.act
    if isinstance(event, MuteOver):
        return _place_of_over(event, line, book)
    if not isinstance(event, Accepted) or act is None:
        return None
    named = book.act(act.payload.mute or "") if isinstance(act.payload, Unmute) else None
    muted = named.payload if named is not None and isinstance(named.payload, Mute) else None
    return Place("receipts", act, event.side, "", event.log, event.index, event.at, line.evidence, muted, line.raw)


def _place_of_over(event: MuteOver, line: Line, book: Ledger) -> Place | None:
    """Its entry must open to the very bytes that ended the mute (AUD-2)."""
    ended = book.line_of(event.by)
    if ended is None or ended.act is None:
        return None
    evidence = (line.raw, *ended.evidence)
    place = event.log, event.index, event.at
    return Place("overs", ended.act, book.side, "", *place, evidence, None, ended.raw)


def delivery_of(line: Line, lines: Iterable[Line]) -> Place | None:
    """The place of a message's delivery; None where it was not delivered (yet)."""
    event, act = line.event, line.act
    if not isinstance(event, Accepted) or act is None or event.contents is None:
        return None
    purpose = event.contents.purpose
    if event.outcome == "delivered":
        # A message that is delivered at once has the next entry as well (LOG-10).
        place = event.log, event.index + 1, event.at
        return Place("deliveries", act, event.side, purpose, *place, line.evidence, None, line.raw)
    for later in lines:
        if isinstance(later.event, Delivered) and later.event.act == act.id:
            place = later.event.log, later.event.index, later.at
            return Place("deliveries", act, event.side, purpose, *place, (*line.evidence, later.raw), None, line.raw)
    return None


def check_receipt(place: Place, text: str, log: Log, tags: TagKeys) -> Receipt:
    """The receipt, if it is of that place and of nothing else. Raises Contradiction with the signed texts."""

    def wrong(claim: str) -> Contradiction:
        told = f"false_over: {claim}" if place.table == "overs" else claim
        return Contradiction(told, (*place.evidence, text))

    try:
        receipt = open_receipt(text, log.key)
    except Refused as fault:
        raise wrong(f"a receipt that does not hold: {fault}") from None
    opening = receipt.opening
    if receipt.index != place.index or opening.at != place.at:
        raise wrong("a receipt of another place or time than was stated")
    if not receipt.is_of(place.act.raw.encode("ascii")):
        raise wrong("a receipt of something else than this act")
    expected = place.entry(b64u_decode(getattr(tags, place.tag)), opening.salt)
    if receipt.entry._replace(tag=expected.tag) != expected:
        raise wrong("the log says something else of this act than follows from it")
    if receipt.entry.tag != expected.tag:
        raise wrong("the log has this act under another tag than this connection's")
    return receipt


# --- the tag keys ---


async def take_tags(core: Core, cid: str, told: http_api.Tags, text: str) -> TagKeys:
    """Takes in what the server says the tag keys are: the same for good (LOG-9). Raises Contradiction."""
    kept = core.kept.get("tags", cid, TagKeys)
    if kept is None:
        kept = TagKeys(told.both, told.own)
        await core.kept.keep(("tags", cid, kept))
    others = {name for name in ("both", "own") if getattr(kept, name) != getattr(told, name)}
    if others:
        # Nobody signs them. Those that no receipt has borne out may be the false ones: let go, to be asked for again.
        if not others & set(kept.proved):
            await core.kept.keep(("tags", cid, None))
        raise Contradiction("the server names other tag keys than before", (text, kept.both, kept.own))
    return kept


async def tags_of(core: Core, link: Link, writing: StoredConnection) -> TagKeys:
    """The tag keys of a connection; the server is asked where they are not known. Raises what a read raises."""
    kept = core.kept.get("tags", link.cid, TagKeys)
    if kept is not None:
        return kept
    answer, text = await core.home(link.home).connection(link.cid, writing.signer)
    return await take_tags(core, link.cid, answer.tags, text)


# --- own acts ---


def entered(writing: StoredConnection, line: Line, text: str | None = None) -> list[Entry]:
    """What is kept with the line of an own act: its receipt, if all about it can be checked without asking anybody;
    else that it is owed, with what came."""
    core, link = writing.core, writing.link
    if isinstance(line.event, Accepted | Delivered | MuteOver):
        core.logs.heard(link.home, line.event.log, line.event.index)
    place = place_of(line, writing.book)
    if place is None or place.side != link.side or place.act.id in core.kept.file.table(place.table):
        return []
    owed: list[Entry] = [("owed", place.key, Owed(link.cid, text))]
    log, tags = core.logs.known(link.home, place.log), core.kept.get("tags", link.cid, TagKeys)
    if text is None or log is None or tags is None:
        return owed
    try:
        receipt = check_receipt(place, text, log, tags)
    except Contradiction:
        return owed
    moved = core.logs.evident(log, receipt.checkpoint, beginning(receipt))
    return owed if moved is None else [*_kept(core, link, place, text, tags), *moved]


def _kept(core: Core, link: Link, place: Place, text: str, tags: TagKeys) -> list[Entry]:
    entries: list[Entry] = [(place.table, place.act.id, text)]
    if place.table != "deliveries" and place.key in core.kept.file.table("owed"):
        entries.append(("owed", place.key, None))
    if place.tag not in tags.proved:
        entries.append(("tags", link.cid, TagKeys(tags.both, tags.own, (*tags.proved, place.tag))))
    return entries


async def settle(writing: StoredConnection, lines: Iterable[Line]) -> None:
    """Checks the receipts that came with these own acts and could not be checked at once. One that cannot be checked
    now, as the log does not answer in a moment, stays owed. Raises Contradiction: the act is accepted and kept all the
    same."""
    places = [place for line in lines if (place := place_of(line, writing.book)) is not None]
    kept, logs = writing.core.kept, writing.core.logs
    try:
        async with asyncio.timeout(PATIENCE):
            for place in places:
                owed = kept.get("owed", place.key, Owed)
                if owed is not None and owed.receipt is not None:
                    try:
                        await _settle(writing, place, owed.receipt)
                    except (Unreachable, Refused, LogGone):
                        continue
    except TimeoutError:
        for origin in {place.log for place in places}:
            logs.pass_over(origin)


async def _settle(writing: StoredConnection, place: Place, text: str) -> None:
    core, link = writing.core, writing.link
    try:
        log = await core.logs.find(link.home, place.log)
        tags = await tags_of(core, link, writing)
        receipt = check_receipt(place, text, log, tags)
        # What it proves it goes on proving without its log.
        with suppress(LogGone):
            await core.logs.take(log, receipt.checkpoint, beginning(receipt))
    except Contradiction:
        if place.table != "deliveries" and place.key in core.kept.file.table("owed"):
            # It is in the evidence now; the next reading asks for a true one.
            await core.kept.keep(("owed", place.key, Owed(link.cid)))
        raise
    await core.kept.keep(*_kept(core, link, place, text, tags))


async def collect(writing: StoredConnection) -> None:
    """Fetches and checks the receipts that are owed to a connection; what cannot be had now stays owed, and what cannot
    be had any more, as its log has gone, becomes news (`receipt_lost`), once. Raises Contradiction, also where the log
    covers an act and the server gives no receipt of it."""
    core, cid = writing.core, writing.link.cid
    owed = {act: it for act, it in core.kept.all("owed", Owed).items() if it.cid == cid}
    faults = Faults()
    for line in writing.ledger.lines if owed and writing.ledger is not None else ():
        place = place_of(line, writing.book)
        if place is None or place.key not in owed:
            continue
        try:
            # One that is hidden keeps no other from being fetched.
            with faults.told_later(Contradiction):
                if place.table == "overs" and await _went_with_its_log(writing, place):
                    await core.kept.keep(("owed", place.key, None))
                    continue
                text = owed[place.key].receipt or await fetched(writing, place)
                if text is not None:
                    await _settle(writing, place, text)
        except LogGone:
            await core.kept.keep(("owed", place.key, None))
            core.untold.append(News(cid, "receipt_lost", core.clock(), "me", place.act.id))
        except Unreachable:
            break
    faults.tell()


async def complete(writing: StoredConnection) -> int:
    """Fetches and checks every receipt of a connection that is not kept: of both sides' acts, of deliveries, and of
    mutes that were over (WHO-10). Returns of how many there is none: no checkpoint covers them yet, or their log has
    gone. Raises Contradiction, the first, once all others were fetched; Unreachable at once."""
    lines, missing, faults = writing.book.lines, 0, Faults()
    if any(isinstance(line.event, Erased) for line in lines):
        # Its home server has nothing of it any more, and said so.
        return 0
    later = [line for line in lines if isinstance(line.event, Delivered)]
    for line in lines:
        for place in (place_of(line, writing.book), delivery_of(line, later)):
            if place is not None and place.act.id not in writing.core.kept.file.table(place.table):
                with faults.told_later(Contradiction):
                    missing += not await _is_had(writing, place)
    faults.tell()
    return missing


async def _is_had(writing: StoredConnection, place: Place) -> bool:
    """Whether the receipt of that place is kept now, or none is wanted. Raises Contradiction, Unreachable."""
    try:
        if place.table == "overs" and await _went_with_its_log(writing, place):
            return True
        text = await fetched(writing, place)
        if text is not None:
            await _settle(writing, place, text)
        return text is not None
    except LogGone:
        return False


async def _went_with_its_log(writing: StoredConnection, place: Place) -> bool:
    """Whether nothing of that place is missed, as a restore ended its log (REC-1): a server that says so and serves the
    log all the same has to show the entry. Raises Unreachable, Contradiction."""
    if place.at >= writing.book.restored_at:
        return False
    return not await writing.core.logs.names(writing.link.home, place.log, now=True)


async def in_one_log(writing: StoredConnection) -> None:
    """That the connection changed logs only where the one before had ended (LOG-19): a server that enters some of it
    here and some of it there could show each reader the half that suits. Raises Contradiction (`split_tag`)."""
    core, home = writing.core, writing.link.home
    if writing.ledger is None or len(core.logs.used(home)) < 2 or not writing.ledger.lines:
        return
    latest = writing.ledger.lines[-1]
    before = next((it for it in reversed(writing.ledger.lines) if it.event.log != latest.event.log), None)
    if before is not None and await core.logs.are_active(home, before.event.log, latest.event.log):
        raise Contradiction("split_tag: two active logs have one connection", (*before.evidence, *latest.evidence))


def owing(core: Core) -> list[str]:
    """The connections that receipts are owed to."""
    return list(dict.fromkeys(owed.cid for owed in core.kept.all("owed", Owed).values()))


async def look_after(core: Core, writings: Iterable[StoredConnection], homes: Iterable[str]) -> None:
    """What a wallet does about logs once the news is read: the receipts that are owed, and the witnesses that it
    wants. Raises Contradiction, Refused("too_few_witnesses"), and Unreachable where witnesses are wanted: the first of
    them, once all was done."""
    faults = Faults()
    for writing in writings:
        with faults.told_later():
            await collect(writing)
        with faults.told_later():
            await in_one_log(writing)
    for home in homes:
        with faults.told_later():
            await core.logs.witnessed(home)
    faults.tell()


async def must_be_entered(writing: StoredConnection, line: Line) -> None:
    """An event of a broken key of the home server that this wallet did not have yet counts only with the receipt of its
    entry (HOME-5). Raises Contradiction, Unreachable, LogGone."""
    core, kid = writing.core, decode_header(line.raw.partition(".")[0]).kid
    if not core.homes.is_broken(kid) or line.raw in {it.raw for it in (writing.book.opened, *writing.book.lines)}:
        return
    place = place_of(line, writing.book)
    if place is None:
        raise Contradiction("unknown_key: an event of a broken key, and no entry that bears it out", line.evidence)
    text = await fetched(writing, place)
    if text is None:
        raise Unreachable("the log does not cover an event of a broken key yet")
    tags = await tags_of(core, writing.link, writing)
    check_receipt(place, text, await core.logs.find(writing.link.home, place.log), tags)


async def fetched(writing: StoredConnection, place: Place) -> str | None:
    """The receipt as the server gives it, unchecked; None where no checkpoint that this wallet knows of covers the
    place. Raises Contradiction, Unreachable, LogGone."""
    core, link = writing.core, writing.link
    home, log = core.home(link.home), await core.logs.find(link.home, place.log)
    # Known before the question: a checkpoint that is signed in between is no reason to blame anybody.
    latest = core.logs.latest(log)
    covered = latest is not None and latest.size > place.index
    for _ in range(2):
        try:
            answer = await home.act_answer(place.act.id, writing.signer)
        except Refused as refused:
            if refused.code != "not_found" or await _is_replaced(writing):
                raise Unreachable(f"the server does not show an act now: {refused}") from None
            raise Contradiction("the server does not show an act that it accepted", place.evidence) from None
        if answer.event != place.acceptance:
            told = "the server states something else of an act than before"
            raise Contradiction(told, (place.acceptance, answer.event))
        text = {"receipts": answer.receipt, "deliveries": answer.delivery, "overs": answer.over}[place.table]
        if text is not None:
            return text
        if not covered:
            break
    if not await core.logs.names(link.home, place.log, now=covered):
        raise LogGone(f"its server does not serve the log {place.log} any more, so this receipt cannot be had")
    if not covered:
        return None
    assert latest is not None
    what = "false_over: the log covers the end of a mute" if place.table == "overs" else "the log covers an act"
    raise Contradiction(f"{what}, and the server hides its receipt", (*place.evidence, latest.raw))


async def _is_replaced(writing: StoredConnection) -> bool:
    """Whether another copy of this wallet took a new key: then nothing is shown to this one, and nothing is hidden."""
    try:
        await writing.core.home(writing.link.home).inbox(writing.signer, None)
    except Refused as refused:
        return refused.code == "key_replaced"
    return False


async def receipt_of(writing: StoredConnection, act: str, *, delivery: bool = False) -> str:
    """The receipt of an act of either side, or of a message's delivery, fetched and checked if it is not kept.

    Raises ComityError where this side has no such act, it was not delivered, or its log has gone; Unreachable while no
    checkpoint covers it; Contradiction.
    """
    book, core = writing.book, writing.core
    line = next((it for it in book.lines if it.act is not None and it.act.id == act), None)
    place = None if line is None else delivery_of(line, book.lines) if delivery else place_of(line, book)
    if line is None or place is None:
        raise ComityError("that message has not been delivered" if line is not None else "there is no such act here")
    if (kept := core.kept.get(place.table, act, str)) is not None:
        return kept
    async with core.judging():
        text = await fetched(writing, place)
        if text is None:
            raise Unreachable("the log does not cover this act yet")
        await _settle(writing, place, text)
        return text
