"""Signed notes and checkpoints: what a log and its witnesses put their names to, and nothing near it (LOG-4, LOG-5)."""

import base64
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey as NaClKey

from comity.errors import Malformed, Refused
from comity.transparency.checkpoints import (
    Checkpoint,
    Policy,
    SignedCheckpoint,
    is_witnessed,
    open_checkpoint,
    parse_checkpoint,
    sign_checkpoint,
    with_cosignatures,
)
from comity.transparency.merkle import EMPTY_ROOT, leaf_hash
from comity.transparency.notes import (
    COSIGNATURE,
    ED25519,
    MOST_NOTE,
    MOST_SIGNATURES,
    NoteSigner,
    SignedNote,
    VerifierKey,
    decode_base64,
    open_note,
    parse_vkey,
    sign_note,
    signature_line,
    split_lines,
    split_note,
)
from support.parties import LOG, START, key

HOME = NoteSigner(LOG, ED25519, key("log"))
WITNESSES = [NoteSigner(f"witness.example/w{number}", COSIGNATURE, key(f"witness {number}")) for number in range(1, 4)]
KEYS = tuple(witness.verifier for witness in WITNESSES)
NOW = START // 1000
TEXT = "A note\nin two lines.\n"
NOTE = sign_note(TEXT, HOME)


def code_of(attempt: Callable[..., object], *given_: object) -> str:
    """The code with which it is refused."""
    with pytest.raises(Refused) as caught:
        attempt(*given_)
    return caught.value.code


def opened(raw: str | bytes, *keys: VerifierKey) -> SignedNote:
    return open_note(raw, keys or [HOME.verifier])


def unknown(number: int) -> str:
    """A line that is well formed, by nobody known."""
    blob = sha256(b"%d" % number).digest()
    return f"— stranger.example/{number} {base64.b64encode(blob).decode()}\n"


# --- keys


def test_a_key_is_handed_on_as_a_text() -> None:
    for signer in (HOME, *WITNESSES):
        assert parse_vkey(signer.verifier.text) == signer.verifier
        assert signer.verifier.text.startswith(f"{signer.name}+{signer.verifier.id.hex()}+")


def test_the_id_of_a_key_is_of_its_name_and_its_kind_too() -> None:
    raw = HOME.key.public.raw
    assert HOME.verifier.id == sha256(LOG.encode() + b"\n\x01" + raw).digest()[:4]
    ids = {VerifierKey(name, kind, HOME.key.public).id for name in (LOG, "b") for kind in (ED25519, COSIGNATURE)}
    assert len(ids) == 4


def vkey(name: str, material: bytes, id_: str | None = None) -> str:
    """A vkey whose id is right, whatever it is of."""
    right = sha256(name.encode("utf-8", "surrogatepass") + b"\n" + material).digest()[:4].hex()
    return f"{name}+{right if id_ is None else id_}+{base64.b64encode(material).decode()}"


