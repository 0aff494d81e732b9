"""Log entries: the part of an act that everybody can read, and the part for those who hold its keys (spec/log.md,
section "Entries").

An entry is a commitment and a little metadata, always 59 bytes. Nothing in it can be guessed: the tag needs a key of
the connection, and the commitment has its own salt.
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
"""The most minutes by which an entry may be earlier than one before it (LOG-14)."""

Scope = Literal["both", "first", "second"]
"""The holders of a tag key: both sides, or one of them alone."""


class MuteScope(Protocol):
    """A mute, in an act or a state, of some purposes or channels or of everything."""

    @property
    def purposes(self) -> Collection[str] | None: ...
    @property
    def channels(self) -> Collection[str] | None: ...


class _Named(MuteScope, Protocol):
    @property
    def id(self) -> str: ...


_M = TypeVar("_M", bound=_Named)


class Kind(IntEnum):
    """The kind of an entry (LOG-7)."""

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
    """A parsed entry. `time` is in minutes and `until` in hours since the epoch, both rounded down; `until` is 0 but
    for a `MUTE_ALL` that shows its end."""

    kind: Kind
    side: Side | None
    time: int
    until: int
    tag: bytes
    commitment: bytes

    def to_bytes(self) -> bytes:
        """The bytes of the entry in the log (LOG-6)."""
        side = 0 if self.side is None else SIDES.index(self.side) + 1
        return _LAYOUT.pack(VERSION, self.kind, side, self.time, self.until, self.tag, self.commitment)


def parse_entry(data: bytes) -> LogEntry:
    """Parses an entry. Raises Malformed."""
    if len(data) != LENGTH:
        raise Malformed(f"an entry has {LENGTH} bytes")
    version, kind, side, time, until, tag, commitment = _LAYOUT.unpack(data)
    if version != VERSION:
        raise Malformed(f"an entry of version {version}, and only version {VERSION} is read")
    if not Kind.ACT <= kind <= Kind.NOTICE or side > len(SIDES):
        raise Malformed("the entry has an unknown kind or side")
    entry = LogEntry(Kind(kind), SIDES[side - 1] if side else None, time, until, tag, commitment)
    if (entry.side is None) != (entry.kind in SIDELESS) or (until and entry.kind != Kind.MUTE_ALL):
        raise Malformed("the entry has members that do not fit its kind")
    return entry


SIDELESS = frozenset({Kind.ERASED, Kind.KEY, Kind.PRIVATE, Kind.DISCLOSED, Kind.NOTICE})
"""Kinds whose entries name no side."""


def commitment(salt: bytes, at: int, data: bytes) -> bytes:
    """SHA-256 over the salt, the time (ms) and the bytes; for an act these are its compact JWS (LOG-8)."""
    return hashlib.sha256(salt + at.to_bytes(8, "big") + data).digest()


@lru_cache(maxsize=4096)
def tag_key(secret: bytes, scope: Scope) -> bytes:
    """The tag key of a connection for this scope."""
    return hmac.digest(secret, b"comity.tag-key.v1\x00" + scope.encode("ascii"), "sha256")


@lru_cache(maxsize=256)
def public_tag_key(did: str) -> bytes:
    """The tag key of a public name, which anybody can compute: so a server cannot show statements to one reader under
    this tag and hide others from the rest (LOG-20)."""
    return hashlib.sha256(b"comity.public-tag.v1\x00" + did.encode("ascii")).digest()


def entry_tag(key: bytes, at: int) -> bytes:
    """The tag (16 bytes) at `at` (ms): the same within an epoch (LOG-9)."""
    return _epoch_tag(key, at // EPOCH)


@lru_cache(maxsize=4096)
def _epoch_tag(key: bytes, epoch: int) -> bytes:
    return hmac.digest(key, b"comity.tag.v1\x00" + epoch.to_bytes(4, "big"), "sha256")[:16]


def tag_scope_of(act: SignedAct, side: Side) -> Scope:
    """The scope of the tag key for an act of `side`: that of a setting is its owner's alone."""
    return side if act.chain == "settings" else "both"


