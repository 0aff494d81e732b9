"""The records of a wallet's file as types, and the class that reads and writes them.

Tables: `me` (the wallet's owner), `keys` (kid → seed), `links` (cid → ConnectionInfo), `petnames` (cid → the owner's
name for the other side), `log/<cid>` (the records of one connection), `unsent` (cid → acts that are signed and not
answered yet), `offers` (own offers), `received` (offers to this business), `proposals`, `pins` (keys of a did:web as
first seen), `home_keys` (the keys that a home server states), `cursors` (position in each inbox), `bodies` (own texts,
by act), `wishes` (cid → grants to give once the connection is open), `recovered` (cid → the `restored`, ms, after which
this side has confirmed), `lost/<cid>` (records that a server acknowledged and lost for good in a restore), `snoozes`,
`away` (cid → the mute of an absence), `mailboxes`, `blocked`, `defaults` (class of purposes → the grant to suggest),
`evidence`; and for the logs `logs` (origin → its home and key as first seen), `checkpoints` (origin → the last signed
text), `tags` (cid → tag keys), `receipts` and `deliveries` (act → the receipt of its entry, and of its delivery's),
`overs` (unmute → the receipt that its mute was over), `owed` (own acts without a checked receipt).
"""

from __future__ import annotations

import asyncio
from typing import Literal, TypeVar

import msgspec

from comity.client.storage.encrypted_file import WalletFile
from comity.client.storage.frames import RawEntry, WalletFileError

T = TypeVar("T")

Entry = tuple[str, str, object]
"""Table, key, value to store; a value of None removes the key."""


class Owner(msgspec.Struct, frozen=True, omit_defaults=True):
    """The wallet's owner: a person (a new key in each connection), or a business with its did:web and current key."""

    business: str | None = None
    kid: str | None = None
    name: str | None = None


class ConnectionInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """One connection: this wallet's side, the key with which it began, and the signed texts behind it."""

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


class StoredRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record of a connection: the server's event, and the act where this side has it."""

    event: str
    act: str | None = None


class UnsentActs(msgspec.Struct, frozen=True, omit_defaults=True):
    """Signed acts in order; after a kill the same bytes are sent again."""

    acts: tuple[str, ...]


class AwayMute(msgspec.Struct, frozen=True, omit_defaults=True):
    """The mute that `go_away` made in a connection, and the end (s) of the mute of everything that it replaced."""

    mute: str
    before: int | None = None


class OwnOffer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An offer of this wallet, the id of the key that signed it, and the connection that it led to."""

    raw: str
    kid: str
    cid: str | None = None


class ReceivedProposal(msgspec.Struct, frozen=True, omit_defaults=True):
    """The other side's half of an agreement on an own offer."""

    half: str
    offer: str
    at: int


class Evidence(msgspec.Struct, frozen=True):
    """A contradiction that was met at `at` (ms), with the signed texts as received."""

    at: int
    claim: str
    texts: tuple[str, ...]


class PinnedKeys(msgspec.Struct, frozen=True):
    """The keys of a did:web as this wallet first saw them: kid → multibase."""

    keys: dict[str, str]


class PinnedLog(msgspec.Struct, frozen=True):
    """A log as its home server first named it: its key (a vkey) and its URL."""

    home: str
    vkey: str
    url: str


class TagKeys(msgspec.Struct, frozen=True, omit_defaults=True):
    """The tag keys of a connection (base64url). `proved` names those that a receipt confirmed."""

    both: str
    own: str
    proved: tuple[str, ...] = ()


class MissingReceipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """An own act without a checked receipt; `receipt` is one that arrived and is still to be checked."""

    cid: str
    receipt: str | None = None


class Records:
    """The wallet's file behind types. `store` makes entries durable; concurrent callers share one write and one
    sync."""

    def __init__(self, file: WalletFile) -> None:
        self.file = file
        self._waiting: list[tuple[list[RawEntry], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self.write_error: WalletFileError | None = None
        """The error that left accepted acts out of the file. From then on new entries are in memory alone, until the
        file is opened again, so that a "no" can still be sent (WHO-9)."""

    def get(self, table: str, key: str, kind: type[T]) -> T | None:
        """One record, or None."""
        data = self.file.table(table).get(key)
        return None if data is None else msgspec.json.decode(data, type=kind)

    def all(self, table: str, kind: type[T]) -> dict[str, T]:
        """A whole table, in the order in which its keys were added."""
        # Copied first: the writer's thread may add entries while these are decoded.
        return {key: msgspec.json.decode(data, type=kind) for key, data in list(self.file.table(table).items())}

    async def store_durably(self, *entries: Entry) -> None:
        """Like `store`, for entries that must be on disk before anything relies on them. Raises WalletFileError, also
        where an earlier write failed."""
        if self.write_error is not None:
            raise self.write_error
        await self.store(*entries)

    async def store(self, *entries: Entry) -> None:
        """Returns when all entries are on disk, or in memory where an earlier write failed (`write_error`). A value of
        None removes the key. Concurrent entries are written together. Raises WalletFileError."""
        if self.write_error is not None:
            self.file.apply_unwritten(_entry(*entry) for entry in entries)
            return
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(([_entry(*entry) for entry in entries], done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        # A cancelled caller must not cancel the write of the others.
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
                        done.exception()  # marked as retrieved: a cancelled caller must not make asyncio log it
                else:
                    for _, done in batch:
                        done.set_result(None)
        finally:
            self._writer = None

    async def close(self) -> None:
        """Waits for pending writes, then closes the file."""
        if self._writer is not None:
            await self._writer
        self.file.close()


def _entry(table: str, key: str, value: object) -> RawEntry:
    return table, key, None if value is None else msgspec.json.encode(value)
