"""Vectors of the log: hashes, proofs, tiles, notes, checkpoints, receipts and what an entry says."""

import base64
from functools import cache
from hashlib import sha256
from typing import Any

from acts import acts
from story import LOG, MIA, SHOP, START, case, code_of, key, published

from comity.documents.acts import SignedAct, Unmute, open_act
from comity.transparency.checkpoints import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from comity.transparency.entries import (
    EPOCH,
    LogEntry,
    Scope,
    commitment,
    entry_of_act,
    entry_of_delivery,
    entry_of_key,
    entry_of_mute_over,
    key_statement,
    parse_entry,
    tag_scope_of,
    entry_tag,
    public_tag_key,
    tag_key,
)
from comity.transparency.merkle import leaf_hash, node_hash, prove_consistency, prove_inclusion, root_of_hashes
from comity.transparency.notes import COSIGNATURE, ED25519, NoteSigner, open_note, parse_vkey, sign_note, signature_line
from comity.transparency.receipts import Opening, TlogProof, open_receipt, parse_proof, receipt_text
from comity.transparency.tiles import Tile, bundles_of, decode_bundle, parse_path, encode_bundle, tiles_of
from comity.documents.types import Side

SIZES = (0, 1, 2, 3, 7, 8, 255, 256, 257, 600)
NOW = START // 1000
HOME = NoteSigner(LOG, ED25519, key("log"))
OTHER = NoteSigner("other.example/log", ED25519, key("another log"))
WITNESSES = [NoteSigner(f"witness.example/w{number}", COSIGNATURE, key(f"witness {number}")) for number in (1, 2)]
KEYS = tuple(witness.verifier for witness in WITNESSES)


def logs() -> dict[str, Any]:
    """Entry number i of the trees is the ASCII text "entry i". Hashes and bytes are hex; times of cosignatures are
    seconds, all others milliseconds; `act` is the name of an act in acts.json."""
    return {**_trees(), **_tiles(), **_notes(), **_checkpoints(), **_entries(), **_receipts()}


# --- trees


@cache
def _hashes() -> list[bytes]:
    return [leaf_hash(b"entry %d" % number) for number in range(max(SIZES))]


def _node(height: int, index: int) -> bytes:
    return root_of_hashes(_hashes()[index << height : (index + 1) << height])


def _root(size: int) -> bytes:
    return root_of_hashes(_hashes()[:size])


def _hex(hashes: list[bytes]) -> list[str]:
    return [it.hex() for it in hashes]


