"""The rows of the store. The field names of `Batch` are the names of queries."""

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypedDict


class ConnectionRow(TypedDict):
    """A connection's whole state."""

    cid: str
    state: bytes
    at: int
    phase: str
    wake_at: int | None
    tag_secret: bytes


class SideRow(TypedDict):
    """A side's name, and the stream it reads."""

    cid: str
    side: str
    did: str
    stream: str


class ActRow(TypedDict):
    """An accepted act or setting."""

    cid: str
    id: str
    side: str
    chain: str
    seq: int
    raw: str
    accepted_at: int
    event: str


class EntryRow(TypedDict):
    """An entry of a log, and what opens its commitment."""

    log: str
    idx: int
    cid: str
    act: str
    at: int
    salt: bytes
    entry: bytes


class TileRow(TypedDict):
    """A tile of a log's tree."""

    log: str
    level: int
    number: int
    hashes: bytes


class HeadRow(TypedDict):
    """The head of a log after a commit, the head that it must have before it, and the term of the writer."""

    log: str
    size: int
    root: bytes
    at: int
    size_before: int
    term: int


class EventRow(TypedDict):
    """An event that is not an acceptance."""

    cid: str
    at: int
    kind: str
    act: str | None
    raw: str


class NewsRow(TypedDict):
    """News in a stream."""

    stream: str
    n: int
    kind: str
    cid: str
    act: str | None
    shown: int
    at: int | None
    told_at: int
    quiet: int


class OfferRow(TypedDict):
    """An offer to publish."""

    short: str
    hash: str
    iss: str
    raw: str
    expires_at: int
    good_until: int
    uses: str


class ProposalRow(TypedDict):
    """A half-signed agreement to keep."""

    cid: str
    offer: str
    first_did: str
    second_did: str
    raw: bytes
    countersign_by: int
    alternative: int
    created_at: int


class StatusRow(TypedDict):
    """The value of a status entry from now on."""

    list_no: int
    idx: int
    grant_id: str
    ended: int
    ask_until: int
    expires_at: int


class ReservedRow(TypedDict):
    """A status entry given out."""

    list_no: int
    idx: int
    cid: str
    side: str
    reserved_at: int


@dataclass(slots=True)
class Batch:
    """Everything that one transaction writes; the order of the fields is the order of writing."""

    put_connection: list[ConnectionRow] = field(default_factory=list)
    put_agreement: list[dict[str, Any]] = field(default_factory=list)
    put_side: list[SideRow] = field(default_factory=list)
    put_act: list[ActRow] = field(default_factory=list)
    fill_act: list[dict[str, str]] = field(default_factory=list)
    put_entry: list[EntryRow] = field(default_factory=list)
    put_tile: list[TileRow] = field(default_factory=list)
    swap_head: list[HeadRow] = field(default_factory=list)
    end_logs: list[dict[str, str]] = field(default_factory=list)
    put_event: list[EventRow] = field(default_factory=list)
    put_offer: list[OfferRow] = field(default_factory=list)
    use_offer: list[dict[str, Any]] = field(default_factory=list)
    end_offer: list[dict[str, Any]] = field(default_factory=list)
    put_proposal: list[ProposalRow] = field(default_factory=list)
    end_proposal: list[dict[str, Any]] = field(default_factory=list)
    reserve_index: list[ReservedRow] = field(default_factory=list)
    take_index: list[dict[str, Any]] = field(default_factory=list)
    put_status: list[StatusRow] = field(default_factory=list)
    put_home_statement: list[dict[str, Any]] = field(default_factory=list)
    put_home_place: list[dict[str, Any]] = field(default_factory=list)
    put_business: list[dict[str, Any]] = field(default_factory=list)
    put_business_key: list[dict[str, Any]] = field(default_factory=list)
    put_news: list[NewsRow] = field(default_factory=list)
    put_kept_key: list[dict[str, Any]] = field(default_factory=list)
    put_api_key: list[dict[str, Any]] = field(default_factory=list)
    end_api_key: list[dict[str, Any]] = field(default_factory=list)
    touch_api_key: list[dict[str, Any]] = field(default_factory=list)
    put_seat: list[dict[str, Any]] = field(default_factory=list)
    put_seat_secret: list[dict[str, Any]] = field(default_factory=list)
    put_notice: list[dict[str, Any]] = field(default_factory=list)
    put_relation: list[dict[str, Any]] = field(default_factory=list)
    # Behind the relation that may be new in the same group.
    note_grant: list[dict[str, Any]] = field(default_factory=list)
    end_grant: list[dict[str, Any]] = field(default_factory=list)
    put_contest: list[dict[str, Any]] = field(default_factory=list)
    put_duty: list[dict[str, Any]] = field(default_factory=list)
    put_business_offer: list[dict[str, Any]] = field(default_factory=list)
    put_doing: list[dict[str, Any]] = field(default_factory=list)
    put_draft: list[dict[str, Any]] = field(default_factory=list)
    drop_draft: list[dict[str, Any]] = field(default_factory=list)
    # Behind what may have begun to wait in the same group.
    drop_waiting_text: list[dict[str, Any]] = field(default_factory=list)
    hand_text_back: list[dict[str, Any]] = field(default_factory=list)
    put_idempotent: list[dict[str, Any]] = field(default_factory=list)
    put_count: list[dict[str, Any]] = field(default_factory=list)
    put_webhook: list[dict[str, Any]] = field(default_factory=list)
    end_webhook: list[dict[str, Any]] = field(default_factory=list)
    # Behind all that may have sealed something in the same group.
    reseal_kept_key: list[dict[str, Any]] = field(default_factory=list)
    reseal_seat_secret: list[dict[str, Any]] = field(default_factory=list)
    reseal_draft: list[dict[str, Any]] = field(default_factory=list)
    reseal_webhook: list[dict[str, Any]] = field(default_factory=list)
    put_master_check: list[dict[str, str]] = field(default_factory=list)
    put_meta: list[dict[str, str]] = field(default_factory=list)

    def statements(self) -> list[tuple[str, list[Any]]]:
        """(query, rows) of all that is to be written."""
        return [(name, rows) for name in _ORDER if (rows := getattr(self, name))]

    def is_empty(self) -> bool:
        """True if this batch changes nothing; asked before the log adds to it."""
        return not any(getattr(self, name) for name in _ORDER if name != "put_meta")


