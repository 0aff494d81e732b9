"""Vectors of a log at its borders: numbers, paths, tiles, proofs that do not hold, notes, who witnessed what, receipts."""

from base64 import b64encode
from hashlib import sha256
from typing import Any

from comity.transparency.checkpoints import (
    Checkpoint,
    Policy,
    is_witnessed,
    open_checkpoint,
    sign_checkpoint,
    with_cosignatures,
)
from comity.crypto.keys import SigningKey
from acts import members_of
from comity.documents.acts import open_act, typ_of
from comity.transparency.entries import entry_of_act, entry_of_notice, kind_of, named_mute, tag_key
from comity.transparency.merkle import leaf_hash, node_hash, prove_consistency, prove_inclusion, root_of_hashes
from comity.transparency.notes import COSIGNATURE, ED25519, NoteSigner, VerifierKey, sign_note, signature_line
from comity.transparency.receipts import Opening, TlogProof, open_receipt, parse_proof, receipt_text
from comity.transparency.tiles import Tile, tiles_of, width_at
from logs import HOME, KEYS, NOW, OTHER, SECRET, WITNESSES, _acts, _hashes, _node, _root
from comity.rules.state import Mute
from notices import notices
from story import LOG, MIA, SHOP, START, case, code_of, forge, key, keys_of, words

SIZE = 600


def log_edges() -> dict[str, Any]:
    """As in log.json: entry number i is the text "entry i", hashes and bytes are hexadecimal, times of cosignatures are
    seconds. `times` repeats a text, `more` is added to it so often."""
    return {
        "log": HOME.verifier.text,
        "decimals": [{"text": str(number), "number": number} for number in (0, 1, 10, 1234567, 2**53 - 1)],
        "bad_decimals": [case(ascii(text), "malformed", text=text) for text in _bad_decimals()],
        "paths": [{**it._asdict(), "path": it.path} for it in _paths()],
        "bad_paths": [case(ascii(path), "malformed", path=path) for path in _bad_paths()],
        "tiles": [
            {**tile._asdict(), "bytes": len(data := _tile(tile)), "sha256": sha256(data).hexdigest()}
            for tile in tiles_of(SIZE)
        ],
        "widths": [
            {"level": level, "number": number, "size": size, "width": width_at(level, number, size)}
            for level, number, size in ((-1, 2, 600), (-1, 3, 600), (0, 1, 600), (0, 2, 600), (0, 9, 600), (1, 0, 600), (1, 1, 600), (1, 0, 2**16), (2, 0, 2**16), (0, 0, 0))
        ],
        "bad_tiles": [case(f"{size} bytes for 3 hashes", "malformed", width=3, bytes=size) for size in (0, 64, 95, 97, 128)],
        "bundles": [{"entries": ["", "00" * 300, "ff"], "bundle": "0000" + "012c" + "00" * 300 + "0001ff"}],
        "bad_bundles": [case(name, "malformed", width=width, bundle=it) for name, (width, it) in _bad_bundles().items()],
        "inclusion": [
            {"index": index, "size": size, "proof": _hex(prove_inclusion(index, size, _node))}
            for size in (5, 6, 11, 13, 21)
            for index in range(size)
        ],
        "consistency": [
            {"old": old, "new": new, "proof": _hex(prove_consistency(old, new, _node))}
            for new in (5, 6, 11, 12, 13, 14, 22, 24)
            for old in range(1, new)
        ],
        "bad_ranges": [
            *({"index": index, "size": size} for index, size in ((-1, 7), (7, 7), (8, 7), (0, 0))),
            *({"old": old, "size": size} for old, size in ((-1, 7), (8, 7))),
        ],
        "bad_inclusion": _bad_inclusion(),
        "bad_consistency": _bad_consistency(),
        "vkeys": [_named("a" * 255, ED25519), _named("ä/~", COSIGNATURE)],
        "bad_vkeys": [case(name, "malformed", vkey=text) for name, text in _bad_vkeys().items()],
        "known": [it.text for it in (HOME.verifier, *KEYS)],
        "notes": _notes(),
        "bad_notes": _bad_notes(),
        "checkpoints": _checkpoints(),
        "bad_checkpoints": _bad_checkpoints(),
        "bad_texts": [case(name, "malformed", text=text) for name, text in _bad_texts().items()],
        "cosigned": _cosigned(),
        "witnessed": _witnessed(),
        **_receipts(),
        "keys": keys_of(SHOP),
        "parts": _parts(),
        "notices": _notice_entries(),
    }


