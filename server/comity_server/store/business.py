"""What is read for the business side, row by row (business.sql). What is written goes into a `Batch` like all else."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

Ask = Callable[[str, dict[str, object]], Awaitable[list[Any]]]
"""(query, values) → rows."""


class KeptKey(NamedTuple):
    """A business's signing key as it is kept: sealed."""

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


class Doing(NamedTuple):
    """By which API key, and for which seat, an act was done."""

    act: str
    key_id: str
    seat: str | None


class Count(NamedTuple):
    """How often something happened on a day (days since the epoch)."""

    day: int
    what: str
    n: int


class BusinessRows:
    """Reads. `ask` may see a moment ago; `decide` is the writer's own connection, which misses nothing committed."""

    def __init__(self, ask: Ask, decide: Ask) -> None:
        self._ask = ask
        self._decide = decide

    async def kept_keys(self) -> list[KeptKey]:
        """Every sealed signing key, the oldest of each business first."""
        return [KeptKey(*row) for row in await self._decide("kept_keys", {})]

    async def api_keys(self) -> list[StoredApiKey]:
        """Every API key, the oldest of each business first."""
        return [StoredApiKey(*row) for row in await self._decide("api_keys", {})]

    async def idempotent(self, name: str, key: str) -> Idempotent | None:
        """The answer kept under a business's key, whatever its age."""
        rows = await self._decide("get_idempotent", {"name": name, "key": key})
        return Idempotent(*rows[0]) if rows else None

    async def seats(self, name: str) -> list[Seat]:
        """The seats of a business."""
        return [Seat(*row) for row in await self._ask("seats", {"name": name})]

    async def doings(self, cid: str) -> dict[str, Doing]:
        """Who did the acts of a connection that were done through an API key, by the acts' ids."""
        return {row[0]: Doing(*row) for row in await self._ask("doings_of", {"cid": cid})}

    async def counts(self, name: str, day: int) -> list[Count]:
        """What was counted for a business from that day on."""
        return [Count(*row) for row in await self._ask("counts_since", {"name": name, "day": day})]