_ORDER = tuple(entry.name for entry in fields(Batch))


class Offer(NamedTuple):
    """A published offer."""

    short: str
    hash: str
    iss: str
    raw: str
    expires_at: int
    good_until: int
    uses: str
    used_at: int | None

    def is_open(self, now: int) -> bool:
        """True if the offer can be read and accepted at `now` (ms)."""
        return self.used_at is None and now < self.expires_at


class Proposal(NamedTuple):
    """A half-signed agreement; `phase` is waiting, declined, silenced (declined without a word), taken_back, replaced
    (it gave way to newer ones, or the server was restored) or opened. `alternative` is 1 where it has other terms than
    those offered."""

    cid: str
    offer: str
    first_did: str
    second_did: str
    raw: bytes
    countersign_by: int
    alternative: int
    created_at: int
    phase: str
    ended_by: str | None


class Rival(NamedTuple):
    """Another proposal of the same accepter on the same offer."""

    cid: str
    second_did: str
    phase: str


class WaitingHalf(NamedTuple):
    """A half-signed agreement that waits for an offer; `alternative` is 1 where it has other terms than those
    offered."""

    cid: str
    second_did: str
    alternative: int


class StoredAct(NamedTuple):
    """An accepted act; `delivered` is the event that let a held message go."""

    cid: str
    side: str
    chain: str
    raw: str
    event: str
    delivered: str | None


class Kept(NamedTuple):
    """One thing that happened in a connection: an act (`raw`, empty where its text is lost) with its acceptance, or,
    without `raw`, another event."""

    at: int
    kind: str
    act: str | None
    side: str | None
    chain: str | None
    seq: int | None
    raw: str | None
    event: str


class StoredRecord(NamedTuple):
    """One record of a connection: the event at `at` (ms), and the act that it is about with the side whose it is, where
    there is one (`act` is empty where its text is lost)."""

    at: int
    kind: str
    side: str | None
    act: str | None
    event: str


class Known(NamedTuple):
    """A stored state, and the secret behind the connection's tags."""

    state: bytes
    tag_secret: bytes


class Head(NamedTuple):
    """The head of a log: number of entries, their root, the time of the last commit (ms), and the term of its
    writer."""

    size: int
    root: bytes
    at: int
    term: int


class Logged(NamedTuple):
    """A stored entry with the text that it commits to, where that still exists: an act, or a statement about a key.
    `erased` if it was erased with its connection, along with its opening."""

    idx: int
    cid: str
    act: str
    at: int
    salt: bytes
    entry: bytes
    erased: int
    raw: str | None
    statement: str | None


@dataclass(frozen=True, slots=True)
class KeyStatement:
    """A statement about a business's key, and its place in a log."""

    statement: str
    log: str
    index: int


class StoredStatement(NamedTuple):
    """A statement as it is stored, by its number from 0 on."""

    n: int
    statement: str
    signed: str | None


class StoredPlace(NamedTuple):
    """The place of a statement in a log."""

    n: int
    log: str
    idx: int


class HostedKey(NamedTuple):
    """A published key of a hosted business."""

    name: str
    did: str
    kid: str
    multibase: str


class News(NamedTuple):
    """One row of a stream, with the texts that it names."""

    n: int
    kind: str
    cid: str
    shown: int
    act: str | None
    acceptance: str | None
    event: str | None
    agreement: bytes | None
    half: bytes | None
    reason: str | None
    offer: str | None
    side: str | None
    tag_secret: bytes | None
    told_at: int
    quiet: int


class Entry(NamedTuple):
    """One given status entry: ended for good, muted until (ms, 0: not), expiring at (ms)."""

    idx: int
    ended: int
    ask_until: int
    expires_at: int


class Reservation(NamedTuple):
    """The owner of a status index, and the grant that used it."""

    cid: str
    side: str
    grant_id: str | None