PUBLIC = HOME.key.public.raw
LOW_ORDER = [bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "++",
        "a+b+c",
        HOME.verifier.text + "\n",
        HOME.verifier.text + "=",
        HOME.verifier.text[:-1],
        HOME.verifier.text.replace("+", "+0", 1),
        vkey("", b"\1" + PUBLIC),
        vkey("a b", b"\1" + PUBLIC),
        vkey("a\u00a0b", b"\1" + PUBLIC),
        vkey("a\u2028b", b"\1" + PUBLIC),
        vkey("a\nb", b"\1" + PUBLIC),
        vkey("a\x7fb", b"\1" + PUBLIC),
        vkey("a\ud800", b"\1" + PUBLIC),
        vkey("a" * 256, b"\1" + PUBLIC),
        vkey("a", b"\1" + PUBLIC, HOME.verifier.id.hex()),
        vkey("a", b"\1" + PUBLIC).upper(),
        vkey("a", b"\1" + PUBLIC, ""),
        vkey("a", PUBLIC),
        vkey("a", b"\1" + PUBLIC + b"\0"),
        vkey("a", b"\0" + PUBLIC),
        vkey("a", b"\2" + PUBLIC),
        vkey("a", b"\5" + PUBLIC),
        vkey("a", b"\xff" + PUBLIC),
        *(vkey("a", bytes([kind]) + raw) for kind in (ED25519, COSIGNATURE) for raw in LOW_ORDER),
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_an_invalid_key_is_refused(text: str) -> None:
    """Under a key of low order one signature would fit more than one checkpoint."""
    with pytest.raises(Malformed):
        parse_vkey(text)


# --- notes


def test_a_note_says_what_was_signed() -> None:
    note = opened(NOTE)
    assert (note.raw, note.text) == (NOTE, TEXT)
    assert [(it.key, it.time) for it in note.signatures] == [(HOME.verifier, None)]
    assert opened(NOTE.encode()) == note
    # Anybody's Ed25519 makes the same line.
    other = NaClKey(HOME.key.seed).sign(TEXT.encode()).signature
    assert split_note(NOTE) == (TEXT, [(LOG, HOME.verifier.id + other)])


@pytest.mark.parametrize(
    "text", ["a\n", "\n", "a\n\nb\n", "a\n\n\nb\n", "\n\na\n", "— a b\n", "ß 字 \u00a0\u2028 \x7f\n", NOTE]
)
def test_a_text_may_have_empty_lines_and_what_looks_like_a_note(text: str) -> None:
    assert opened(sign_note(text, HOME)).text == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])).map(lambda text: f"{text}\n"))
@settings(max_examples=40)
def test_every_note_is_read_back(text: str) -> None:
    assert opened(sign_note(text, HOME)).text == text


def test_lines_of_people_who_are_not_known_are_passed_over() -> None:
    lines = [unknown(1), signature_line(TEXT, HOME), unknown(2), signature_line(TEXT, WITNESSES[0], NOW)]
    raw = f"{TEXT}\n{''.join(lines)}"
    assert [it.key for it in opened(raw).signatures] == [HOME.verifier]
    held = opened(raw, HOME.verifier, *KEYS).signatures
    assert [(it.key, it.time) for it in held] == [(HOME.verifier, None), (KEYS[0], NOW)]
    assert code_of(opened, raw, KEYS[1]) == "unknown_key"
    assert code_of(open_note, raw, []) == "unknown_key"


def test_a_key_is_known_by_name_and_id_together() -> None:
    blob = base64.b64encode(WITNESSES[0].verifier.id + bytes(72)).decode()
    same_name = f"— {LOG} {blob}\n"
    own = base64.b64encode(HOME.verifier.id + bytes(64)).decode()
    same_id = f"— stranger.example {own}\n"
    assert len(opened(NOTE + same_name + same_id).signatures) == 1
    assert code_of(opened, f"{TEXT}\n{same_name}{same_id}") == "unknown_key"


def test_seventeen_signatures_are_read_and_too_many_are_not() -> None:
    others = [unknown(number) for number in range(MOST_SIGNATURES)]
    for before in (0, 8, 16):
        raw = f"{TEXT}\n{''.join(others[:before])}{signature_line(TEXT, HOME)}{''.join(others[before:16])}"
        assert opened(raw).signatures[0].key == HOME.verifier
    assert opened(NOTE + "".join(others[:-1])).text == TEXT
    assert code_of(opened, NOTE + "".join(others)) == "malformed"


def test_a_signature_is_there_once_however_often_it_is_shown() -> None:
    assert len(opened(NOTE + signature_line(TEXT, HOME) * 3).signatures) == 1


def test_a_bad_line_of_a_known_key_spoils_the_whole_note() -> None:
    bad = signature_line("Another text.\n", HOME)
    for lines in (bad, signature_line(TEXT, HOME) + bad, bad + signature_line(TEXT, HOME)):
        assert code_of(opened, f"{TEXT}\n{lines}") == "bad_signature"
    witness = signature_line("Another text.\n", WITNESSES[0], NOW)
    assert opened(NOTE + witness).text == TEXT
    assert code_of(opened, NOTE + witness, HOME.verifier, KEYS[0]) == "bad_signature"