def entry_of_act(
    act: SignedAct, side: Side, key: bytes, salt: bytes, at: int, muted: MuteScope | None = None
) -> LogEntry:
    """The entry of an act of `side` that was accepted at `at` (ms). `key` is the tag key of `tag_scope_of`; `muted` is
    the mute that an `unmute` names."""
    kind, payload = kind_of(act, muted), act.payload
    end = payload.until if isinstance(payload, Mute) and kind is Kind.MUTE_ALL else None
    until = 0 if end is None else end * 1000 // HOUR
    shown_side = None if kind in SIDELESS else side
    return LogEntry(
        kind, shown_side, at // MINUTE, until, entry_tag(key, at), commitment(salt, at, act.raw.encode("ascii"))
    )


def kind_of(act: SignedAct, muted: MuteScope | None = None) -> Kind:
    """The kind of an act's entry (LOG-7). All settings look alike. `muted` is the mute that an `unmute` names."""
    payload = act.payload
    if act.chain == "settings":
        return Kind.PRIVATE
    if isinstance(payload, Mute):
        return Kind.MUTE_PART if _is_partial(payload) else Kind.MUTE_ALL
    if isinstance(payload, Unmute):
        # An unmute of a part does not end a mute of everything.
        return Kind.UNMUTE_PART if muted is not None and _is_partial(muted) else Kind.UNMUTE
    if isinstance(payload, Feedback) and payload.says == "mislabelled":
        return Kind.CONTEST
    return Kind.REVOKE if act.kind == "revoke" else Kind.ACT


def _is_partial(mute: MuteScope) -> bool:
    return bool(mute.purposes or mute.channels)


def named_mute(act: SignedAct, mutes: Iterable[_M]) -> _M | None:
    """The mute among `mutes` that an `unmute` names; None for an unmute of all, and for every other act."""
    if not isinstance(act.payload, Unmute):
        return None
    mute_id = act.payload.mute
    return next((mute for mute in mutes if mute.id == mute_id), None)


def entry_of_delivery(raw: str, purpose: str, side: Side, key: bytes, salt: bytes, at: int) -> LogEntry:
    """The entry of a message (its JWS `raw`) of `side` that was delivered to the other side's inbox at `at` (ms)."""
    kind = Kind.DELIVERED_EXEMPT if purpose in EXEMPT_PURPOSES else Kind.DELIVERED
    return LogEntry(kind, side, at // MINUTE, 0, entry_tag(key, at), commitment(salt, at, raw.encode("utf-8")))


def entry_of_mute_over(raw: str, side: Side, key: bytes, salt: bytes, at: int) -> LogEntry:
    """The entry for a mute of `side` that is over at `at` (ms); `raw` is the JWS that ended it (AUD-1)."""
    data = raw.encode("ascii")
    return LogEntry(Kind.MUTE_OVER, side, at // MINUTE, 0, entry_tag(key, at), commitment(salt, at, data))


def key_statement(did: str, kid: str, key: str, at: int) -> bytes:
    """A home server's statement about a business's key (its multibase), published from `at` (ms) on (LOG-20)."""
    return dump_json({"did": did, "kid": kid, "key": key, "at": at})


def entry_of_key(statement: bytes, key: bytes, salt: bytes, at: int) -> LogEntry:
    """The entry of a key statement. `key`: the tag key of the public name that it is about."""
    return LogEntry(Kind.KEY, None, at // MINUTE, 0, entry_tag(key, at), commitment(salt, at, statement))


def entry_of_notice(raw: str, key: bytes, salt: bytes, at: int) -> LogEntry:
    """The entry of a notice (its JWS `raw`) that was published at `at` (ms). `key`: the tag key of the business."""
    return LogEntry(Kind.NOTICE, None, at // MINUTE, 0, entry_tag(key, at), commitment(salt, at, raw.encode("ascii")))
