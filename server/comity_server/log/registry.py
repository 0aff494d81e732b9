"""The logs of a server: the one in which new entries go, and those that were ended before (LOG-19)."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from comity.errors import ComityError
from comity_server.log.clock_set import ahead_in
from comity_server.log.recovery import NOTHING, begin, files_of, name_in, origin_of
from comity_server.log.restores import Restore, restores_in
from comity_server.log.sequencer import LogStore, Sequencer
from comity_server.logging import logger
from comity_server.store.errors import StoreDamaged

OpenLogs = Callable[["LogsStore", Path, str, str | None], Awaitable["Logs"]]
"""The type of `open_logs`; benchmarks pass another one."""


class LogsStore(LogStore, Protocol):
    """The queries of opening the logs."""

    async def logs(self) -> dict[str, bool]: ...
    async def end_logs(self, but: str) -> None: ...
    async def meta(self) -> dict[str, str]: ...


class NoSuchLog(ComityError):
    """The server cannot write into the configured log; the text says why."""


class Logs:
    """Logs by their origin, the active one first."""

    def __init__(
        self,
        active: Sequencer,
        ended: Iterable[Sequencer] = (),
        restores: Mapping[str, Restore] | None = None,
        time: int = 0,
        ahead: int | None = None,
    ) -> None:
        self.active = active
        self.time = time
        """When the store was written last (ms)."""
        self.ahead = ahead
        """Up to when (ms) connections may be ahead of the clock, where the active log began since it had been ahead."""
        self.restores = restores or {}
        """The restores of this store, by the log that began with each."""
        self._all = {log.origin: log for log in (active, *ended)}

    def __iter__(self) -> Iterator[Sequencer]:
        return iter(self._all.values())

    def get(self, origin: str) -> Sequencer | None:
        """The log of that origin."""
        return self._all.get(origin)

    def is_lost(self, origin: str) -> bool:
        """Whether a restore may have ended that log: the server was restored, and does not serve it (REC-1)."""
        return bool(self.restores) and origin not in self._all


async def open_logs(store: LogsStore, data: Path, host: str, name: str | None) -> Logs:
    """The logs of a data folder: the one called `name` is active from now on (None: the one that is), and all others
    have ended. An ended log that cannot be vouched for is not served.

    Raises NoSuchLog, and what `begin` raises about the active one.
    """
    known = await store.logs()
    origin = _active(known, host, name)
    active = await begin(store, files_of(data, name_in(host, origin)), origin)
    await store.end_logs(origin)
    ended: list[Sequencer] = []
    restores = restores_in(await store.meta())
    lost = {log for restore in restores.values() for log in restore.ended}
    for other in known:
        if other == origin or other in lost:
            # More of a log that a restore ended was signed than is stored: nobody here vouches for it (REC-1).
            continue
        try:
            ended.append(await begin(store, files_of(data, name_in(host, other)), other))
        except (ComityError, OSError, StoreDamaged) as fault:
            logger().error("log_not_served", log=other, reason=str(fault))
    # Entries written while the clock was ahead end with the log that says so.
    ahead = ahead_in(await store.meta())
    counts = [log for log in known if not ahead or log == origin or log in ahead]
    heads = [await store.head(log) or NOTHING for log in counts]
    return Logs(active, ended, restores, max((head.at for head in heads), default=0), ahead.get(origin))


def _active(known: dict[str, bool], host: str, name: str | None) -> str:
    """The origin of the log to write into; `known` says of each log whether it has ended. Raises NoSuchLog."""
    running = next((origin for origin, has_ended in known.items() if not has_ended), None)
    if name is None:
        return running or origin_of(host, "")
    wanted = origin_of(host, name)
    if known.get(wanted, False):
        raise NoSuchLog(f"the log {wanted} has ended, and is never written again; entries go into {running} now")
    return wanted