def blob_of(line: str) -> bytes:
    return base64.b64decode(line.rpartition(" ")[2])


def line_of(name: str, blob: bytes) -> str:
    return f"— {name} {base64.b64encode(blob).decode()}\n"


def test_a_signature_has_the_length_of_its_kind() -> None:
    for signer, line in ((HOME, signature_line(TEXT, HOME)), (WITNESSES[0], signature_line(TEXT, WITNESSES[0], NOW))):
        blob = blob_of(line)
        for other in (blob[:-1], blob + b"\0", blob[:5], blob[:12]):
            raw = f"{TEXT}\n{line_of(signer.name, other)}"
            assert code_of(opened, raw, signer.verifier) == "bad_signature"
        short = f"{TEXT}\n{line_of(signer.name, blob[:4])}"
        assert code_of(opened, short, signer.verifier) == "malformed"


def test_a_cosignature_is_of_its_time_too() -> None:
    """Else a log could make an old head look as if a witness had just seen it."""
    witness, line = WITNESSES[0], signature_line(TEXT, WITNESSES[0], NOW)
    assert opened(f"{TEXT}\n{line}", KEYS[0]).signatures[0].time == NOW
    signed = NaClKey(witness.key.seed).sign(f"cosignature/v1\ntime {NOW}\n{TEXT}".encode()).signature
    assert blob_of(line) == KEYS[0].id + NOW.to_bytes(8, "big") + signed
    for time in (0, NOW - 1, NOW + 1, 2**64 - 1):
        moved = KEYS[0].id + time.to_bytes(8, "big") + signed
        raw = f"{TEXT}\n{line_of(witness.name, moved)}"
        assert code_of(opened, raw, KEYS[0]) == "bad_signature"


def test_a_time_beyond_what_can_be_is_refused_though_it_was_signed() -> None:
    for time in (0, 2**63 - 1):
        assert opened(sign_note(TEXT, WITNESSES[0], time), KEYS[0]).signatures[0].time == time
    assert code_of(opened, sign_note(TEXT, WITNESSES[0], 2**63), KEYS[0]) == "bad_signature"


def test_a_signature_of_one_kind_is_none_of_the_other() -> None:
    """A log cannot pass its own signature off as its witness's, nor the other way round."""
    twice = NoteSigner(LOG, COSIGNATURE, HOME.key)
    both = (HOME.verifier, twice.verifier)
    assert [it.time for it in opened(NOTE + signature_line(TEXT, twice, NOW), *both).signatures] == [None, NOW]
    as_witness = twice.verifier.id + NOW.to_bytes(8, "big") + blob_of(signature_line(TEXT, HOME))[4:]
    assert code_of(opened, f"{TEXT}\n{line_of(LOG, as_witness)}", *both) == "bad_signature"
    # The text of a cosignature is one that a log may happen to sign; it is still not the note's.
    header = f"cosignature/v1\ntime {NOW}\n{TEXT}"
    as_log = HOME.verifier.id + HOME.key.sign(header.encode())
    assert code_of(opened, f"{TEXT}\n{line_of(LOG, as_log)}", *both) == "bad_signature"


