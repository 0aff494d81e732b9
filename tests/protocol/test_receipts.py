"""Receipts: whoever has one can show that an act stands in the log, and nobody can make one up (LOG-11)."""

from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.documents.acts import SignedAct
from comity.errors import Malformed, Refused
from comity.transparency.checkpoints import Checkpoint, Policy, SignedCheckpoint, sign_checkpoint, with_cosignatures
from comity.transparency.entries import (
    LENGTH,
    SALT,
    Kind,
    entry_of_act,
    entry_of_delivery,
    entry_of_key,
    key_statement,
    tag_key,
)
from comity.transparency.merkle import LONGEST_PROOF, leaf_hash, prove_inclusion, root_of_hashes
from comity.transparency.notes import COSIGNATURE, ED25519, NoteSigner, VerifierKey, sign_note, signature_line
from comity.transparency.receipts import (
    FIRST_LINE,
    MOST_RECEIPT,
    Opening,
    TlogProof,
    open_receipt,
    parse_opening,
    parse_proof,
    receipt_text,
)
from support.parties import DAY, LOG, SHOP, START, Pair, connected, key

HOME = NoteSigner(LOG, ED25519, key("log"))
OTHER = NoteSigner("other.example/log", ED25519, key("another log"))
WITNESSES = [NoteSigner(f"witness.example/w{number}", COSIGNATURE, key(f"witness {number}")) for number in range(1, 4)]
KEYS = tuple(witness.verifier for witness in WITNESSES)
KEY = tag_key(sha256(b"the connection's own").digest(), "both")
AT = START + 61_234


def code_of(raw: str | bytes, log: VerifierKey = HOME.verifier, policy: Policy | None = None) -> str:
    """The code with which a receipt is refused."""
    with pytest.raises(Refused) as caught:
        open_receipt(raw, log, policy or Policy())
    return caught.value.code


def salt(name: str) -> bytes:
    return sha256(f"salt {name}".encode()).digest()


class SmallLog:
    """A log in which some openings stand among strangers' entries: number 0 a grant, 3 a message, 4 its delivery, 5 a
    key, 8 a revoke."""

    def __init__(self) -> None:
        pair: Pair = connected()
        self.grant = pair.compose("grant", "second", START, purposes=("care",))
        self.message = pair.compose("message", "first", START, purpose="care")
        self.revoke = pair.compose("revoke", "second", START)
        self.statement = key_statement(SHOP.did, SHOP.kid, SHOP.key.public.multibase, AT)
        self.openings = {
            0: self._of_act(self.grant, "grant"),
            3: self._of_act(self.message, "message"),
            4: self._opening(
                entry_of_delivery(self.message.raw, "care", "first", KEY, salt("come"), AT).to_bytes(), "come"
            ),
            5: self._opening(entry_of_key(self.statement, KEY, salt("key"), AT).to_bytes(), "key"),
            8: self._of_act(self.revoke, "revoke"),
        }
        self.hashes = [
            leaf_hash(self.openings[index].entry if index in self.openings else b"a stranger's %d" % index)
            for index in range(9)
        ]

    def _of_act(self, act: SignedAct, name: str) -> Opening:
        side = "second" if act.payload.iss != SHOP.did else "first"
        return self._opening(entry_of_act(act, side, KEY, salt(name), AT).to_bytes(), name)  # type: ignore[arg-type]

    def _opening(self, entry: bytes, name: str) -> Opening:
        return Opening(entry, salt(name), AT)

    def node(self, height: int, index: int) -> bytes:
        """A complete subtree."""
        return root_of_hashes(self.hashes[index << height : (index + 1) << height])

    def head(self, size: int = 9, signer: NoteSigner = HOME) -> SignedCheckpoint:
        """The head of the log when it had that size."""
        return sign_checkpoint(Checkpoint(signer.name, size, root_of_hashes(self.hashes[:size])), signer)

    def receipt(self, index: int, size: int = 9) -> str:
        """The receipt for an entry, from the checkpoint of that size."""
        head = self.head(size)
        return receipt_text(self.openings[index], index, prove_inclusion(index, size, self.node), head)


WRITTEN = SmallLog()
RECEIPT = WRITTEN.receipt(3)
PARTS = parse_proof(RECEIPT)


def altered(
    extra: bytes = PARTS.extra,
    index: int = PARTS.index,
    hashes: tuple[bytes, ...] = PARTS.hashes,
    checkpoint: str = PARTS.checkpoint,
) -> str:
    """The receipt for the message with something else in its place."""
    return TlogProof(extra, index, hashes, checkpoint).text


# --- what holds


