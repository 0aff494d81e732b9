"""Checkpoints: a log's signed statements of its size and root (C2SP tlog-checkpoint, tlog-cosignature; spec/log.md,
LOG-5)."""

import base64
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from comity.errors import Malformed, Refused
from comity.transparency.merkle import EMPTY_ROOT
from comity.transparency.notes import (
    COSIGNATURE,
    ED25519,
    NoteSigner,
    VerifierKey,
    check_lines,
    decode_base64,
    open_note,
    sign_note,
    split_lines,
)
from comity.transparency.tiles import parse_size

MOST_TEXT = 4096
"""The most characters of the signed text."""


class Checkpoint(NamedTuple):
    """The head of a log: its name, its number of entries, and their root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text to sign."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint with its log's signature. `cosigned` maps the key of each known witness to the time (s) of its
    cosignature. Only `open_checkpoint` and `sign_checkpoint` make one."""

    raw: str
    checkpoint: Checkpoint
    cosigned: dict[VerifierKey, int]

    @property
    def cosignatures(self) -> dict[str, int]:
        """The times of the cosignatures by name, for people and for a server whose witnesses have distinct names."""
        return {key.name: time for key, time in self.cosigned.items()}

    @property
    def size(self) -> int:
        """The number of entries."""
        return self.checkpoint.size

    @property
    def root(self) -> bytes:
        """The root over the entries."""
        return self.checkpoint.root

    @property
    def origin(self) -> str:
        """The name of the log."""
        return self.checkpoint.origin

    @property
    def text(self) -> str:
        """The signed text with any extension lines, without the signatures."""
        return self.raw.rpartition("\n\n")[0] + "\n"


class Policy(NamedTuple):
    """The witnesses that count, and the least number of them that must have cosigned."""

    least: int = 0
    witnesses: tuple[VerifierKey, ...] = ()


NO_WITNESSES = Policy()
"""The log's own signature suffices."""


def parse_checkpoint(text: str) -> Checkpoint:
    """Parses a note's text as a checkpoint. Extension lines are allowed and ignored. Raises Malformed."""
    lines = text.split("\n")
    # Every line ends with a line feed, so the part after the last one is empty.
    if len(text) > MOST_TEXT or lines.pop() or len(lines) < 3 or not all(lines):
        raise Malformed("not a checkpoint")
    root = decode_base64(lines[2])
    checkpoint = Checkpoint(lines[0], parse_size(lines[1]), root)
    if len(root) != len(EMPTY_ROOT) or (checkpoint.size == 0 and root != EMPTY_ROOT):
        raise Malformed("not the root of a tree of that size")
    return checkpoint


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> SignedCheckpoint:
    """Signs a checkpoint as its log."""
    return SignedCheckpoint(sign_note(checkpoint.text, signer), checkpoint, {})


def open_checkpoint(raw: str | bytes, log: VerifierKey, witnesses: Collection[VerifierKey] = ()) -> SignedCheckpoint:
    """Verifies a checkpoint: the log signed it under its own name, and no known witness's signature is invalid.

    Raises Malformed (also for another log's checkpoint), Refused("too_large" | "bad_signature" | "unknown_key").
    """
    if log.kind != ED25519:
        raise Malformed("this is not the key of a log")
    note = open_note(raw, (log, *witnesses))
    if not any(signature.key == log for signature in note.signatures):
        raise Refused("unknown_key", "the log did not sign this checkpoint")
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != log.name:
        raise Malformed("this is the checkpoint of another log")
    return SignedCheckpoint(note.raw, checkpoint, _times(note.signatures))


def _times(signatures: Iterable[tuple[VerifierKey, int | None]]) -> dict[VerifierKey, int]:
    return {key: time for key, time in signatures if time is not None}


def with_cosignatures(signed: SignedCheckpoint, lines: str, witnesses: Collection[VerifierKey]) -> SignedCheckpoint:
    """The checkpoint with the valid cosignatures of a witness's answer; lines of unknown keys are left out
    (tlog-witness). Raises Malformed, Refused("bad_signature")."""
    witnesses_by_id = {(key.name, key.id): key for key in witnesses if key.kind == COSIGNATURE}
    text, raw, times = signed.text, signed.raw, dict(signed.cosigned)
    all_lines = lines.removesuffix("\n").split("\n")
    for line, (name, blob) in zip(all_lines, split_lines(lines), strict=True):
        key = witnesses_by_id.get((name, blob[:4]))
        if key is not None and key not in times:
            times |= _times(check_lines(text, [(name, blob)], [key]))
            raw += f"{line}\n"
    return SignedCheckpoint(raw, signed.checkpoint, times)


def is_witnessed(signed: SignedCheckpoint, policy: Policy) -> bool:
    """True if enough of the policy's witnesses cosigned."""
    return count_witnesses(signed.cosigned.keys() & set(policy.witnesses)) >= policy.least


def count_witnesses(keys: Iterable[VerifierKey]) -> int:
    """The least number of witnesses behind these keys. A cosignature does not cover its name, so one key with two names
    is one witness, and so is one name with two keys (LOG-15)."""
    groups: list[set[object]] = []
    for key in keys:
        parts: set[object] = {key.name, key.key}
        overlapping = [group for group in groups if parts & group]
        groups = [group for group in groups if not parts & group] + [parts.union(*overlapping)]
    return len(groups)
