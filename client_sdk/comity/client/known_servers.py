"""The keys of home servers that a wallet knows: pinned by its agreements, stated in the server's list, checked against
the log (spec/home-key.md, HOME-1 to HOME-6).

The list is stored. It may grow and never change: a statement that was listed once is listed for good. Each entry's
receipt is checked under the pinned key of its log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from comity import http_api
from comity.client.http.did_resolver import Resolver
from comity.client.http.server_api import ServerApi
from comity.client.log.known_logs import KnownLogs, LogGone, tree_before
from comity.client.storage.records import Records
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

REFRESH_AFTER = 600.0
"""Seconds after which an incoming event makes a wallet read the list of keys again, so that an old key that still signs
is noticed."""


class ServerKeyBroken(ComityError):
    """A home server says that its key was lost or stolen, and that it continues with another one, for which nobody
    vouches. The wallet's owner decides (HOME-5)."""

    def __init__(self, home: str, kid: str) -> None:
        self.home = home
        self.kid = kid
        super().__init__(
            f"{home} says that its key is broken and goes on with {kid}: ask whoever runs it, by another way, "
            "before you accept that key"
        )


class StoredPlace(msgspec.Struct, frozen=True, omit_defaults=True):
    """The place of a statement in a log; `proved` once its receipt was checked."""

    log: str
    index: int
    proved: bool = False


class StoredStatement(msgspec.Struct, frozen=True, omit_defaults=True):
    """A statement as it was listed."""

    statement: str
    signed: str | None = None
    places: tuple[StoredPlace, ...] = ()


class StoredKeys(msgspec.Struct, frozen=True, omit_defaults=True):
    """The keys that a home server states, and the keys after a broken one that the owner accepted."""

    statements: tuple[StoredStatement, ...] = ()
    accepted: tuple[str, ...] = ()


