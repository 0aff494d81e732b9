"""Figures in memory, on one core and without any server: the gate, and tokens checked offline."""

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nacl.signing import VerifyKey

from comity.crypto import jws, keys
from comity.crypto.keys import Signer, SigningKey
from comity.documents import events, types
from comity.documents.acts import Grant, SignedAct, sign_act
from comity.documents.agreements import Agreement, SignedAgreement, countersign, half_sign
from comity.documents.events import Accepted, Opened, Place, SignedEvent, open_event, sign_event
from comity.documents.offers import HomeParty, PartyKey, Terms, text_hash
from comity.documents.status_lists import ENTRIES, SignedStatusList, open_status_list, pack_entries, sign_status_list
from comity.documents.timezones import InstalledZones
from comity.documents.types import DAY, Side
from comity.encoding import b64u_decode, hash_id
from comity.rules import decide as rules
from comity.rules import gate
from comity.rules.consent_tokens import check_token, open_grant
from comity.rules.fold import initial_state
from comity.rules.gate import AsOf, Verdict
from comity.rules.next_act import next_act
from comity.rules.state import Connection
from comity_tools.bench.result import BenchFailed, Rate, Row, Size, alternate

GIVERS = 256
"""People whose tokens are checked, each under a key of his own."""
HOME = Signer("did:web:comity.example#home", SigningKey(bytes(range(32))))
SHOP = Signer("did:web:shop.example#key", SigningKey(bytes(range(1, 33))))
LIST = "https://comity.example/status/1"
ZONES = InstalledZones()


def _person() -> Signer:
    return Signer.of_did_key(SigningKey(os.urandom(32)))


# --- the gate --------------------------------------------------------------------------------------------------------


