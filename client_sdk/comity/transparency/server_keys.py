"""The keys of a home server: what is stated about each, how one leads to the next, and by which of them an event must
be signed (spec/home-key.md).

    seal_statement   the statement about a key, signed by the key before it
    read_listed      the statements of one server, in order, each held against the one before it
    follow           the keys that a reader takes, from the one that an agreement pins on
    open_home_event  an event, if the key that signed it is the one for its place
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, TypeAdapter, model_validator

from comity.crypto.jws import open_jws, seal
from comity.crypto.keys import PublicKey, Signer
from comity.documents.events import Place, SignedEvent, open_event
from comity.documents.offers import HomeParty, PartyKey
from comity.documents.types import Did, Kid, Mark, Milliseconds, Model, read_model
from comity.errors import Malformed, Refused
from comity.transparency.entries import entry_of_key, public_tag_key
from comity.transparency.receipts import Receipt

KEY_TYP = "comity-key+jwt"
PROOF_TYP = "comity-key-proof+jwt"
MOST_STATEMENTS = 256
"""Statements of one home server that are read (HOME-2)."""
MOST_STATEMENT = 4096
"""Bytes of a statement."""
OLD_KEY_LISTS = 60_000
"""ms after a change for which a status list of the key before still counts (HOME-4)."""


class Change(Model):
    """What the new key signs: the one change that it is for (HOME-3)."""

    iss: Did
    kid: Kid
    before: Kid
    at: Milliseconds


class HomeStatement(PartyKey):
    """What a home server states about a key from which it signs from `at` (ms) on (HOME-2).

    `log` is the vkey of one of its logs. All but the first name the key before them, and bear a proof by the new key.
    `ahead`: its clock was ahead before that log began, and connections may be up to then (CLOCK-4).
    """

    at: Milliseconds
    log: Annotated[str, Field(max_length=400, pattern=r"^[!-~]+$")]
    before: Kid | None = None
    broken: Mark | None = None
    ahead: Milliseconds | None = None
    proof: Annotated[str, Field(max_length=2048)] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "HomeStatement":
        if not self.did.startswith("did:web:"):
            raise ValueError("a home server is a did:web")
        if (self.before is None) != (self.proof is None) or (self.broken and self.before is None):
            raise ValueError("all statements but the first name the key before them, and bear a proof")
        if self.ahead is not None and self.before != self.kid:
            raise ValueError("a clock is stated with the key in force, for a further log")
        return self

    @property
    def party(self) -> HomeParty:
        """The key as an offer or agreement pins it."""
        return HomeParty(did=self.did, kid=self.kid, key=self.key)


_CHANGE: TypeAdapter[Change] = TypeAdapter(Change)
_STATEMENT: TypeAdapter[HomeStatement] = TypeAdapter(HomeStatement)


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement that holds behind the one before it. `raw` is what its entries commit to; `signed` is the JWS of the
    key before, None for the first one and for one that says that the key before is broken. Only `read_listed` and
    `seal_statement` make one."""

    raw: str
    signed: str | None
    statement: HomeStatement


@dataclass(frozen=True, slots=True)
class Placed:
    """A statement, and the places in logs where it was entered."""

    stated: Stated
    places: tuple[Place, ...]


class Listed(Model):
    """A statement as a server lists it."""

    statement: Annotated[str, Field(max_length=MOST_STATEMENT)]
    signed: Annotated[str, Field(max_length=2 * MOST_STATEMENT)] | None = None


def seal_statement(
    new: Signer, at: int, log: str, before: Signer | str | None = None, ahead: int | None = None
) -> Stated:
    """The statement about the key `new` from `at` (ms) on. `before` signs it; where it is a kid alone, that key is
    stated as broken, and nobody vouches for the new one (HOME-5). `ahead`: see HomeStatement. Raises Malformed."""
    members: dict[str, object] = {**PartyKey.of(new).model_dump(), "at": at, "log": log, "ahead": ahead}
    if before is not None:
        kid = before if isinstance(before, str) else before.kid
        change = Change(iss=new.did, kid=new.kid, before=kid, at=at)
        members |= {"before": kid, "proof": seal(change.to_json(), PROOF_TYP, new)}
        members |= {"broken": True} if isinstance(before, str) else {}
    statement = HomeStatement.model_validate(members)
    signed = seal(statement.to_json(), KEY_TYP, before) if isinstance(before, Signer) else None
    return Stated(statement.to_json().decode("utf-8"), signed, statement)


def read_listed(listed: Iterable[Listed]) -> tuple[Stated, ...]:
    """The statements of one home server in their order, each held against the one before it (HOME-3).

    Raises Malformed, Refused("unknown_key") for one that does not name the key before it, Refused("bad_signature"),
    Refused("wrong_proof").
    """
    found: list[Stated] = []
    for number, one in enumerate(listed):
        if number == MOST_STATEMENTS:
            raise Malformed(f"at most {MOST_STATEMENTS} statements")
        stated = _read(one, found[-1].statement if found else None)
        statement = stated.statement
        if any(_is_used(it.statement, statement) for it in found if statement.before != statement.kid):
            raise Malformed("a key, or the name of one, that was stated before")
        found.append(stated)
    return tuple(found)


def _is_used(earlier: HomeStatement, statement: HomeStatement) -> bool:
    """Whether the earlier statement has that key or name: only the key in force may be stated again, for a new log."""
    return statement.kid == earlier.kid or statement.key == earlier.key


def read_statement(raw: str) -> HomeStatement:
    """The members of a statement, whoever vouches for it. Raises Malformed, Refused("too_large")."""
    statement = read_model(_STATEMENT, raw.encode("utf-8"), MOST_STATEMENT)
    if statement.to_json().decode("utf-8") != raw:
        raise Malformed("a statement has its members in order, and no blanks")
    return statement