LINE = signature_line(TEXT, HOME)
BLOB = LINE.rpartition(" ")[2].rstrip("\n")


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "\n",
        "\n\n",
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}{LINE}",
        LINE,
        f"\n{LINE}",
        f"{TEXT}\n{LINE}\n",
        f"{TEXT}\n\n{LINE}\n\n",
        f"{TEXT}\n{LINE}".removesuffix("\n"),
        f"{TEXT}\n{LINE}x",
        f"{TEXT}\n{LINE}not a signature\n",
        f"{TEXT}\nnot a signature\n{LINE}",
        f"{TEXT}\n{LINE}".replace("\n", "\r\n"),
        f"{TEXT}\r\n{LINE}",
        f"{TEXT}\n{LINE}".replace("\n", "\r"),
        *(f"a{control}b\n\n{signature_line(f'a{control}b', HOME)}" for control in "\0\1\t\v\f\r\x1b\x1f"),
        *(f"{TEXT}\n{LINE.removesuffix(chr(10))}{control}\n" for control in "\0\t\r\x1f"),
        f"{TEXT}\n{LINE.replace('—', '-')}",
        f"{TEXT}\n{LINE.replace('—', '–')}",
        f"{TEXT}\n{LINE.replace('— ', '—')}",
        f"{TEXT}\n{LINE.replace('— ', '—  ')}",
        f"{TEXT}\n {LINE}",
        f"{TEXT}\n— {LOG}\u00a0{BLOB}\n",
        f"{TEXT}\n— {LOG} {BLOB} \n",
        f"{TEXT}\n— {LOG} {BLOB} {BLOB}\n",
        f"{TEXT}\n— {LOG}\n",
        f"{TEXT}\n— {LOG} \n",
        f"{TEXT}\n—  {BLOB}\n",
        f"{TEXT}\n— a+b {BLOB}\n",
        f"{TEXT}\n— a\u2003b {BLOB}\n",
        f"{TEXT}\n— a\u2028b {BLOB}\n",
        f"{TEXT}\n— {LOG} {BLOB.rstrip('=')}\n",
        f"{TEXT}\n— {LOG} {BLOB}=\n",
        f"{TEXT}\n— {LOG} {BLOB[:40]}={BLOB[41:]}\n",
        f"{TEXT}\n— {LOG} {BLOB.replace('+', '-').replace('/', '_')}\n" if set("+/") & set(BLOB) else "",
        f"{TEXT}\n— {LOG} AAAAAB==\n",
        f"{TEXT}\n— {LOG} AAAA\n",
        f"{TEXT}\ud800\n{LINE}",
        f"{TEXT}\n— \ud800 {BLOB}\n",
        *(f"{TEXT}\n{unknown(1)}{bad}" for bad in ("— stranger AAAAAAB=\n", "— stranger =\n", "\n", "— stranger AA\n")),
    ],
    ids=lambda raw: ascii(raw)[-40:],
)
def test_an_invalid_note_is_refused(raw: str) -> None:
    """Also where the line at fault is nobody's who is known."""
    with pytest.raises(Malformed):
        opened(raw)
    with pytest.raises(Malformed):
        opened(raw.encode("utf-8", "surrogatepass"))


def test_a_note_that_is_not_utf_8_or_too_long_is_refused() -> None:
    assert code_of(opened, b"\xff" + NOTE.encode()) == "malformed"
    long = "a" * (MOST_NOTE - len(NOTE.encode()) + len(TEXT) - 1) + "\n"
    assert opened(sign_note(long, HOME).encode()).text == long
    assert code_of(opened, sign_note("a" + long, HOME).encode()) == "too_large"
    assert code_of(opened, sign_note("a" * MOST_NOTE, HOME)) == "too_large"


def test_a_note_cut_short_anywhere_is_refused() -> None:
    raw = NOTE.encode()
    for length in range(len(raw)):
        with pytest.raises(Refused):
            opened(raw[:length])
    for length in range(len(NOTE)):
        with pytest.raises(Refused):
            opened(NOTE[:length])


def test_a_note_of_which_any_byte_is_another_is_refused() -> None:
    raw = NOTE.encode()
    for at, byte in enumerate(raw):
        for other in {byte ^ 1 << bit for bit in range(8)} | set(b"\n \r=+A") - {byte}:
            with pytest.raises(Refused):
                opened(raw[:at] + bytes([other]) + raw[at + 1 :])