# --- numbers, paths, files


def _bad_decimals() -> list[str]:
    long = "1" * 17
    return ["1" * 5000, "", "00", "01", "-1", "+1", "1 ", " 1", "1\n", "0x1", "1.0", "1e3", "\u0661", "\u00b2", long, str(2**53), "1_0"]


def _paths() -> list[Tile]:
    return [Tile(0, 255, 255), Tile(9, 999), Tile(10, 0, 10), Tile(63, 10**18 - 1), Tile(-1, 999_999, 1), Tile(0, 0, 100)]


def _bad_paths() -> list[str]:
    return [
        "", "tile/0/000.p/", "tile/0/000.p/1000", "tile/0/000.p/1\n", "tile/0/000\n", "tile/00/000", "tile/100/000",
        "tile/entries/000.p/0", "tile/Entries/000", "tiles/0/000", "tile/0/00", "tile/0/0000", "tile/0/x00/000",
        "tile/0/x0000/000", "tile/0/000/000", "tile/0/" + "x001/" * 6 + "000", "tile/0/x001/x000", "tile/0/000.p/255/",
        "tile/0/000p/1", "tile/0/000.q/1", "xtile/0/000", "tile//000", "tile/-1/000", "tile/0/\uff10\uff10\uff10",
    ]  # fmt: skip


def _tile(tile: Tile) -> bytes:
    first = tile.number * 256
    return b"".join(_node(8 * tile.level, first + at) for at in range(tile.width))


def _bad_bundles() -> dict[str, tuple[int, str]]:
    return {
        "half a length": (2, "0001ff00"),
        "a length and no entry": (2, "0001ff0001"),
        "half an entry": (1, "0002ff"),
        "one more entry": (1, "0001ff0000"),
        "half a length more": (1, "0001ff00"),
        "one entry less": (3, "0001ff0000"),
    }


# --- proofs that do not hold


def _hex(hashes: list[bytes]) -> list[str]:
    return [it.hex() for it in hashes]


def _bad_inclusion() -> list[dict[str, Any]]:
    """`entry` is the number of the entry whose hash is asked about, `root` the size of the tree whose root it is."""
    proof = prove_inclusion(5, 7, _node)
    last = prove_inclusion(6, 7, _node)
    given: list[tuple[str, int, int, int, list[bytes], int]] = [
        ("another index", 5, 4, 7, proof, 7),
        ("another entry", 4, 5, 7, proof, 7),
        ("another size", 5, 5, 9, proof, 7),
        ("another root", 5, 5, 7, proof, 8),
        ("one hash less", 5, 5, 7, proof[:-1], 7),
        ("one hash more", 5, 5, 7, [*proof, proof[0]], 7),
        ("the first hash twice", 5, 5, 7, [proof[0], *proof], 7),
        ("in another order", 5, 5, 7, proof[::-1], 7),
        ("an index below 0", 5, -1, 7, proof, 7),
        ("the second of one", 0, 1, 1, [], 1),
        ("the fourth of one", 0, 3, 1, [], 1),
        ("an index of the size", 6, 7, 7, last, 7),
        ("an index beyond the size", 6, 8, 7, last, 7),
        ("the last of seven as of eight", 6, 6, 8, last, 7),
        ("of nothing", 0, 0, 0, [], 0),
        ("a proof where none is needed", 0, 0, 1, [_hashes()[1]], 1),
        ("no proof where one is needed", 0, 0, 2, [], 2),
        ("64 hashes", 5, 5, 7, [proof[0]] * 64, 7),
    ]
    rows = [
        {"name": name, "entry": entry, "index": index, "size": size, "proof": _hex(it), "root": _root(root).hex()}
        for name, entry, index, size, it, root in given
    ]
    above = node_hash(_hashes()[1], _hashes()[0]).hex()
    rows.append({"name": "a hash above the root", "entry": 0, "index": 0, "size": 1, "proof": _hex([_hashes()[1]]), "root": above})
    return rows


