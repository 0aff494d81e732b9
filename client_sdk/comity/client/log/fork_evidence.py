"""Evidence of two histories of one log, written to a file that a person can pass on (LOG-17)."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path

from comity.encoding import hash_id
from comity.errors import Fork
from comity.transparency.checkpoints import SignedCheckpoint
from comity.transparency.notes import VerifierKey

FORKED = "has shown two histories"
"""Part of the claim of every fork."""
_TEXT = """\
The log {origin} has shown two histories
{line}

Both checkpoints below are signed by the log's key. One log has one history: every
checkpoint that it signs must continue every other one. These two do not:
{what}.

The key of the log, as this wallet first met it:
{vkey}

A checkpoint is a signed note (https://c2sp.org/tlog-checkpoint): the first line is the
name of the log, the second the number of its entries, the third the root over them.
Anybody can check the signatures under that key. {how}

Please hand this file to somebody who watches the log, or publish it. Nothing in it is
secret: it says nothing about you or your connections.

"""
_SAME = "Two signatures over one number of entries and two\nroots are all the proof that is needed."
_PROVED = (
    "The hashes at the end prove (RFC 6962,\nsection 2.1.2) that the first {size} entries of the larger tree have\n"
    "the root {root}: another one than was signed."
)
_UNPROVED = "The log was asked for the\nproof that the larger tree continues the smaller one, and gave none that holds."


def write_evidence(
    wallet: Path,
    claim_detail: str,
    key: VerifierKey,
    known: SignedCheckpoint,
    shown: SignedCheckpoint,
    proof: Sequence[bytes] = (),
    begins: bytes | None = None,
) -> Fork:
    """Writes the evidence to a file beside the wallet's (`fork-….txt`, readable by its owner alone), and returns the
    contradiction.

    `known` is the checkpoint that this wallet had seen, `shown` the one it sees now. `begins` is the root that the
    larger tree has for the smaller size, which `proof` shows. Where the file cannot be written the error says so, and
    still holds all evidence.
    """
    old, new = sorted((known, shown), key=lambda it: it.size)
    lines = tuple(base64.b64encode(it).decode("ascii") for it in proof)
    if old.size == new.size:
        how = _SAME
    elif begins is None:
        how = _UNPROVED
    else:
        how = _PROVED.format(size=old.size, root=base64.b64encode(begins).decode("ascii"))
    line = "=" * (len(old.origin) + 31)
    text = _TEXT.format(origin=old.origin, line=line, what=claim_detail, vkey=key.text, how=how)
    for name, signed in (("smaller" if old.size < new.size else "first", old), ("other", new)):
        text += f"--- the {name} checkpoint, {signed.size} entries ---\n{signed.raw}--- its end ---\n\n"
    if lines:
        text += f"--- the proof, from {old.size} to {new.size} entries ---\n" + "\n".join(lines) + "\n--- its end ---\n"
    # One file for the known checkpoint, however often the log continues its other history, and another with a proof.
    name = hash_id(f"{known.checkpoint.text}{old.size == new.size or bool(lines)}".encode())[:12]
    path = wallet.with_name(f"fork-{name}.txt")
    where, file = _write_file(path, text)
    claim = f"the log {old.origin} {FORKED}: {claim_detail}; {where}"
    return Fork(claim, (old.raw, new.raw), lines, file)


def _write_file(path: Path, text: str) -> tuple[str, str | None]:
    try:
        # Never follow a link, and never overwrite a file.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return f"both signed texts, as they came the first time, are in {path}", str(path)
    except OSError as error:
        return f"both signed texts are in the wallet, and could not be written to {path}: {error.strerror}", None
    try:
        with os.fdopen(file, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        return f"both signed texts are in the wallet, and could not be written to {path}: {error.strerror}", None
    return f"both signed texts are in {path}", str(path)