@st.composite
def bent(draw: st.DrawFn, text: str) -> str:
    """The text with some stretches left out, doubled, or replaced."""
    for _ in range(draw(st.integers(1, 3))):
        low, high = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        put = draw(
            st.sampled_from(["", "\n", "\n\n", "— ", " ", "0", "=", "AAAA", "\ud800", "\u2028", text[low:high] * 2])
        )
        text = text[:low] + put + text[high:]
    return text


def read_all(raw: str | bytes) -> None:
    """Every parser of texts: what it makes of this, or that it refuses it, and nothing else."""
    text = raw if isinstance(raw, str) else raw.decode("latin-1")
    readers: list[Callable[[], object]] = [
        lambda: opened(raw, HOME.verifier, *KEYS),
        lambda: split_note(raw),
        lambda: split_lines(text),
        lambda: open_checkpoint(raw, HOME.verifier, KEYS),
        lambda: parse_checkpoint(text),
        lambda: with_cosignatures(HEAD, text, KEYS),
        lambda: decode_base64(text),
    ]
    for reader in readers:
        try:
            reader()
        except Refused:
            continue


HEAD = sign_checkpoint(Checkpoint(LOG, 600, leaf_hash(b"root")), HOME)
WITNESSED = with_cosignatures(HEAD, signature_line(HEAD.text, WITNESSES[0], NOW), KEYS)


@given(
    st.one_of(
        st.text(), st.binary(), bent(WITNESSED.raw), bent(WITNESSED.raw).map(lambda it: it.encode("utf-8", "replace"))
    )
)
@settings(max_examples=150)
def test_any_bytes_are_read_as_a_note_or_refused(raw: str | bytes) -> None:
    read_all(raw)


@given(st.one_of(st.text(), bent(HOME.verifier.text), st.text(alphabet="a+\ud800/=0", max_size=12)))
def test_any_text_is_read_as_a_key_or_refused(text: str) -> None:
    try:
        found = parse_vkey(text)
    except Malformed:
        return
    assert found.text == text


# --- checkpoints


def test_a_checkpoint_says_whose_how_many_and_over_what() -> None:
    again = open_checkpoint(HEAD.raw, HOME.verifier)
    assert again == HEAD
    assert (again.origin, again.size, again.root) == (LOG, 600, leaf_hash(b"root"))
    assert again.text == f"{LOG}\n600\n{base64.b64encode(again.root).decode()}\n"
    assert open_checkpoint(HEAD.raw.encode(), HOME.verifier) == HEAD
    empty = sign_checkpoint(Checkpoint(LOG, 0, EMPTY_ROOT), HOME)
    assert open_checkpoint(empty.raw, HOME.verifier).size == 0


def signed(text: str, signer: NoteSigner = HOME) -> str:
    return sign_note(text, signer)


def test_the_checkpoint_of_another_log_is_refused() -> None:
    other = NoteSigner("other.example/log", ED25519, key("another log"))
    theirs = sign_checkpoint(HEAD.checkpoint._replace(origin=other.name), other)
    assert open_checkpoint(theirs.raw, other.verifier) == theirs
    assert code_of(open_checkpoint, theirs.raw, HOME.verifier) == "unknown_key"
    # One that this log signed all the same, and one of a log of another key under the same name.
    assert code_of(open_checkpoint, signed(theirs.text), HOME.verifier) == "malformed"
    stolen = signed(HEAD.text, other._replace(name=LOG))
    assert code_of(open_checkpoint, stolen, HOME.verifier) == "unknown_key"


def test_a_witness_alone_signs_no_checkpoint() -> None:
    alone = signed(HEAD.text, WITNESSES[0])
    assert code_of(open_checkpoint, alone, HOME.verifier, KEYS) == "unknown_key"
    assert code_of(open_checkpoint, alone, KEYS[0], KEYS) == "malformed"
    as_log = NoteSigner(LOG, COSIGNATURE, HOME.key)
    assert code_of(open_checkpoint, signed(HEAD.text, as_log), as_log.verifier) == "malformed"