def _bad_consistency() -> list[dict[str, Any]]:
    """`old_root` and `new_root` are the sizes of the trees whose roots they are."""
    proof, power = prove_consistency(3, 7, _node), prove_consistency(4, 7, _node)
    given: list[tuple[str, int, int, list[bytes], int, int]] = [
        ("another old size", 2, 7, proof, 3, 7),
        ("another new size", 3, 17, proof, 3, 7),
        ("another old root", 3, 7, proof, 2, 7),
        ("another new root", 3, 7, proof, 3, 8),
        ("one hash less", 3, 7, proof[:-1], 3, 7),
        ("one hash more", 3, 7, [*proof, proof[0]], 3, 7),
        ("in another order", 3, 7, proof[::-1], 3, 7),
        ("no proof", 3, 7, [], 3, 7),
        ("no proof, of a whole subtree", 4, 7, [], 4, 7),
        ("a whole subtree: another old root", 4, 7, power, 3, 7),
        ("a whole subtree: another new root", 4, 7, power, 4, 6),
        ("a whole subtree: one hash more", 4, 7, [*power, power[0]], 4, 7),
        ("a tree that shrinks", 7, 3, proof, 7, 3),
        ("a tree that shrinks, of one root", 2, 1, [], 2, 2),
        ("a size below 0", -1, 7, proof, 3, 7),
        ("of nothing: a proof", 0, 7, [proof[0]], 0, 7),
        ("of nothing: another old root", 0, 7, [], 1, 7),
        ("nothing twice: another new root", 0, 0, [], 0, 1),
        ("the same size: a proof", 7, 7, [proof[0]], 7, 7),
        ("the same size: another root", 7, 7, [], 7, 8),
        ("64 hashes", 3, 7, [proof[0]] * 64, 3, 7),
    ]
    rows = [
        {"name": name, "old": old, "new": new, "proof": _hex(it), "old_root": _root(a).hex(), "new_root": _root(b).hex()}
        for name, old, new, it, a, b in given
    ]
    short, above = prove_consistency(3, 4, _node), _hashes()[9]
    roots = {"old_root": node_hash(above, _root(3)).hex(), "new_root": node_hash(above, _root(4)).hex()}
    rows.append({"name": "a hash above both roots", "old": 3, "new": 4, "proof": _hex([*short, above]), **roots})
    return rows


# --- notes


def _named(name: str, kind: int) -> dict[str, Any]:
    found = NoteSigner(name, kind, key("named")).verifier
    return {"name": name, "kind": kind, "public": found.key.raw.hex(), "id": found.id.hex(), "vkey": found.text}


def _bad_vkeys() -> dict[str, str]:
    good = HOME.verifier.text
    name, id_, material = good.split("+", 2)
    signs = {"a tab": "a\tb", "a control character": "a\x7fb", "a line end": "a\n", "a space": "a ", "a wide space": "a\u3000b"}
    return {
        "a name of 256 characters": _named("a" * 256, ED25519)["vkey"],
        **{f"{what} in the name": _named(it, ED25519)["vkey"] for what, it in signs.items()},
        "a name alone": name,
        "no material": f"{name}+{id_}",
        "an id in capitals": f"{name}+{id_.upper()}+{material}",
        "a short id": f"{name}+{id_[:-1]}+{material}",
        "base64 without its end": f"{name}+{id_}+{material.rstrip('=')}" if material.endswith("=") else f"{name}+{id_}+{material}=",
        "a byte more": f"{name}+{id_}+{b64encode(bytes([1]) + HOME.key.public.raw + b'x').decode()}",
        "a line end behind it": good + "\n",
    }


def _line(name: str, blob: bytes) -> str:
    return f"— {name} {b64encode(blob).decode()}\n"


