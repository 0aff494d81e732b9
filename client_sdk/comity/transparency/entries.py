"""Entries: what a log says of an act to everybody, and what of it only those can read who were told (spec/log.md,
section "Entries").

An entry is a commitment and a little meaning, always 59 bytes. Nothing in it can be found by trying: the tag needs a
key of the connection, the commitment a salt of its own.
"""

import hashlib
import hmac
import struct
from collections.abc import Collection, Iterable
from enum import IntEnum
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol, TypeVar

from comity.documents.acts import Feedback, Mute, SignedAct, Unmute
from comity.documents.types import EXEMPT_PURPOSES, SIDES, Side
from comity.encoding import dump_json
from comity.errors import Malformed

VERSION = 2
SALT = 32
"""Bytes of a salt, and of a connection's tag secret."""
EPOCH = 7 * 86_400_000
"""ms for which a connection keeps its tag (LOG-9)."""
MINUTE = 60_000
HOUR = 3_600_000
MOST_BACK = 1
"""Minutes by which an entry may be earlier than one before it (LOG-14)."""

Scope = Literal["both", "first", "second"]
"""Who knows a tag key: both sides, or one of them alone."""


class Scoped(Protocol):
    """A mute, as an act or in a state: of some purposes or channels, or of everything."""

    @property
    def purposes(self) -> Collection[str] | None: ...
    @property
    def channels(self) -> Collection[str] | None: ...


class _Named(Scoped, Protocol):
    @property
    def id(self) -> str: ...


_M = TypeVar("_M", bound=_Named)


class Kind(IntEnum):
    """What an entry is about (LOG-7)."""

    ACT = 1
    MUTE_ALL = 2
    MUTE_PART = 3
    UNMUTE = 4
    REVOKE = 5
    DELIVERED = 6
    DELIVERED_EXEMPT = 7
    ERASED = 8
    KEY = 9
    PRIVATE = 10
    MUTE_OVER = 11
    UNMUTE_PART = 12
    DISCLOSED = 13
    CONTEST = 14
    NOTICE = 15


_LAYOUT = struct.Struct(">BBBII16s32s")
LENGTH = _LAYOUT.size
"""Bytes of an entry."""


class LogEntry(NamedTuple):
    """An entry taken apart: `time` in minutes and `until` in hours since the epoch, both rounded down; `until` is 0
    but for a `MUTE_ALL` that shows its end."""

    kind: Kind
    side: Side | None
    time: int
    until: int
    tag: bytes
    commitment: bytes

    def to_bytes(self) -> bytes:
        """The entry as it stands in the log (LOG-6)."""
        side = 0 if self.side is None else SIDES.index(self.side) + 1
        return _LAYOUT.pack(VERSION, self.kind, side, self.time, self.until, self.tag, self.commitment)


def read_entry(data: bytes) -> LogEntry:
    """The entry that the bytes spell. Raises Malformed."""
    if len(data) != LENGTH:
        raise Malformed(f"an entry has {LENGTH} bytes")
    version, kind, side, time, until, tag, commitment = _LAYOUT.unpack(data)
    if version != VERSION:
        raise Malformed(f"an entry of version {version}, and only version {VERSION} is read")
    if not Kind.ACT <= kind <= Kind.NOTICE or side > len(SIDES):
        raise Malformed("a kind or a side that no entry has")
    entry = LogEntry(Kind(kind), SIDES[side - 1] if side else None, time, until, tag, commitment)
    if (entry.side is None) != (entry.kind in SIDELESS) or (until and entry.kind != Kind.MUTE_ALL):
        raise Malformed("an entry says more, or less, than its kind does")
    return entry


SIDELESS = frozenset({Kind.ERASED, Kind.KEY, Kind.PRIVATE, Kind.DISCLOSED, Kind.NOTICE})
"""Kinds whose entries name no side."""


def commitment(salt: bytes, at: int, data: bytes) -> bytes:
    """SHA-256 over the salt, the time (ms) and the bytes: of an act its compact JWS (LOG-8)."""
    return hashlib.sha256(salt + at.to_bytes(8, "big") + data).digest()


@lru_cache(maxsize=4096)
def tag_key(secret: bytes, scope: Scope) -> bytes:
    """The key of a connection's tags, for those whom it is for."""
    return hmac.digest(secret, b"comity.tag-key.v1\x00" + scope.encode("ascii"), "sha256")


@lru_cache(maxsize=256)
def public_tag_key(did: str) -> bytes:
    """The key of the tags of a public name, which anybody computes: a server cannot show one to one reader, and enter
    statements under another for the rest (LOG-20)."""
    return hashlib.sha256(b"comity.public-tag.v1\x00" + did.encode("ascii")).digest()