def test_lines_after_the_root_are_allowed_and_signed() -> None:
    more = f"{HEAD.text}something\nelse\n"
    found = open_checkpoint(signed(more), HOME.verifier)
    assert (found.checkpoint, found.text) == (HEAD.checkpoint, more)
    witnessed = with_cosignatures(found, signature_line(more, WITNESSES[0], NOW), KEYS)
    assert open_checkpoint(witnessed.raw, HOME.verifier, KEYS).cosignatures == {KEYS[0].name: NOW}
    # A witness that left them out did not sign this checkpoint.
    assert code_of(with_cosignatures, found, signature_line(HEAD.text, WITNESSES[0], NOW), KEYS) == "bad_signature"


ROOT = base64.b64encode(HEAD.root).decode()
EMPTY = base64.b64encode(EMPTY_ROOT).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"{LOG}\n0600\n{ROOT}\n",
        f"{LOG}\n00\n{EMPTY}\n",
        f"{LOG}\n-1\n{ROOT}\n",
        f"{LOG}\n+600\n{ROOT}\n",
        f"{LOG}\n 600\n{ROOT}\n",
        f"{LOG}\n6e2\n{ROOT}\n",
        f"{LOG}\n\u0666\n{ROOT}\n",
        f"{LOG}\n{2**53}\n{ROOT}\n",
        f"{LOG}\n{10**30}\n{ROOT}\n",
        f"{LOG}\n0\n{ROOT}\n",
        f"{LOG}\n600\n{ROOT[:-1]}\n",
        f"{LOG}\n600\n{ROOT} \n",
        f"{LOG}\n600\n{base64.b64encode(HEAD.root[:31]).decode()}\n",
        f"{LOG}\n600\n{base64.b64encode(HEAD.root + b'x').decode()}\n",
        f"{LOG}\n600\n{HEAD.root.hex()}\n",
        f"{LOG}\n600\n",
        f"{LOG}\n600\n\n{ROOT}\n",
        f"\n600\n{ROOT}\n",
        f"{LOG}\n\n{ROOT}\n",
        f"{LOG}\n600\n{ROOT}\n\nmore\n",
        f"\n{LOG}\n600\n{ROOT}\n",
        f"{LOG}\n600\n{ROOT}\n{'a' * 4096}\n",
        f"{LOG}\n{ROOT}\n600\n",
    ],
    ids=lambda text: ascii(text)[18:50],
)
def test_an_invalid_checkpoint_is_refused_though_the_log_signed_it(text: str) -> None:
    assert code_of(open_checkpoint, signed(text), HOME.verifier) == "malformed"
    with pytest.raises(Malformed):
        parse_checkpoint(text)


def test_a_checkpoint_without_its_last_newline_is_none() -> None:
    with pytest.raises(Malformed):
        parse_checkpoint(HEAD.text.removesuffix("\n"))


# --- witnesses


def cosigned(*numbers: int, head: SignedCheckpoint = HEAD) -> SignedCheckpoint:
    """The head with the lines of these witnesses."""
    lines = "".join(signature_line(head.text, WITNESSES[number - 1], NOW + number) for number in numbers)
    return with_cosignatures(head, lines, KEYS) if lines else head


def test_witnesses_put_their_lines_below_the_log_s() -> None:
    found = cosigned(1, 3)
    assert found.cosignatures == {KEYS[0].name: NOW + 1, KEYS[2].name: NOW + 3}
    assert found.raw.startswith(HEAD.raw) and found.raw.count("\n— ") == 3
    assert open_checkpoint(found.raw, HOME.verifier, KEYS) == found
    assert open_checkpoint(found.raw, HOME.verifier, KEYS[:1]).cosignatures == {KEYS[0].name: NOW + 1}
    assert open_checkpoint(found.raw, HOME.verifier).cosignatures == {}


