"""Signed notes: a text and the lines of those who signed it (C2SP signed-note, tlog-cosignature; spec/log.md, LOG-4).

Two kinds of Ed25519 signature are known: that of a log over the text (0x01), and a witness's cosignature over a header,
a time and the text (0x04). All keys go through `PublicKey`, so libsodium's verdict is the only one (KEY-1, KEY-2).
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
"""Bytes of a note: sixteen signatures of the longest kind fit in."""
MOST_SIGNATURES = 64
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f\ud800-\udfff]{1,255}\Z")
_LINE = re.compile(r"— ([^\s+\x00-\x1f\x7f]+) (\S+)\Z")


class VerifierKey(NamedTuple):
    """A public key under the name that signs notes with it (a "vkey")."""

    name: str
    kind: int
    key: PublicKey

    @property
    def id(self) -> bytes:
        """The four bytes that begin its signatures."""
        prefix = self.name.encode("utf-8") + b"\n" + bytes([self.kind])
        return hashlib.sha256(prefix + self.key.raw).digest()[:4]

    @property
    def text(self) -> str:
        """The vkey, as it is handed on."""
        material = base64.b64encode(bytes([self.kind]) + self.key.raw).decode("ascii")
        return f"{self.name}+{self.id.hex()}+{material}"


def read_vkey(text: str) -> VerifierKey:
    """The key in a vkey. Raises Malformed, for kinds that are not known here too."""
    name, _, rest = text.partition("+")
    id_, _, material = rest.partition("+")
    raw = decode_base64(material)
    if not _NAME.match(name) or len(raw) != 33 or raw[0] not in (ED25519, COSIGNATURE):
        raise Malformed("not a verifier key of a kind known here")
    key = VerifierKey(name, raw[0], PublicKey.admit(raw[1:]))
    if key.id.hex() != id_:
        raise Malformed("the id in the verifier key is another key's")
    return key


class NoteSigner(NamedTuple):
    """A private key under the name that signs notes with it."""

    name: str
    kind: int
    key: SigningKey

    @property
    def verifier(self) -> VerifierKey:
        """Its public half."""
        return VerifierKey(self.name, self.kind, self.key.public)


class Signature(NamedTuple):
    """One that held: whose, and for a cosignature when (seconds since the epoch)."""

    key: VerifierKey
    time: int | None


class SignedNote(NamedTuple):
    """A note of which at least one known key's signature held, and none failed. Only `open_note` makes one."""

    raw: str
    text: str
    signatures: tuple[Signature, ...]


def seal_note(text: str, signer: NoteSigner, time: int = 0) -> str:
    """The text with the signer's line below; `time` (s) is for a cosignature."""
    return f"{text}\n{signature_line(text, signer, time)}"


def signature_line(text: str, signer: NoteSigner, time: int = 0) -> str:
    """One line that signs the text; `time` (s) is for a cosignature."""
    if signer.kind == COSIGNATURE:
        blob = time.to_bytes(8, "big") + signer.key.sign(_cosigned(text, time))
    else:
        blob = signer.key.sign(text.encode("utf-8"))
    return f"— {signer.name} {base64.b64encode(signer.verifier.id + blob).decode('ascii')}\n"


def _cosigned(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def split_note(raw: str | bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """(text, (name, signature) of each line), nothing believed yet. Raises Malformed, Refused("too_large")."""
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
    found: list[tuple[str, bytes]] = []
    for line in lines:
        parts = _LINE.match(line)
        if parts is None:
            raise Malformed("not a signature line")
        blob = decode_base64(parts[2])
        if len(blob) < 5:
            raise Malformed("a signature is too short")
        found.append((parts[1], blob))
    return found


def open_note(raw: str | bytes, keys: Iterable[VerifierKey]) -> SignedNote:
    """The note, if a known key signed it and no known key's signature fails (LOG-4).

    Lines of unknown keys are passed over. Raises Malformed, Refused("too_large"), Refused("bad_signature") where a
    known key's line does not hold, Refused("unknown_key") where there is none.
    """
    text, lines = split_note(raw)
    held = check_lines(text, lines, keys)
    if not held:
        raise Refused("unknown_key", "no known key signed this note")
    return SignedNote(raw if isinstance(raw, str) else raw.decode("utf-8"), text, held)


def check_lines(text: str, lines: Iterable[tuple[str, bytes]], keys: Iterable[VerifierKey]) -> tuple[Signature, ...]:
    """The signatures of known keys, each key once. Raises Refused("bad_signature") where one fails."""
    known = {(key.name, key.id): key for key in keys}
    held: dict[VerifierKey, Signature] = {}
    for name, blob in lines:
        key = known.get((name, blob[:4]))
        if key is not None:
            held.setdefault(key, _checked(text, key, blob[4:]))
    return tuple(held.values())


def _checked(text: str, key: VerifierKey, blob: bytes) -> Signature:
    time: int | None = None
    if key.kind == ED25519:
        holds = key.key.verify(text.encode("utf-8"), blob)
    else:
        time = int.from_bytes(blob[:8], "big")
        holds = time < 2**63 and key.key.verify(_cosigned(text, time), blob[8:])
    if not holds:
        raise Refused("bad_signature")
    return Signature(key, time)


def decode_base64(text: str) -> bytes:
    """The bytes of padded base64 (RFC 4648 section 4) in its one spelling. Raises Malformed."""
    try:
        raw = binascii.a2b_base64(text)
    except ValueError:
        raise Malformed("not base64") from None
    if base64.b64encode(raw).decode("ascii") != text:
        raise Malformed("not canonical base64")
    return raw