@pytest.mark.parametrize("size", [5, 6, 7, 8, 9])
def test_a_receipt_shows_that_the_act_stands_in_the_log(size: int) -> None:
    raw = WRITTEN.receipt(3, size)
    receipt = open_receipt(raw, HOME.verifier)
    assert (receipt.raw, receipt.index, receipt.checkpoint) == (raw, 3, WRITTEN.head(size))
    assert (receipt.opening, receipt.entry.kind) == (WRITTEN.openings[3], Kind.ACT)
    assert receipt.is_of(WRITTEN.message.raw.encode())
    assert open_receipt(raw.encode(), HOME.verifier) == receipt


def test_a_receipt_is_of_one_act_and_of_no_other() -> None:
    opened = {index: open_receipt(WRITTEN.receipt(index), HOME.verifier) for index in WRITTEN.openings}
    texts = {
        0: WRITTEN.grant.raw.encode(),
        3: WRITTEN.message.raw.encode(),
        4: WRITTEN.message.raw.encode(),
        5: WRITTEN.statement,
        8: WRITTEN.revoke.raw.encode(),
    }
    for index, receipt in opened.items():
        for text in texts.values():
            assert receipt.is_of(text) == (text == texts[index])
            assert not receipt.is_of(text[:-1]) and not receipt.is_of(text + b"\n")
        assert not receipt.is_of(b"")
    assert [opened[index].entry.kind for index in sorted(opened)] == [
        Kind.ACT, Kind.ACT, Kind.DELIVERED, Kind.KEY, Kind.REVOKE,
    ]  # fmt: skip


def test_a_receipt_carries_what_opens_its_entry_and_is_written_so() -> None:
    assert parse_opening(PARTS.extra) == WRITTEN.openings[3]
    assert PARTS.extra == WRITTEN.openings[3].entry + salt("message") + AT.to_bytes(8, "big")
    assert len(PARTS.extra) == LENGTH + SALT + 8 == 99
    lines = RECEIPT.split("\n")
    assert lines[0] == FIRST_LINE == "c2sp.org/tlog-proof@v1"
    assert lines[1].startswith("extra ") and lines[2] == "index 3" and lines[3 + len(PARTS.hashes)] == ""
    assert RECEIPT.endswith("\n\n" + WRITTEN.head().raw)
    assert PARTS.text == RECEIPT


def test_a_proof_of_others_that_carries_nothing_extra_is_a_proof_and_no_receipt() -> None:
    """One entry, so that there are no hashes either."""
    head = sign_checkpoint(Checkpoint(LOG, 1, leaf_hash(b"theirs")), HOME)
    proof = TlogProof(b"", 0, (), head.raw)
    assert parse_proof(proof.text) == proof
    assert proof.text == f"{FIRST_LINE}\nindex 0\n\n{head.raw}"
    assert code_of(proof.text) == "malformed"


# --- what does not


def test_the_receipt_of_another_log_is_refused() -> None:
    """Also where it has the very same entries."""
    theirs = altered(checkpoint=WRITTEN.head(signer=OTHER).raw)
    assert open_receipt(theirs, OTHER.verifier).index == 3
    assert code_of(theirs) == "unknown_key"
    assert code_of(RECEIPT, OTHER.verifier) == "unknown_key"
    assert code_of(RECEIPT, OTHER.verifier._replace(name=LOG)) == "unknown_key"
    renamed = sign_checkpoint(WRITTEN.head().checkpoint._replace(origin=OTHER.name), HOME._replace(name=OTHER.name))
    assert code_of(altered(checkpoint=renamed.raw)) == "unknown_key"
    assert code_of(altered(checkpoint=sign_note(renamed.text, HOME))) == "malformed"


def bits(data: bytes) -> Iterator[bytes]:
    """The bytes with one other bit in each of them, a different one from byte to byte."""
    for at, byte in enumerate(data):
        yield data[:at] + bytes([byte ^ 1 << at % 8]) + data[at + 1 :]


def test_no_byte_of_the_entry_can_be_another() -> None:
    entry, rest = PARTS.extra[:LENGTH], PARTS.extra[LENGTH:]
    codes = [code_of(altered(extra=other + rest)) for other in bits(entry)]
    # The version, the kind or the side may be none at all; whatever is an entry is not the one in the log.
    assert set(codes[:3]) <= {"malformed", "proof_failed"} and codes[0] == "malformed"
    assert set(codes[3:7]) == set(codes[11:]) == {"proof_failed"}
    assert set(codes[7:11]) == {"malformed"}