def _notes() -> list[dict[str, Any]]:
    text = "A note\n"
    mine = signature_line(text, HOME)
    strangers = "".join(_line(f"s{number}", bytes(5)) for number in range(63))
    wide = NoteSigner(HOME.name, COSIGNATURE, HOME.key)
    other_id = _line(HOME.name, bytes(4) + b"x")
    large = 128 * 1024 - len(f"{text}\n{mine}".encode())
    late = signature_line(text, WITNESSES[0], 2**63 - 1)
    both = signature_line(text, WITNESSES[0], NOW) + signature_line(text, WITNESSES[0], NOW + 1)
    given = {
        "64 signatures": (f"{text}\n{strangers}{mine}", text, [(HOME.name, None)]),
        "another key of the same name": (f"{text}\n{other_id}{mine}", text, [(HOME.name, None)]),
        "a known name with another kind": (f"{text}\n{signature_line(text, wide, 1)}{mine}", text, [(HOME.name, None)]),
        "the latest time": (f"{text}\n{late}", text, [(WITNESSES[0].name, 2**63 - 1)]),
        "two times of one witness": (f"{text}\n{both}", text, [(WITNESSES[0].name, NOW)]),
        "of the year 1970": (f"{text}\n{signature_line(text, WITNESSES[0], 0)}", text, [(WITNESSES[0].name, 0)]),
        "empty lines within": (sign_note("\n\nA\n\n\nB\n", HOME), "\n\nA\n\n\nB\n", [(HOME.name, None)]),
        "words of many alphabets": (sign_note("Ä 日本 \U0001f600\n", HOME), "Ä 日本 \U0001f600\n", [(HOME.name, None)]),
    }
    rows = [
        {"name": name, "note": raw, "text": read, "signatures": [{"name": who, "time": time} for who, time in signed]}
        for name, (raw, read, signed) in given.items()
    ]
    long = "x" * large + text
    end = f"\n{signature_line(long, HOME)}"
    rows.append({"name": "128 KiB", "times": ["x", large, text + end], "signatures": [{"name": HOME.name, "time": None}]})
    return rows


def _bad_notes() -> list[dict[str, Any]]:
    text = "A note\n"
    mine = signature_line(text, HOME)
    strangers = "".join(_line(f"s{number}", bytes(5)) for number in range(64))
    blob = HOME.verifier.id + HOME.key.sign(text.encode())
    witness = WITNESSES[0]
    cosigned = witness.verifier.id + (2**63).to_bytes(8, "big")
    late = cosigned + witness.key.sign(f"cosignature/v1\ntime {2**63}\n{text}".encode())
    large = 128 * 1024 - len(f"{text}\n{mine}".encode())
    given = {
        "65 signatures": (f"{text}\n{strangers}{mine}", "malformed"),
        "a signature of 4 bytes": (f"{text}\n{_line('s', bytes(4))}{mine}", "malformed"),
        "a known key's signature of 63 bytes": (f"{text}\n{_line(HOME.name, blob[:-1])}", "bad_signature"),
        "a known key's signature of 65 bytes": (f"{text}\n{_line(HOME.name, blob + b'x')}", "bad_signature"),
        "a time of the year 292 277 026 596": (f"{text}\n{_line(witness.name, late)}", "bad_signature"),
        "a time cut short": (f"{text}\n{_line(witness.name, late[:11])}", "bad_signature"),
        "a hyphen for the dash": (f"{text}\n{mine.replace('—', '-')}", "malformed"),
        "two blanks": (f"{text}\n{mine.replace('— ', '—  ')}", "malformed"),
        "a plus in a name": (f"{text}\n{_line('a+b', bytes(5))}{mine}", "malformed"),
        "no name": (f"{text}\n— {b64encode(bytes(5)).decode()}\n{mine}", "malformed"),
        "something behind a signature": (f"{text}\n{mine[:-1]} x\n", "malformed"),
        "an empty line among signatures": (f"{text}\n{mine}\n{mine}", "bad_signature"),
        "no text": (f"\n{signature_line(chr(10), HOME)}", "malformed"),
        "a signature alone": (signature_line("\n", HOME), "malformed"),
        "base64 with a blank in it": (f"{text}\n{mine[:20]} {mine[20:]}", "malformed"),
        "base64 that is no ASCII": (f"{text}\n— s ÄÄÄÄ\n{mine}", "malformed"),
        "base64 with three signs at its end": (f"{text}\n— s AAAAA===\n{mine}", "malformed"),
        "a carriage return in the text": (sign_note("A\rnote\n", HOME), "malformed"),
        "a null in the text": (sign_note("A\0note\n", HOME), "malformed"),
        "nothing": ("", "malformed"),
    }
    rows = [case(name, code, note=raw) for name, (raw, code) in given.items()]
    long = "x" * (large + 1) + text
    rows.append(case("not UTF-8", "malformed", bytes=(f"{text}\n{mine}".encode() + b"\xff").hex()))
    rows.append(case("a byte more than 128 KiB", "too_large", times=["x", large + 1, f"{text}\n{signature_line(long, HOME)}"]))
    rows.append(case("more than 128 KiB in fewer characters", "too_large", times=["é", 70_000, f"{text}\n{mine}"]))
    return rows