def tag(key: bytes, at: int) -> bytes:
    """The tag (16 bytes) of what happens at `at` (ms): the same within an epoch (LOG-9)."""
    return _tag_in(key, at // EPOCH)


@lru_cache(maxsize=4096)
def _tag_in(key: bytes, epoch: int) -> bytes:
    return hmac.digest(key, b"comity.tag.v1\x00" + epoch.to_bytes(4, "big"), "sha256")[:16]


def scope_of(act: SignedAct, side: Side) -> Scope:
    """Which tag key the entry of an act of `side` takes: a setting's is its owner's alone."""
    return side if act.chain == "settings" else "both"


def entry_of_act(act: SignedAct, side: Side, key: bytes, salt: bytes, at: int, muted: Scoped | None = None) -> LogEntry:
    """The entry of an act of `side` that was accepted at `at` (ms). `key`: the tag key of `scope_of`. `muted`: the mute
    that an `unmute` names."""
    kind, payload = kind_of(act, muted), act.payload
    end = payload.until if isinstance(payload, Mute) and kind is Kind.MUTE_ALL else None
    until = 0 if end is None else end * 1000 // HOUR
    known = None if kind in SIDELESS else side
    return LogEntry(kind, known, at // MINUTE, until, tag(key, at), commitment(salt, at, act.raw.encode("ascii")))


def kind_of(act: SignedAct, muted: Scoped | None = None) -> Kind:
    """What the log says of an act (LOG-7): settings all look alike. `muted` is the mute that an `unmute` names."""
    payload = act.payload
    if act.chain == "settings":
        return Kind.PRIVATE
    if isinstance(payload, Mute):
        return Kind.MUTE_PART if _is_of_part(payload) else Kind.MUTE_ALL
    if isinstance(payload, Unmute):
        # An unmute that takes back a part leaves a mute of everything where it is.
        return Kind.UNMUTE_PART if muted is not None and _is_of_part(muted) else Kind.UNMUTE
    if isinstance(payload, Feedback) and payload.says == "mislabelled":
        return Kind.CONTEST
    return Kind.REVOKE if act.kind == "revoke" else Kind.ACT


def _is_of_part(mute: Scoped) -> bool:
    return bool(mute.purposes or mute.channels)


def named_mute(act: SignedAct, mutes: Iterable[_M]) -> _M | None:
    """The mute among `mutes` that an `unmute` names; None for one of all, and for every other act."""
    if not isinstance(act.payload, Unmute):
        return None
    named = act.payload.mute
    return next((mute for mute in mutes if mute.id == named), None)


def entry_of_delivery(raw: str, purpose: str, side: Side, key: bytes, salt: bytes, at: int) -> LogEntry:
    """The entry of a message (its JWS `raw`) of `side` that came into the other side's inbox at `at` (ms)."""
    kind = Kind.DELIVERED_EXEMPT if purpose in EXEMPT_PURPOSES else Kind.DELIVERED
    return LogEntry(kind, side, at // MINUTE, 0, tag(key, at), commitment(salt, at, raw.encode("utf-8")))


def entry_of_mute_over(raw: str, side: Side, key: bytes, salt: bytes, at: int) -> LogEntry:
    """The entry that says at `at` (ms) that a mute of `side` is over; `raw` is the JWS that ended it (AUD-1)."""
    data = raw.encode("ascii")
    return LogEntry(Kind.MUTE_OVER, side, at // MINUTE, 0, tag(key, at), commitment(salt, at, data))


def key_statement(did: str, kid: str, key: str, at: int) -> bytes:
    """What a home server states about a business's key (its multibase) that it publishes from `at` (ms) on (LOG-20)."""
    return dump_json({"did": did, "kid": kid, "key": key, "at": at})


def entry_of_key(statement: bytes, key: bytes, salt: bytes, at: int) -> LogEntry:
    """The entry of a key statement. `key`: the tag key of the public name that it is about."""
    return LogEntry(Kind.KEY, None, at // MINUTE, 0, tag(key, at), commitment(salt, at, statement))


def entry_of_notice(raw: str, key: bytes, salt: bytes, at: int) -> LogEntry:
    """The entry of a notice (its JWS `raw`) that was published at `at` (ms). `key`: the tag key of the business."""
    return LogEntry(Kind.NOTICE, None, at // MINUTE, 0, tag(key, at), commitment(salt, at, raw.encode("ascii")))
