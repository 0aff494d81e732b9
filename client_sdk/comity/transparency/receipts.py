"""Receipts: the proof that an act is in a log, which anybody can verify offline (C2SP tlog-proof; spec/log.md, section
"Receipts")."""

import struct
from binascii import b2a_base64
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from comity.errors import Malformed, Refused
from comity.transparency.checkpoints import NO_WITNESSES, Policy, SignedCheckpoint, is_witnessed, open_checkpoint
from comity.transparency.entries import LENGTH, SALT, LogEntry, commitment, parse_entry
from comity.transparency.merkle import LONGEST_PROOF, check_inclusion, leaf_hash
from comity.transparency.notes import MOST_NOTE, VerifierKey, decode_base64
from comity.transparency.tiles import parse_size

FIRST_LINE = "c2sp.org/tlog-proof@v1"
_EXTRA = struct.Struct(f">{LENGTH}s{SALT}sQ")
MOST_EXTRA = 64 * 1024
MOST_RECEIPT = MOST_NOTE + 2 * MOST_EXTRA


@lru_cache(maxsize=4096)
def _base64(data: bytes) -> str:
    """A line of base64. Cached, since the receipts of one checkpoint share most hashes."""
    return b2a_base64(data).decode("ascii")


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A parsed proof. Nothing is verified."""

    extra: bytes
    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    @property
    def text(self) -> str:
        """The proof as the text of a `.tlog-proof` file."""
        return _text(self.extra, self.index, self.hashes, self.checkpoint)


def _text(extra: bytes, index: int, hashes: Iterable[bytes], checkpoint: str) -> str:
    opening = f"extra {b2a_base64(extra).decode('ascii')}" if extra else ""
    return f"{FIRST_LINE}\n{opening}index {index}\n{''.join(map(_base64, hashes))}\n{checkpoint}"


def parse_proof(raw: str | bytes) -> TlogProof:
    """Parses a tlog-proof and verifies nothing. Raises Malformed, Refused("too_large")."""
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
            raise Malformed("an empty extra line must be left out")
    if not lines or not lines[0].startswith("index "):
        raise Malformed("a tlog-proof must have an index line")
    index = parse_size(lines.pop(0).removeprefix("index "))
    hashes = tuple(decode_base64(line) for line in lines)
    if len(hashes) > LONGEST_PROOF or any(len(hash_) != 32 for hash_ in hashes):
        raise Malformed("the proof has invalid hashes")
    return TlogProof(extra, index, hashes, checkpoint)


class Opening(NamedTuple):
    """The values that open an entry's commitment: the entry, its salt, and the committed time (ms)."""

    entry: bytes
    salt: bytes
    at: int

    def to_bytes(self) -> bytes:
        """The bytes of a receipt's `extra` line."""
        return _EXTRA.pack(self.entry, self.salt, self.at)


def parse_opening(extra: bytes) -> Opening:
    """Parses the `extra` of a receipt. Raises Malformed."""
    if len(extra) != _EXTRA.size:
        raise Malformed("a receipt must contain entry, salt and time")
    return Opening(*_EXTRA.unpack(extra))


@dataclass(frozen=True, slots=True)
class Receipt:
    """A valid receipt: the entry is number `index` of the log of the checkpoint. Only `open_receipt` makes one."""

    raw: str
    index: int
    entry: LogEntry
    opening: Opening
    checkpoint: SignedCheckpoint

    def is_of(self, data: bytes) -> bool:
        """True if the commitment is about these bytes: the compact JWS of an act, or a key statement (LOG-8)."""
        return commitment(self.opening.salt, self.opening.at, data) == self.entry.commitment


def receipt_text(opening: Opening, index: int, hashes: list[bytes], checkpoint: SignedCheckpoint) -> str:
    """The text of a receipt."""
    return _text(opening.to_bytes(), index, hashes, checkpoint.raw)


def open_receipt(raw: str | bytes, log: VerifierKey, policy: Policy = NO_WITNESSES) -> Receipt:
    """Verifies a receipt: the log's checkpoint is valid, enough of the policy's witnesses cosigned it, and it includes
    the entry (LOG-11).

    Raises Malformed, Refused("too_large" | "bad_signature" | "unknown_key" | "proof_failed" | "too_few_witnesses").
    """
    parts = parse_proof(raw)
    opening = parse_opening(parts.extra)
    entry = parse_entry(opening.entry)
    signed = open_checkpoint(parts.checkpoint, log, policy.witnesses)
    if not is_witnessed(signed, policy):
        raise Refused("too_few_witnesses")
    if not check_inclusion(leaf_hash(opening.entry), parts.index, signed.size, parts.hashes, signed.root):
        raise Refused("proof_failed", "the checkpoint does not include this entry")
    text = raw if isinstance(raw, str) else raw.decode("utf-8")
    return Receipt(text, parts.index, entry, opening, signed)