# --- checkpoints and witnesses


def _head() -> Any:
    return sign_checkpoint(Checkpoint(LOG, SIZE, _root(SIZE)), HOME)


def _checkpoints() -> list[dict[str, Any]]:
    text = _head().text
    fill = 4096 - len(text) - 1
    longest = f"{text}{'x' * fill}\n"
    return [{"name": "4096 characters", "checkpoint": sign_note(longest, HOME), "size": SIZE, "root": _root(SIZE).hex(), "cosignatures": {}}]


def _bad_checkpoints() -> list[dict[str, Any]]:
    text = _head().text
    origin, size, root, _ = text.split("\n")
    fill = 4096 - len(text)
    wrong = {
        "4097 characters": f"{text}{'x' * fill}\n",
        "an empty line": f"{origin}\n{size}\n{root}\n\nx\n",
        "two lines": f"{origin}\n{size}\n",
        "one line": f"{origin}\n",
        "an empty line at the end": f"{text}\n",
        "a root of 33 bytes": f"{origin}\n{size}\n{b64encode(_root(SIZE) + b'x').decode()}\n",
        "a root in base64url": f"{origin}\n{size}\n{'_' * 43}=\n",
        "an empty size": f"{origin}\n\n{root}\n",
        "a size below 0": f"{origin}\n-1\n{root}\n",
        "the root of nothing for one entry less than none": f"{origin}\n0\n{root}\n",
    }
    rows = [case(name, "malformed", checkpoint=sign_note(it, HOME)) for name, it in wrong.items()]
    wide = NoteSigner(LOG, COSIGNATURE, key("log"))
    raw = sign_note(text, wide, NOW)
    rows.append(case("signed as a witness would", "malformed", checkpoint=raw, log=wide.verifier.text))
    return rows


def _bad_texts() -> dict[str, str]:
    """Texts of no checkpoint, whoever signed them."""
    text = _head().text
    origin, size, root, _ = text.split("\n")
    return {
        "nothing": "", "no line end behind it": text[:-1], "an extension without its line end": f"{text}x", "a line end alone": "\n",
        "two lines": f"{origin}\n{size}\n", "two lines, the second without its end": f"{origin}\n{size}", "an empty line at the end": f"{text}\n",
        "an empty line at the beginning": f"\n{text}", "an empty origin": f"\n{size}\n{root}\n",
    }  # fmt: skip


def _cosigned() -> list[dict[str, Any]]:
    """What a witness answers, and what the checkpoint then has; `code` where the answer is refused."""
    head = _head()
    first, second = (signature_line(head.text, it, NOW + at) for at, it in enumerate(WITNESSES))
    again = signature_line(head.text, WITNESSES[0], NOW + 9)
    stranger = signature_line(head.text, NoteSigner("stranger", COSIGNATURE, key("stranger")), NOW)
    log = signature_line(head.text, HOME)
    given = {
        "one": first,
        "two": first + second,
        "a stranger between": first + stranger + second,
        "one twice": first + again,
        "the log itself": log,
        "a stranger alone": stranger,
    }
    rows = []
    for name, lines in given.items():
        found = with_cosignatures(head, lines, (*KEYS, HOME.verifier))
        rows.append({"name": name, "checkpoint": head.raw, "lines": lines, "cosignatures": found.cosignatures, "raw": found.raw})
    bad = {"of another text": signature_line("x\n", WITNESSES[0], NOW), "no lines": "", "half a line": first[:-20]}
    for name, lines in bad.items():
        code = code_of(lambda lines=lines: with_cosignatures(head, lines, KEYS))
        rows.append(case(name, code, checkpoint=head.raw, lines=lines))
    return rows