def test_an_answer_of_a_witness_that_is_not_known_changes_nothing() -> None:
    assert with_cosignatures(HEAD, unknown(1) + unknown(2), KEYS) == HEAD
    assert with_cosignatures(HEAD, signature_line(HEAD.text, WITNESSES[0], NOW), KEYS[1:]) == HEAD
    both = unknown(1) + signature_line(HEAD.text, WITNESSES[0], NOW) + unknown(2)
    assert with_cosignatures(HEAD, both, KEYS).raw == HEAD.raw + signature_line(HEAD.text, WITNESSES[0], NOW)


def test_a_second_line_of_a_witness_is_left_out() -> None:
    first = signature_line(HEAD.text, WITNESSES[0], NOW)
    once = with_cosignatures(HEAD, first, KEYS)
    later = signature_line(HEAD.text, WITNESSES[0], NOW + 9)
    assert with_cosignatures(once, later, KEYS) == once
    assert with_cosignatures(HEAD, first + later, KEYS) == once


def test_an_answer_that_does_not_hold_is_refused() -> None:
    for text in (TEXT, HEAD.text + "more\n", sign_checkpoint(HEAD.checkpoint._replace(size=601), HOME).text):
        line = signature_line(text, WITNESSES[0], NOW)
        assert code_of(with_cosignatures, HEAD, line, KEYS) == "bad_signature"
    for lines in ("", "\n", "nothing\n", signature_line(HEAD.text, WITNESSES[0], NOW) + "\n", "— a AAAA\n"):
        assert code_of(with_cosignatures, HEAD, lines, KEYS) == "malformed"


def test_a_log_s_line_is_no_witness_s_answer() -> None:
    line = signature_line(HEAD.text, HOME)
    assert with_cosignatures(HEAD, line, [*KEYS, HOME.verifier]) == HEAD


@pytest.mark.parametrize("who", [(), (1,), (2,), (1, 2), (1, 3), (1, 2, 3)])
def test_so_many_of_the_named_witnesses_must_have_cosigned(who: tuple[int, ...]) -> None:
    found = cosigned(*who)
    for least in range(4):
        assert is_witnessed(found, Policy(least, KEYS)) == (len(who) >= least)
        # Who is not of the policy counts for nothing.
        named = len({1, 2} & set(who))
        assert is_witnessed(found, Policy(least, KEYS[:2])) == (named >= least)
    assert not is_witnessed(found, Policy(1, ()))
    assert is_witnessed(found, Policy())


def test_a_witness_that_signs_three_times_is_one_witness() -> None:
    lines = "".join(signature_line(HEAD.text, WITNESSES[0], NOW + more) for more in range(3))
    found = open_checkpoint(HEAD.raw + lines, HOME.verifier, KEYS)
    assert is_witnessed(found, Policy(1, KEYS)) and not is_witnessed(found, Policy(2, KEYS))


def test_a_witness_with_two_keys_or_two_names_is_one_witness() -> None:
    """A cosignature is not of its name, so whoever holds it can put it under each name that the key has."""
    renamed = WITNESSES[0]._replace(name="witness.example/renamed")
    rekeyed = WITNESSES[0]._replace(key=key("the same witness's next key"))
    for other in (renamed, rekeyed):
        keys = (KEYS[0], other.verifier, KEYS[1])
        lines = [signature_line(HEAD.text, it, NOW) for it in (WITNESSES[0], other, WITNESSES[1])]
        one = open_checkpoint(HEAD.raw + "".join(lines[:2]), HOME.verifier, keys)
        assert is_witnessed(one, Policy(1, keys)) and not is_witnessed(one, Policy(2, keys))
        two = open_checkpoint(HEAD.raw + "".join(lines), HOME.verifier, keys)
        assert is_witnessed(two, Policy(2, keys)) and not is_witnessed(two, Policy(3, keys))


def test_a_log_is_not_its_own_witness() -> None:
    policy = Policy(1, (HOME.verifier,))
    assert not is_witnessed(open_checkpoint(HEAD.raw, HOME.verifier, policy.witnesses), policy)
