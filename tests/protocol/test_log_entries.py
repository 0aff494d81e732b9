"""What the log says of an act to everybody, and that nobody finds out the rest by trying (LOG-6 to LOG-10)."""

import hmac
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.documents.acts import MODELS, SETTINGS, Mute, SignedAct
from comity.documents.types import AGREEMENT_PURPOSES, EXEMPT_PURPOSES, NOTE, SIDES, Channel, Side
from comity.errors import Malformed
from comity.transparency.entries import (
    EPOCH,
    HOUR,
    LENGTH,
    MINUTE,
    SALT,
    Kind,
    LogEntry,
    Scope,
    commitment,
    entry_of_act,
    entry_of_delivery,
    entry_of_key,
    entry_tag,
    key_statement,
    kind_of,
    named_mute,
    parse_entry,
    tag_key,
    tag_scope_of,
)
from comity.transparency.merkle import leaf_hash
from support.parties import BODY, DAY, LOG, MIA, SHOP, START, Pair, connected, pairwise

SECRET = sha256(b"the connection's own").digest()
SALTED = sha256(b"a salt").digest()
AT = START + 7 * MINUTE + 59_999


@pytest.fixture(scope="module")
def pair() -> Pair:
    return connected()


HASH = "A" * 43
SENT_PURPOSES = AGREEMENT_PURPOSES - {NOTE}
"""Purposes that rest on the agreement and that a message can have."""