def _read(one: Listed, before: HomeStatement | None) -> Stated:
    statement = read_statement(one.statement)
    if statement.before != (None if before is None else before.kid):
        raise Refused("unknown_key", "a statement does not name the key before it")
    if (one.signed is None) != (before is None or statement.broken is not None):
        raise Malformed("a statement is signed by the key before it, unless there is none or it is broken")
    if before is not None:
        if statement.did != before.did or statement.at < before.at:
            raise Malformed("a statement of another server, or one earlier than the statement before it")
        if statement.kid == before.kid and (statement.broken or statement.key != before.key):
            raise Malformed("one name for two keys, or a broken key that goes on")
        _check_proof(statement)
    if one.signed is not None:
        assert before is not None
        opened = open_jws(one.signed, {KEY_TYP}, {before.kid: PublicKey.of_multibase(before.key)}.get)
        if opened.payload != one.statement.encode("utf-8"):
            raise Refused("bad_signature", "the key before signed another statement")
    return Stated(one.statement, one.signed, statement)


def _check_proof(statement: HomeStatement) -> None:
    key = PublicKey.of_multibase(statement.key)
    assert statement.before is not None
    assert statement.proof is not None
    try:
        opened = open_jws(statement.proof, {PROOF_TYP}, {statement.kid: key}.get)
        change = read_model(_CHANGE, opened.payload)
    except Refused:
        raise Refused("wrong_proof") from None
    stated = Change(iss=statement.did, kid=statement.kid, before=statement.before, at=statement.at)
    if change != stated or opened.header.kid != statement.kid:
        raise Refused("wrong_proof")


def is_entered(stated: Stated, receipt: Receipt) -> bool:
    """Whether the receipt is one of an entry of this statement: its kind, time and tag follow from it (LOG-8, HOME-2).
    An entry in a further log is later than the statement."""
    statement, opening = stated.statement, receipt.opening
    if opening.at < statement.at:
        return False
    key = public_tag_key(statement.did)
    return receipt.entry == entry_of_key(stated.raw.encode("utf-8"), key, opening.salt, opening.at)


@dataclass(frozen=True, slots=True)
class HomeKeys:
    """The keys of a home server that a reader takes: from the one that it pinned on, as far as each was signed by the
    one before it. Made by `follow`."""

    pinned: HomeParty
    chain: tuple[Placed, ...] = ()
    keys: Mapping[str, PublicKey] = field(default_factory=dict)
    """kid → key."""
    _by_log: Mapping[str, tuple[tuple[int, ...], tuple[str, ...]]] = field(default_factory=dict)
    """log → (indexes of the statements in it, the kids that they are about), both in order."""

    def find_key(self, kid: str) -> PublicKey | None:
        """The key of that name, None where this reader does not take it."""
        return self.keys.get(kid)

    def kid_at(self, place: Place) -> str:
        """The name of the key that signs an event of that place: by the newest statement below it in its log, else the
        pinned one (HOME-4)."""
        indexes, kids = self._by_log.get(place.log, ((), ()))
        newest = bisect_left(indexes, place.index)
        return kids[newest - 1] if newest else self.pinned.kid

    def find_list_key(self, kid: str, iat: int) -> PublicKey | None:
        """The key of that name, if it may have signed a status list at `iat` (s): a list has no place in a log, so the
        times of the statements decide (HOME-4)."""
        statements = [it.stated.statement for it in self.chain]
        own = [number for number, statement in enumerate(statements) if statement.kid == kid]
        if own and iat < statements[own[0]].at // 1000:
            return None
        after = statements[own[-1] + 1 :] if own else []
        return None if after and iat * 1000 >= after[0].at + OLD_KEY_LISTS else self.find_key(kid)


def follow(pinned: HomeParty, chain: Sequence[Placed] = (), accepted: Collection[str] = ()) -> HomeKeys:
    """The keys that a reader takes who pinned `pinned`: that one, and those after it in the chain. At a key that was
    stated as broken it stops, unless its owner `accepted` the key after it, by its kid (HOME-5).

    Raises Refused("key_not_stated") where the chain does not state the pinned key.
    """
    keys, reached = {pinned.kid: PublicKey.of_multibase(pinned.key)}, not chain
    for placed in chain:
        statement = placed.stated.statement
        if not reached:
            reached = statement.party == pinned
        elif statement.broken and statement.kid not in accepted:
            break
        else:
            keys[statement.kid] = PublicKey.of_multibase(statement.key)
    if not reached:
        raise Refused("key_not_stated")
    return HomeKeys(pinned, tuple(chain), keys, _places(chain))


def _places(chain: Sequence[Placed]) -> dict[str, tuple[tuple[int, ...], tuple[str, ...]]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for placed in chain:
        for place in placed.places:
            found.setdefault(place.log, []).append((place.index, placed.stated.statement.kid))
    ordered = {log: sorted(rows) for log, rows in found.items()}
    return {log: (tuple(i for i, _ in rows), tuple(kid for _, kid in rows)) for log, rows in ordered.items()}


def open_home_event(raw: str | bytes, keys: HomeKeys) -> SignedEvent:
    """The event, if it holds under the key that signs at its place.

    Raises what `open_event` does, and Refused("unknown_key") for a key that signed at another place than its own.
    """
    signed = open_event(raw, keys.find_key)
    if signed.kid != keys.kid_at(Place(signed.event.log, signed.event.index)):
        raise Refused("unknown_key", "another key of the home server signs at this place of the log")
    return signed
