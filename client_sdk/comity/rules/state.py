"""The state of a connection: two sides, each with its own door (spec/connection.md, section "State").

Plain frozen structures, computed from the records alone (CONN-1). `Settings` is known to its side and the server only,
and `public_state` leaves it out: both sides and the server must agree on the public state.
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
    """A mute that was not taken back. `until` (s) is its end and `why` its reason, where the other side sees them."""

    id: str
    purposes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    until: int | None = None
    why: Literal["away"] | None = None


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """A delivered message or an outside contact at `at` (ms), which counts against budgets."""

    at: int
    purpose: str
    channel: str


class HeldMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A held message: its id, purpose, topic, and expiry (s)."""

    id: str
    purpose: str
    exp: int
    topic: str | None = None


class Ask(msgspec.Struct, frozen=True):
    """The last ask of a side. It lapses at `ends_at` (ms), unanswered or promised."""

    id: str
    kind: str
    status: Literal["asked", "promised", "refused", "not_now", "done", "thanked"]
    at: int
    ends_at: int


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """A note of a side, by the act that set it, signed at `since` (s)."""

    key: str
    id: str
    since: int
    topic: str | None = None


class Milestone(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened at `when` (s) and lasts until `lasts` (s), None for ever. Its act was signed at `since`
    (s)."""

    kind: str
    topic: str
    when: int
    id: str
    since: int
    lasts: int | None = None


class Contest(msgspec.Struct, frozen=True, omit_defaults=True, rename={"as_": "as"}):
    """A contest of a side, in force until `until` (s): the other side's message of `purpose`, with the topic `had`, was
    really of purpose `as`, about `topic` (GATE-21)."""

    message: str
    purpose: str
    as_: str
    until: int
    had: str | None = None
    topic: str | None = None

    @property
    def scope(self) -> tuple[str, str | None, str, str | None]:
        """A later contest with an equal scope replaces this one."""
        return self.purpose, self.had, self.as_, self.topic


class Renounced(msgspec.Struct, frozen=True, omit_defaults=True):
    """Grants of the other side that this side gave up, for some purposes and channels or completely (GATE-23)."""

    grants: tuple[str, ...]
    purposes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


class LastContact(msgspec.Struct, frozen=True, omit_defaults=True):
    """When (ms) a side last reached the other about care and about sales, by the first word of the purpose as sent."""

    care: int = 0
    sales: int = 0


class Erasure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A side's statements about the other's data: the latest by the act `id` at `at` (ms), the first at `first_at`
    (ms), `count` in all. `complete` is true if nothing is retained."""

    id: str
    at: int
    first_at: int
    count: int
    complete: bool = False


class MuteEnd(msgspec.Struct, frozen=True, array_like=True):
    """A hidden end: the mute, its end (s), and the id of the setting."""

    mute: str
    until: int
    id: str


class LoggedMute(msgspec.Struct, frozen=True, omit_defaults=True):
    """The latest mute of everything in the log: no entry of a later one, of its end or of its expiry followed (AUD-1).
    `until` (s) is the end that it shows."""

    id: str
    until: int | None = None


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """The settings of a side, known to it and the server only (CONN-19). `head` is empty until the first setting."""

    seq: int = 0
    head: str = ""
    zone: str | None = None
    windows: tuple[tuple[int, int, int], ...] = ()
    hours_end_shown: bool = False
    messages: Budget | None = None
    asks: Budget | None = None
    mailbox: str | None = None
    mute_ends: tuple[MuteEnd, ...] = ()
    standing: LoggedMute | None = None


class Door(msgspec.Struct, frozen=True, omit_defaults=True):
    """One side: its name and key, the head of its chain, what it allows, and what it has sent.

    `origin` is its name in the agreement, `former` its names between that and `did`. `feedback` holds the times (ms) of
    its feedback without contests. `unanswered` (ms) is its first message since the other side's last one.
    """

    did: str
    kid: str
    key: str
    origin: str
    head: str
    seq: int = 0
    grants: tuple[Grant, ...] = ()
    mutes: tuple[Mute, ...] = ()
    little: tuple[Note, ...] = ()
    milestones: tuple[Milestone, ...] = ()
    sent: tuple[Delivery, ...] = ()
    held: tuple[HeldMessage, ...] = ()
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
    last: LastContact | None = None
    unanswered: int = 0
    settings: Settings = Settings()


def earlier_names(door: Door) -> tuple[str, ...]:
    """The names that a side had: the first one, and the later ones that are still stored."""
    return (door.origin, *door.former)


class LastActs(msgspec.Struct, frozen=True, omit_defaults=True):
    """When (ms) each side's last act or delivery was, of any kind; 0 for none. Empty after the end."""

    first: int = 0
    second: int = 0


class Connection(msgspec.Struct, frozen=True, omit_defaults=True):
    """A connection of two parties. `at` (ms) is the time of the last record. `ended_at` (ms) and `ended_by` tell when
    and by which side it was ended. `restored_at` (ms) is when the server last stated a restore of its store, 0 for
    never; `recovering` names the sides that have not confirmed since. `last` is the time of each side's last act."""

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
    last: LastActs | None = None

    def door(self, side: Side) -> Door:
        """The door of a side."""
        return self.first if side == "first" else self.second

    def with_door(self, side: Side, door: Door) -> "Connection":
        """A copy of the connection with another door for the side."""
        return msgspec.structs.replace(self, **{side: door})

    def side_of(self, did: str) -> Side | None:
        """The side that has this name now, or had it earlier."""
        # A current name in nearly every case, and every act asks twice.
        if did == self.first.did:
            return "first"
        if did == self.second.did:
            return "second"
        return next((side for side in SIDES if did in earlier_names(self.door(side))), None)


_DECODER = msgspec.json.Decoder(Connection)


def encode_state(connection: Connection) -> bytes:
    """The state as bytes for the caller's own store; no other program reads them."""
    return msgspec.json.encode(connection)


def decode_state(data: bytes) -> Connection:
    """The state in bytes of `encode_state`. Raises msgspec.DecodeError for anything else, a sign of a broken store."""
    return _DECODER.decode(data)


def public_state(connection: Connection) -> dict[str, Any]:
    """The public state as JSON values. Both sides and the server must agree on it at equal heads (CONN-20)."""
    state: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(connection))
    del state["at"]
    for side in SIDES:
        state[side].pop("settings", None)
    return state