LEAST: dict[str, dict[str, Any]] = {
    "grant": {"purposes": ("care",)},
    "withdraw": {"grant": HASH},
    "mute": {},
    "unmute": {},
    "revoke": {},
    "message": {"purpose": "care"},
    "contacted": {"purpose": "care"},
    "ask": {},
    "answer": {"ask": HASH, "answer": "yes"},
    "done": {"ask": HASH},
    "thank": {"ask": HASH},
    "remember": {"key": "language"},
    "forget": {"key": "language"},
    "milestone": {"topic": "windows"},
    "feedback": {"message": HASH, "purpose": "care", "says": "thanks"},
    "renounce": {"grants": (HASH,), "because": "told_us"},
    "erasure": {"deleted": ()},
    "hours": {},
    "budget": {},
    "mailbox": {},
    "mute_end": {"mute": HASH, "until": START // 1000},
}
"""What an act of that kind must say; what else it needs, `Pair.compose` fills in."""


def act_of(pair: Pair, kind: str, side: Side = "second", **fields: Any) -> SignedAct:
    """An act that is well formed; nobody asks here whether it would be accepted."""
    return pair.compose(kind, side, START, **{**LEAST[kind], **fields})


def entry_of(act: SignedAct, side: Side = "second", at: int = AT, salt: bytes = SALTED) -> LogEntry:
    return entry_of_act(act, side, tag_key(SECRET, tag_scope_of(act, side)), salt, at)


def rotation() -> SignedAct:
    fresh = connected()
    return fresh.rotate("second", pairwise("mia again"), START + DAY)


# --- kinds


def test_a_contest_is_told_apart_and_other_feedback_is_not(pair: Pair) -> None:
    about: Any = {"message": HASH, "purpose": "care"}
    contest = entry_of(act_of(pair, "feedback", **about, says="mislabelled", as_="sales"))
    assert (contest.kind, contest.side, contest.until) == (Kind.CONTEST, "second", 0)
    assert parse_entry(contest.to_bytes()) == contest
    for word in ("useful", "not_useful", "too_often", "not_interested", "thanks"):
        assert entry_of(act_of(pair, "feedback", **about, says=word)).kind is Kind.ACT


OF_THEIR_OWN = {"mute": Kind.MUTE_ALL, "unmute": Kind.UNMUTE, "revoke": Kind.REVOKE}


@pytest.mark.parametrize("kind", MODELS)
def test_the_log_tells_a_no_from_the_rest_and_nothing_else_apart(pair: Pair, kind: str) -> None:
    act = rotation() if kind == "rotate" else act_of(pair, kind)
    private = kind in SETTINGS
    told = Kind.PRIVATE if private else OF_THEIR_OWN.get(kind, Kind.ACT)
    entry = entry_of(act)
    assert kind_of(act) is entry.kind is told
    assert entry.side == (None if private else "second")
    assert tag_scope_of(act, "second") == ("second" if private else "both")
    assert tag_scope_of(act, "first") == ("first" if private else "both")
    assert (entry.time, entry.until) == (AT // MINUTE, 0)
    assert len(entry.to_bytes()) == LENGTH == 59


@pytest.mark.parametrize("kind", sorted(SETTINGS))
def test_settings_all_look_alike(pair: Pair, kind: str) -> None:
    """An observer learns that one of the two set something, and not who, or what."""
    for side, by in product(SIDES, ("first", "second")):
        act = act_of(pair, kind, side)
        seen = entry_of_act(act, side, tag_key(SECRET, by), SALTED, AT)
        told = LogEntry(Kind.PRIVATE, None, AT // MINUTE, 0, seen.tag, seen.commitment)
        assert seen == told and len(seen.to_bytes()) == LENGTH


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, Kind.MUTE_ALL),
        ({"until": START // 1000}, Kind.MUTE_ALL),
        ({"purposes": ("care",)}, Kind.MUTE_PART),
        ({"channels": ("email",)}, Kind.MUTE_PART),
        ({"purposes": ("care",), "until": START // 1000}, Kind.MUTE_PART),
        ({"channels": get_args(Channel), "purposes": ("care", "sales")}, Kind.MUTE_PART),
    ],
)
def test_a_mute_of_everything_is_told_from_a_mute_of_some_things(
    pair: Pair, fields: dict[str, Any], kind: Kind
) -> None:
    assert kind_of(act_of(pair, "mute", **fields)) is kind


def test_taking_back_a_part_of_a_no_does_not_look_like_taking_it_back(pair: Pair) -> None:
    """Else a server could take back a mute of e-mail alone, and deliver as if that of everything had gone."""
    all_of_it, part = act_of(pair, "mute"), act_of(pair, "mute", channels=("email",))
    for mute, kind in ((all_of_it, Kind.UNMUTE), (part, Kind.UNMUTE_PART)):
        act, muted = act_of(pair, "unmute", mute=mute.id), mute.payload
        assert isinstance(muted, Mute)
        assert kind_of(act, muted) is kind
        assert entry_of_act(act, "second", tag_key(SECRET, "both"), SALTED, AT, muted).kind is kind
    assert kind_of(act_of(pair, "unmute")) is Kind.UNMUTE


def test_which_mute_is_named_follows_from_those_in_force() -> None:
    pair = connected()
    whole = pair.go("mute", "second", START + 1)
    part = pair.go("mute", "second", START + 2, purposes=("care",))
    mutes = pair.state.second.mutes
    for mute in (whole, part):
        named = named_mute(pair.compose("unmute", "second", START + 3, mute=mute.id), mutes)
        assert named is not None and named.id == mute.id
    assert named_mute(pair.compose("unmute", "second", START + 3), mutes) is None
    assert named_mute(whole, mutes) is None


@pytest.mark.parametrize("seconds", [0, 1, 1799, 3599, 3600, 7199])
def test_the_end_of_a_mute_is_shown_rounded_down_to_the_hour(pair: Pair, seconds: int) -> None:
    """Rounded up, the log would have a shop muted for longer than it was; only a mute of everything shows an end."""
    end = START // HOUR * 3600 + seconds
    assert entry_of(act_of(pair, "mute", until=end)).until == START // HOUR + seconds // 3600
    assert entry_of(act_of(pair, "mute", until=end, purposes=("care",))).until == 0
    assert entry_of(act_of(pair, "mute")).until == 0


def test_a_mute_to_the_end_of_all_times_still_fits(pair: Pair) -> None:
    last = 253_402_300_799
    entry = entry_of(act_of(pair, "mute", until=last), at=last * 1000 + 999)
    assert parse_entry(entry.to_bytes()) == entry
    assert (entry.until, entry.time) == (last // 3600, last // 60)


def test_the_log_has_minutes_and_no_more_of_the_time(pair: Pair) -> None:
    act = act_of(pair, "revoke")
    times = {entry_of(act, at=START + more).time for more in (0, 1, 30_000, 59_999)}
    assert times == {START // MINUTE}
    assert entry_of(act, at=START + MINUTE).time == START // MINUTE + 1


@pytest.mark.parametrize("purpose", sorted({"care", "sales.windows", "safetyish", "safety.x"} | SENT_PURPOSES))
@pytest.mark.parametrize("side", SIDES)
def test_a_delivery_has_an_entry_that_names_who_sent_it(pair: Pair, purpose: str, side: Side) -> None:
    raw = act_of(pair, "message", side, purpose=purpose).raw
    entry = entry_of_delivery(raw, purpose, side, tag_key(SECRET, "both"), SALTED, AT)
    kind = Kind.DELIVERED_EXEMPT if purpose in EXEMPT_PURPOSES else Kind.DELIVERED
    assert entry == LogEntry(
        kind, side, AT // MINUTE, 0, entry_tag(tag_key(SECRET, "both"), AT), commitment(SALTED, AT, raw.encode())
    )


def test_a_message_and_its_delivery_have_nothing_in_common_but_the_connection(pair: Pair) -> None:
    """Else the delivery of what was held would tell which message that was."""
    act = act_of(pair, "message")
    sent = entry_of(act)
    come = entry_of_delivery(act.raw, "care", "second", tag_key(SECRET, "both"), sha256(b"another").digest(), AT)
    assert sent.tag == come.tag and sent.commitment != come.commitment


def test_a_key_that_is_published_has_an_entry() -> None:
    statement = key_statement(SHOP.did, SHOP.kid, SHOP.key.public.multibase, AT)
    assert statement.decode() == (
        f'{{"did":"{SHOP.did}","kid":"{SHOP.kid}","key":"{SHOP.key.public.multibase}","at":{AT}}}'
    )
    key = tag_key(SECRET, "both")
    entry = entry_of_key(statement, key, SALTED, AT)
    assert entry == LogEntry(Kind.KEY, None, AT // MINUTE, 0, entry_tag(key, AT), commitment(SALTED, AT, statement))


# --- bytes

U32 = st.integers(0, 2**32 - 1)
SIDELESS = (Kind.ERASED, Kind.KEY, Kind.PRIVATE, Kind.DISCLOSED, Kind.NOTICE)


@st.composite
def entries(draw: st.DrawFn) -> LogEntry:
    """Any entry that says no more than its kind does."""
    kind = draw(st.sampled_from(Kind))
    side = None if kind in SIDELESS else draw(st.sampled_from(SIDES))
    until = draw(U32) if kind is Kind.MUTE_ALL else 0
    size = st.binary
    return LogEntry(
        kind, side, draw(U32), until, draw(size(min_size=16, max_size=16)), draw(size(min_size=32, max_size=32))
    )


@given(entries())
def test_an_entry_is_read_as_it_was_written(entry: LogEntry) -> None:
    assert parse_entry(entry.to_bytes()) == entry


@given(st.one_of(st.binary(), st.binary(min_size=LENGTH, max_size=LENGTH).map(lambda it: b"\2" + it[1:])))
def test_every_entry_that_is_read_has_one_spelling(data: bytes) -> None:
    try:
        entry = parse_entry(data)
    except Malformed:
        return
    assert entry.to_bytes() == data


def test_an_entry_is_laid_out_so() -> None:
    entry = LogEntry(Kind.MUTE_ALL, "second", 0x01020304, 0x05060708, bytes(range(16)), bytes(range(100, 132)))
    head = bytes([2, 2, 2, 1, 2, 3, 4, 5, 6, 7, 8])
    assert entry.to_bytes() == head + bytes(range(16)) + bytes(range(100, 132))
    assert [int(kind) for kind in Kind] == list(range(1, 16))


def test_an_invalid_entry_is_refused() -> None:
    good = LogEntry(Kind.ACT, "first", 1, 0, bytes(16), bytes(32)).to_bytes()
    assert parse_entry(good).side == "first"
    for length in range(LENGTH):
        with pytest.raises(Malformed):
            parse_entry(good[:length])
    with pytest.raises(Malformed):
        parse_entry(good + b"\0")
    for at, byte in [(0, 0), (0, 1), (0, 3), (0, 255), (1, 0), (1, 16), (1, 255), (2, 3), (2, 255)]:
        with pytest.raises(Malformed):
            parse_entry(good[:at] + bytes([byte]) + good[at + 1 :])


def test_an_entry_says_neither_more_nor_less_than_its_kind_does() -> None:
    """A side on a setting, an end on a part: room in which an operator could mark whose it is."""
    for kind, side, until in product(Kind, (None, *SIDES), (0, 1)):
        fits = (side is None) == (kind in SIDELESS) and (until == 0 or kind is Kind.MUTE_ALL)
        data = LogEntry(kind, side, 1, until, bytes(16), bytes(32)).to_bytes()
        if fits:
            assert parse_entry(data).kind is kind
        else:
            with pytest.raises(Malformed):
                parse_entry(data)


# --- tags and commitments


def test_a_connection_keeps_its_tag_for_a_week_and_no_longer() -> None:
    key = tag_key(SECRET, "both")
    begin = START // EPOCH * EPOCH
    assert EPOCH == 7 * DAY
    assert len({entry_tag(key, begin + more) for more in (0, 1, DAY, EPOCH - 1)}) == 1
    weeks = [entry_tag(key, begin + week * EPOCH) for week in range(-3, 50)]
    assert len(set(weeks)) == len(weeks) and {len(it) for it in weeks} == {16}


def test_whose_key_it_is_shows_in_the_tag_to_those_who_have_it() -> None:
    scopes: tuple[Scope, ...] = ("both", "first", "second")
    keys = [tag_key(secret, scope) for secret in (SECRET, sha256(SECRET).digest()) for scope in scopes]
    assert len({entry_tag(key, AT) for key in keys}) == len(set(keys)) == 6
    # Nobody gets from one key to another: each is as long as what it was made with, and shows nothing of it.
    assert {len(key) for key in keys} == {32} and SECRET not in keys


def test_a_commitment_is_to_the_salt_the_time_and_every_byte(pair: Pair) -> None:
    act = act_of(pair, "message")
    data = act.raw.encode()
    own = commitment(SALTED, AT, data)
    assert own == sha256(SALTED + AT.to_bytes(8, "big") + data).digest() == entry_of(act).commitment
    others = [
        commitment(SALTED[:-1] + bytes([SALTED[-1] ^ 1]), AT, data),
        commitment(SALTED, AT + 1, data),
        commitment(SALTED, AT - 1, data),
        commitment(SALTED, AT, data[:-1]),
        commitment(SALTED, AT, data + b"\n"),
        commitment(SALTED, AT, act_of(pair, "message", body=BODY + "A").raw.encode()),
    ]
    assert len({own, *others}) == len(others) + 1
    assert entry_of(act, salt=sha256(b"another").digest()).commitment != entry_of(act).commitment


# --- trying

TIMES = [None, *(START + more for more in (0, 1, 999, 60_000)), AT]


def words_of(acts: Iterable[SignedAct]) -> Iterator[bytes]:
    """What somebody might try who suspects a party, a kind and a purpose, or has got hold of the very act."""
    parties = [b"", MIA.did.encode(), SHOP.did.encode(), MIA.did.encode() + SHOP.did.encode()]
    kinds = (
        [kind.encode() for kind in MODELS] + [bytes([kind]) for kind in Kind] + [kind.name.encode() for kind in Kind]
    )
    purposes = [b"", *(purpose.encode() for purpose in ("care", "sales", *sorted(AGREEMENT_PURPOSES)))]
    for kind, purpose, party in product(kinds, purposes, parties):
        for between in (b"", b":", b"\0"):
            yield between.join((kind, purpose, party))
    for act in acts:
        yield from (act.raw.encode(), act.id.encode(), act.payload.cid.encode(), act.payload.to_json())


NO_SECRETS = [b"", bytes(SALT), LOG.encode(), MIA.did.encode(), SHOP.did.encode()]
"""What could stand where a salt or a key should."""


def dictionary(acts: list[SignedAct]) -> set[bytes]:
    """Every hash that can be made of these without a salt or a tag secret, and its first 16 bytes."""
    found: set[bytes] = set()
    for word in words_of(acts):
        tried = [(b"" if at is None else at.to_bytes(8, "big")) + word for at in TIMES]
        found.update(sha256(salt + it).digest() for it in tried for salt in NO_SECRETS[:2])
        found.update(leaf_hash(it) for it in tried[:2])
        found.update(hmac.digest(key, word, "sha256") for key in NO_SECRETS)
    for secret, scope, at in product([*NO_SECRETS, acts[0].payload.cid.encode()], ("both", "first", "second"), TIMES):
        key = hmac.digest(secret, b"comity.tag-key.v1\0" + scope.encode(), "sha256")
        epoch = b"comity.tag.v1\0" + ((at or 0) // EPOCH).to_bytes(4, "big")
        found.update(hmac.digest(it, epoch, "sha256") for it in (key, secret))
    return found | {it[:16] for it in found}


@pytest.fixture(scope="module")
def written(pair: Pair) -> list[SignedAct]:
    return [act_of(pair, kind) for kind in LEAST] + [act_of(pair, "message", purpose=it) for it in SENT_PURPOSES]


@pytest.fixture(scope="module")
def tried(written: list[SignedAct]) -> set[bytes]:
    return dictionary(written)


def shown(entry: LogEntry) -> set[bytes]:
    """All that the log shows of an entry that could be looked up."""
    return {entry.tag, entry.commitment, leaf_hash(entry.to_bytes()), leaf_hash(entry.to_bytes())[:16]}


def logged(acts: list[SignedAct], secret: bytes, salts: Iterable[bytes]) -> Iterator[LogEntry]:
    for act, at, salt in zip(acts, (AT, START, START + 1) * len(acts), salts, strict=False):
        yield entry_of_act(act, "second", tag_key(secret, tag_scope_of(act, "second")), salt, at)
        if act.kind == "message":
            yield entry_of_delivery(act.raw, "care", "second", tag_key(secret, "both"), sha256(salt).digest(), at)


def test_a_reader_who_tries_every_word_finds_nothing_in_the_log(written: list[SignedAct], tried: set[bytes]) -> None:
    """Though he may have the acts themselves: without the salt even those do not lead to their entries (LOG-8)."""
    assert len(tried) > 50_000
    salts = (sha256(b"nobody knows %d" % number).digest() for number in range(1_000))
    everything = [it for entry in logged(written, SECRET, salts) for it in shown(entry)]
    assert len(everything) > 80
    assert tried.isdisjoint(everything)


@pytest.mark.parametrize("salt", [b"", bytes(SALT)], ids=["none", "zeros"])
def test_the_same_words_find_an_entry_without_salt_or_secret(
    written: list[SignedAct], tried: set[bytes], salt: bytes
) -> None:
    """Else the search above would be no search."""
    for entry in logged(written, bytes(SALT), [salt] * 1_000):
        if entry.kind in (Kind.DELIVERED, Kind.DELIVERED_EXEMPT):
            continue  # its salt above is another one
        assert entry.commitment in tried
        assert entry.tag in tried
    guessed = sha256(b"care".join((b"message", MIA.did.encode()))).digest()
    assert {guessed, guessed[:16], leaf_hash(b"message:care:" + MIA.did.encode())} <= tried


def test_the_same_connection_is_not_recognised_by_who_lacks_its_key(written: list[SignedAct]) -> None:
    """Its entries of one epoch share a tag, which is what the log is for; those of two epochs share nothing, nor do
    its settings and its acts, nor two connections of one person."""
    act, setting = written[0], next(act for act in written if act.chain == "settings")
    other = sha256(b"her other connection").digest()
    entries_ = [
        entry_of(act),
        entry_of(act, at=AT + EPOCH),
        entry_of(setting),
        entry_of_act(setting, "first", tag_key(SECRET, "first"), SALTED, AT),
        entry_of_act(act, "second", tag_key(other, "both"), SALTED, AT),
    ]
    assert len({entry.tag for entry in entries_}) == len(entries_)
