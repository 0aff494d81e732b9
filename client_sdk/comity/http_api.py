"""What goes over HTTP: paths, media types (HTTP-1), bodies and problems (spec/http.md). Both ends read it from here."""

from collections.abc import Mapping
from datetime import UTC
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from comity.documents.events import Origin
from comity.documents.offers import Operator
from comity.documents.types import (
    Did,
    Hash,
    Label,
    Milliseconds,
    Model,
    Sequence,
    Side,
    Token,
    Url,
    Version,
    read_model,
)
from comity.encoding import dump_json
from comity.errors import CODES, Malformed, Refused
from comity.transparency.receipts import MOST_RECEIPT
from comity.transparency.server_keys import MOST_STATEMENTS, Listed

API = "/v1"
OFFERS = f"{API}/offers"
AGREEMENTS = f"{API}/agreements"
ACTS = f"{API}/acts"
STATUS_INDEXES = f"{API}/status/indexes"
CONNECTIONS = f"{API}/connections"
RECORDS = f"{API}/records"
INBOX = f"{API}/inbox"
WELL_KNOWN = "/.well-known/comity"
HOME_KEYS = "/.well-known/comity/keys"
LOG = "/log"

JSON = "application/json"
JWT = "application/jwt"
JSON_LINES = "application/jsonl"
PROBLEM = "application/problem+json"
EVENT_STREAM = "text/event-stream"
"""What a reader accepts who wants its items as they come (HTTP-13)."""

MOST_LINES = 1000
"""Acts in one batch (HTTP-12, HTTP-15)."""
MOST_BATCH = 8 * 1024 * 1024
"""Bytes of one batch."""
LONGEST_WAIT = 30
"""Seconds that a long poll waits at most."""
PAGE = 100
"""Items in one page of the inbox at most (HTTP-11)."""
MOST_RECEIPT_TEXT = 16_384
"""Characters of a receipt in an answer: the longest proof, a checkpoint, and the log's signature alone."""
MOST_WITNESSES = 32
"""Witnesses that a server names."""

