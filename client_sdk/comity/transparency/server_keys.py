"""The keys of a home server: the statements about them, the chain from each key to the next, and the key that must sign
an event (spec/home-key.md).

    seal_statement   the statement about a key, signed by the previous key
    read_listed      verifies the statements of one server, in order
    follow           the keys that a reader accepts, from the one that an agreement pins on
    open_home_event  an event, if the right key for its position signed it
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, TypeAdapter, model_validator

from comity.crypto.jws import open_jws, sign_jws
from comity.crypto.keys import PublicKey, Signer
from comity.documents.events import Place, SignedEvent, open_event
from comity.documents.offers import HomeParty, PartyKey
from comity.documents.types import Did, Flag, Kid, Milliseconds, Model, parse_model
from comity.errors import Malformed, Refused
from comity.transparency.entries import entry_of_key, public_tag_key
from comity.transparency.receipts import Receipt

KEY_TYP = "comity-key+jwt"
PROOF_TYP = "comity-key-proof+jwt"
MOST_STATEMENTS = 256
"""The most statements of one home server that are read (HOME-2)."""
MOST_STATEMENT = 4096
"""The most bytes of a statement."""
OLD_KEY_LISTS = 60_000
"""ms after a change for which a status list of the previous key is accepted (HOME-4)."""


class Change(Model):
    """The payload that the new key signs: exactly this change (HOME-3)."""

    iss: Did
    kid: Kid
    before: Kid
    at: Milliseconds


class HomeStatement(PartyKey):
    """A home server's statement about a key with which it signs from `at` (ms) on (HOME-2).

    `log` is the vkey of one of its logs. All statements but the first name the previous key and have a proof by the new
    one. `ahead`: the server's clock was ahead before that log began, and times in connections may reach up to it
    (CLOCK-4).
    """

    at: Milliseconds
    log: Annotated[str, Field(max_length=400, pattern=r"^[!-~]+$")]
    before: Kid | None = None
    broken: Flag | None = None
    ahead: Milliseconds | None = None
    proof: Annotated[str, Field(max_length=2048)] | None = None

    @model_validator(mode="after")
    def _check_members(self) -> "HomeStatement":
        if not self.did.startswith("did:web:"):
            raise ValueError("a home server is a did:web")
        if (self.before is None) != (self.proof is None) or (self.broken and self.before is None):
            raise ValueError("every statement but the first needs before and proof")
        if self.ahead is not None and self.before != self.kid:
            raise ValueError("ahead is allowed only in a statement about the current key")
        return self

    @property
    def party(self) -> HomeParty:
        """The key as an offer or agreement pins it."""
        return HomeParty(did=self.did, kid=self.kid, key=self.key)


_CHANGE: TypeAdapter[Change] = TypeAdapter(Change)
_STATEMENT: TypeAdapter[HomeStatement] = TypeAdapter(HomeStatement)


@dataclass(frozen=True, slots=True)
class VerifiedStatement:
    """A verified statement. `raw` is the text in the commitments of its entries. `signed` is the JWS of the previous
    key, None for the first statement and for one that declares the previous key broken. Only `verify_statements` and
    `sign_statement` make one."""

    raw: str
    signed: str | None
    statement: HomeStatement


@dataclass(frozen=True, slots=True)
class PlacedStatement:
    """A statement, and the places in logs where it was entered."""

    stated: VerifiedStatement
    places: tuple[Place, ...]


class ListedStatement(Model):
    """A statement as a server lists it."""

    statement: Annotated[str, Field(max_length=MOST_STATEMENT)]
    signed: Annotated[str, Field(max_length=2 * MOST_STATEMENT)] | None = None


def sign_statement(
    new: Signer, at: int, log: str, before: Signer | str | None = None, ahead: int | None = None
) -> VerifiedStatement:
    """The statement about the key `new` from `at` (ms) on. `before` is the previous key and signs it. If `before` is
    only a kid, that key is declared broken, and no key vouches for the new one (HOME-5). `ahead`: see HomeStatement.
    Raises Malformed."""
    members: dict[str, object] = {**PartyKey.of(new).model_dump(), "at": at, "log": log, "ahead": ahead}
    if before is not None:
        kid = before if isinstance(before, str) else before.kid
        change = Change(iss=new.did, kid=new.kid, before=kid, at=at)
        members |= {"before": kid, "proof": sign_jws(change.to_json(), PROOF_TYP, new)}
        members |= {"broken": True} if isinstance(before, str) else {}
    statement = HomeStatement.model_validate(members)
    signed = sign_jws(statement.to_json(), KEY_TYP, before) if isinstance(before, Signer) else None
    return VerifiedStatement(statement.to_json().decode("utf-8"), signed, statement)


def verify_statements(listed: Iterable[ListedStatement]) -> tuple[VerifiedStatement, ...]:
    """The statements of one home server in order, each verified against the previous one (HOME-3).

    Raises Malformed, Refused("unknown_key") for one that does not name the previous key, Refused("bad_signature"),
    Refused("wrong_proof").
    """
    verified: list[VerifiedStatement] = []
    for number, row in enumerate(listed):
        if number == MOST_STATEMENTS:
            raise Malformed(f"at most {MOST_STATEMENTS} statements")
        current = _verify_statement(row, verified[-1].statement if verified else None)
        statement = current.statement
        if any(_repeats_key(earlier.statement, statement) for earlier in verified if statement.before != statement.kid):
            raise Malformed("a key, or its name, was used before")
        verified.append(current)
    return tuple(verified)


def _repeats_key(earlier: HomeStatement, statement: HomeStatement) -> bool:
    """True if the earlier statement has the same key or name: only the current key may be stated again, for a new
    log."""
    return statement.kid == earlier.kid or statement.key == earlier.key


def parse_statement(raw: str) -> HomeStatement:
    """Parses a statement and verifies no signature. Raises Malformed, Refused("too_large")."""
    statement = parse_model(_STATEMENT, raw.encode("utf-8"), MOST_STATEMENT)
    if statement.to_json().decode("utf-8") != raw:
        raise Malformed("a statement must have its members in order and no blanks")
    return statement


def _verify_statement(listed: ListedStatement, before: HomeStatement | None) -> VerifiedStatement:
    statement = parse_statement(listed.statement)
    if statement.before != (None if before is None else before.kid):
        raise Refused("unknown_key", "a statement does not name the previous key")
    if (listed.signed is None) != (before is None or statement.broken is not None):
        raise Malformed("a statement must be signed by the previous key, unless that is missing or broken")
    if before is not None:
        if statement.did != before.did or statement.at < before.at:
            raise Malformed("a statement is from another server, or earlier than the previous one")
        if statement.kid == before.kid and (statement.broken or statement.key != before.key):
            raise Malformed("two keys have one name, or a broken key remains in use")
        _check_proof(statement)
    if listed.signed is not None:
        assert before is not None
        jws = open_jws(listed.signed, {KEY_TYP}, {before.kid: PublicKey.of_multibase(before.key)}.get)
        if jws.payload != listed.statement.encode("utf-8"):
            raise Refused("bad_signature", "the previous key signed another statement")
    return VerifiedStatement(listed.statement, listed.signed, statement)


def _check_proof(statement: HomeStatement) -> None:
    key = PublicKey.of_multibase(statement.key)
    assert statement.before is not None
    assert statement.proof is not None
    try:
        jws = open_jws(statement.proof, {PROOF_TYP}, {statement.kid: key}.get)
        change = parse_model(_CHANGE, jws.payload)
    except Refused:
        raise Refused("wrong_proof") from None
    expected = Change(iss=statement.did, kid=statement.kid, before=statement.before, at=statement.at)
    if change != expected or jws.header.kid != statement.kid:
        raise Refused("wrong_proof")


def is_entry_of(stated: VerifiedStatement, receipt: Receipt) -> bool:
    """True if the receipt is for an entry of this statement: its kind, time and tag match (LOG-8, HOME-2). An entry in
    a further log is later than the statement."""
    statement, opening = stated.statement, receipt.opening
    if opening.at < statement.at:
        return False
    key = public_tag_key(statement.did)
    return receipt.entry == entry_of_key(stated.raw.encode("utf-8"), key, opening.salt, opening.at)


@dataclass(frozen=True, slots=True)
class HomeKeys:
    """The keys of a home server that a reader accepts: the pinned one, and later ones as long as each was signed by the
    previous one. `follow_keys` makes it."""

    pinned: HomeParty
    chain: tuple[PlacedStatement, ...] = ()
    keys: Mapping[str, PublicKey] = field(default_factory=dict)
    """kid → key."""
    _by_log: Mapping[str, tuple[tuple[int, ...], tuple[str, ...]]] = field(default_factory=dict)
    """log → (indexes of the statements in it, the kids that they are about), both in order."""

    def find_key(self, kid: str) -> PublicKey | None:
        """The key with that name, None if the reader does not accept it."""
        return self.keys.get(kid)

    def kid_at(self, place: Place) -> str:
        """The name of the key that must sign an event at that position: the one in the latest statement below it in its
        log, else the pinned one (HOME-4)."""
        indexes, kids = self._by_log.get(place.log, ((), ()))
        newest = bisect_left(indexes, place.index)
        return kids[newest - 1] if newest else self.pinned.kid

    def find_list_key(self, kid: str, iat: int) -> PublicKey | None:
        """The key with that name, if it may have signed a status list at `iat` (s). A list has no position in a log, so
        the times of the statements decide (HOME-4)."""
        statements = [placed.stated.statement for placed in self.chain]
        positions = [number for number, statement in enumerate(statements) if statement.kid == kid]
        if positions and iat < statements[positions[0]].at // 1000:
            return None
        later = statements[positions[-1] + 1 :] if positions else []
        return None if later and iat * 1000 >= later[0].at + OLD_KEY_LISTS else self.find_key(kid)


def follow_keys(pinned: HomeParty, chain: Sequence[PlacedStatement] = (), accepted: Collection[str] = ()) -> HomeKeys:
    """The keys that a reader with the pinned key `pinned` accepts: that one, and the later ones in the chain. A key
    that was declared broken ends the chain, unless the owner `accepted` the next key, by its kid (HOME-5).

    Raises Refused("key_not_stated") if the chain does not contain the pinned key.
    """
    keys, is_pinned_found = {pinned.kid: PublicKey.of_multibase(pinned.key)}, not chain
    for placed in chain:
        statement = placed.stated.statement
        if not is_pinned_found:
            is_pinned_found = statement.party == pinned
        elif statement.broken and statement.kid not in accepted:
            break
        else:
            keys[statement.kid] = PublicKey.of_multibase(statement.key)
    if not is_pinned_found:
        raise Refused("key_not_stated")
    return HomeKeys(pinned, tuple(chain), keys, _places(chain))


def _places(chain: Sequence[PlacedStatement]) -> dict[str, tuple[tuple[int, ...], tuple[str, ...]]]:
    rows_by_log: dict[str, list[tuple[int, str]]] = {}
    for placed in chain:
        for place in placed.places:
            rows_by_log.setdefault(place.log, []).append((place.index, placed.stated.statement.kid))
    sorted_rows = {log: sorted(rows) for log, rows in rows_by_log.items()}
    return {log: (tuple(i for i, _ in rows), tuple(kid for _, kid in rows)) for log, rows in sorted_rows.items()}


def open_home_event(raw: str | bytes, keys: HomeKeys) -> SignedEvent:
    """The event, if the right key for its position signed it.

    Raises what `open_event` raises, and Refused("unknown_key") for a key that signs at other positions.
    """
    signed = open_event(raw, keys.find_key)
    if signed.kid != keys.kid_at(Place(signed.event.log, signed.event.index)):
        raise Refused("unknown_key", "another key of the home server signs at this position in the log")
    return signed
