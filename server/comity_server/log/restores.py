"""When a store was put back from an older copy: how a start knows, and what it remembers of it (REC-1).

A start that begins another log does so after a restore if the operator says so (COMITY_RESTORED), or if a log that was
active was signed further than this store reaches, or nobody can say how far. It is written down before anything else of
the new log, so that a start that is cut off here goes on with it the next time.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from comity.errors import ComityError
from comity_server.log.head_file import largest_in
from comity_server.log.starting import files_of, name_in, origin_of
from comity_server.store.rows import Batch, Head

_NAME = "restored "
"""What begins the names under which the store remembers restores; the origin of the log follows."""
PENDING = "restoring"
"""The name under which the store remembers the log of a restore that is not stated in every connection yet."""


class CannotRestore(ComityError):
    """The operator says that the store was restored, and it goes on in the log that it had."""


class Restore(NamedTuple):
    """One restore: when (ms) it was noticed, and the logs that ended by it."""

    at: int
    ended: tuple[str, ...]


class RestoreStore(Protocol):
    """What is asked of a store."""

    async def logs(self) -> dict[str, bool]: ...
    async def head(self, log: str) -> Head | None: ...
    async def meta(self) -> dict[str, str]: ...
    async def commit(self, batch: Batch) -> None: ...


def restores_in(meta: Mapping[str, str]) -> dict[str, Restore]:
    """The restores that a store remembers, by the log that began with each."""
    found = {name.removeprefix(_NAME): text for name, text in meta.items() if name.startswith(_NAME)}
    return {log: msgspec.json.decode(text, type=Restore) for log, text in found.items()}


async def note_restore(store: RestoreStore, data: Path, host: str, name: str | None, *, stated: bool, now: int) -> None:
    """Write down that the log called `name`, which is about to begin at `now` (ms), begins after a restore, if it does;
    `stated`: the operator says so. Raises CannotRestore."""
    known, meta = await store.logs(), await store.meta()
    running = tuple(log for log, has_ended in known.items() if not has_ended)
    log = None if name is None else origin_of(host, name)
    if log is None or log in known:
        if stated and not restores_in(meta).keys() & {log, *running}:
            raise CannotRestore(
                "a store that was put back cannot go on in its log: begin another one with COMITY_CONSENT_LOG=NAME"
            )
        return
    if not stated and not [it for it in running if await _is_behind(store, data, host, it)]:
        return
    batch = Batch()
    restore = msgspec.json.encode(Restore(now, running)).decode()
    batch.put_meta += [{"name": f"{_NAME}{log}", "value": restore}, {"name": PENDING, "value": log}]
    await store.commit(batch)


async def _is_behind(store: RestoreStore, data: Path, host: str, log: str) -> bool:
    """Whether more was signed of a log than the store has, or nobody can say."""
    head = await store.head(log)
    size = 0 if head is None else head.size
    signed = largest_in(files_of(data, name_in(host, log)).head)
    return size > 0 if signed is None else signed > size
