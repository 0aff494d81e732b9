"""Detects at a start that the store was put back from an older copy, and remembers the restore (REC-1).

A store that `comity backup` made knows that it is a copy: its first start begins another log, after a restore. Any
other start that begins a log does so after a restore if the operator says so (COMITY_RESTORED), or if a log that was
active was signed further than this store reaches or its signed size is unknown. The restore is written before anything
else of the new log, so that a start that was interrupted here continues with it the next time.
"""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from comity.errors import ComityError
from comity_server.log.head_file import largest_in
from comity_server.log.recovery import files_of, name_in, origin_of
from comity_server.store.rows import Batch, Head

_NAME = "restored "
"""The prefix of the names under which the store remembers restores; the origin of the log follows."""
PENDING = "restoring"
"""The name under which the store remembers the log of a restore that is not stated in every connection yet."""
COPIED = "copied"
"""The name under which a store says when (ms) it was copied from another one, until it has begun its own log
(BACKUP-3)."""
MOVED = "moved"
"""The name under which a store says to where its log was moved, and that nothing is written into it any more
(BACKUP-4)."""


class CannotRestore(ComityError):
    """The store was restored, and the operator lets it go on in the log that it had."""


class MovedAway(ComityError):
    """The log of this store was moved to another place, and continues there."""


class Restore(NamedTuple):
    """One restore: when (ms) it was noticed, and the logs that ended by it."""

    at: int
    ended: tuple[str, ...]


class RestoreStore(Protocol):
    """The queries of this module."""

    async def logs(self) -> dict[str, bool]: ...
    async def head(self, log: str) -> Head | None: ...
    async def meta(self) -> dict[str, str]: ...
    async def commit(self, batch: Batch) -> None: ...


def restores_in(meta: Mapping[str, str]) -> dict[str, Restore]:
    """The restores that a store remembers, by the log that began with each."""
    found = {name.removeprefix(_NAME): text for name, text in meta.items() if name.startswith(_NAME)}
    return {log: msgspec.json.decode(text, type=Restore) for log, text in found.items()}


def check_not_moved(meta: Mapping[str, str]) -> None:
    """Raises MovedAway for a store whose log continues in another place (BACKUP-4)."""
    if to := meta.get(MOVED):
        raise MovedAway(
            f"this data was moved to {to}, and its log goes on where that was put back: use it there. If it never was, "
            f"`comity restore {to}` puts it into an empty folder"
        )


async def note_restore(
    store: RestoreStore, data: Path, host: str, name: str | None, *, stated: bool, now: int
) -> str | None:
    """The name of the log to write into, None for the one that is active; `name` is what the operator wants. Where that
    log is about to begin at `now` (ms) after a restore, it is written down; `stated`: the operator says so. Raises
    CannotRestore."""
    known, meta = await store.logs(), await store.meta()
    running = tuple(log for log, has_ended in known.items() if not has_ended)
    is_copy, pending = bool(meta.get(COPIED)), meta.get(PENDING)
    if name is None and is_copy:
        name = _fresh_name(now)
    elif name is None and pending and pending not in known:
        # A start that was cut off before its log began.
        name = name_in(host, pending)
    log = None if name is None else origin_of(host, name)
    if log is None or log in known:
        if is_copy or (stated and not restores_in(meta).keys() & {log, *running}):
            raise CannotRestore(
                "a store that was put back cannot go on in its log: begin another one with COMITY_CONSENT_LOG=NAME"
                + (", or leave that unset" if is_copy else "")
            )
        return name
    if is_copy or stated or [it for it in running if await _is_behind(store, data, host, it)]:
        restore = msgspec.json.encode(Restore(now, running)).decode()
        values = {f"{_NAME}{log}": restore, PENDING: log, COPIED: ""}
        await store.commit(Batch(put_meta=[{"name": key, "value": value} for key, value in values.items()]))
    return name


def _fresh_name(now: int) -> str:
    """A name that no log of this server had: its copies know nothing of each other."""
    return f"restored-{datetime.fromtimestamp(now / 1000, UTC):%Y%m%d}-{secrets.token_hex(3)}"


async def _is_behind(store: RestoreStore, data: Path, host: str, log: str) -> bool:
    """True if more of a log was signed than the store has, or if that is unknown."""
    head = await store.head(log)
    size = 0 if head is None else head.size
    signed = largest_in(files_of(data, name_in(host, log)).head)
    return size > 0 if signed is None else signed > size
