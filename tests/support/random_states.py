"""States of a connection made at random, each the same on every run: `state_of(number)`.

No act leads to them. What a rule looks at is put together freely, and `now` lies on the borders of it, so that all
rules meet: mutes with shown, hidden and open ends, hours, own limits, grants with budgets, contests of one root,
consents given up, purchases, and lists of what was sent that are nearly full.
"""

from functools import cache
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from comity.crypto.keys import Signer
from comity.documents.types import DAY, Side
from comity.encoding import hash_id
from comity.rules.state import (
    Budget,
    Connection,
    Contest,
    Delivery,
    Door,
    Grant,
    HeldMessage,
    Milestone,
    Mute,
    MuteEnd,
    Note,
    Renounced,
    Settings,
)
from support.parties import HOME, HOME_DID, MIA, SHOP, STATUS_URI, pairwise

NOW = 1_771_000_000_000
"""ms: a Friday in February."""
MONTH = 30 * DAY * 1000
PURPOSES = (
    "care", "care.offer", "care.tips", "care.tips.more", "careful", "favour",
    "sales", "sales.news", "sales.windows",
    "renewal", "renewal.early", "complaint", "note", "safety", "safety.extra", "security", "legal_notice",
)  # fmt: skip
GRANTED = ("care", "care.offer", "care.tips", "sales", "sales.news", "favour", "renewal", "complaint", "safety")
CONTESTED = (
    "care",
    "care.offer",
    "care.tips",
    "sales.news",
    "favour",
    "renewal",
    "renewal.early",
    "safety",
    "security",
)
TOPICS = ("windows", "windows.kitchen", "windows.kitchen.sink", "windows.bath", "doors", "doors.front")
CHANNELS = ("app", "email", "phone")
MESSAGES = tuple(hash_id(b"message %d" % number) for number in range(5))
EVE = pairwise("eve")
SIGNERS = {signer.did: signer for signer in (SHOP, MIA, EVE, HOME)}
"""Everybody who is a side of some state, by name."""
ZONES_USED = ("Europe/Berlin", "America/New_York", "Mars/Olympus")

Question = tuple[str, str, str | None]
"""(purpose, channel, topic)."""


class Scene(NamedTuple):
    """A state, a moment (ms), a sending side, and some questions that touch what is in the state."""

    state: Connection
    now: int
    sender: Side
    questions: tuple[Question, ...]


def state_of(number: int, only: Side | None = None) -> Scene:
    """The scene of that number; `only`: with that side as the sender."""
    r = Random(number)
    now = NOW + r.choice((0, 0, 1, 999, r.randrange(MONTH)))
    pairs = ((SHOP, MIA), (SHOP, MIA), (SHOP, MIA), (MIA, SHOP), (SHOP, HOME), (EVE, MIA))
    doors = [_door(r, signer, place, now) for place, signer in enumerate(r.choice(pairs))]
    doors = [_with_renounced(r, door, doors[1 - place]) for place, door in enumerate(doors)]
    recovering: tuple[Side, ...] = r.choice((("first",), ("first", "second"))) if r.random() < 0.08 else ()
    state = Connection("C" * 42 + "A", HOME_DID, "open", now, doors[0], doors[1], recovering=recovering)
    senders: tuple[Side, ...] = ("first", "first", "second")
    sender = r.choice(senders) if only is None else only
    return Scene(state, now, sender, tuple(_question(r, state, sender) for _ in range(6)))


def _door(r: Random, signer: Signer, place: int, now: int) -> Door:
    mutes = _mutes(r, place, now)
    return Door(
        signer.did,
        signer.kid,
        _multibase(signer),
        signer.did,
        hash_id(b"head of %d" % place),
        grants=_grants(r, place, now),
        mutes=mutes,
        little=_little(r, now),
        milestones=_milestones(r, now),
        sent=_sent(r, now),
        held=_held(r, now),
        contests=_contests(r, now),
        settings=_settings(r, mutes, now),
    )


@cache
def _multibase(signer: Signer) -> str:
    return signer.key.public.multibase


def end_of(r: Random, now: int) -> int:
    """A time (s) near `now`, before it or after."""
    return now // 1000 + r.choice((-DAY, -1, 0, 1, 2, 4, 3600, DAY, 9 * DAY, 40 * DAY))


def _some(r: Random, words: tuple[str, ...], most: int = 3) -> tuple[str, ...]:
    return tuple(r.sample(words, r.randint(1, most)))


def _grants(r: Random, place: int, now: int) -> tuple[Grant, ...]:
    found = []
    for number in range(r.choice((0, 1, 2, 2, 3, 4))):
        exp = end_of(r, now) if r.random() < 0.3 else now // 1000 + 90 * DAY
        budget = _budget(r) if r.random() < 0.5 else None
        purposes, channels = _some(r, GRANTED, 4), CHANNELS if r.random() < 0.5 else _some(r, CHANNELS)
        found.append(Grant(f"grant {place} {number}", purposes, channels, exp, number, STATUS_URI, budget))
    return tuple(found)


def _budget(r: Random) -> Budget:
    return Budget(r.choice((0, 1, 1, 2, 3, 6)), r.choice((1, 7, 30)) * DAY)


def _mutes(r: Random, place: int, now: int) -> tuple[Mute, ...]:
    return tuple(
        Mute(
            f"mute {place} {number}",
            () if r.random() < 0.3 else _some(r, PURPOSES),
            () if r.random() < 0.5 else _some(r, CHANNELS, 2),
            end_of(r, now) if r.random() < 0.5 else None,
        )
        for number in range(r.choice((0, 0, 0, 1, 1, 2, 3)))
    )


