"""Checkpoints: what a log says of itself, signed (C2SP tlog-checkpoint, tlog-cosignature; spec/log.md, LOG-5)."""

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
    seal_note,
    split_lines,
)
from comity.transparency.tiles import check_size

MOST_TEXT = 4096
"""Characters of the text that is signed."""


class Checkpoint(NamedTuple):
    """The head of a log: whose, how many entries, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that its log signed; `cosigned` are the times (s) at which known witnesses did, each by its key.
    Only `open_checkpoint` and `seal_checkpoint` make one."""

    raw: str
    checkpoint: Checkpoint
    cosigned: dict[VerifierKey, int]

    @property
    def cosignatures(self) -> dict[str, int]:
        """The times by name, for people and for a server whose witnesses all have names of their own."""
        return {key.name: time for key, time in self.cosigned.items()}

    @property
    def size(self) -> int:
        """How many entries."""
        return self.checkpoint.size

    @property
    def root(self) -> bytes:
        """The root over them."""
        return self.checkpoint.root

    @property
    def origin(self) -> str:
        """Whose."""
        return self.checkpoint.origin

    @property
    def text(self) -> str:
        """What was signed, with any extension lines, and without the signatures."""
        return self.raw.rpartition("\n\n")[0] + "\n"


class Policy(NamedTuple):
    """Which witnesses count, and how many of them must have cosigned."""

    least: int = 0
    witnesses: tuple[VerifierKey, ...] = ()


NO_WITNESSES = Policy()
"""The log's own signature is enough."""


def read_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in a note's text; extension lines are allowed and passed over. Raises Malformed."""
    lines = text.split("\n")
    # Each line has its end, so that nothing is behind the last one.
    if len(text) > MOST_TEXT or lines.pop() or len(lines) < 3 or not all(lines):
        raise Malformed("not a checkpoint")
    root = decode_base64(lines[2])
    found = Checkpoint(lines[0], check_size(lines[1]), root)
    if len(root) != len(EMPTY_ROOT) or (found.size == 0 and root != EMPTY_ROOT):
        raise Malformed("not the root of a tree of that size")
    return found


def seal_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> SignedCheckpoint:
    """The checkpoint, signed by its log."""
    return SignedCheckpoint(seal_note(checkpoint.text, signer), checkpoint, {})


def open_checkpoint(raw: str | bytes, log: VerifierKey, witnesses: Collection[VerifierKey] = ()) -> SignedCheckpoint:
    """The checkpoint, if that log signed it under its own name and no known witness's line fails.

    Raises Malformed (another log's checkpoint too), Refused("too_large" | "bad_signature" | "unknown_key").
    """
    if log.kind != ED25519:
        raise Malformed("a log signs with a key of its own kind")
    note = open_note(raw, (log, *witnesses))
    if not any(it.key == log for it in note.signatures):
        raise Refused("unknown_key", "the log did not sign this checkpoint")
    found = read_checkpoint(note.text)
    if found.origin != log.name:
        raise Malformed("a checkpoint of another log")
    return SignedCheckpoint(note.raw, found, _times(note.signatures))


def _times(signatures: Iterable[tuple[VerifierKey, int | None]]) -> dict[VerifierKey, int]:
    return {key: time for key, time in signatures if time is not None}


def with_cosignatures(signed: SignedCheckpoint, lines: str, witnesses: Collection[VerifierKey]) -> SignedCheckpoint:
    """The checkpoint with those of a witness's answer lines that hold; lines of unknown keys are left out
    (tlog-witness). Raises Malformed, Refused("bad_signature")."""
    known = {(key.name, key.id): key for key in witnesses if key.kind == COSIGNATURE}
    text, raw, times = signed.text, signed.raw, dict(signed.cosigned)
    whole = lines.removesuffix("\n").split("\n")
    for line, (name, blob) in zip(whole, split_lines(lines), strict=True):
        key = known.get((name, blob[:4]))
        if key is not None and key not in times:
            times |= _times(check_lines(text, [(name, blob)], [key]))
            raw += f"{line}\n"
    return SignedCheckpoint(raw, signed.checkpoint, times)


def is_witnessed(signed: SignedCheckpoint, policy: Policy) -> bool:
    """Whether enough of the policy's witnesses cosigned."""
    return witnesses_in(signed.cosigned.keys() & set(policy.witnesses)) >= policy.least


def witnesses_in(keys: Iterable[VerifierKey]) -> int:
    """How many witnesses these keys are at least: a cosignature does not cover its name, so one key under two names is
    one witness, as one name with two keys is (LOG-15)."""
    groups: list[set[object]] = []
    for key in keys:
        one: set[object] = {key.name, key.key}
        same = [group for group in groups if one & group]
        groups = [group for group in groups if not one & group] + [one.union(*same)]
    return len(groups)
