"""The request of a log to a witness: the size that the witness cosigned before, the consistency proof from there, and
the checkpoint (C2SP tlog-witness, add-checkpoint). A log seals it, a witness opens it."""

import base64
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from comity.errors import Malformed
from comity.transparency.merkle import LONGEST_PROOF
from comity.transparency.notes import MOST_NOTE, decode_base64
from comity.transparency.tiles import HASH, parse_size

PATH = "/add-checkpoint"
"""The path of the request, below the witness's submission prefix."""
SIZE_TYPE = "text/x.tlog.size"
"""The media type of the answer that says another old size is right."""
MOST_BODY = MOST_NOTE + 4096
"""Bytes of a submission: a note, and 64 lines of at most 45 characters before it."""


class Submission(NamedTuple):
    """A submission, nothing believed yet. `note` is the signed checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes


def seal_submission(old: int, proof: Sequence[bytes], note: str) -> bytes:
    """The body of the request."""
    lines = [f"old {old}", *(base64.b64encode(it).decode("ascii") for it in proof), ""]
    return ("\n".join(lines) + "\n" + note).encode("utf-8")


def open_submission(body: bytes) -> Submission:
    """The submission in a request body. Raises Malformed."""
    # The first empty line ends the proof; the note may have others.
    head, blank, note = body.partition(b"\n\n")
    if not blank or not head.isascii():
        raise Malformed("not an old size, a proof, an empty line and a checkpoint")
    first, *proof = head.decode("ascii").split("\n")
    if not first.startswith("old "):
        raise Malformed("the first line is not the old size")
    if len(proof) > LONGEST_PROOF:
        raise Malformed(f"a proof has at most {LONGEST_PROOF} lines")
    hashes = tuple(decode_base64(line) for line in proof)
    if any(len(digest) != HASH for digest in hashes):
        raise Malformed("a line of the proof is not a hash")
    return Submission(parse_size(first[4:]), hashes, note)


def origin_hash(origin: str) -> str:
    """The SHA-256 of an origin, in hexadecimal: its name in the path below which its checkpoint is read."""
    return hashlib.sha256(origin.encode("utf-8")).hexdigest()
