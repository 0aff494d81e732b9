"""The keys of home servers as a wallet follows them: pinned by its agreements, stated in the server's list, held
against the log (spec/home-key.md, HOME-1 to HOME-6).

The list is kept. It may grow and never change: a statement that was listed once is listed for good. Each entry's
receipt is checked under the pinned key of its log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from comity import http_api
from comity.client.http.did_resolver import Resolver
from comity.client.http.server_api import Home
from comity.client.log.known_logs import LogGone, LogKeeping, beginning
from comity.client.storage.records import Kept
from comity.crypto.jws import split_jws
from comity.crypto.keys import PublicKey, did_of_kid
from comity.documents.events import EVENT_TYP, Place, parse_event
from comity.documents.offers import HomeParty
from comity.documents.status_lists import SignedStatusList, open_home_list
from comity.errors import ComityError, Contradiction, Refused, Unreachable
from comity.transparency.receipts import open_receipt
from comity.transparency.server_keys import (
    HomeKeys,
    ListedStatement,
    PlacedStatement,
    VerifiedStatement,
    follow_keys,
    is_entry_of,
    verify_statements,
)

LOOK_AGAIN = 600.0
"""Seconds after which an event that comes makes a wallet read the list of keys again: an old key that goes on signing
is found out by then."""


class HomeKeyBroken(ComityError):
    """A home server says that its key was lost or stolen, and that it goes on with another one, for which nobody
    vouches. Its owner decides (HOME-5)."""

    def __init__(self, home: str, kid: str) -> None:
        self.home = home
        self.kid = kid
        super().__init__(
            f"{home} says that its key is broken and goes on with {kid}: ask whoever runs it, by another way, "
            "before you accept that key"
        )


class KeptPlace(msgspec.Struct, frozen=True, omit_defaults=True):
    """The place of a statement in a log; `proved` once its receipt held."""

    log: str
    index: int
    proved: bool = False


class KeptStatement(msgspec.Struct, frozen=True, omit_defaults=True):
    """A statement as it was listed."""

    statement: str
    signed: str | None = None
    places: tuple[KeptPlace, ...] = ()


class KeptKeys(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a home server states of its keys, and the keys behind a broken one that the owner accepted."""

    statements: tuple[KeptStatement, ...] = ()
    accepted: tuple[str, ...] = ()


