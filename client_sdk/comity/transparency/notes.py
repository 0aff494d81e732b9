"""Signed notes: a text and its signature lines (C2SP signed-note, tlog-cosignature; spec/log.md, LOG-4).

Two kinds of Ed25519 signatures are known: a log's over the text (0x01), and a witness's cosignature over a header, a
time and the text (0x04). All keys are `PublicKey`, so libsodium alone decides (KEY-1, KEY-2).
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

from comity.crypto.keys import PublicKey, SigningKey
from comity.errors import Malformed, Refused

ED25519 = 0x01
COSIGNATURE = 0x04
MOST_NOTE = 128 * 1024
"""The most bytes of a note: enough for sixteen signatures of the longest kind."""
MOST_SIGNATURES = 64
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f\ud800-\udfff]{1,255}\Z")
_LINE = re.compile(r"— ([^\s+\x00-\x1f\x7f]+) (\S+)\Z")


class VerifierKey(NamedTuple):
    """A public key and its name in notes (a "vkey")."""

    name: str
    kind: int
    key: PublicKey

    @property
    def id(self) -> bytes:
        """The four bytes at the start of its signatures."""
        prefix = self.name.encode("utf-8") + b"\n" + bytes([self.kind])
        return hashlib.sha256(prefix + self.key.raw).digest()[:4]

    @property
    def text(self) -> str:
        """The text form of the vkey."""
        material = base64.b64encode(bytes([self.kind]) + self.key.raw).decode("ascii")
        return f"{self.name}+{self.id.hex()}+{material}"


def parse_vkey(text: str) -> VerifierKey:
    """Parses a vkey. Raises Malformed, also for an unknown kind."""
    name, _, rest = text.partition("+")
    id_, _, material = rest.partition("+")
    raw = decode_base64(material)
    if not _NAME.match(name) or len(raw) != 33 or raw[0] not in (ED25519, COSIGNATURE):
        raise Malformed("not a verifier key of a known kind")
    key = VerifierKey(name, raw[0], PublicKey.admit(raw[1:]))
    if key.id.hex() != id_:
        raise Malformed("the id in the verifier key belongs to another key")
    return key


class NoteSigner(NamedTuple):
    """A private key and its name in notes."""

    name: str
    kind: int
    key: SigningKey

    @property
    def verifier(self) -> VerifierKey:
        """Its public key."""
        return VerifierKey(self.name, self.kind, self.key.public)


class Signature(NamedTuple):
    """A valid signature: its key, and the time (seconds since the epoch) of a cosignature."""

    key: VerifierKey
    time: int | None


class SignedNote(NamedTuple):
    """A note with at least one valid signature of a known key and no invalid one. Only `open_note` makes one."""

    raw: str
    text: str
    signatures: tuple[Signature, ...]


def sign_note(text: str, signer: NoteSigner, time: int = 0) -> str:
    """Signs a text as a note; `time` (s) is for a cosignature."""
    return f"{text}\n{signature_line(text, signer, time)}"


def signature_line(text: str, signer: NoteSigner, time: int = 0) -> str:
    """One signature line for the text; `time` (s) is for a cosignature."""
    if signer.kind == COSIGNATURE:
        blob = time.to_bytes(8, "big") + signer.key.sign(_cosigned_text(text, time))
    else:
        blob = signer.key.sign(text.encode("utf-8"))
    return f"— {signer.name} {base64.b64encode(signer.verifier.id + blob).decode('ascii')}\n"


def _cosigned_text(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def split_note(raw: str | bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """Splits a note into (text, (name, signature) of each line) and verifies nothing. Raises Malformed,
    Refused("too_large")."""
    try:
        note = raw if isinstance(raw, str) else raw.decode("utf-8")
        length = len(note.encode("utf-8"))
    except UnicodeError:
        raise Malformed("a note is UTF-8") from None
    if length > MOST_NOTE:
        raise Refused("too_large", f"at most {MOST_NOTE} bytes")
    text, blank, signed = note.rpartition("\n\n")
    if not blank or not signed.endswith("\n") or re.search(r"[\x00-\x09\x0b-\x1f]", note):
        raise Malformed("not a signed note")
    return f"{text}\n", split_lines(signed)


def split_lines(signed: str) -> list[tuple[str, bytes]]:
    """(name, signature) of each signature line. Raises Malformed."""
    lines = signed.removesuffix("\n").split("\n")
    if len(lines) > MOST_SIGNATURES:
        raise Malformed("too many signatures on one note")
    signatures: list[tuple[str, bytes]] = []
    for line in lines:
        parts = _LINE.match(line)
        if parts is None:
            raise Malformed("not a signature line")
        blob = decode_base64(parts[2])
        if len(blob) < 5:
            raise Malformed("a signature is too short")
        signatures.append((parts[1], blob))
    return signatures


def open_note(raw: str | bytes, keys: Iterable[VerifierKey]) -> SignedNote:
    """Verifies a note: a known key signed it, and no known key's signature is invalid (LOG-4).

    Lines of unknown keys are ignored. Raises Malformed, Refused("too_large"), Refused("bad_signature") if a known key's
    signature is invalid, Refused("unknown_key") if there is none.
    """
    text, lines = split_note(raw)
    signatures = check_lines(text, lines, keys)
    if not signatures:
        raise Refused("unknown_key", "no known key signed this note")
    return SignedNote(raw if isinstance(raw, str) else raw.decode("utf-8"), text, signatures)


def check_lines(text: str, lines: Iterable[tuple[str, bytes]], keys: Iterable[VerifierKey]) -> tuple[Signature, ...]:
    """The valid signatures of known keys, one for each key. Raises Refused("bad_signature") for an invalid one."""
    keys_by_id = {(key.name, key.id): key for key in keys}
    valid: dict[VerifierKey, Signature] = {}
    for name, blob in lines:
        key = keys_by_id.get((name, blob[:4]))
        if key is not None:
            valid.setdefault(key, _verify_signature(text, key, blob[4:]))
    return tuple(valid.values())


def _verify_signature(text: str, key: VerifierKey, blob: bytes) -> Signature:
    time: int | None = None
    if key.kind == ED25519:
        holds = key.key.verify(text.encode("utf-8"), blob)
    else:
        time = int.from_bytes(blob[:8], "big")
        holds = time < 2**63 and key.key.verify(_cosigned_text(text, time), blob[8:])
    if not holds:
        raise Refused("bad_signature")
    return Signature(key, time)


def decode_base64(text: str) -> bytes:
    """The bytes of padded base64 (RFC 4648 section 4) in its canonical spelling. Raises Malformed."""
    try:
        raw = binascii.a2b_base64(text)
    except ValueError:
        raise Malformed("not base64") from None
    if base64.b64encode(raw).decode("ascii") != text:
        raise Malformed("not canonical base64")
    return raw
