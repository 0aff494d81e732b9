"""The state of a connection: two sides, each with its own door (spec/connection.md, section "State").

Plain frozen structures, made from the records alone (CONN-1). What only a side and the server may know is in
`Settings`, and `public` leaves it out: the public state is what both sides and the server must agree on.
"""

from typing import Any, Literal

import msgspec

from comity.documents.types import SIDES, Side


class Budget(msgspec.Struct, frozen=True, array_like=True):
    """At most `max` in any rolling `seconds`."""

    max: int
    seconds: int


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """A consent token in force: what the other side may do towards this one, until `exp` (s)."""

    id: str
    purposes: tuple[str, ...]
    channels: tuple[str, ...]
    exp: int
    idx: int
    uri: str
    budget: Budget | None = None


class Mute(msgspec.Struct, frozen=True, omit_defaults=True):
    """A mute that was set and not taken back; `until` (s) where the other side is shown its end, `why` its reason."""

    id: str
    purposes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    until: int | None = None
    why: Literal["away"] | None = None


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """What counts against budgets: a message delivered, or a contact outside, at `at` (ms)."""

    at: int
    purpose: str
    channel: str


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message that waits: its id, what it is for, and when it expires (s)."""

    id: str
    purpose: str
    exp: int
    topic: str | None = None


class Ask(msgspec.Struct, frozen=True):
    """The last ask of a side; `ends_at` (ms) is when it lapses, unanswered or promised."""

    id: str
    kind: str
    status: Literal["asked", "promised", "refused", "not_now", "done", "thanked"]
    at: int
    ends_at: int


class LittleThing(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something a side wants remembered, by the act that says it, signed at `since` (s)."""

    key: str
    id: str
    since: int
    topic: str | None = None


class Milestone(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened at `when` (s) and lasts until `lasts` (s), or for good; signed at `since` (s)."""

    kind: str
    topic: str
    when: int
    id: str
    since: int
    lasts: int | None = None


class Contest(msgspec.Struct, frozen=True, omit_defaults=True, rename={"as_": "as"}):
    """A side's word, in force until `until` (s), that the other side's message of `purpose`, and of the topic `had`,
    was one of purpose `as`, about `topic` (GATE-21)."""

    message: str
    purpose: str
    as_: str
    until: int
    had: str | None = None
    topic: str | None = None

    @property
    def scope(self) -> tuple[str, str | None, str, str | None]:
        """A later contest of the same scope takes the place of this one."""
        return self.purpose, self.had, self.as_, self.topic


class Renounced(msgspec.Struct, frozen=True, omit_defaults=True):
    """Grants of the other side that this side gave up, for some purposes and channels or for all (GATE-23)."""

    grants: tuple[str, ...]
    purposes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


class Last(msgspec.Struct, frozen=True, omit_defaults=True):
    """When (ms) a side last reached the other about care and about sales, by the root word as sent."""

    care: int = 0
    sales: int = 0


class Erasure(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a side stated of the other's data: last by the act `id` at `at` (ms), at first at `first_at` (ms), `count`
    times in all; `complete` where it keeps nothing."""

    id: str
    at: int
    first_at: int
    count: int
    complete: bool = False


class MuteEnd(msgspec.Struct, frozen=True, array_like=True):
    """A hidden end: of which mute, until when (s), and the id of the setting that says so."""

    mute: str
    until: int
    id: str


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """The mute of everything that stands in the log: no entry of a later one, of its end or of its being over has
    followed (AUD-1). `until` (s) is the end that it shows."""

    id: str
    until: int | None = None


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stays between a side and the server (CONN-19). `head` is empty until the first setting."""

    seq: int = 0
    head: str = ""
    zone: str | None = None
    windows: tuple[tuple[int, int, int], ...] = ()
    hours_end_shown: bool = False
    messages: Budget | None = None
    asks: Budget | None = None
    mailbox: str | None = None
    mute_ends: tuple[MuteEnd, ...] = ()
    standing: Standing | None = None


class Door(msgspec.Struct, frozen=True, omit_defaults=True):
    """One side: its name and key, the head of its chain, what it lets in, and what it has sent (the counts).

    `origin` is the name that the agreement gives it, `former` those that it had between that and `did`. `feedback`
    holds the times (ms) of its feedback but for contests; `unanswered` (ms) is its first message that the other side
    has not answered with one.
    """

    did: str
    kid: str
    key: str
    origin: str
    head: str
    seq: int = 0
    grants: tuple[Grant, ...] = ()
    mutes: tuple[Mute, ...] = ()
    little: tuple[LittleThing, ...] = ()
    milestones: tuple[Milestone, ...] = ()
    sent: tuple[Delivery, ...] = ()
    held: tuple[Held, ...] = ()
    ask: Ask | None = None
    asked: tuple[int, ...] = ()
    cool_until: int = 0
    favours: tuple[int, ...] = ()
    noticed: int = 0
    former: tuple[str, ...] = ()
    erasure: Erasure | None = None
    contests: tuple[Contest, ...] = ()
    feedback: tuple[int, ...] = ()
    renounced: tuple[Renounced, ...] = ()
    last: Last | None = None
    unanswered: int = 0
    settings: Settings = Settings()


def earlier_names(door: Door) -> tuple[str, ...]:
    """The names that a side had: the first, and the later ones as far as they are kept."""
    return (door.origin, *door.former)


class LastOfAny(msgspec.Struct, frozen=True, omit_defaults=True):
    """When (ms) each side's last act or delivery was, of whatever kind; 0 for none. Gone after the end."""

    first: int = 0
    second: int = 0


class Connection(msgspec.Struct, frozen=True, omit_defaults=True):
    """What two parties made together. `at` (ms) is the time of the last thing that was accepted or stated; `ended_at`
    (ms) and `ended_by` say when and by which side it was ended. `restored_at` (ms) is when the server stated last that
    its store had been restored, 0 for never; `recovering` names the doors that have not been confirmed since. `last` is
    when each side last did anything."""

    cid: str
    home: str
    phase: Literal["open", "ended"]
    at: int
    first: Door
    second: Door
    ended_at: int = 0
    ended_by: Side | None = None
    restored_at: int = 0
    recovering: tuple[Side, ...] = ()
    last: LastOfAny | None = None

    def door(self, side: Side) -> Door:
        """The side's own door."""
        return self.first if side == "first" else self.second

    def with_door(self, side: Side, door: Door) -> "Connection":
        """The same connection with one door changed."""
        return msgspec.structs.replace(self, **{side: door})

    def side_of(self, did: str) -> Side | None:
        """The side that has this name, or had it."""
        # Nearly always it is a name that a side has, and this is asked twice for every act.
        if did == self.first.did:
            return "first"
        if did == self.second.did:
            return "second"
        return next((side for side in SIDES if did in earlier_names(self.door(side))), None)


_DECODER = msgspec.json.Decoder(Connection)


def encode_state(connection: Connection) -> bytes:
    """The state as bytes for a store of one's own; not a format that anybody else reads."""
    return msgspec.json.encode(connection)


def decode_state(data: bytes) -> Connection:
    """What `encode_state` wrote. Raises msgspec.DecodeError for anything else: a store that answers so is broken."""
    return _DECODER.decode(data)


def public(connection: Connection) -> dict[str, Any]:
    """The public state as JSON values: what both sides and the server must agree on at equal heads (CONN-20)."""
    state: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(connection))
    del state["at"]
    for side in SIDES:
        state[side].pop("settings", None)
    return state