def test_another_salt_or_time_opens_nothing() -> None:
    """They are not in the tree, so the entry still is; it is only of nothing that anybody could show."""
    entry, rest = PARTS.extra[:LENGTH], PARTS.extra[LENGTH:]
    for other in bits(rest):
        assert not open_receipt(altered(extra=entry + other), HOME.verifier).is_of(WRITTEN.message.raw.encode())


def test_an_opening_of_another_length_is_none() -> None:
    for extra in (b"", PARTS.extra[:-1], PARTS.extra + b"\0", PARTS.extra[:LENGTH], PARTS.extra * 2):
        assert code_of(altered(extra=extra)) == "malformed"


@pytest.mark.parametrize("index", [0, 1, 2, 4, 5, 8, 9, 2**53 - 1])
def test_the_entry_has_no_other_number(index: int) -> None:
    assert code_of(altered(index=index)) == "proof_failed"


def test_the_entry_of_another_number_is_refused_in_its_place() -> None:
    assert code_of(altered(extra=WRITTEN.openings[8].to_bytes())) == "proof_failed"
    assert code_of(altered(index=8, hashes=tuple(prove_inclusion(8, 9, WRITTEN.node)))) == "proof_failed"


def test_no_hash_can_be_another_or_elsewhere() -> None:
    hashes = PARTS.hashes
    assert len(hashes) == 4
    for at, hash_ in enumerate(hashes):
        for other in bits(hash_):
            assert code_of(altered(hashes=(*hashes[:at], other, *hashes[at + 1 :]))) == "proof_failed"
        assert code_of(altered(hashes=hashes[:at] + hashes[at + 1 :])) == "proof_failed"
        assert code_of(altered(hashes=(*hashes[:at], hash_, *hashes[at:]))) == "proof_failed"
        assert code_of(altered(hashes=(*hashes[:at], hash_[:-1], *hashes[at + 1 :]))) == "malformed"
    assert code_of(altered(hashes=hashes[::-1])) == "proof_failed"
    assert code_of(altered(hashes=())) == "proof_failed"
    assert code_of(altered(hashes=(bytes(32),) * LONGEST_PROOF)) == "proof_failed"
    assert code_of(altered(hashes=(bytes(32),) * (LONGEST_PROOF + 1))) == "malformed"


def test_a_checkpoint_that_does_not_cover_the_act_is_refused() -> None:
    """A later one covers it too, but with another proof; one from before never did."""
    for size in (1, 3, 5, 8):
        assert code_of(altered(checkpoint=WRITTEN.head(size).raw)) == "proof_failed"
    other_root = WRITTEN.head().checkpoint._replace(root=sha256(b"").digest())
    assert code_of(altered(checkpoint=sign_checkpoint(other_root, HOME).raw)) == "proof_failed"


def test_no_byte_of_the_checkpoint_can_be_another() -> None:
    for other in bits(PARTS.checkpoint.encode()):
        raw = altered(checkpoint="").encode() + other
        assert code_of(raw) in {"malformed", "bad_signature", "unknown_key"}


def test_a_receipt_cut_short_anywhere_is_refused() -> None:
    for length in range(len(RECEIPT)):
        assert code_of(RECEIPT[:length]) in {"malformed", "unknown_key"}


E64 = "A" * 43 + "="


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.replace("@v1", "@v2"),
        lambda it: "\n" + it,
        lambda it: "\ufeff" + it,
        lambda it: it.replace("\n", "\r\n"),
        lambda it: it.replace("extra ", "extra  "),
        lambda it: it.replace("extra ", "Extra "),
        lambda it: it.replace("extra ", "extra"),
        lambda it: it.replace(it.split("\n")[1], "extra "),
        lambda it: it.replace(it.split("\n")[1], "extra"),
        lambda it: it.replace(it.split("\n")[1], it.split("\n")[1].rstrip("=") + " "),
        lambda it: it.replace(it.split("\n")[1], f"{it.split(chr(10))[1]}\n{it.split(chr(10))[1]}"),
        lambda it: it.replace("index 3\n", ""),
        lambda it: it.replace("index 3\n", "index 03\n"),
        lambda it: it.replace("index 3\n", "index -3\n"),
        lambda it: it.replace("index 3\n", "index +3\n"),
        lambda it: it.replace("index 3\n", "index 3 \n"),
        lambda it: it.replace("index 3\n", "index \n"),
        lambda it: it.replace("index 3\n", "index \u0663\n"),
        lambda it: it.replace("index 3\n", f"index {2**53}\n"),
        lambda it: it.replace("index 3\n", "index 3\nindex 3\n"),
        lambda it: it.replace("index 3\n", "index 3\nnot a hash\n"),
        lambda it: it.replace("index 3\n", f"index 3\n{E64} \n"),
        lambda it: it.replace("index 3\n", f"index 3\n{E64[:-2]}B=\n"),
        lambda it: it.replace("index 3\n", f"index 3\n{E64[:-1]}\n"),
        lambda it: it.replace("index 3\n", "index 3\n\ud800\n"),
        lambda it: it.replace("\n\n", "\n", 1),
    ],
)
def test_a_receipt_has_one_spelling(change: Callable[[str], str]) -> None:
    raw = change(RECEIPT)
    assert raw != RECEIPT
    assert code_of(raw) == "malformed"