def a_connection(at: int, *, hours: bool) -> Connection:
    """A connection as it looks after some months, at `at` (ms): three grants, one with a budget, two mutes of which
    one has ended, ten messages, little things and a purchase; with `hours`, a week of opening hours as well."""
    person = _person()
    state = _open_connection(person, at - 40 * DAY * 1000)
    steps: list[tuple[Side, str, dict[str, Any]]] = [
        ("second", "grant", _grant(0, at, ("care",))),
        ("second", "grant", _grant(1, at, ("sales.news",), budget={"max": 4, "per": "week"})),
        ("second", "grant", _grant(2, at, ("service",))),
        ("second", "remember", {"key": "language"}),
        ("second", "remember", {"key": "no_interest", "topic": "doors"}),
        ("first", "milestone", {"kind": "bought", "topic": "windows.wood", "when": at // 1000 - 60 * DAY}),
        ("second", "mute", {"channels": ("email",), "until": at // 1000 - 20 * DAY}),
        ("second", "mute", {"purposes": ("sales.offers",)}),
    ]
    if hours:
        week = {"days": ("mo", "tu", "we", "th", "fr", "sa", "su"), "start": "00:00", "end": "24:00"}
        steps.append(("second", "hours", {"zone": "Europe/Berlin", "windows": (week,), "shown": "not_now"}))
    message = {"purpose": "care", "if_muted": "hold", "exp": at // 1000 + DAY, "body": "a.b.c.d.e"}
    steps += [("first", "message", message)] * 10
    for number, (side, kind, fields) in enumerate(steps):
        moment = state.at + DAY * 1000
        signer = SHOP if side == "first" else person
        act = next_act(state, side, kind, moment // 1000, signer, **fields)
        _, state = rules.accept(state, act, moment, Place("bench.example/log", number), ZONES)
    return state


def _open_connection(person: Signer, at: int) -> Connection:
    signed = _agreement(person, at // 1000)
    return initial_state(
        signed, Opened(iss=HOME.did, cid=signed.cid, event="opened", log="bench.example/log", index=0, at=at)
    )


def _agreement(person: Signer, now: int) -> SignedAgreement:
    agreement = Agreement(
        v=2,
        offer=hash_id(b"offer"),
        offerer=PartyKey.of(SHOP),
        accepter=PartyKey.of(person),
        terms=Terms(id="terms", version="1", lang="en", sha256=text_hash("terms")),
        operator="bench",
        home=HomeParty.of(HOME),
        nonce="n" * 22,
        iat=now,
        countersign_by=now + DAY,
    )
    return countersign(half_sign(agreement, person), SHOP)


def _grant(idx: int, at: int, purposes: tuple[str, ...], **more: Any) -> dict[str, Any]:
    status = {"status_list": {"idx": idx, "uri": LIST}}
    return {"exp": at // 1000 + 90 * DAY, "purposes": purposes, "channels": ("app", "email"), "status": status, **more}


def gate_decisions(size: Size) -> list[Row]:
    """The gate, on connections without and with opening hours."""
    now = int(time.time() * 1000)
    plain, timed = a_connection(now, hours=False), a_connection(now, hours=True)
    for connection in (plain, timed):
        if gate.may(connection, "first", "care.checkin", "app", None, now, ZONES).decision != "allow":
            raise BenchFailed("the gate does not let through what it must")
    rates = [Rate(_gate_work(plain, now)), Rate(_gate_work(timed, now)), Rate(_lookup_work(now))]
    share = alternate(rates, size)
    baseline_what = (
        "a plain Python function that looks an entry up in a dict and makes the same verdict object; it decides nothing"
    )
    what = "gate.may on a connection with three grants, two mutes, ten messages, a purchase and a topic"
    return [
        Row(name, text, rate.median, "verdicts/s", rates[2].median, baseline_what, "more", share, {})
        for name, text, rate in (
            ("gate", what, rates[0]),
            ("gate_hours", what + ", and opening hours in a zone", rates[1]),
        )
    ]


_QUESTIONS: list[tuple[str, str, str | None]] = [
    ("care.checkin", "app", None),
    ("sales.news", "email", "glass"),
    ("sales.news", "app", "windows.wood.oak"),
    ("sales.offers", "app", None),
    ("safety", "phone", None),
]


def _gate_work(connection: Connection, now: int) -> Callable[[], int]:
    def some() -> int:
        for purpose, channel, topic in _QUESTIONS:
            gate.may(connection, "first", purpose, channel, topic, now, ZONES)
        return len(_QUESTIONS)

    return some


def _lookup_work(now: int) -> Callable[[], int]:
    table = {(purpose, channel): "granted" for purpose, channel, _ in _QUESTIONS}
    as_of = AsOf("a", "b", ZONES.version)

    def look(purpose: str, channel: str, topic: str | None) -> Verdict:
        return Verdict("allow", table[(purpose, channel)], as_of, now + gate.FRESH_FOR, None, False, topic)

    def some() -> int:
        for purpose, channel, topic in _QUESTIONS:
            look(purpose, channel, topic)
        return len(_QUESTIONS)

    return some


# --- tokens ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    raw: str
    acceptance: SignedEvent
    agreement: SignedAgreement
    key: VerifyKey
    message: bytes
    signature: bytes


def _token(number: int, now: int) -> _Token:
    giver = _person()
    agreement = _agreement(giver, now)
    grant = Grant.model_validate(
        {
            "act": "grant",
            "iss": giver.did,
            "aud": SHOP.did,
            "iat": now,
            "cid": agreement.cid,
            "seq": 0,
            "prev": agreement.cid,
            "exp": now + 90 * DAY,
            "purposes": ("care", "sales.news"),
            "channels": ("app", "email"),
            "status": {"status_list": {"idx": number, "uri": LIST}},
        }
    )
    act = sign_act(grant, giver)
    signing_input, _, signature = act.raw.rpartition(".")
    key, message = VerifyKey(act.key.raw), signing_input.encode("ascii")
    return _Token(act.raw, _acceptance(act, number, now), agreement, key, message, b64u_decode(signature))


def _acceptance(act: SignedAct, number: int, now: int) -> SignedEvent:
    grant = act.payload
    event = Accepted(
        iss=HOME.did,
        cid=grant.cid,
        event="accepted",
        act=act.id,
        side="second",
        chain="acts",
        seq=0,
        kind="grant",
        log="bench.example/log",
        index=number,
        accepted_at=now * 1000,
        as_of=events.AsOf(first=grant.cid, second=act.id, zones=ZONES.version),
    )
    return open_event(sign_event(event, HOME), {HOME.kid: HOME.key.public}.get)


def tokens_offline(size: Size) -> list[Row]:
    """The rates of checking tokens offline."""
    now = int(time.time())
    tokens = [_token(number, now) for number in range(GIVERS)]
    raw_list = sign_status_list(LIST, pack_entries(bytes(ENTRIES), 2), now, HOME)
    status_list = open_status_list(raw_list, LIST, {HOME.kid: HOME.key.public}.get)
    check_work = _some(tokens, lambda token: _check(token, now, status_list))
    open_work = _some(tokens, lambda token: open_grant(token.raw))
    verify_work = _some(tokens, lambda token: token.key.verify(token.message, token.signature))
    known = [Rate(check_work), Rate(open_work), Rate(verify_work)]
    share = alternate(known, size)
    # By itself, since it forgets what the others know.
    new = [Rate(_first_sight(check_work)), Rate(verify_work)]
    share_of_new = alternate(new, size)
    form = f"tokens of {GIVERS} people, each under a key of his own"
    return [
        _token_row(
            "token_check",
            f"grant.check_token, status list, acceptance and agreement at hand: {form} seen before",
            known[0],
            known,
            share,
        ),
        _token_row(
            "token_open", f"grant.open_grant, signature and form alone: {form} seen before", known[1], known, share
        ),
        _token_row(
            "token_first_sight",
            f"grant.check_token: {form} never seen: that the key is a point of the main subgroup is checked once, and "
            "costs about one more verification",
            new[0],
            new,
            share_of_new,
        ),
    ]


def _token_row(name: str, what: str, rate: Rate, rates: list[Rate], share: float) -> Row:
    baseline_what = "PyNaCl's VerifyKey.verify of the same bytes, already taken apart"
    return Row(name, what, rate.median, "tokens/s", rates[-1].median, baseline_what, "more", share, {})


def _some(tokens: list[_Token], work: Callable[[_Token], object]) -> Callable[[], int]:
    """Work on 16 tokens, other ones each time."""
    endless = itertools.cycle(tokens)

    def some() -> int:
        for token in itertools.islice(endless, 16):
            work(token)
        return 16

    return some


def _check(token: _Token, now: int, status_list: SignedStatusList) -> None:
    verdict = check_token(
        token.raw,
        audience=SHOP.did,
        purpose="care.checkin",
        channel="email",
        now=now,
        status_list=status_list,
        acceptance=token.acceptance,
        agreement=token.agreement,
    )
    if not verdict.allowed:
        raise BenchFailed(f"a good token was refused: {verdict.reason}")


def _first_sight(work: Callable[[], int]) -> Callable[[], int]:
    """The work with empty caches of keys and names."""

    def forgetful() -> int:
        for cache in (jws._decode_header, keys._admit, keys._of_multibase, keys._key_of_did_key_kid, types._check_did):
            cache.cache_clear()
        return work()

    return forgetful
