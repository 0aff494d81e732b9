"""Vectors of Ed25519 at its edges: where implementations disagree, these verdicts hold (KEY-1, KEY-2)."""

import hashlib
from pathlib import Path
from typing import Any

from comity.errors import Malformed
from comity.crypto.keys import PublicKey, SigningKey
from nacl import bindings

ORDER = 2**252 + 27742317777372353535851937790883648493
NEUTRAL = b"\1" + bytes(31)
ORDER_8 = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")


def mixed(key: SigningKey) -> bytes:
    """A point of mixed order: a key's, and one of order eight added."""
    return bindings.crypto_core_ed25519_add(key.public.raw, ORDER_8)


def with_neutral_r(key: SigningKey, message: bytes) -> bytes:
    """A signature whose R is the neutral element; its equation holds, and libsodium refuses it."""
    wide = bytearray(hashlib.sha512(key.seed).digest()[:32])
    wide[0], wide[31] = wide[0] & 248, wide[31] & 127 | 64
    hashed = hashlib.sha512(NEUTRAL + key.public.raw + message).digest()
    s = int.from_bytes(hashed, "little") * int.from_bytes(wide, "little") % ORDER
    return NEUTRAL + s.to_bytes(32, "little")


def ed25519() -> dict[str, Any]:
    """Points, scalars and messages, and which signatures hold. Each case is [A, R, S, message]: the numbers of the key and
    of both halves of the signature, and the message. `admitted` are the keys that are keys of a
    party at all (KEY-1), `holds` the numbers of the cases in which an admitted key's signature holds; no other does.
    Points, scalars and messages are those of C2SP/CCTV (ed25519_cctv.LICENSE); the verdicts are ours."""
    lines = (Path(__file__).parent / "ed25519_cctv.txt").read_text(encoding="utf-8").splitlines()
    lists: dict[str, list[str]] = {"A": [], "R": [], "S": []}
    cases: list[list[Any]] = []
    for line in lines:
        name, _, rest = line.partition(" ")
        if name in lists:
            lists[name].append(rest)
        elif name != "#":
            *numbers, word = line.split(" ")
            cases.append([*map(int, numbers), "ed25519vectors" if word == "-" else f"ed25519vectors {word}"])
    admitted = [number for number, raw in enumerate(lists["A"]) if _admits(raw)]
    holds = [
        number
        for number, (a, r, s, message) in enumerate(cases)
        if a in admitted
        and PublicKey.admit(bytes.fromhex(lists["A"][a])).verify(
            message.encode(), bytes.fromhex(lists["R"][r] + lists["S"][s])
        )
    ]
    return {**lists, "cases": cases, "admitted": admitted, "holds": holds}


def _admits(raw: str) -> bool:
    try:
        PublicKey.admit(bytes.fromhex(raw))
    except Malformed:
        return False
    return True