def _little(r: Random, now: int) -> tuple[Note, ...]:
    keys = ("no_interest", "interested", "language")
    return tuple(
        Note(r.choice(keys), f"thing {number}", end_of(r, now), r.choice((None, *TOPICS)))
        for number in range(r.choice((0, 0, 0, 1, 2, 3)))
    )


def _milestones(r: Random, now: int) -> tuple[Milestone, ...]:
    kinds = ("bought", "installed", "serviced")
    return tuple(
        Milestone(
            r.choice(kinds),
            r.choice(TOPICS),
            end_of(r, now),
            f"m{number}",
            end_of(r, now),
            r.choice((None, end_of(r, now))),
        )
        for number in range(r.choice((0, 0, 0, 1, 1, 2)))
    )


def _sent(r: Random, now: int) -> tuple[Delivery, ...]:
    if r.random() < 0.002:
        return tuple(Delivery(now - MONTH + 1 + at, "care", "app") for at in range(r.choice((999, 1000, 1001))))
    count = r.choice((0, 1, 3, 5, 8, 12, 12, 48))
    words = r.choice((PURPOSES, PURPOSES, ("renewal", "complaint", "note"), ("safety", "security", "legal_notice")))
    periods = (0, 1, DAY * 1000, 7 * DAY * 1000, MONTH)
    ats = {max(0, r.choice(periods) + r.choice((-1, 0, 1, r.randrange(DAY * 1000)))) for _ in range(count)}
    return tuple(
        Delivery(now - ago, r.choice(words), r.choice(("app", "app", "app", "phone")))
        for ago in sorted(ats, reverse=True)
    )


def _held(r: Random, now: int) -> tuple[HeldMessage, ...]:
    lives, topics = (1, 5, DAY, 60 * DAY), (None, *TOPICS)
    return tuple(
        HeldMessage(hash_id(b"held %d" % number), r.choice(PURPOSES), now // 1000 + r.choice(lives), r.choice(topics))
        for number in range(r.choice((0, 0, 1, 2)))
    )


def _contests(r: Random, now: int) -> tuple[Contest, ...]:
    return tuple(
        Contest(
            MESSAGES[number],
            r.choice(CONTESTED),
            r.choice(("sales", "sales", "sales.news", "favour", "care")),
            end_of(r, now) if r.random() < 0.4 else now // 1000 + 300 * DAY,
            r.choice((None, None, *TOPICS)),
            r.choice((None, None, *TOPICS)),
        )
        for number in range(r.choice((0, 0, 1, 2, 3, 5)))
    )


def _settings(r: Random, mutes: tuple[Mute, ...], now: int) -> Settings:
    hidden = [it for it in mutes if it.until is None]
    ends = tuple(MuteEnd(mute.id, end_of(r, now), f"end of {mute.id}") for mute in hidden if r.random() < 0.7)
    windows: tuple[tuple[int, int, int], ...] = ()
    if r.random() < 0.25:
        spans = [(r.randrange(7), start, start + length) for start, length in ((0, 1440), (480, 600), (1320, 240))]
        windows = tuple(sorted(r.sample(spans, r.randint(1, 3))))
    return Settings(
        zone=r.choice(ZONES_USED) if windows else None,
        windows=windows,
        hours_end_shown=r.random() < 0.5,
        messages=_budget(r) if r.random() < 0.2 else None,
        asks=_budget(r) if r.random() < 0.2 else None,
        mute_ends=ends,
    )


def other_settings(r: Random, door: Door, now: int) -> Settings:
    """Settings that the same side might have in place of its own."""
    return _settings(r, door.mutes, now)


def _with_renounced(r: Random, door: Door, across: Door) -> Door:
    if not across.grants or r.random() < 0.7:
        return door
    entries = tuple(
        Renounced(
            _some(r, tuple(it.id for it in across.grants), 1),
            () if r.random() < 0.4 else _some(r, PURPOSES),
            () if r.random() < 0.6 else _some(r, CHANNELS, 2),
        )
        for _ in range(r.randint(1, 2))
    )
    return replace(door, renounced=entries)


def _question(r: Random, state: Connection, sender: Side) -> Question:
    """Something to ask, more often than not about what a grant or a contest names."""
    receiver = state.second if sender == "first" else state.first
    named = [*(word for grant in receiver.grants for word in grant.purposes), *(it.purpose for it in receiver.contests)]
    purpose = r.choice(named) if named and r.random() < 0.5 else r.choice(PURPOSES)
    return purpose, r.choice(("app", "app", *CHANNELS)), r.choice((None, *TOPICS))


def moments(state: Connection, start: int, end: int) -> list[int]:
    """The moments from `start` up to `end`, not included, at which something of the state may change, the last of them,
    and one between."""
    first, second = state.first, state.second
    found = {start, end - 1, (start + end) // 2} if end < 2**62 else {start, start + 400 * DAY * 1000}
    for door in (first, second):
        ends = [it.exp for it in door.grants] + [it.until for it in door.contests]
        ends += [it.until for it in door.mutes if it.until] + [it.until for it in door.settings.mute_ends]
        ends += [it.lasts for it in door.milestones if it.lasts] + [it.exp for it in door.held]
        found |= {it * 1000 for it in ends}
    for delivery in (*first.sent[-8:], *second.sent[-8:]):
        found |= {delivery.at + days * DAY * 1000 for days in (1, 7, 30)}
    return sorted(it for it in found if start <= it < end)
