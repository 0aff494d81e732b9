"""The queries of the REST API, row by row (business.sql). Writes go into a `Batch` like all others."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

Ask = Callable[[str, dict[str, object]], Awaitable[list[Any]]]
"""(query, values) → rows."""


class KeptKey(NamedTuple):
    """A business's signing key as it is stored: sealed."""

    name: str
    kid: str
    sealed: bytes
    added_at: int


class StoredApiKey(NamedTuple):
    """An API key as it is stored; times in ms, `scopes` with blanks between."""

    name: str
    id: str
    hash: str
    role: str
    scopes: str
    seat: str | None
    label: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    line: str


class Idempotent(NamedTuple):
    """The answer that a request under an Idempotency-Key got at `at` (ms)."""

    request: str
    status: int
    location: str | None
    body: bytes
    at: int


class Seat(NamedTuple):
    """A seat of a business."""

    seat: str
    created_at: int


class Sealed(NamedTuple):
    """Something that is sealed under the master key."""

    name: str
    id: str
    sealed: bytes


class StoredNotice(NamedTuple):
    """A notice of a business: its JWS, its place in a log, when it was published (ms), and whether it counts against
    the limit (1)."""

    id: str
    kind: str
    raw: str
    log: str
    idx: int
    added_at: int
    counts: int


class Related(NamedTuple):
    """A connection of a business, and which of its sides the business is."""

    cid: str
    side: str
    opened_at: int


class Doing(NamedTuple):
    """By which API key, and for which seat, an act was done."""

    act: str
    key_id: str
    seat: str | None


class StoredDraft(NamedTuple):
    """A draft as it is stored: sealed."""

    name: str
    id: str
    cid: str
    sealed: bytes
    created_at: int
    updated_at: int


class Count(NamedTuple):
    """How often something happened on a day (days since the epoch)."""

    day: int
    what: str
    n: int


class ListedConnection(NamedTuple):
    """A connection in a business's list: its side, the short name of its offer, when it opened (ms), and the state."""

    cid: str
    side: str
    offer: str
    opened_at: int
    state: bytes


class Relation(NamedTuple):
    """A connection of a business: the offer that it came from, and when it opened (ms)."""

    side: str
    offer: str
    opened_at: int


class BusinessOffer(NamedTuple):
    """An offer of a business; times in ms. `countersign` is 1 where the server countersigns by itself."""

    short: str
    label: str
    countersign: int
    created_at: int
    hash: str
    uses: str
    expires_at: int
    used_at: int | None


class HalvesOfOffer(NamedTuple):
    """How many halves wait for an offer, how many of these have other terms than it has, and how many gave way."""

    waiting: int
    alternatives: int
    replaced: int


class Waiting(NamedTuple):
    """A half-signed agreement that waits for its offerer."""

    cid: str
    offer: str
    second_did: str
    raw: bytes
    countersign_by: int
    created_at: int


class Happened(NamedTuple):
    """One thing that happened in a connection: an act (`raw`) and its acceptance, or, of another kind, an event."""

    at: int
    kind: str
    act: str | None
    raw: str | None
    event: str


class StoredContest(NamedTuple):
    """A contest against a business, accepted at `at` (ms): its act, and the state of its connection."""

    cid: str
    act: str
    at: int
    raw: str
    state: bytes


class StoredWebhook(NamedTuple):
    """A webhook endpoint as the business set it up. `types` have blanks between (`*`: all), `after` is the last row of
    news before it was made."""

    name: str
    did: str
    id: str
    url: str
    types: str
    enabled: int
    sealed: bytes
    after: int
    created_at: int


class StoredDuty(NamedTuple):
    """A duty of a business (times in ms), with the text of its newest statement and when that was accepted."""

    cid: str
    due_at: int
    ended_by: str
    done_at: int | None
    statement: str | None
    raw: str | None
    accepted_at: int | None