class KnownServers:
    """The keys of every home server that a wallet has met."""

    def __init__(self, records: Records, resolver: Resolver, home: Callable[[str], ServerApi], logs: KnownLogs) -> None:
        self._records = records
        self._resolver = resolver
        self._home = home
        self._logs = logs
        self._refreshed: dict[str, float] = {}
        self._readers: dict[tuple[str, str], tuple[StoredKeys, HomeKeys]] = {}
        self.on_change: Callable[[str], None] = lambda home: None
        """Called when a home server has stated another key."""

    # --- the stored list

    def stored_keys(self, home: str) -> StoredKeys:
        """The server's list as this wallet stored it."""
        return self._records.get("home_keys", home, StoredKeys) or StoredKeys()

    def keys_for(self, pinned: HomeParty) -> HomeKeys:
        """The keys that a connection with this pin accepts, as far as the list is known."""
        known, cached = self.stored_keys(pinned.did), self._readers.get((pinned.did, pinned.kid))
        if cached is not None and cached[0] == known:
            return cached[1]
        try:
            keys = follow_keys(pinned, _chain(known), known.accepted)
        except Refused:
            # A pin that the list does not state was reported when the list arrived; the pin still counts.
            keys = follow_keys(pinned)
        self._readers[pinned.did, pinned.kid] = known, keys
        return keys

    def find_key(self, kid: str) -> PublicKey | None:
        """The key of that id, if its home server stated it."""
        chain = _chain(self.stored_keys(did_of_kid(kid)))
        found = (it.stated.statement for it in chain if it.stated.statement.kid == kid)
        return next((PublicKey.of_multibase(it.key) for it in found), None)

    def is_broken(self, kid: str) -> bool:
        """Whether its home server said that this key is broken."""
        chain = _chain(self.stored_keys(did_of_kid(kid)))
        return any(it.stated.statement.broken and it.stated.statement.before == kid for it in chain)

    def unaccepted_key(self, home: str) -> str | None:
        """The kid of a key after a broken one that the owner has not accepted, or None."""
        known = self.stored_keys(home)
        stated = verify_statements(
            ListedStatement(statement=statement.statement, signed=statement.signed) for statement in known.statements
        )
        return next((it.statement.kid for it in stated if _is_open(it, known)), None)

    # --- requests to the server

    async def current_party(self, home: str) -> HomeParty:
        """The server with its current key, for an offer or agreement to pin (HOME-1). Raises Unreachable,
        Contradiction, ServerKeyBroken."""
        published = await self._resolver.home_party(home)
        await self.refresh(home, again=True)
        if (kid := self.unaccepted_key(home)) is not None:
            raise ServerKeyBroken(home, kid)
        known = self.stored_keys(home)
        newest = _chain(known)[-1].stated.statement.party
        if newest != published:
            raise _not_stated("the server publishes another key than it states", published, known)
        return published

    async def check_stated(self, party: HomeParty, evidence: str) -> None:
        """Raises Contradiction unless the server states that key and has not called it broken; fetches the list
        once."""
        for again in (False, True):
            await self.refresh(party.did, again=again)
            chain = _chain(self.stored_keys(party.did))
            broken = {it.stated.statement.before for it in chain if it.stated.statement.broken}
            if any(party == it.stated.statement.party for it in chain) and party.kid not in broken:
                return
        raise _not_stated("an offer or agreement names a key that the server does not state", party, evidence)

    async def check_event_key(self, pinned: HomeParty, raw: str, *, writes: bool = False) -> None:
        """Called before an event is read. Where the event has another key than expected at its place, or the list was
        read too long ago, fetches the list again. While an act is being sent (`writes`), perhaps a "no", the age of the
        list is left to the next read. Raises Unreachable, Contradiction, ServerKeyBroken."""
        try:
            parts = split_jws(raw, {EVENT_TYP})
            event = parse_event(parts.payload)
        except Refused:
            return
        keys, kid = self.keys_for(pinned), parts.header.kid
        if event.iss != pinned.did:
            return
        since = asyncio.get_running_loop().time() - self._refreshed.get(pinned.did, float("-inf"))
        is_expected = keys.kid_at(Place(event.log, event.index)) == kid and keys.find_key(kid) is not None
        if is_expected and (writes or since <= REFRESH_AFTER):
            return
        await self.refresh(pinned.did, again=True)
        if (open_ := self.unaccepted_key(pinned.did)) is not None and self.keys_for(pinned).find_key(kid) is None:
            raise ServerKeyBroken(pinned.did, open_)

    async def open_list(self, pinned: HomeParty, raw: str, uri: str) -> SignedStatusList:
        """A checked status list of the server; where its key is unknown, fetches the list of keys once. Raises Refused,
        Unreachable, Contradiction."""
        try:
            return open_home_list(raw, uri, self.keys_for(pinned))
        except Refused as refused:
            if refused.code != "unknown_key":
                raise
        await self.refresh(pinned.did, again=True)
        return open_home_list(raw, uri, self.keys_for(pinned))

    async def refresh(self, home: str, *, again: bool = False) -> None:
        """Reads and stores the server's list: once for each opened wallet, or `again`. Raises Unreachable,
        Contradiction."""
        if home in self._refreshed and not again:
            return
        answer, text = await self._home(home).get_server_keys()
        before, stated = self.stored_keys(home), _read(home, answer, text)
        found = []
        for n, (one, row) in enumerate(zip(stated, answer.keys, strict=True)):
            was = before.statements[n].places if n < len(before.statements) else ()
            places = [await self._check_place(home, one, place, was, text) for place in row.places]
            found.append(StoredStatement(one.raw, one.signed, tuple(places)))
        _check_extends(before, found, text)
        # A wallet that meets the server now has no earlier key: it starts with the current one.
        fresh = () if before.statements else tuple(it.statement.kid for it in stated if it.statement.broken)
        now = StoredKeys(tuple(found), (*before.accepted, *fresh))
        self._refreshed[home] = asyncio.get_running_loop().time()
        if now != before:
            await self._records.store(("home_keys", home, now))
        if len(found) > len(before.statements) > 0:
            self.on_change(home)

    async def _check_place(
        self, home: str, one: VerifiedStatement, place: http_api.KeyPlace, was: tuple[StoredPlace, ...], text: str
    ) -> StoredPlace:
        """The place as it is stored: proved before, proved now, or not yet. Raises Contradiction."""
        done = StoredPlace(place.log, place.index, True)
        if await self._is_proved(home, one, place, text) or done in was:
            return done
        return StoredPlace(place.log, place.index)

    async def _is_proved(self, home: str, one: VerifiedStatement, place: http_api.KeyPlace, text: str) -> bool:
        """Whether a receipt proves that the statement stands at that place; False where that cannot be decided yet.
        Raises Contradiction."""
        try:
            log = await self._logs.find(home, place.log)
            if place.receipt is None:
                latest = self._logs.latest(log)
                if latest is None or latest.size <= place.index:
                    return False
                if not await self._logs.has_log(home, place.log, now=True):
                    # The server cannot vouch for that log any more, so the receipt cannot be had (LOG-16).
                    return False
                raise _contradiction("the log covers a statement, and the server hides its receipt", text, latest.raw)
            receipt = open_receipt(place.receipt, log.key)
            if receipt.index != place.index or not is_entry_of(one, receipt):
                raise _contradiction("the log says something else at the place of a statement", text, place.receipt)
            await self._logs.accept_checkpoint(log, receipt.checkpoint, tree_before(receipt))
        except (LogGone, Unreachable):
            return False
        except Refused as fault:
            raise _contradiction(f"an invalid receipt: {fault}", text, place.receipt or "") from None
        return True

    async def accept_key(self, home: str, kid: str) -> None:
        """Accepts the key after a broken one for the owner, once its statement stands in a known log with the demanded
        witnesses (HOME-5).

        Raises ComityError where there is no such key or its statement is not proved yet, Refused("too_few_witnesses"),
        Unreachable, Contradiction.
        """
        await self.refresh(home, again=True)
        await self._logs.check_served(home)
        await self._logs.check_witnesses(home)
        known = self.stored_keys(home)
        if self.unaccepted_key(home) != kid:
            raise ComityError(f"{home} has no such key to accept")
        statement = next(it for it in known.statements if msgspec.json.decode(it.statement)["kid"] == kid)
        if not any(place.proved and self._covers(home, place) for place in statement.places):
            raise ComityError("the log does not cover the statement about that key yet: try again in a moment")
        await self._records.store_durably(("home_keys", home, StoredKeys(known.statements, (*known.accepted, kid))))
        self.on_change(home)

    def _covers(self, home: str, place: StoredPlace) -> bool:
        log = self._logs.find_known(home, place.log)
        latest = None if log is None else self._logs.latest(log)
        return latest is not None and latest.size > place.index


