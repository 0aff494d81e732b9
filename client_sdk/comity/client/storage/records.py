"""What a wallet keeps, as types: the records of its file, and the one path on which they get there.

Tables: `me` (who this wallet is), `keys` (kid → seed), `links` (cid → Link), `petnames` (cid → what its owner calls the
other side), `log/<cid>` (what was accepted in one connection), `unsent` (cid → acts that are sealed and not answered
yet), `offers`, `received` (offers at a business's door), `proposals`, `pins` (keys of a did:web as first seen),
`home_keys` (what a home server states of its own keys), `cursors` (how far an inbox was read), `bodies` (what was
written, by act), `wishes` (grants to be given once a connection is open), `recovered` (cid → the `restored`, ms, after
which this side has confirmed), `lost/<cid>` (what a server acknowledged and lost for good with a restore), `snoozes`,
`away` (cid → the mute by which this wallet is away), `mailboxes`, `blocked`, `defaults` (class of purposes → what to
grant to offers), `evidence`; and of the logs `logs` (origin → its home and key as first seen), `checkpoints` (origin →
the last signed text), `tags` (cid → the tag keys), `receipts` and `deliveries` (act → the receipt of its entry, and of
its delivery's), `owed` (own acts whose receipt has not come yet, or was not checked).
"""

from __future__ import annotations

import asyncio
from typing import Literal, TypeVar

import msgspec

from comity.client.storage.encrypted_file import WalletFile
from comity.client.storage.frames import RawEntry, WalletFileError

T = TypeVar("T")

Entry = tuple[str, str, object]
"""What is to be kept: table, key, value; a value of None removes the key."""


class Me(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose wallet it is: a person's (fresh keys everywhere) or a business's, with its did:web."""

    business: str | None = None
    kid: str | None = None
    name: str | None = None


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """One connection: which side is ours, by which key it began, and the texts that it rests on."""

    cid: str
    side: Literal["first", "second"]
    home: str
    kid: str
    other: str
    proposed_at: int
    agreement: str
    whole: bool = False
    opened: str | None = None
    offer: str | None = None
    name: str | None = None
    handed: bool = False
    closed: str | None = None


class Entered(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a connection's log: the server's event, and the act where this side has it."""

    event: str
    act: str | None = None


class Unsent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Acts as they were sealed, in order: after a kill the very same bytes are sent again."""

    acts: tuple[str, ...]


class AwayMute(msgspec.Struct, frozen=True, omit_defaults=True):
    """The mute that `away` made in a connection, and the end (s) of the mute of everything that it replaced."""

    mute: str
    before: int | None = None


class Offered(msgspec.Struct, frozen=True, omit_defaults=True):
    """An offer of ours, the key that signed it, and what became of it."""

    raw: str
    kid: str
    cid: str | None = None


class Proposed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody's half of an agreement on an offer of ours."""

    half: str
    offer: str
    at: int


class Evidence(msgspec.Struct, frozen=True):
    """A contradiction that was met at `at` (ms), with the signed texts as they came."""

    at: int
    claim: str
    texts: tuple[str, ...]


class Pins(msgspec.Struct, frozen=True):
    """The keys of a did:web as this wallet first saw them: kid → multibase."""

    keys: dict[str, str]


class LogPin(msgspec.Struct, frozen=True):
    """A log as its home server first named it: its key (a vkey) and where it is served."""

    home: str
    vkey: str
    url: str


class TagKeys(msgspec.Struct, frozen=True, omit_defaults=True):
    """The tag keys of a connection (base64url); `proved` names those that a receipt has borne out."""

    both: str
    own: str
    proved: tuple[str, ...] = ()


class Owed(msgspec.Struct, frozen=True, omit_defaults=True):
    """An own act without its receipt; `receipt` is one that came and is still to be checked."""

    cid: str
    receipt: str | None = None


class Kept:
    """The wallet's file behind types. `keep` makes entries durable; many callers share one write and one sync."""

    def __init__(self, file: WalletFile) -> None:
        self.file = file
        self._waiting: list[tuple[list[RawEntry], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self.unkept: WalletFileError | None = None
        """Why the file lacks something of what was accepted. From then on what servers say is known in memory alone,
        until the file is opened again: so a "no" still finds its place (WHO-9)."""

    def get(self, table: str, key: str, kind: type[T]) -> T | None:
        """One record, or None."""
        data = self.file.table(table).get(key)
        return None if data is None else msgspec.json.decode(data, type=kind)

    def all(self, table: str, kind: type[T]) -> dict[str, T]:
        """A whole table, in the order in which its keys came."""
        # Copied at once: the writer's thread may put something in while these are decoded.
        return {key: msgspec.json.decode(data, type=kind) for key, data in list(self.file.table(table).items())}

    async def keep_first(self, *entries: Entry) -> None:
        """Like `keep`, for what must be on disk before anything rests on it. Raises WalletFileError."""
        if self.unkept is not None:
            raise self.unkept
        await self.keep(*entries)

    async def keep(self, *entries: Entry) -> None:
        """Returns when all of these are on disk, or in memory where the file lacks something already (`unkept`); None
        removes. What waits together is written together. Raises WalletFileError."""
        if self.unkept is not None:
            self.file.remember(_entry(*entry) for entry in entries)
            return
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(([_entry(*entry) for entry in entries], done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        # A caller who gives up does not undo the write of the others.
        await asyncio.shield(done)

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                entries = [entry for some, _ in batch for entry in some]
                try:
                    await asyncio.to_thread(self.file.write, entries)
                except Exception as error:
                    for _, done in batch:
                        done.set_exception(error)
                        done.exception()  # marked as seen: a caller who left must not make asyncio complain
                else:
                    for _, done in batch:
                        done.set_result(None)
        finally:
            self._writer = None

    async def close(self) -> None:
        """Waits for what is being written, then lets go of the file."""
        if self._writer is not None:
            await self._writer
        self.file.close()


def _entry(table: str, key: str, value: object) -> RawEntry:
    return table, key, None if value is None else msgspec.json.encode(value)