def _trees() -> dict[str, Any]:
    leaves = [leaf_hash(it) for it in (b"", b"\0", b"entry 0")]
    inclusion = [
        {"index": index, "size": size, "proof": _hex(prove_inclusion(index, size, _node))}
        for size in SIZES
        for index in sorted({0, 1, size // 2, size - 1} & set(range(size)))
    ]
    consistency = [
        {"old": old, "new": new, "proof": _hex(prove_consistency(old, new, _node))}
        for new in SIZES
        for old in SIZES
        if old <= new
    ]
    return {
        "leaves": [{"entry": it.hex(), "hash": leaf_hash(it).hex()} for it in (b"", b"\0", b"entry 0")],
        "nodes": [{"left": a.hex(), "right": b.hex(), "hash": node_hash(a, b).hex()} for a in leaves for b in leaves],
        "roots": [{"size": size, "root": _root(size).hex()} for size in SIZES],
        "inclusion": inclusion,
        "consistency": consistency,
    }


def _tiles() -> dict[str, Any]:
    partial = [Tile(63, 999, 1), Tile(1, 1000, 255), Tile(-1, 0, 128)]
    paths = [Tile(0, 0), Tile(0, 1_234_067), *partial, Tile(-1, 1_000_001)]
    bad_paths = (
        "tile/0/0", "tile/0/x000/000", "tile/0/x001", "tile/01/000", "tile/64/000", "tile/-1/000", "tile/0/000.p/0",
        "tile/0/000.p/01", "tile/0/000.p/256", "tile/0/000.p/257", "tile/0/000/", "/tile/0/000", "tile/\u0660/000",
    )  # fmt: skip
    entries = [b"", b"entry 1", bytes(59)]
    sealed = encode_bundle(entries)
    bad_bundles = {
        "ends in a length": sealed[:-60],
        "ends in an entry": sealed[:-1],
        "one entry less": sealed[:-61],
        "one entry more": sealed + b"\0\0",
        "a byte more": sealed + b"\0",
        "nothing": b"",
    }
    for path in bad_paths:
        assert code_of(lambda path=path: parse_path(path)) == "malformed"
    for data in bad_bundles.values():
        assert code_of(lambda data=data: decode_bundle(Tile(-1, 0, 3), data)) == "malformed"
    return {
        "paths": [{**it._asdict(), "path": it.path} for it in paths],
        "bad_paths": [case(ascii(path), "malformed", path=path) for path in bad_paths],
        "files": [
            {"size": size, "paths": [it.path for it in (*tiles_of(size), *bundles_of(size))]}
            for size in (0, 1, 256, 600)
        ],
        "bundles": [{"entries": _hex(entries), "bundle": sealed.hex()}],
        "bad_bundles": [case(name, "malformed", width=3, bundle=it.hex()) for name, it in bad_bundles.items()],
    }


# --- notes


def _vkey(signer: NoteSigner) -> dict[str, Any]:
    found = signer.verifier
    public = signer.key.public.raw.hex()
    return {"name": found.name, "kind": found.kind, "public": public, "id": found.id.hex(), "vkey": found.text}


def _odd_vkey(name: str, material: bytes) -> str:
    id_ = sha256(name.encode() + b"\n" + material).digest()[:4].hex()
    return f"{name}+{id_}+{base64.b64encode(material).decode()}"


def _notes() -> dict[str, Any]:
    text, raw = "A note\n\nwith an empty line.\n", HOME.key.public.raw
    line, witness_line = signature_line(text, HOME), signature_line(text, WITNESSES[0], NOW)
    stranger = signature_line(text, OTHER)
    good = {
        "of the log": f"{text}\n{line}",
        "with a stranger's line": f"{text}\n{stranger}{line}",
        "with a witness's line": f"{text}\n{line}{witness_line}",
        "with the same line twice": f"{text}\n{line}{line}",
    }
    later = base64.b64decode(witness_line.split(" ")[2])
    later = later[:4] + (NOW + 1).to_bytes(8, "big") + later[12:]
    moved = f"— {WITNESSES[0].name} {base64.b64encode(later).decode()}\n"
    bad = {
        "of another text": f"A note\n\nwith an empty line!\n\n{line}",
        "with a bad line of a known key": f"{text}\n{line}{signature_line('x', HOME)}",
        "with a cosignature of another time": f"{text}\n{line}{moved}",
        "of a stranger": f"{text}\n{stranger}",
        "without a blank line": f"{text}{line}".replace("\n\n", "\n"),
        "without an end": f"{text}\n{line}".removesuffix("\n"),
        "with other ends of lines": f"{text}\n{line}".replace("\n", "\r\n"),
        "with a tab": sign_note("A\tnote\n", HOME),
        "with base64 of another spelling": f"{text}\n{line}— a AAAAAAB=\n",
        "without signatures": f"{text}\n",
    }
    bad_vkeys = {
        "another's id": HOME.verifier.text.replace(HOME.verifier.id.hex(), OTHER.verifier.id.hex()),
        "no kind": _odd_vkey("a", raw),
        "a kind that is not known": _odd_vkey("a", b"\2" + raw),
        "a key of low order": _odd_vkey("a", b"\1" + bytes(32)),
        "no name": _odd_vkey("", b"\1" + raw),
        "a space in the name": _odd_vkey("a b", b"\1" + raw),
    }
    known = (HOME.verifier, *KEYS)
    return {
        "vkeys": [_vkey(signer) for signer in (HOME, *WITNESSES, OTHER)],
        "bad_vkeys": [case(name, code_of(lambda it=it: parse_vkey(it)), vkey=it) for name, it in bad_vkeys.items()],
        "known": [it.text for it in known],
        "notes": [
            {
                "name": name,
                "note": it,
                "text": open_note(it, known).text,
                "signatures": [{"name": key.name, "time": time} for key, time in open_note(it, known).signatures],
            }
            for name, it in good.items()
        ],
        "bad_notes": [case(name, code_of(lambda it=it: open_note(it, known)), note=it) for name, it in bad.items()],
    }


def _checkpoints() -> dict[str, Any]:
    head = sign_checkpoint(Checkpoint(LOG, 600, _root(600)), HOME)
    empty = sign_checkpoint(Checkpoint(LOG, 0, _root(0)), HOME)
    root = head.text.split("\n")[2]
    extended = sign_note(f"{head.text}something else\n", HOME)
    lines = {it.name: signature_line(head.text, it, NOW + at) for at, it in enumerate(WITNESSES)}
    good = {
        "six hundred entries": head.raw,
        "none": empty.raw,
        "one more line": extended,
        "cosigned": head.raw + "".join(lines.values()),
    }
    bad = {
        "of another log": sign_note(head.text.replace(LOG, OTHER.name), HOME),
        "signed by another log": sign_note(head.text, OTHER),
        "signed by a witness alone": sign_note(head.text, WITNESSES[0], NOW),
        "a leading zero": sign_note(f"{LOG}\n0600\n{root}\n", HOME),
        "another root of nothing": sign_note(f"{LOG}\n0\n{root}\n", HOME),
        "too many entries": sign_note(f"{LOG}\n{2**53}\n{root}\n", HOME),
        "a short root": sign_note(f"{LOG}\n600\n{root[4:]}\n", HOME),
        "no root": sign_note(f"{LOG}\n600\n", HOME),
        "a cosignature of another text": head.raw + signature_line(empty.text, WITNESSES[0], NOW),
    }
    return {
        "log": HOME.verifier.text,
        "witnesses": [it.text for it in KEYS],
        "checkpoints": [
            {
                "name": name,
                "checkpoint": raw,
                "size": (found := open_checkpoint(raw, HOME.verifier, KEYS)).size,
                "root": found.root.hex(),
                "cosignatures": found.cosignatures,
            }
            for name, raw in good.items()
        ],
        "bad_checkpoints": [
            case(name, code_of(lambda it=it: open_checkpoint(it, HOME.verifier, KEYS)), checkpoint=it)
            for name, it in bad.items()
        ],
        "cosignatures": [
            {
                "text": parse_checkpoint(head.text).text,
                "vkey": it.verifier.text,
                "time": NOW + at,
                "message": f"cosignature/v1\ntime {NOW + at}\n{head.text}",
                "line": lines[it.name],
            }
            for at, it in enumerate(WITNESSES)
        ],
    }


# --- entries

SECRET = sha256(b"comity vectors: tag secret").digest()
SCOPES: tuple[Scope, ...] = ("both", "first", "second")


def salt_of(name: str) -> bytes:
    """The salt of the entry of that name."""
    return sha256(f"comity vectors: salt {name}".encode()).digest()


@cache
def _acts() -> dict[str, SignedAct]:
    made = acts()
    find = {signer.kid: signer.key.public for signer in (MIA, SHOP, published(SHOP.did, "key-2"))}.get
    return {row["name"]: open_act(row["jws"], find) for row in made["good"]}


def _told(entry: LogEntry) -> dict[str, Any]:
    members = entry._asdict() | {"kind": int(entry.kind), "tag": entry.tag.hex(), "commitment": entry.commitment.hex()}
    return {**members, "entry": entry.to_bytes().hex()}


def _mutes_of(act: SignedAct) -> list[str | None]:
    """The names of the acts of which one is the mute that this one takes back."""
    is_named = isinstance(act.payload, Unmute) and act.payload.mute is not None
    mutes = [name for name, it in _acts().items() if it.kind == "mute"]
    return list[str | None](mutes) if is_named else [None]


def _entries() -> dict[str, Any]:
    at, made = START + 59_999, []
    for name, act in _acts().items():
        side: Side = "first" if act.payload.iss == SHOP.did else "second"
        for muted in _mutes_of(act):
            scope, salt = tag_scope_of(act, side), salt_of(name)
            mute = None if muted is None else _acts()[muted].payload
            entry = entry_of_act(act, side, tag_key(SECRET, scope), salt, at, mute)  # type: ignore[arg-type]
            named = {} if muted is None else {"muted": muted}
            made.append(
                {"act": name, **named, "by": side, "scope": scope, "at": at, "salt": salt.hex(), **_told(entry)}
            )
    deliveries = []
    for purpose in ("care", "sales.windows", "safety", "security", "legal_notice"):
        act, salt = _acts()["message"], salt_of(f"delivery {purpose}")
        entry = entry_of_delivery(act.raw, purpose, "second", tag_key(SECRET, "both"), salt, at)
        deliveries.append(
            {"act": "message", "purpose": purpose, "by": "second", "at": at, "salt": salt.hex(), **_told(entry)}
        )
    overs = []
    for name in ("mute, shown end", "mute_end"):
        salt = salt_of(f"over {name}")
        entry = entry_of_mute_over(_acts()[name].raw, "second", tag_key(SECRET, "both"), salt, at)
        overs.append({"act": name, "by": "second", "at": at, "salt": salt.hex(), **_told(entry)})
    statement = key_statement(SHOP.did, SHOP.kid, SHOP.key.public.multibase, at)
    of_key = entry_of_key(statement, public_tag_key(SHOP.did), salt_of("key"), at)
    good = made[0]["entry"]
    bad = {
        "too short": good[:-2],
        "too long": good + "00",
        "version 1": "01" + good[2:],
        "version 3": "03" + good[2:],
        "kind 0": good[:2] + "00" + good[4:],
        "kind 16": good[:2] + "10" + good[4:],
        "side 3": good[:4] + "03" + good[6:],
        "an act of no side": good[:4] + "00" + good[6:],
        "a setting of a side": good[:2] + "0a" + good[4:],
        "an erasure of a side": good[:2] + "08" + good[4:],
        "a copy of a side": good[:2] + "0d" + good[4:],
        "a notice of a side": good[:2] + "0f" + good[4:],
        "a mute over of no side": good[:2] + "0b00" + good[6:],
        "a part taken back by no side": good[:2] + "0c00" + good[6:],
        "a contest of no side": good[:2] + "0e00" + good[6:],
        "a mute over with an end": good[:2] + "0b" + good[4:14] + "00000001" + good[22:],
        "a part with an end": good[:2] + "03" + good[4:14] + "00000001" + good[22:],
        "a grant with an end": good[:14] + "00000001" + good[22:],
    }
    border = (START // EPOCH + 1) * EPOCH
    return {
        "secret": SECRET.hex(),
        "tag_keys": [{"scope": scope, "key": tag_key(SECRET, scope).hex()} for scope in SCOPES],
        "tags": [
            {"scope": scope, "at": moment, "epoch": moment // EPOCH, "tag": entry_tag(tag_key(SECRET, scope), moment).hex()}
            for scope in SCOPES
            for moment in (0, border - EPOCH, border - 1, border, border + EPOCH)
        ],
        "commitments": [
            {"salt": salt.hex(), "at": moment, "bytes": data.hex(), "commitment": commitment(salt, moment, data).hex()}
            for salt, moment in ((bytes(32), 0), (salt_of("x"), START), (salt_of("x"), START + 1))
            for data in (b"", b"act")
        ],
        "acts": made,
        "deliveries": deliveries,
        "overs": overs,
        "keys": [
            {
                "did": SHOP.did,
                "kid": SHOP.kid,
                "key": SHOP.key.public.multibase,
                "at": at,
                "statement": statement.decode(),
                "salt": salt_of("key").hex(),
                **_told(of_key),
            }
        ],
        "bad_entries": [
            case(name, code_of(lambda it=it: parse_entry(bytes.fromhex(it))), entry=it) for name, it in bad.items()
        ],
    }


# --- receipts


def _receipts() -> dict[str, Any]:
    """A log of seven entries; the act is number 4."""
    name, index, at = "mute, shown end", 4, START + 59_999
    act, salt = _acts()[name], salt_of("receipt")
    entry = entry_of_act(act, "second", tag_key(SECRET, "both"), salt, at).to_bytes()
    hashes = [*_hashes()[:index], leaf_hash(entry), *_hashes()[index + 1 : 7]]

    def node(height: int, place: int) -> bytes:
        return root_of_hashes(hashes[place << height : (place + 1) << height])

    head = sign_checkpoint(Checkpoint(LOG, len(hashes), root_of_hashes(hashes)), HOME)
    proof = prove_inclusion(index, len(hashes), node)
    raw = receipt_text(Opening(entry, salt, at), index, proof, head)
    parts = parse_proof(raw)

    def other(**changes: Any) -> str:
        members = {name: getattr(parts, name) for name in ("extra", "index", "hashes", "checkpoint")}
        return TlogProof(**{**members, **changes}).text

    theirs = sign_checkpoint(head.checkpoint._replace(origin=OTHER.name), OTHER)
    bad = {
        "another index": other(index=5),
        "one hash less": other(hashes=parts.hashes[:-1]),
        "hashes in another order": other(hashes=parts.hashes[::-1]),
        "another entry": other(extra=entry[:-1] + bytes([entry[-1] ^ 1]) + parts.extra[59:]),
        "an entry of version 1": other(extra=b"\1" + parts.extra[1:]),
        "no salt": other(extra=entry),
        "nothing extra": other(extra=b""),
        "an extra line that says nothing": raw.replace(raw.split("\n")[1], "extra "),
        "another log's checkpoint": other(checkpoint=theirs.raw),
        "another size": other(checkpoint=sign_checkpoint(head.checkpoint._replace(size=9), HOME).raw),
        "another root": other(checkpoint=sign_checkpoint(head.checkpoint._replace(root=_root(7)), HOME).raw),
        "a checkpoint that is not signed so": other(checkpoint=head.raw.replace("\n7\n", "\n8\n")),
        "another first line": raw.replace("@v1", "@v2"),
        "no index": raw.replace("index 4\n", ""),
        "an index of another spelling": raw.replace("index 4\n", "index 04\n"),
        "cut short": raw[: raw.index("\n\n")],
    }
    return {
        "receipts": [
            {
                "name": "of an act",
                "act": name,
                "receipt": raw,
                "index": index,
                "size": len(hashes),
                "root": head.root.hex(),
                "hashes": _hex(proof),
                "entry": entry.hex(),
                "salt": salt.hex(),
                "at": at,
            }
        ],
        "bad_receipts": [
            case(name, code_of(lambda it=it: open_receipt(it, HOME.verifier)), receipt=it) for name, it in bad.items()
        ],
    }
