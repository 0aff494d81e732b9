"""Receipts: the proof that an act stands in a log, which anybody can check offline (C2SP tlog-proof; spec/log.md,
section "Receipts")."""

import struct
from binascii import b2a_base64
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from comity.errors import Malformed, Refused
from comity.transparency.checkpoints import NO_WITNESSES, Policy, SignedCheckpoint, is_witnessed, open_checkpoint
from comity.transparency.entries import LENGTH, SALT, LogEntry, commitment, read_entry
from comity.transparency.merkle import LONGEST_PROOF, check_inclusion, leaf_hash
from comity.transparency.notes import MOST_NOTE, VerifierKey, decode_base64
from comity.transparency.tiles import check_size

FIRST_LINE = "c2sp.org/tlog-proof@v1"
_EXTRA = struct.Struct(f">{LENGTH}s{SALT}sQ")
MOST_EXTRA = 64 * 1024
MOST_RECEIPT = MOST_NOTE + 2 * MOST_EXTRA


@lru_cache(maxsize=4096)
def _base64(data: bytes) -> str:
    """A line of base64. Kept, since the receipts of one checkpoint share most of their hashes."""
    return b2a_base64(data).decode("ascii")


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof taken apart and not yet believed."""

    extra: bytes
    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    @property
    def text(self) -> str:
        """The proof as it is kept in a file (`.tlog-proof`)."""
        return _text(self.extra, self.index, self.hashes, self.checkpoint)


def _text(extra: bytes, index: int, hashes: Iterable[bytes], checkpoint: str) -> str:
    opening = f"extra {b2a_base64(extra).decode('ascii')}" if extra else ""
    return f"{FIRST_LINE}\n{opening}index {index}\n{''.join(map(_base64, hashes))}\n{checkpoint}"


def read_proof(raw: str | bytes) -> TlogProof:
    """The parts of a tlog-proof; nothing is believed yet. Raises Malformed, Refused("too_large")."""
    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8")
        length = len(text.encode("utf-8"))
    except UnicodeError:
        raise Malformed("a proof is UTF-8") from None
    if length > MOST_RECEIPT:
        raise Refused("too_large", f"at most {MOST_RECEIPT} bytes")
    head, blank, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines.pop(0) != FIRST_LINE or not lines:
        raise Malformed("not a tlog-proof")
    extra = b""
    if lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "))
        if not extra:
            raise Malformed("a line that says nothing is left out")
    if not lines or not lines[0].startswith("index "):
        raise Malformed("a tlog-proof names its index")
    index = check_size(lines.pop(0).removeprefix("index "))
    hashes = tuple(decode_base64(line) for line in lines)
    if len(hashes) > LONGEST_PROOF or any(len(it) != 32 for it in hashes):
        raise Malformed("not the hashes of a proof")
    return TlogProof(extra, index, hashes, checkpoint)


class Opening(NamedTuple):
    """What opens an entry's commitment: the entry, its salt, and the time (ms) that was committed to."""

    entry: bytes
    salt: bytes
    at: int

    def to_bytes(self) -> bytes:
        """As it stands in a receipt's `extra` line."""
        return _EXTRA.pack(self.entry, self.salt, self.at)


def read_opening(extra: bytes) -> Opening:
    """The opening in the `extra` of a receipt. Raises Malformed."""
    if len(extra) != _EXTRA.size:
        raise Malformed("a receipt of Comity carries its entry, salt and time")
    return Opening(*_EXTRA.unpack(extra))


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that holds: the entry is number `index` of the log whose checkpoint it names. Only `open_receipt`
    makes one."""

    raw: str
    index: int
    entry: LogEntry
    opening: Opening
    checkpoint: SignedCheckpoint

    def is_of(self, data: bytes) -> bool:
        """Whether this is what was committed to: the compact JWS of an act, or a key statement (LOG-8)."""
        return commitment(self.opening.salt, self.opening.at, data) == self.entry.commitment


def seal_receipt(opening: Opening, index: int, hashes: list[bytes], checkpoint: SignedCheckpoint) -> str:
    """The text of a receipt."""
    return _text(opening.to_bytes(), index, hashes, checkpoint.raw)


def open_receipt(raw: str | bytes, log: VerifierKey, policy: Policy = NO_WITNESSES) -> Receipt:
    """The receipt, if the log's checkpoint holds, enough of the policy's witnesses cosigned it, and it covers the
    entry (LOG-11).

    Raises Malformed, Refused("too_large" | "bad_signature" | "unknown_key" | "proof_failed" | "too_few_witnesses").
    """
    parts = read_proof(raw)
    opening = read_opening(parts.extra)
    entry = read_entry(opening.entry)
    signed = open_checkpoint(parts.checkpoint, log, policy.witnesses)
    if not is_witnessed(signed, policy):
        raise Refused("too_few_witnesses")
    if not check_inclusion(leaf_hash(opening.entry), parts.index, signed.size, parts.hashes, signed.root):
        raise Refused("proof_failed", "the checkpoint does not cover this entry")
    text = raw if isinstance(raw, str) else raw.decode("utf-8")
    return Receipt(text, parts.index, entry, opening, signed)