Jws = Annotated[str, Field(max_length=65_536, pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")]
Cursor = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
ReceiptText = Annotated[str, Field(min_length=1, max_length=MOST_RECEIPT_TEXT)]
"""The text of a receipt, nothing believed yet (spec/log.md)."""
Vkey = Annotated[str, Field(max_length=400, pattern=r"^[!-*,-~]{1,255}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{43,64}={0,2}$")]
"""The public key of a log or witness, under its name."""
TagKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$")]
"""32 bytes in base64url."""


class Published(Model):
    """Answer to a published offer."""

    offer: Hash
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{12}$")]
    link: Annotated[str, Field(max_length=600)]


class Proposed(Model):
    """Answer to a half-signed agreement."""

    cid: Hash


class OpenedAnswer(Model):
    """Answer to a countersigned agreement: the `opened` event."""

    cid: Hash
    event: Jws


class Decline(Model):
    """Why an agreement is declined or taken back: a code, or nothing; `silent` tells the other side nothing at all
    (AGR-10)."""

    reason: Token | None = None
    silent: bool = False


class Acceptance(Model):
    """Answer to an act: its id, the signed acceptance, and the receipt where a checkpoint covers the act already."""

    act: Hash
    event: Jws
    receipt: ReceiptText | None = None


class Tags(Model):
    """The tag keys of a connection that a side may know: that of both sides' acts, and that of its own settings."""

    both: TagKey
    own: TagKey


class Problem(Model):
    """RFC 9457."""

    type: Annotated[str, Field(max_length=200)]
    title: Annotated[str, Field(max_length=200)]
    status: Annotated[int, Field(ge=400, le=599)]
    code: Token
    detail: Annotated[str, Field(max_length=500)] | None = None
    errors: Annotated[tuple[dict[str, str], ...], Field(max_length=32)] | None = None
    until: int | None = None
    request_id: Annotated[str, Field(max_length=64)] | None = None


class HandedIn(Model):
    """A record: the event, and the act that it is about, or the agreement that it opened. It comes back to its server
    after a restore (REC-7, REC-10), or to a side whose copy lacks it."""

    event: Jws
    act: Jws | None = None
    agreement: dict[str, Any] | None = None


class TakenBack(Model):
    """Answer to a record that is there now: the hash of the event's text."""

    event: Hash


class HeadsKnown(Model):
    """What a side knows after a restore: the heads of both chains of acts, and of its own settings (REC-5)."""

    first: Hash
    second: Hash
    settings: Hash


class HeadsAnswer(Model):
    """Which of these heads the server lacks, and whose doors are recovering still."""

    lacks: Annotated[tuple[Literal["first", "second", "settings"], ...], Field(max_length=3)]
    recovering: Annotated[tuple[Side, ...], Field(max_length=2)]


class ReserveIndex(Model):
    """Request for a status index."""

    cid: Hash


class Reserved(Model):
    """A reserved status index, as it goes into the grant's `status` claim."""

    idx: Annotated[int, Field(ge=0, lt=2**32)]
    uri: Url


class ReservedAnswer(Model):
    """Answer to a reservation."""

    status_list: Reserved


class Head(Model):
    """Where a chain stands: the next `seq`, and the hash that the next act names in `prev`."""

    seq: Annotated[int, Field(ge=0, le=2**53 - 1)]
    head: Hash


class Heads(Model):
    """Where both public chains stand."""

    first: Head
    second: Head


class ConnectionAnswer(Model):
    """A connection as its home server has it. `settings` and `tags` are the reader's own; `notices` are those of the
    other side that are in force."""

    cid: Hash
    agreement: dict[str, Any]
    heads: Heads
    settings: Head
    state: dict[str, Any]
    tags: Tags
    notices: Annotated[tuple[Jws, ...], Field(max_length=2)]


class ActAnswer(Model):
    """An act's acceptance, and where the reader may have it the act with its receipts: of its own entry, of its
    delivery's, and (`over`) of the entry that its own mute was over by it. A receipt is absent while no checkpoint
    covers its entry."""

    event: Jws
    act: Jws | None = None
    receipt: ReceiptText | None = None
    delivery: ReceiptText | None = None
    over: ReceiptText | None = None


class Item(Model):
    """One item of an inbox; `cursor` is opaque (HTTP-10). `tags` come with `opened`."""

    cursor: Cursor
    kind: Literal["offer", "proposal", "declined", "opened", "act", "event"]
    cid: Hash | None = None
    offer: Jws | None = None
    agreement: dict[str, Any] | None = None
    act: Jws | None = None
    event: Jws | None = None
    reason: Token | None = None
    tags: Tags | None = None


class Page(Model):
    """A page of an inbox; `cursor` is where the next one begins. `pruned` where it begins at the beginning, and news
    from before are kept no more (HTTP-23)."""

    items: Annotated[tuple[Item, ...], Field(max_length=PAGE)]
    cursor: Cursor
    pruned: Literal[True] | None = None


class RecordsPage(Model):
    """A page of the records of a connection; `cursor` is where the next one begins."""

    items: Annotated[tuple[HandedIn, ...], Field(max_length=PAGE)]
    cursor: Cursor


class LogKey(Model):
    """A log of a server: its name, its key, and below which URL it is served; `ended` where it never grows again;
    `restored_at` (ms) is when the server was restored, where the log began with that (REC-1)."""

    origin: Origin
    vkey: Vkey
    url: Url
    ended: Literal[True] | None = None
    restored_at: Milliseconds | None = None


class KeyPlace(Model):
    """Where a statement about a key stands in a log, with its receipt as soon as there is one."""

    log: Origin
    index: Sequence
    receipt: Annotated[str, Field(max_length=MOST_RECEIPT)] | None = None


class ListedKey(Listed):
    """A statement about a key of a home server, and the places of its entries."""

    places: Annotated[tuple[KeyPlace, ...], Field(max_length=1024)]


class HomeKeysAnswer(Model):
    """What a home server states of its keys, from the first on (HOME-2)."""

    did: Did
    keys: Annotated[tuple[ListedKey, ...], Field(max_length=MOST_STATEMENTS)]


class WellKnown(Model):
    """What a server says of itself. `logs`: those that are active first, then those that stand still; `cosignatures` is
    how many of the `witnesses` it gathers on a checkpoint."""

    version: Version
    home: Did
    operator: Operator
    name: Label
    longest_wait: int
    most_lines: int
    logs: Annotated[tuple[LogKey, ...], Field(min_length=1)]
    witnesses: Annotated[tuple[Vkey, ...], Field(max_length=MOST_WITNESSES)]
    cosignatures: Annotated[int, Field(ge=0, le=MOST_WITNESSES)]


LONGEST_ASKED = 10_000_000
"""Seconds that a Retry-After can ask for, so that no number is too large to be one."""


def seconds_asked(retry_after: str | None, date: str | None, now: int) -> int | None:
    """How long (s) an answer asks to be left alone, in its Retry-After: a number of seconds, or a date, which counts
    from the answer's own `date` where that is one, else from `now` (s) (RFC 9110, section 10.2.3). None where it asks
    for nothing that is either."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text), LONGEST_ASKED) if len(text) < 4000 else LONGEST_ASKED
    until = http_date(text)
    if until is None:
        return None
    sent = http_date(date or "")
    return min(max(until - (now if sent is None else sent), 0), LONGEST_ASKED)


def http_date(text: str) -> int | None:
    """The time (s) that an HTTP date of any of the three forms spells (RFC 9110, section 5.6.7)."""
    from email.utils import parsedate_to_datetime

    try:
        found = parsedate_to_datetime(text[:64])
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


_PROBLEM: TypeAdapter[Problem] = TypeAdapter(Problem)


def encode_problem(refused: Refused, also: Mapping[str, Any] | None = None) -> bytes:
    """The problem document of a refusal (RFC 9457), with extension members. It never repeats what was sent."""
    document: dict[str, Any] = {
        "type": f"urn:comity:problem:{refused.code}",
        "title": refused.title,
        "status": refused.status,
        "code": refused.code,
    }
    if refused.detail is not None:
        document["detail"] = refused.detail[:500]
    if refused.errors:
        document["errors"] = [{"pointer": pointer[:200], "detail": text[:200]} for pointer, text in refused.errors]
    if refused.until is not None:
        document["until"] = refused.until
    return dump_json({**document, **(also or {})})


def decode_problem(data: bytes, retry_after: int | None = None) -> Refused:
    """The refusal that a problem document spells. Raises Malformed, also for a code that this version does not know
    or a status that is not the code's."""
    problem = read_model(_PROBLEM, data)
    code = CODES.get(problem.code)
    if code is None or code.status != problem.status:
        raise Malformed("not a problem that this version knows")
    if problem.code == "malformed":
        return Malformed(problem.detail or problem.title, errors=_pairs(problem))
    return Refused(problem.code, problem.detail, errors=_pairs(problem), retry_after=retry_after, until=problem.until)


def _pairs(problem: Problem) -> tuple[tuple[str, str], ...]:
    return tuple((error.get("pointer", ""), error.get("detail", "")) for error in problem.errors or ())
