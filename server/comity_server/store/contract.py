"""The contract of a store, for any engine; `sqlite.SqliteStore` implements it for a single machine.

Every method raises StoreFailed if the engine fails.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from comity.rules.feedback import DeliveredMessage
from comity_server.store.business import BusinessRows
from comity_server.store.errors import StoreFailed
from comity_server.store.prunes import Prunes
from comity_server.store.rows import (
    Batch,
    Entry,
    Head,
    HostedKey,
    Kept,
    KeyStatement,
    Known,
    Logged,
    News,
    Offer,
    Proposal,
    Reservation,
    Rival,
    StoredAct,
    StoredPlace,
    StoredRecord,
    StoredStatement,
    WaitingHalf,
)

T = TypeVar("T")


class Reading(Protocol):
    """A consistent view of the committed rows of the logs, usable only inside `Store.reread`."""

    def head(self, log: str) -> Head | None:
        """The head of a log."""

    def tile(self, log: str, level: int, number: int) -> bytes | None:
        """The hashes of a tile."""

    def logged_entries(self, log: str, first: int, most: int) -> list[Logged]:
        """Entries with what they commit to."""


class Store(Protocol):
    """The store of a server. One process writes it."""

    business: BusinessRows
    prunes: Prunes

    @property
    def last_fault(self) -> StoreFailed | None:
        """The last fault, until a probe finds it over."""

    async def probe(self) -> None:
        """Read, and write as much as many acts take: whether what failed is over. Raises StoreFailed."""

    async def close(self) -> None:
        """Close every connection, the writer last: it leaves a file without a log behind."""

    async def commit(self, batch: Batch, before: Callable[[], None] = ...) -> None:
        """Write all of the batch in one durable transaction, once `before` has completed its rows in the store's
        thread. Raises StoreFailed, and then nothing is to be assumed; Overtaken, and then nothing was written."""

    async def states(self, cids: Iterable[str]) -> dict[str, Known]:
        """The stored states of those connections that exist."""

    async def acceptances(self, ids: Iterable[str]) -> dict[str, str]:
        """The signed acceptances of those acts that were accepted."""

    async def events_at(self, cid: str, times: Iterable[int]) -> dict[int, str]:
        """The events other than acceptances that were stated in a connection at those times (ms)."""

    async def messages_by_id(self, ids: Iterable[str]) -> dict[str, DeliveredMessage]:
        """The messages that were delivered and the contacts outside among those acts, by id."""

    async def raws(self, acts: Iterable[tuple[str, str]]) -> dict[str, str]:
        """The bytes of acts, by id, from their (cid, id)."""

    async def reservations(self, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Reservation]:
        """The owners of the (list, idx) places that were ever reserved."""

    async def offers_open(self, iss: str, now: int) -> int:
        """How many offers of a party are open."""

    async def rivals(self, offer: str, second_did: str, now: int) -> list[Rival]:
        """Proposals of `second_did` on the offer that still count, for a new one."""

    async def halves_waiting(self, offer: str, now: int, most: int) -> list[WaitingHalf]:
        """The halves that wait for an offer, in the order in which they are dropped."""

    async def unused_indexes(self, cid: str, side: str, first: int) -> dict[tuple[int, int], int]:
        """The (list, idx) places that a side reserved and has not used, in lists from `first` on, with when (ms) it was
        given each, the earliest first."""

    async def meta(self) -> dict[str, str]:
        """The server's own settings and secrets, by name."""

    async def last_list(self) -> int:
        """The number of the newest status list, 0 before the first index was reserved."""

    async def entries(self, list_no: int) -> list[Entry]:
        """The given entries of a status list."""

    async def home_statements(self) -> tuple[list[StoredStatement], list[StoredPlace]]:
        """Every statement about a key of the home server in order, and their places in logs."""

    async def business_keys(self) -> list[HostedKey]:
        """Every hosted business's keys."""

    async def begin_term(self, log: str, empty_root: bytes) -> Head:
        """Takes the term of a log, begun if it does not exist: from now on the previous holder of the term cannot
        write. Raises StoreFailed, Overtaken if another server does the same at this moment."""

    async def logs(self) -> dict[str, bool]:
        """Whether it has ended, of each log in this store, by origin."""

    async def end_logs(self, but: str) -> None:
        """Ends every log but that one: nothing is written into them any more."""

    async def head(self, log: str) -> Head | None:
        """The head of a log."""

    async def tile(self, log: str, level: int, number: int) -> bytes | None:
        """The hashes of a tile, as many as there are by now."""

    async def entries_of_log(self, log: str, first: int, most: int) -> list[bytes]:
        """Entries from number `first` on, up to the first one that is missing."""

    async def entry_opening(self, log: str, idx: int) -> tuple[bytes, bytes, int] | None:
        """(entry, salt, time in ms) of one entry."""

    async def key_statements(self, name: str) -> list[KeyStatement]:
        """The statements about a business's keys, oldest first."""

    async def reread(self, judge: Callable[[Reading], T]) -> T:
        """The result of `judge` on the committed rows, in a thread that never writes. Raises StoreFailed, and the
        faults of `judge`."""

    async def due_connections(self, now: int, most: int) -> list[str]:
        """Connections in which something is to be released at `now` (ms)."""

    async def next_wake(self) -> int | None:
        """When (ms) `due` will next name one."""

    async def waiting_proposals(self, most: int) -> list[tuple[str, str, str]]:
        """(cid, offerer, accepter) of halves that wait for their other half."""

    async def open_connections(self, after: str, most: int) -> list[str]:
        """The next connections behind `after` that have not ended."""

    async def history(self, cid: str) -> list[Kept]:
        """All records of a connection, settings included, ordered by time."""

    async def records(self, cid: str, side: str, after: int, most: int) -> list[StoredRecord]:
        """The records of a connection after a time (ms) that one side may have, ordered by time."""

    async def state(self, cid: str) -> Known | None:
        """The stored state of a connection."""

    async def states_before(self, cids: Iterable[str]) -> dict[str, Known]:
        """The stored states of those connections that exist: at least everything committed before the call."""

    async def agreement(self, cid: str) -> tuple[bytes, str] | None:
        """(agreement, opened event) of a connection."""

    async def offer(self, short: str) -> Offer | None:
        """A published offer, whatever became of it."""

    async def proposal(self, cid: str) -> Proposal | None:
        """A half-signed agreement, whatever became of it."""

    async def act(self, id_: str) -> StoredAct | None:
        """An accepted act."""

    async def mute_over(self, cid: str, act: str) -> str | None:
        """The event that states that a mute was over."""

    async def is_party(self, did: str) -> bool:
        """Whether the party is, or was, a side of a connection."""

    async def stream_of(self, did: str) -> str | None:
        """The stream that the party `did` reads; None for a name that was replaced by a later one."""

    async def news(self, stream: str, after: int, most: int) -> list[News]:
        """The rows of a stream after the row `after`, oldest first."""

    async def news_before(self, stream: str, before: int, most: int) -> list[News]:
        """The rows of a stream before the row `before`, newest first."""