def _chain(known: StoredKeys) -> list[PlacedStatement]:
    stated = verify_statements(
        ListedStatement(statement=statement.statement, signed=statement.signed) for statement in known.statements
    )
    rows = zip(stated, known.statements, strict=True)
    return [PlacedStatement(one, tuple(Place(at.log, at.index) for at in row.places)) for one, row in rows]


def _is_open(stated: VerifiedStatement, known: StoredKeys) -> bool:
    return stated.statement.broken is not None and stated.statement.kid not in known.accepted


def _read(home: str, answer: http_api.HomeKeysAnswer, text: str) -> tuple[VerifiedStatement, ...]:
    """The statements of an answer. Raises Contradiction unless they are valid and the server's own."""
    try:
        stated = verify_statements(ListedStatement(statement=key.statement, signed=key.signed) for key in answer.keys)
    except Refused as fault:
        raise _contradiction(f"an invalid list of the server's keys: {fault}", text) from None
    if answer.did != home or not stated or stated[0].statement.did != home:
        raise _contradiction("the server states no key of its own", text)
    places = [(place.log, place.index) for row in answer.keys for place in row.places]
    if len(set(places)) < len(places) or not all(row.places for row in answer.keys):
        raise _contradiction("a statement without a place of its own", text)
    return stated


def _check_extends(before: StoredKeys, found: Sequence[StoredStatement], text: str) -> None:
    """Raises Contradiction unless every statement listed before is still listed, with its earlier places."""
    for n, was in enumerate(before.statements):
        now = found[n] if n < len(found) else None
        places = set() if now is None else {(place.log, place.index) for place in now.places}
        if (
            now is None
            or now.statement != was.statement
            or not {(place.log, place.index) for place in was.places} <= places
        ):
            claim = "withheld_key: a statement that the server listed before is not in its list"
            raise Contradiction(claim, (was.statement, text))


def _contradiction(what: str, *evidence: str) -> Contradiction:
    return Contradiction(f"key_not_stated: {what}", evidence)


def _not_stated(what: str, party: HomeParty, known: StoredKeys | str) -> Contradiction:
    listed = known if isinstance(known, str) else msgspec.json.encode(known.statements).decode()
    return _contradiction(what, party.model_dump_json(), listed)