class HomeKeeping:
    """The keys of every home server that a wallet met."""

    def __init__(self, kept: Kept, resolver: Resolver, home: Callable[[str], Home], logs: LogKeeping) -> None:
        self._kept = kept
        self._resolver = resolver
        self._home = home
        self._logs = logs
        self._looked: dict[str, float] = {}
        self._readers: dict[tuple[str, str], tuple[KeptKeys, HomeKeys]] = {}
        self.on_change: Callable[[str], None] = lambda home: None
        """Is called when a home server was found to have stated another key."""

    # --- what is known

    def known(self, home: str) -> KeptKeys:
        """What this wallet has of the server's list."""
        return self._kept.get("home_keys", home, KeptKeys) or KeptKeys()

    def reader(self, pinned: HomeParty) -> HomeKeys:
        """The keys that a connection takes which pinned that one, as far as the list is known."""
        known, cached = self.known(pinned.did), self._readers.get((pinned.did, pinned.kid))
        if cached is not None and cached[0] == known:
            return cached[1]
        try:
            keys = follow_keys(pinned, _chain(known), known.accepted)
        except Refused:
            # What the list does not state was named when the list came; the pin counts all the same.
            keys = follow_keys(pinned)
        self._readers[pinned.did, pinned.kid] = known, keys
        return keys

    def find_key(self, kid: str) -> PublicKey | None:
        """The key of that name, if its home server stated it."""
        chain = _chain(self.known(did_of_kid(kid)))
        found = (it.stated.statement for it in chain if it.stated.statement.kid == kid)
        return next((PublicKey.of_multibase(it.key) for it in found), None)

    def is_broken(self, kid: str) -> bool:
        """Whether its home server said that this key is broken."""
        chain = _chain(self.known(did_of_kid(kid)))
        return any(it.stated.statement.broken and it.stated.statement.before == kid for it in chain)

    def broken(self, home: str) -> str | None:
        """The kid of a key behind a broken one that nobody has accepted yet."""
        known = self.known(home)
        stated = verify_statements(ListedStatement(statement=it.statement, signed=it.signed) for it in known.statements)
        return next((it.statement.kid for it in stated if _is_open(it, known)), None)

    # --- asking the server

    async def party(self, home: str) -> HomeParty:
        """The server under the key in force, for an offer or agreement to pin (HOME-1). Raises Unreachable,
        Contradiction, HomeKeyBroken."""
        published = await self._resolver.home_party(home)
        await self.look(home, again=True)
        if (kid := self.broken(home)) is not None:
            raise HomeKeyBroken(home, kid)
        known = self.known(home)
        newest = _chain(known)[-1].stated.statement.party
        if newest != published:
            raise _not_stated("the server publishes another key than it states", published, known)
        return published

    async def must_state(self, party: HomeParty, evidence: str) -> None:
        """Raises Contradiction unless the server states that key and has not called it broken; asks once."""
        for again in (False, True):
            await self.look(party.did, again=again)
            chain = _chain(self.known(party.did))
            broken = {it.stated.statement.before for it in chain if it.stated.statement.broken}
            if any(party == it.stated.statement.party for it in chain) and party.kid not in broken:
                return
        raise _not_stated("an offer or agreement names a key that the server does not state", party, evidence)

    async def expect(self, pinned: HomeParty, raw: str, *, writes: bool = False) -> None:
        """Before an event is read: where it is by another key than this wallet expects at its place, or the list was
        read too long ago to rely on it, the server is asked what it states now. While an act is being written
        (`writes`), perhaps a "no", the age of the list is left to the next reading. Raises Unreachable, Contradiction,
        HomeKeyBroken."""
        try:
            parts = split_jws(raw, {EVENT_TYP})
            event = parse_event(parts.payload)
        except Refused:
            return
        keys, kid = self.reader(pinned), parts.header.kid
        if event.iss != pinned.did:
            return
        since = asyncio.get_running_loop().time() - self._looked.get(pinned.did, float("-inf"))
        is_expected = keys.kid_at(Place(event.log, event.index)) == kid and keys.find_key(kid) is not None
        if is_expected and (writes or since <= LOOK_AGAIN):
            return
        await self.look(pinned.did, again=True)
        if (open_ := self.broken(pinned.did)) is not None and self.reader(pinned).find_key(kid) is None:
            raise HomeKeyBroken(pinned.did, open_)

    async def open_list(self, pinned: HomeParty, raw: str, uri: str) -> SignedStatusList:
        """A status list of the server; where it is by a key that is not known, the server is asked once. Raises
        Refused, Unreachable, Contradiction."""
        try:
            return open_home_list(raw, uri, self.reader(pinned))
        except Refused as refused:
            if refused.code != "unknown_key":
                raise
        await self.look(pinned.did, again=True)
        return open_home_list(raw, uri, self.reader(pinned))

    async def look(self, home: str, *, again: bool = False) -> None:
        """Once for each opened wallet, or `again`: reads the server's list and keeps it. Raises Unreachable,
        Contradiction."""
        if home in self._looked and not again:
            return
        answer, text = await self._home(home).home_keys()
        before, stated = self.known(home), _read(home, answer, text)
        found = []
        for n, (one, row) in enumerate(zip(stated, answer.keys, strict=True)):
            was = before.statements[n].places if n < len(before.statements) else ()
            places = [await self._checked(home, one, place, was, text) for place in row.places]
            found.append(KeptStatement(one.raw, one.signed, tuple(places)))
        _must_go_on(before, found, text)
        # A wallet that meets the server now has no key to lose: it begins with the one in force.
        fresh = () if before.statements else tuple(it.statement.kid for it in stated if it.statement.broken)
        now = KeptKeys(tuple(found), (*before.accepted, *fresh))
        self._looked[home] = asyncio.get_running_loop().time()
        if now != before:
            await self._kept.keep(("home_keys", home, now))
        if len(found) > len(before.statements) > 0:
            self.on_change(home)

    async def _checked(
        self, home: str, one: VerifiedStatement, place: http_api.KeyPlace, was: tuple[KeptPlace, ...], text: str
    ) -> KeptPlace:
        """The place as it is kept: proved before, or now, or not yet. Raises Contradiction."""
        done = KeptPlace(place.log, place.index, True)
        if await self._is_proved(home, one, place, text) or done in was:
            return done
        return KeptPlace(place.log, place.index)

    async def _is_proved(self, home: str, one: VerifiedStatement, place: http_api.KeyPlace, text: str) -> bool:
        """Whether the statement was shown to stand there; False where that cannot be said yet. Raises Contradiction."""
        try:
            log = await self._logs.find(home, place.log)
            if place.receipt is None:
                latest = self._logs.latest(log)
                if latest is None or latest.size <= place.index:
                    return False
                if not await self._logs.names(home, place.log, now=True):
                    # The server cannot vouch for that log any more, so the receipt cannot be had (LOG-16).
                    return False
                raise _hides("the log covers a statement, and the server hides its receipt", text, latest.raw)
            receipt = open_receipt(place.receipt, log.key)
            if receipt.index != place.index or not is_entry_of(one, receipt):
                raise _hides("the log says something else at the place of a statement", text, place.receipt)
            await self._logs.take(log, receipt.checkpoint, beginning(receipt))
        except (LogGone, Unreachable):
            return False
        except Refused as fault:
            raise _hides(f"a receipt that does not hold: {fault}", text, place.receipt or "") from None
        return True

    async def accept(self, home: str, kid: str) -> None:
        """The owner accepts the key behind a broken one, once its statement stands in a log that this wallet knows,
        with the witnesses that it wants (HOME-5).

        Raises ComityError where there is no such key to accept or its statement is not proved yet,
        Refused("too_few_witnesses"), Unreachable, Contradiction.
        """
        await self.look(home, again=True)
        await self._logs.meet(home)
        await self._logs.witnessed(home)
        known = self.known(home)
        if self.broken(home) != kid:
            raise ComityError(f"{home} has no such key to accept")
        statement = next(it for it in known.statements if msgspec.json.decode(it.statement)["kid"] == kid)
        if not any(place.proved and self._covers(home, place) for place in statement.places):
            raise ComityError("the log does not cover the statement about that key yet: try again in a moment")
        await self._kept.keep_first(("home_keys", home, KeptKeys(known.statements, (*known.accepted, kid))))
        self.on_change(home)

    def _covers(self, home: str, place: KeptPlace) -> bool:
        log = self._logs.known(home, place.log)
        latest = None if log is None else self._logs.latest(log)
        return latest is not None and latest.size > place.index


