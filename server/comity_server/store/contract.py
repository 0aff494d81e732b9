"""What a store must provide, for whatever engine: `sqlite.SqliteStore` is the one for a single machine.

Every method raises StoreFailed where the engine fails.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from comity.rules.feedback import Reached
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
        """Where a log stands."""

    def tile(self, log: str, level: int, number: int) -> bytes | None:
        """The hashes of a tile."""

    def logged(self, log: str, first: int, most: int) -> list[Logged]:
        """Entries with what they commit to."""


class Store(Protocol):
    """The store of a server. One process writes it."""

    business: BusinessRows
    prunes: Prunes

    @property
    def failed(self) -> StoreFailed | None:
        """What went wrong last, and was not found to be over since."""

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

    async def reached(self, ids: Iterable[str]) -> dict[str, Reached]:
        """The messages that were delivered and the contacts outside among those acts, by id."""

    async def raws(self, acts: Iterable[tuple[str, str]]) -> dict[str, str]:
        """The bytes of acts, by id, from their (cid, id)."""

    async def reservations(self, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Reservation]:
        """Whose the (list, idx) places are, of those that were ever reserved."""

    async def offers_open(self, iss: str, now: int) -> int:
        """How many offers of a party are open."""

    async def rivals(self, offer: str, second_did: str, now: int) -> list[Rival]:
        """Proposals of `second_did` on the offer that still count, for a new one."""

    async def halves_waiting(self, offer: str, now: int, most: int) -> list[WaitingHalf]:
        """What waits for an offer, those first that give way first."""

    async def unused_indexes(self, cid: str, side: str, first: int) -> dict[tuple[int, int], int]:
        """The (list, idx) places that a side reserved and has not used, in lists from `first` on, with when (ms) it was
        given each, the earliest first."""

    async def meta(self) -> dict[str, str]:
        """What the server remembers of itself."""

    async def last_list(self) -> int:
        """The number of the newest status list, 0 before the first index was reserved."""

    async def entries(self, list_no: int) -> list[Entry]:
        """The given entries of a status list."""

    async def home_statements(self) -> tuple[list[StoredStatement], list[StoredPlace]]:
        """Every statement about a key of the home server in order, and their places in logs."""

    async def business_keys(self) -> list[HostedKey]:
        """Every hosted business's keys."""

    async def begin_term(self, log: str, empty_root: bytes) -> Head:
        """Become the one who moves this log's head (begun if there is none): from now on whoever held the term before
        writes nothing more. Raises StoreFailed, Overtaken where another does the same at this moment."""

    async def logs(self) -> dict[str, bool]:
        """Whether it has ended, of each log in this store, by origin."""

    async def end_logs(self, but: str) -> None:
        """Nothing is written any more into any log but that one."""

    async def head(self, log: str) -> Head | None:
        """Where a log stands."""

    async def tile(self, log: str, level: int, number: int) -> bytes | None:
        """The hashes of a tile, as many as there are by now."""

    async def entries_of_log(self, log: str, first: int, most: int) -> list[bytes]:
        """Entries from number `first` on, up to the first one that is missing."""

    async def opening(self, log: str, idx: int) -> tuple[bytes, bytes, int] | None:
        """(entry, salt, time in ms) of one entry."""

    async def key_statements(self, name: str) -> list[KeyStatement]:
        """What was stated about a business's keys, oldest first."""

    async def reread(self, judge: Callable[[Reading], T]) -> T:
        """What `judge` makes of the committed rows, in a thread that never writes. Raises StoreFailed, what it does."""

    async def due(self, now: int, most: int) -> list[str]:
        """Connections in which something is to be released at `now` (ms)."""

    async def next_wake(self) -> int | None:
        """When (ms) `due` will next name one."""

    async def waiting_proposals(self, most: int) -> list[tuple[str, str, str]]:
        """(cid, offerer, accepter) of halves that wait for their other half."""

    async def open_connections(self, after: str, most: int) -> list[str]:
        """The next connections behind `after` that have not ended."""

    async def history(self, cid: str) -> list[Kept]:
        """All that happened in a connection, settings too, in the order of its times."""

    async def records(self, cid: str, side: str, after: int, most: int) -> list[StoredRecord]:
        """What one side may have of a connection behind a time (ms), in the order of its times."""

    async def state(self, cid: str) -> Known | None:
        """The stored state of a connection."""

    async def known(self, cids: Iterable[str]) -> dict[str, Known]:
        """The stored states of those connections that exist: what was committed before the call, at least."""

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
        """What came into a stream after the row `after`, oldest first."""