def test_a_second_blank_line_would_be_the_checkpoint_s() -> None:
    assert code_of(RECEIPT.replace("\n\n", "\n\n\n", 1)) == "bad_signature"


def test_an_extra_line_that_says_nothing_is_left_out_instead() -> None:
    empty = altered(extra=b"").replace(f"{FIRST_LINE}\n", f"{FIRST_LINE}\nextra \n")
    with pytest.raises(Malformed):
        parse_proof(empty)


def test_a_receipt_that_is_not_utf_8_or_too_long_is_refused() -> None:
    assert code_of(RECEIPT.encode() + b"\xff") == "malformed"
    assert code_of(b"\xff" + RECEIPT.encode()) == "malformed"
    assert code_of(RECEIPT + "a" * MOST_RECEIPT) == code_of(b"a" * (MOST_RECEIPT + 1)) == "too_large"


@st.composite
def bent(draw: st.DrawFn) -> str:
    """The receipt with some stretches left out, doubled, or replaced."""
    text = RECEIPT
    for _ in range(draw(st.integers(1, 3))):
        low, high = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        words = ("", "\n", "\n\n", " ", "0", "=", "index 3\n", "extra ", "\ud800", text[low:high] * 2)
        text = text[:low] + draw(st.sampled_from(words)) + text[high:]
    return text


@given(st.one_of(st.text(), st.binary(), bent(), bent().map(lambda it: it.encode("utf-8", "replace"))))
@settings(max_examples=100)
def test_any_bytes_are_the_receipt_or_are_refused(raw: str | bytes) -> None:
    for log in (HOME.verifier, OTHER.verifier):
        try:
            receipt = open_receipt(raw, log)
        except Refused:
            continue
        # What is behind the log's line may be a stranger's; the rest is what it was.
        assert (receipt.index, receipt.opening, log) == (3, WRITTEN.openings[3], HOME.verifier)
        assert receipt.checkpoint.checkpoint == WRITTEN.head().checkpoint


@given(st.one_of(st.text().map(lambda it: f"{FIRST_LINE}\n{it}"), bent()))
@settings(max_examples=60)
def test_every_proof_that_is_read_has_one_spelling(raw: str) -> None:
    try:
        parts = parse_proof(raw)
    except Refused:
        return
    assert parts.text == raw


# --- witnesses


def test_a_policy_that_asks_for_witnesses_takes_no_receipt_without_them() -> None:
    """A receipt as it is made has the log's signature alone; the cosigned checkpoint can take its place."""
    head = WRITTEN.head()
    assert code_of(RECEIPT, policy=Policy(1, KEYS)) == "too_few_witnesses"
    lines = [signature_line(head.text, witness, (START + DAY) // 1000) for witness in WITNESSES]
    two = with_cosignatures(head, "".join(lines[:2]), KEYS)
    raw = altered(checkpoint=two.raw)
    for least in (0, 1, 2):
        assert open_receipt(raw, HOME.verifier, Policy(least, KEYS)).checkpoint.cosignatures.keys() == {
            KEYS[0].name,
            KEYS[1].name,
        }
    assert code_of(raw, policy=Policy(3, KEYS)) == "too_few_witnesses"
    assert code_of(raw, policy=Policy(1, KEYS[2:])) == "too_few_witnesses"
    assert code_of(raw, policy=Policy(1, ())) == "too_few_witnesses"


def test_a_witness_s_line_that_does_not_hold_spoils_the_receipt() -> None:
    head = WRITTEN.head()
    bad = head.raw + signature_line(WRITTEN.head(8).text, WITNESSES[0], START // 1000)
    assert code_of(altered(checkpoint=bad), policy=Policy(0, KEYS)) == "bad_signature"
    # Whoever does not know the witness cannot tell, and does not ask.
    assert open_receipt(altered(checkpoint=bad), HOME.verifier).index == 3


def test_witnesses_do_not_stand_in_for_the_log() -> None:
    head = WRITTEN.head()
    alone = f"{head.text}\n{''.join(signature_line(head.text, it, START // 1000) for it in WITNESSES)}"
    assert code_of(altered(checkpoint=alone), policy=Policy(3, KEYS)) == "unknown_key"
