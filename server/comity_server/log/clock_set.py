"""The log that begins since the clock was ahead when the store was written, and says so (CLOCK-4)."""

from collections.abc import Mapping
from typing import Protocol

from comity.errors import ComityError
from comity_server.log.recovery import origin_of
from comity_server.store.rows import Batch, Head

_NAME = "clock set "
"""The prefix of the names under which the store remembers it; the origin of the log follows."""


class CannotSetClock(ComityError):
    """The operator states that the clock was ahead, and continues in the log that holds its times."""


class ClockStore(Protocol):
    """The queries of this module."""

    async def logs(self) -> dict[str, bool]: ...
    async def head(self, log: str) -> Head | None: ...
    async def meta(self) -> dict[str, str]: ...
    async def commit(self, batch: Batch) -> None: ...


def ahead_in(meta: Mapping[str, str]) -> dict[str, int]:
    """Up to when (ms) the times in the store reach that lay ahead, by the log that begins behind them."""
    return {name.removeprefix(_NAME): int(at) for name, at in meta.items() if name.startswith(_NAME)}


async def note_clock_set(store: ClockStore, host: str, name: str | None) -> None:
    """Write down, by the operator's word, that the log called `name` begins since the clock was ahead. Raises
    CannotSetClock."""
    known, log = await store.logs(), None if name is None else origin_of(host, name)
    if log is None or (log in known and log not in ahead_in(await store.meta())):
        raise CannotSetClock(
            "a log whose times lie ahead cannot be gone on with: begin another one with COMITY_CONSENT_LOG=NAME"
        )
    if log not in known:
        heads = [await store.head(it) for it in known]
        ahead = max((head.at for head in heads if head is not None), default=0)
        await store.commit(Batch(put_meta=[{"name": f"{_NAME}{log}", "value": str(ahead)}]))