def _chain(known: KeptKeys) -> list[PlacedStatement]:
    stated = verify_statements(ListedStatement(statement=it.statement, signed=it.signed) for it in known.statements)
    rows = zip(stated, known.statements, strict=True)
    return [PlacedStatement(one, tuple(Place(at.log, at.index) for at in row.places)) for one, row in rows]


def _is_open(stated: VerifiedStatement, known: KeptKeys) -> bool:
    return stated.statement.broken is not None and stated.statement.kid not in known.accepted


def _read(home: str, answer: http_api.HomeKeysAnswer, text: str) -> tuple[VerifiedStatement, ...]:
    """The statements of an answer. Raises Contradiction unless they hold, and are the server's own."""
    try:
        stated = verify_statements(ListedStatement(statement=it.statement, signed=it.signed) for it in answer.keys)
    except Refused as fault:
        raise _hides(f"a list of the server's keys that does not hold: {fault}", text) from None
    if answer.did != home or not stated or stated[0].statement.did != home:
        raise _hides("the server states no key of its own", text)
    places = [(place.log, place.index) for row in answer.keys for place in row.places]
    if len(set(places)) < len(places) or not all(row.places for row in answer.keys):
        raise _hides("a statement without a place of its own", text)
    return stated


def _must_go_on(before: KeptKeys, found: Sequence[KeptStatement], text: str) -> None:
    """Raises Contradiction unless what was listed before is listed still, with the places that it had."""
    for n, was in enumerate(before.statements):
        now = found[n] if n < len(found) else None
        places = set() if now is None else {(it.log, it.index) for it in now.places}
        if now is None or now.statement != was.statement or not {(it.log, it.index) for it in was.places} <= places:
            claim = "withheld_key: a statement that the server listed before is not in its list"
            raise Contradiction(claim, (was.statement, text))


def _hides(what: str, *evidence: str) -> Contradiction:
    return Contradiction(f"key_not_stated: {what}", evidence)


def _not_stated(what: str, party: HomeParty, known: KeptKeys | str) -> Contradiction:
    listed = known if isinstance(known, str) else msgspec.json.encode(known.statements).decode()
    return _hides(what, party.model_dump_json(), listed)