def _witnessed() -> list[dict[str, Any]]:
    """Whether enough of some witnesses cosigned: one key under two names is one, and one name with two keys."""
    head = _head()
    one, two, three, four = (SigningKey(sha256(f"witness {it}".encode()).digest()) for it in range(4))
    signers = [NoteSigner(name, COSIGNATURE, it) for name, it in (("a", one), ("b", two), ("c", two), ("c", three), ("d", four), ("e", one))]
    raw = head.raw + "".join(signature_line(head.text, it, NOW) for it in signers)
    keys = [it.verifier for it in signers]
    sets: list[tuple[str, list[VerifierKey]]] = [
        ("none", []), ("one key around another", [keys[0], keys[1], keys[5]]), ("one", keys[:1]), ("one key under two names", keys[1:3]), ("one name with two keys", keys[2:4]),
        ("a chain of both", keys[1:4]), ("two", [keys[0], keys[4]]), ("all", keys), ("a stranger", [KEYS[0]]),
        ("one and a stranger", [keys[0], KEYS[0]]), ("two and then what joins them", [keys[1], keys[3], keys[2]]),
    ]  # fmt: skip
    rows = []
    for name, some in sets:
        signed = open_checkpoint(raw, HOME.verifier, some)
        enough = [least for least in range(5) if is_witnessed(signed, Policy(least, tuple(some)))]
        rows.append({"name": name, "checkpoint": raw, "witnesses": [it.text for it in some], "enough": enough})
    return rows


# --- receipts


def _receipts() -> dict[str, Any]:
    """The act "mute, shown end" of acts.json as entry 4 of 7, cosigned by both witnesses."""
    at, salt, act = START + 59_999, sha256(b"comity vectors: edge").digest(), _acts()["mute, shown end"]
    entry = entry_of_act(act, "second", tag_key(SECRET, "both"), salt, at).to_bytes()
    hashes = [*_hashes()[:4], leaf_hash(entry), *_hashes()[5:7]]

    def node(height: int, place: int) -> bytes:
        return root_of_hashes(hashes[place << height : (place + 1) << height])

    head = sign_checkpoint(Checkpoint(LOG, 7, root_of_hashes(hashes)), HOME)
    both = with_cosignatures(head, "".join(signature_line(head.text, it, NOW) for it in WITNESSES), KEYS)
    raw = receipt_text(Opening(entry, salt, at), 4, prove_inclusion(4, 7, node), both)
    policies = []
    beyond = receipt_text(Opening(entry, salt, at), 4, prove_inclusion(3, 7, node), both)
    lost = {"name": "a proof of something else, and too few witnesses", "receipt": beyond, "witnesses": [it.text for it in KEYS], "least": 3}
    lost["code"] = code_of(lambda: open_receipt(beyond, HOME.verifier, Policy(3, tuple(KEYS))))
    for witnesses, least in ((KEYS, 2), (KEYS, 3), (KEYS[:1], 1), (KEYS[:1], 2), ((), 0), ((OTHER.verifier,), 1)):
        row = {"receipt": raw, "witnesses": [it.text for it in witnesses], "least": least}
        policy = Policy(least, tuple(witnesses))
        try:
            open_receipt(raw, HOME.verifier, policy)
        except Exception:
            row["code"] = code_of(lambda policy=policy: open_receipt(raw, HOME.verifier, policy))
        policies.append(row)
    policies.append(lost)
    return {"policies": policies, "bad_proofs": _bad_proofs(raw), "proofs": _proofs(raw)}


def _proofs(raw: str) -> list[dict[str, Any]]:
    """What is a tlog-proof, whatever it proves."""
    parts = parse_proof(raw)
    made = {
        "without extra": TlogProof(b"", 0, (), "x\n"),
        "63 hashes": TlogProof(b"", 2**53 - 1, (bytes(32),) * 63, parts.checkpoint),
    }
    rows: list[dict[str, Any]] = [
        {"name": name, "proof": it.text, "extra": it.extra.hex(), "index": it.index, "hashes": len(it.hashes)}
        for name, it in made.items()
    ]
    begin = TlogProof(b"", 0, (), "").text
    full = 262_144 - len(begin)
    rows.append({"name": "256 KiB", "begin": begin, "times": ["x", full, ""], "extra": "", "index": 0, "hashes": 0})
    return rows


