"""The HTTP API of the protocol, for both ends: paths, media types (HTTP-1), bodies and problem documents
(spec/http.md)."""

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
    parse_model,
)
from comity.encoding import dump_json
from comity.errors import CODES, Malformed, Refused
from comity.transparency.receipts import MOST_RECEIPT
from comity.transparency.server_keys import MOST_STATEMENTS, ListedStatement

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
"""The media type that a reader accepts to receive items as they arrive (HTTP-13)."""

MOST_LINES = 1000
"""The most acts in one batch (HTTP-12, HTTP-15)."""
MOST_BATCH = 8 * 1024 * 1024
"""The most bytes of one batch."""
LONGEST_WAIT = 30
"""The most seconds that a long poll waits."""
PAGE = 100
"""The most items in one page of the inbox (HTTP-11)."""
MOST_RECEIPT_TEXT = 16_384
"""The most characters of a receipt in an answer: the longest proof, and a checkpoint with the log's signature alone."""
MOST_WITNESSES = 32
"""The most witnesses that a server names."""

Jws = Annotated[str, Field(max_length=65_536, pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")]
Cursor = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
ReceiptText = Annotated[str, Field(min_length=1, max_length=MOST_RECEIPT_TEXT)]
"""The text of a receipt, not verified (spec/log.md)."""
Vkey = Annotated[str, Field(max_length=400, pattern=r"^[!-*,-~]{1,255}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{43,64}={0,2}$")]
"""The public key of a log or witness, with its name."""
TagKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$")]
"""32 bytes in base64url."""


class PublishedOffer(Model):
    """The answer to a published offer."""

    offer: Hash
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{12}$")]
    link: Annotated[str, Field(max_length=600)]


class ProposalAnswer(Model):
    """The answer to a half-signed agreement."""

    cid: Hash


class OpenedAnswer(Model):
    """The answer to a countersigned agreement: the `opened` event."""

    cid: Hash
    event: Jws


class Decline(Model):
    """The reason for declining or withdrawing an agreement, if any. With `silent` the other side is not told
    (AGR-10)."""

    reason: Token | None = None
    silent: bool = False


class Acceptance(Model):
    """The answer to an act: its id, the signed acceptance, and the receipt if a checkpoint includes the act already."""

    act: Hash
    event: Jws
    receipt: ReceiptText | None = None


class Tags(Model):
    """The tag keys of a connection for one side: that of both sides' acts, and that of its own settings."""

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


class RecordBody(Model):
    """A record: the event, and the act or agreement that it is about. A side returns records to its server after a
    restore (REC-7, REC-10), and a side whose copy lacks some receives them."""

    event: Jws
    act: Jws | None = None
    agreement: dict[str, Any] | None = None


class RecordAnswer(Model):
    """The answer to a returned record that the server has now: the hash of the event's text."""

    event: Hash


class HeadsKnown(Model):
    """The heads that a side knows after a restore: of both chains of acts, and of its own settings (REC-5)."""

    first: Hash
    second: Hash
    settings: Hash


class HeadsAnswer(Model):
    """The heads that the server lacks, and the sides that are still recovering."""

    lacks: Annotated[tuple[Literal["first", "second", "settings"], ...], Field(max_length=3)]
    recovering: Annotated[tuple[Side, ...], Field(max_length=2)]


class ReserveIndex(Model):
    """The request for a status index."""

    cid: Hash


class ReservedIndex(Model):
    """A reserved status index, as in the grant's `status` claim."""

    idx: Annotated[int, Field(ge=0, lt=2**32)]
    uri: Url


class ReservedAnswer(Model):
    """The answer to a reservation."""

    status_list: ReservedIndex


class Head(Model):
    """The head of a chain: the next `seq`, and the hash for the next act's `prev`."""

    seq: Annotated[int, Field(ge=0, le=2**53 - 1)]
    head: Hash


class Heads(Model):
    """The heads of both public chains."""

    first: Head
    second: Head


class ConnectionAnswer(Model):
    """A connection as its home server has it. `settings` and `tags` are the reader's own; `notices` are the other
    side's that are in force."""

    cid: Hash
    agreement: dict[str, Any]
    heads: Heads
    settings: Head
    state: dict[str, Any]
    tags: Tags
    notices: Annotated[tuple[Jws, ...], Field(max_length=2)]


class ActAnswer(Model):
    """An act's acceptance. If the reader may see the act: the act, and the receipts of its own entry, of its delivery,
    and (`over`) of the entry for the end of the reader's own mute by it. A receipt is absent while no checkpoint
    includes its entry."""

    event: Jws
    act: Jws | None = None
    receipt: ReceiptText | None = None
    delivery: ReceiptText | None = None
    over: ReceiptText | None = None


class Item(Model):
    """One item of an inbox; `cursor` is opaque (HTTP-10). An `opened` item has `tags`."""

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
    """A page of an inbox; `cursor` is the start of the next one. `pruned` is set if the page is the first and earlier
    items were deleted (HTTP-23)."""

    items: Annotated[tuple[Item, ...], Field(max_length=PAGE)]
    cursor: Cursor
    pruned: Literal[True] | None = None


class RecordsPage(Model):
    """A page of the records of a connection; `cursor` is the start of the next one."""

    items: Annotated[tuple[RecordBody, ...], Field(max_length=PAGE)]
    cursor: Cursor


class LogKey(Model):
    """A log of a server: its name, its key, and its URL. `ended`: it never grows again. `restored_at` (ms): the time of
    the restore with which the log began (REC-1)."""

    origin: Origin
    vkey: Vkey
    url: Url
    ended: Literal[True] | None = None
    restored_at: Milliseconds | None = None


class KeyPlace(Model):
    """The position of a key statement in a log, with its receipt once there is one."""

    log: Origin
    index: Sequence
    receipt: Annotated[str, Field(max_length=MOST_RECEIPT)] | None = None


class ListedKey(ListedStatement):
    """A statement about a key of a home server, and the positions of its entries."""

    places: Annotated[tuple[KeyPlace, ...], Field(max_length=1024)]


class HomeKeysAnswer(Model):
    """A home server's statements about its keys, from the first on (HOME-2)."""

    did: Did
    keys: Annotated[tuple[ListedKey, ...], Field(max_length=MOST_STATEMENTS)]


class WellKnown(Model):
    """A server's description of itself. `logs`: the active ones first, then those that ended. `cosignatures`: how many
    of the `witnesses` cosign each checkpoint."""

    version: Version
    home: Did
    operator: Operator
    name: Label
    longest_wait: int
    most_lines: int
    logs: Annotated[tuple[LogKey, ...], Field(min_length=1)]
    witnesses: Annotated[tuple[Vkey, ...], Field(max_length=MOST_WITNESSES)]
    cosignatures: Annotated[int, Field(ge=0, le=MOST_WITNESSES)]


LONGEST_RETRY_AFTER = 10_000_000
"""The most seconds of a Retry-After, so that every number fits an int."""


def retry_after_seconds(retry_after: str | None, date: str | None, now: int) -> int | None:
    """The seconds to wait by an answer's Retry-After: a number of seconds, or a date. A date counts from the answer's
    own `date` if it has one, else from `now` (s) (RFC 9110, section 10.2.3). None for any other text."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text), LONGEST_RETRY_AFTER) if len(text) < 4000 else LONGEST_RETRY_AFTER
    until = http_date(text)
    if until is None:
        return None
    sent_at = http_date(date or "")
    return min(max(until - (now if sent_at is None else sent_at), 0), LONGEST_RETRY_AFTER)


def http_date(text: str) -> int | None:
    """The time (s) of an HTTP date in any of the three forms (RFC 9110, section 5.6.7), None for any other text."""
    from email.utils import parsedate_to_datetime

    try:
        parsed = parsedate_to_datetime(text[:64])
        return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


_PROBLEM: TypeAdapter[Problem] = TypeAdapter(Problem)


def encode_problem(refused: Refused, also: Mapping[str, Any] | None = None) -> bytes:
    """The problem document of a refusal (RFC 9457), with extension members; where one is None, the document has no such
    member. It never repeats the input."""
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
    members = {**document, **(also or {})}
    return dump_json({name: value for name, value in members.items() if value is not None})


def decode_problem(data: bytes, retry_after: int | None = None) -> Refused:
    """The refusal in a problem document. Raises Malformed, also for an unknown code and for a status that does not
    belong to the code."""
    problem = parse_model(_PROBLEM, data)
    code = CODES.get(problem.code)
    if code is None or code.status != problem.status:
        raise Malformed("not a problem document that this version knows")
    if problem.code == "malformed":
        return Malformed(problem.detail or problem.title, errors=_error_pairs(problem))
    return Refused(
        problem.code, problem.detail, errors=_error_pairs(problem), retry_after=retry_after, until=problem.until
    )


def _error_pairs(problem: Problem) -> tuple[tuple[str, str], ...]:
    return tuple((error.get("pointer", ""), error.get("detail", "")) for error in problem.errors or ())
