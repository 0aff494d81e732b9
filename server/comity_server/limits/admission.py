"""Refuses requests before they are parsed, while more arrives than can be decided in time (HTTP-15, HTTP-25).

Parsing a request, finding its route and answering it costs a third of an act: a server that refuses nine of ten
requests that way does little else. So while acts are refused, a request with an act is examined in its bytes: its frame
is checked, room is asked for its sender, and it is refused within a few microseconds. Every other request is handled as
usual.

A "no" must not be refused, and only its body says that it is one. A body that claims to be a "no" passes here; where
its signature is verified, an act that is not a "no" is refused (see `Writer.acts`).
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from multidict import CIMultiDict

from comity.documents.acts import NARROWING
from comity.encoding import b64u_decode
from comity.errors import Malformed, Refused
from comity.http_api import ACTS, JWT
from comity_server.limits.backlog import Backlog
from comity_server.limits.client_address import ClientAddresses
from comity_server.limits.rate_limits import Windows
from comity_server.limits.shares import Pool, User
from comity_server.limits.turns import Turns

NOES = 128
"""The number of open requests that passed because they claim to be a "no"."""
LARGEST = 16_384
"""The largest request (bytes) that is examined. A larger one is rare, and never a "no"."""
_LINE = f"POST {ACTS} HTTP/1.1\r\n".encode()
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*)\r\n")


OVERLOADED = Refused("overloaded", retry_after=1)


class Ticket(NamedTuple):
    """A place in a room that was taken before the request was parsed; `says_no` where only a "no" may use it."""

    room: Pool
    user: User
    says_no: bool


class Refusal(NamedTuple):
    """The refusal of a request, and whether its connection is closed after it."""

    refused: Refused
    close: bool


@dataclass(frozen=True, slots=True)
class More:
    """The request has not come as a whole."""


class _Label(msgspec.Struct):
    act: str = ""
    says: str = ""


_read_label = msgspec.json.Decoder(_Label).decode


class Admission:
    """Examines the requests of a connection while acts are refused."""

    def __init__(
        self,
        room: Backlog,
        rates: Windows,
        addresses: ClientAddresses,
        turns: Turns,
        bytes_of: Callable[[Refusal], bytes],
    ) -> None:
        self._room = room
        self._rates = rates
        self._addresses = addresses
        self._noes = Pool(NOES)
        self.turns = turns
        self.bytes_of = bytes_of
        """The bytes of a refusal on the wire."""

    def looks(self) -> bool:
        """True while requests are to be examined."""
        now = time.monotonic()
        return now < self._room.full_until or now < self._rates.over_until

    def look(self, data: bytes, peer: str | None) -> Ticket | Refusal | More | None:
        """The decision about a request that begins with these bytes, from that address; None if it is not decided
        here."""
        if not data.startswith(_LINE):
            return More() if _LINE.startswith(data) and data else None
        found = _read_frame(data)
        if found is None or isinstance(found, More):
            return found
        fields, body = found
        close = b"close" in fields.get(b"connection", b"").lower()
        address = self._address(peer, fields)
        user, says_no = User(address), _says_no(body)
        if not says_no and (left := self._rates.seconds_if_over(address)) is not None:
            return Refusal(Refused("rate_limited", "too many from this address", retry_after=left), close)
        if time.monotonic() >= self._room.full_until:
            # Another address is over its rate, and there is room: also for a "no" that closes nothing new.
            return None
        room = self._noes if says_no else self._room
        return Ticket(room, user, says_no) if room.take(user) else Refusal(OVERLOADED, close)

    def _address(self, peer: str | None, fields: dict[bytes, bytes]) -> str:
        before = fields.get(b"x-forwarded-for")
        named = () if before is None else (("X-Forwarded-For", before.decode("latin-1")),)
        return self._addresses.of(peer, CIMultiDict(named))


def _read_frame(data: bytes) -> tuple[dict[bytes, bytes], bytes] | More | None:
    """(header fields by lower-case name, body) of one act, if `data` is exactly one request that every reader of HTTP
    frames in the same way: another one is left to the parser, or a proxy could take one answer for another's."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return More() if len(data) <= LARGEST else None
    fields: dict[bytes, bytes] = {}
    at = len(_LINE)
    while at < end + 2:
        match = _FIELD.match(data, at, end + 2)
        if match is None or (name := match[1].lower()) in fields:
            return None
        fields[name] = match[2]
        at = match.end()
    length = fields.get(b"content-length", b"")
    if not length.isdigit() or len(length) > 5 or b"transfer-encoding" in fields or b"expect" in fields:
        return None
    if fields.get(b"content-type") != _JWT or b"content-encoding" in fields or b"upgrade" in fields:
        return None
    body, size = data[end + 4 :], int(length)
    if size > LARGEST or len(body) > size:
        return None
    return (fields, body) if len(body) == size else More()


_JWT = JWT.encode()


def _says_no(body: bytes) -> bool:
    """Whether an act says of itself that it is a "no"; nothing of it was checked."""
    payload = body.split(b".", 2)[1:2]
    if not payload:
        return False
    try:
        label = _read_label(b64u_decode(payload[0]))
    except (Malformed, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return label.act in NARROWING or (label.act == "feedback" and label.says == "mislabelled")