def _bad_proofs(raw: str) -> list[dict[str, Any]]:
    parts = parse_proof(raw)
    lines = raw.split("\n")
    made = {
        "64 hashes": (TlogProof(b"", 1, (bytes(32),) * 64, parts.checkpoint).text, "malformed"),
        "a hash of 31 bytes": (TlogProof(b"", 1, (bytes(31),), parts.checkpoint).text, "malformed"),
        "a hash of 33 bytes": (TlogProof(b"", 1, (bytes(33),), parts.checkpoint).text, "malformed"),
        "two extra lines": ("\n".join([*lines[:2], *lines[1:]]), "malformed"),
        "extra behind the index": ("\n".join([lines[0], lines[2], lines[1], *lines[3:]]), "malformed"),
        "no blank line": (raw.replace("\n\n", "\n"), "malformed"),
        "the first line alone": (f"{lines[0]}\n\n", "malformed"),
        "an index beyond all": (raw.replace("index 4\n", f"index {2**53}\n"), "malformed"),
        "another spelling of index": (raw.replace("index 4\n", "Index 4\n"), "malformed"),
        "extra that is no base64": (raw.replace(lines[1], "extra !"), "malformed"),
        "extra that says nothing": (raw.replace(lines[1], "extra "), "malformed"),
        "extra alone": (f"{lines[0]}\n{lines[1]}\n\nx\n", "malformed"),
        "an index without its word": (raw.replace("index 4\n", "4\n"), "malformed"),
        "no checkpoint": (f"{lines[0]}\nindex 0", "malformed"),
        "nothing": ("", "malformed"),
    }
    rows = [case(name, code, proof=it) for name, (it, code) in made.items()]
    rows.append(case("not UTF-8", "malformed", bytes=(raw.encode() + b"\xff").hex()))
    rows.append(case("a byte more than 256 KiB", "too_large", times=["x", 262_145, ""]))
    rows.append(case("more than 256 KiB in fewer characters", "too_large", times=["é", 140_000, ""]))
    return rows


# --- what an entry says of a part of a mute, and of a notice


def _parts() -> list[dict[str, Any]]:
    """`mutes` are those in force, `named` is the one that an unmute takes back; `kind`, `until` and `time` stand in the
    entry."""
    at = START + 59_999
    hour = START // 3_600_000 * 3600
    scopes: list[dict[str, Any]] = [
        {}, {"purposes": ("care",)}, {"channels": ("app",)}, {"purposes": ("care",), "channels": ("app",)},
        {"until": hour + 7199}, {"until": hour + 7200}, {"purposes": ("care",), "until": hour + 7200},
    ]  # fmt: skip
    mutes = [forge(members_of("mute", **scope), typ_of("mute"), MIA) for scope in scopes]
    opened = [open_act(raw) for raw in mutes]
    acts = [*opened, open_act(forge(members_of("unmute"), typ_of("unmute"), MIA))]
    acts += [open_act(forge(members_of("unmute", mute=it.id), typ_of("unmute"), MIA)) for it in opened[:4]]
    acts.append(open_act(forge(members_of("unmute", mute=words("m")), typ_of("unmute"), MIA)))
    rows = []
    for act in acts:
        named = named_mute(act, [Mute(it.id, it.payload.purposes or (), it.payload.channels or ()) for it in opened])
        entry = entry_of_act(act, "second", bytes(32), bytes(32), at, named)
        rows.append(
            {
                "act": act.raw, "mutes": mutes if act.kind == "unmute" else [], "named": named and named.id,
                "kind": int(kind_of(act, named)), "at": at, "until": entry.until, "time": entry.time,
            }
        )  # fmt: skip
    return rows


def _notice_entries() -> list[dict[str, Any]]:
    raw = notices()["good"][0]["jws"]
    tag_key_, salt, at = sha256(b"key").digest(), sha256(b"salt").digest(), START + 59_999
    entry = entry_of_notice(raw, tag_key_, salt, at).to_bytes().hex()
    return [{"notice": raw, "key": tag_key_.hex(), "salt": salt.hex(), "at": at, "entry": entry}]