class BusinessRows:
    """Reads. `ask` may see a moment ago; `decide` is the writer's own connection, which misses nothing committed."""

    def __init__(self, ask: Ask, decide: Ask) -> None:
        self._ask = ask
        self._decide = decide

    async def signing_keys(self) -> list[KeptKey]:
        """Every sealed signing key, the oldest of each business first."""
        return [KeptKey(*row) for row in await self._decide("kept_keys", {})]

    async def signing_key_since(self, name: str, kid: str) -> int:
        """When (ms) a signing key was first kept, one that is."""
        return int((await self._decide("kept_since", {"name": name, "kid": kid}))[0][0])

    async def api_keys(self) -> list[StoredApiKey]:
        """Every API key, the oldest of each business first."""
        return [StoredApiKey(*row) for row in await self._decide("api_keys", {})]

    async def idempotent(self, name: str, line: str, key: str) -> Idempotent | None:
        """The answer kept under a business's key, whatever its age."""
        rows = await self._decide("get_idempotent", {"name": name, "line": line, "key": key})
        return Idempotent(*rows[0]) if rows else None

    async def seats(self, name: str, before: tuple[int, str], most: int) -> list[Seat]:
        """Seats of a business, the newest first, older than the one of that time (ms) and id."""
        given = {"name": name, "created_at": before[0], "seat": before[1], "most": most}
        return [Seat(*row) for row in await self._ask("seats_before", given)]

    async def seat(self, name: str, seat: str) -> Seat | None:
        """One seat of a business."""
        rows = await self._decide("seat", {"name": name, "seat": seat})
        return Seat(*rows[0]) if rows else None

    async def seat_secret(self, name: str) -> bytes | None:
        """The sealed secret from which a business's seats are derived."""
        rows = await self._decide("seat_secret", {"name": name})
        return bytes(rows[0][0]) if rows else None

    async def seals(self, query: str) -> dict[bytes, int]:
        """How much of one kind is sealed under each master key, by the key's name."""
        return {bytes(name): n for name, n in await self._decide(query, {})}

    async def sealed_secrets(self, query: str) -> list[Sealed]:
        """All of one kind that is sealed."""
        return [Sealed(*row) for row in await self._decide(query, {})]

    async def notices(self, name: str) -> list[StoredNotice]:
        """All notices of a business, the oldest first."""
        return [StoredNotice(*row) for row in await self._decide("notices_of", {"name": name})]

    async def newest_notices(self) -> list[tuple[str, str]]:
        """(name, JWS) of the last notice of each business and kind."""
        return [(name, raw) for name, raw in await self._decide("newest_notices", {})]

    async def notices_since(self, name: str, since: int) -> tuple[int, int | None]:
        """(how many notices of a business count since then, when (ms) the first of them was published)."""
        ((count, first),) = await self._decide("notices_since", {"name": name, "since": since})
        return count, first

    async def relations_after(self, name: str, after: tuple[int, str], most: int) -> list[Related]:
        """Connections of a business, the oldest first, behind the one of that time (ms) and cid."""
        given = {"name": name, "opened_at": after[0], "cid": after[1], "most": most}
        return [Related(*row) for row in await self._decide("relations_after", given)]

    async def relation(self, cid: str, name: str) -> Relation | None:
        """The offer through which a business got a connection."""
        rows = await self._ask("get_relation", {"cid": cid, "name": name})
        return Relation(*rows[0]) if rows else None

    async def connections(
        self, name: str, offer: str | None, place: tuple[int, str], bound: int, most: int, *, newest: bool
    ) -> list[ListedConnection]:
        """Connections of a business, of one offer perhaps, behind the one of that time (ms) and cid: the newest first
        and none older than `bound`, or the oldest first and all older than that."""
        if offer is None:
            query = "connections_before" if newest else "connections_after"
        else:
            query = "connections_of_offer_before" if newest else "connections_of_offer_after"
        given: dict[str, object] = {"name": name, "at": place[0], "cid": place[1], "most": most}
        given["least" if newest else "below"] = bound
        if offer is not None:
            given["offer"] = offer
        return [ListedConnection(*row) for row in await self._ask(query, given)]

    async def count_opened_by(self, name: str, offer: str, most: int) -> tuple[int, int]:
        """(opened, and of those ended) of the connections that came from an offer; the count stops at `most`."""
        ((opened, ended),) = await self._ask("count_relations", {"name": name, "offer": offer, "most": most})
        return opened, ended

    async def promises_kept(self, name: str, offer: str, stands_for: int, most: int) -> int:
        """In how many connections of an offer the business gave a grant that stood so long (ms) from the opening on."""
        given: dict[str, object] = {"name": name, "offer": offer, "stands_for": stands_for, "most": most}
        ((kept,),) = await self._ask("count_promises_kept", given)
        return int(kept)

    async def offer(self, name: str, short: str) -> BusinessOffer | None:
        """An offer of a business, whatever became of it."""
        rows = await self._decide("get_business_offer", {"name": name, "short": short})
        return BusinessOffer(*rows[0]) if rows else None

    async def offers(self, name: str, place: tuple[int, str], most: int) -> list[BusinessOffer]:
        """Offers of a business that are older than a place, the newest first."""
        given = {"name": name, "at": place[0], "short": place[1], "most": most}
        return [BusinessOffer(*row) for row in await self._ask("business_offers_before", given)]

    async def invites(self, name: str, since: int) -> tuple[int, int | None]:
        """(how many offers for one use a business has published since, when (ms) the first of them)."""
        ((count, first),) = await self._decide("invites_since", {"name": name, "since": since})
        return count, first

    async def halves_of(self, offer: str, did: str, now: int) -> HalvesOfOffer:
        """How many halves wait for an offerer on one offer, and gave way there."""
        (row,) = await self._ask("count_waiting", {"offer": offer, "first_did": did, "now": now})
        return HalvesOfOffer(*row)

    async def waiting_halves(self, did: str, now: int, place: tuple[int, str], most: int) -> list[Waiting]:
        """Halves that wait for an offerer, the newest first, older than the one of that time (ms) and cid."""
        given = {"first_did": did, "now": now, "at": place[0], "cid": place[1], "most": most}
        return [Waiting(*row) for row in await self._ask("proposals_waiting", given)]

    async def history(self, cid: str, at: int, most: int, *, newest: bool) -> list[Happened]:
        """The records of a connection before a time (ms), the newest first, or after it, the oldest first."""
        query = "history_before" if newest else "history_after"
        return [Happened(*row) for row in await self._ask(query, {"cid": cid, "at": at, "most": most})]

    async def doings(self, cid: str) -> dict[str, Doing]:
        """The authors of the acts of a connection that came through an API key, by the acts' ids."""
        return {row[0]: Doing(*row) for row in await self._ask("doings_of", {"cid": cid})}

    async def news_place(self, stream: str, at: int) -> int:
        """The place in a stream that separates the rows from before `at` (ms) from the later ones. Found by bisection:
        the times grow with the rows, so no index is needed that every commit would have to maintain."""
        before, behind = 0, int((await self._ask("last_in_stream", {"stream": stream}))[0][0] or 0)
        while before < behind:
            middle = (before + behind) // 2
            ((n, told_at),) = await self._ask("next_in_stream", {"stream": stream, "after": middle})
            if told_at < at:
                before = n
            else:
                behind = middle
        return before

    async def draft(self, name: str, id_: str) -> StoredDraft | None:
        """One draft of a business."""
        rows = await self._decide("get_draft", {"name": name, "id": id_})
        return StoredDraft(*rows[0]) if rows else None

    async def count_drafts(self, name: str, since: int) -> int:
        """How many drafts a business has that were written after `since` (ms)."""
        return int((await self._decide("count_drafts", {"name": name, "since": since}))[0][0])

    async def count_waiting_texts(self, name: str) -> int:
        """How many messages of a business wait with their texts kept."""
        return int((await self._decide("count_waiting_texts", {"name": name}))[0][0])

    async def drafts_before(self, name: str, before: tuple[int, str], since: int, most: int) -> list[StoredDraft]:
        """Drafts of a business that were written after `since` (ms), the newest first, behind the one of that time
        (ms) and id."""
        given = {"name": name, "at": before[0], "id": before[1], "since": since, "most": most}
        return [StoredDraft(*row) for row in await self._ask("drafts_before", given)]

    async def contests(self, name: str, before: tuple[int, str], most: int) -> list[StoredContest]:
        """Contests against a business, the newest first, behind the one of that time (ms) and act."""
        given = {"name": name, "at": before[0], "act": before[1], "most": most}
        return [StoredContest(*row) for row in await self._ask("contests_before", given)]

    async def counts(self, name: str, day: int) -> list[Count]:
        """The counters of a business from that day on."""
        return [Count(*row) for row in await self._ask("counts_since", {"name": name, "day": day})]

    async def webhooks(self, name: str) -> list[StoredWebhook]:
        """A business's webhook endpoints, the newest first."""
        return [StoredWebhook(*row) for row in await self._decide("webhooks_of", {"name": name})]

    async def streams_with_webhooks(self) -> set[str]:
        """The streams of which something is sent to webhooks."""
        return {row[0] for row in await self._decide("streams_with_webhooks", {})}

    async def duties(
        self, name: str, status: str | None, place: tuple[int, str], most: int, *, newest: bool
    ) -> list[StoredDuty]:
        """Duties of a business, all or the `open` or `done` ones, behind a place (due, cid): those first that are due
        last, or first."""
        queries = {
            (None, True): "duties_before",
            ("open", True): "duties_open_before",
            ("done", True): "duties_done_before",
            (None, False): "duties_after",
            ("open", False): "duties_open_after",
            ("done", False): "duties_done_after",
        }
        given = {"name": name, "at": place[0], "cid": place[1], "most": most}
        return [StoredDuty(*row) for row in await self._ask(queries[status, newest], given)]
