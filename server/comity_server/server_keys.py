"""The server's own signing keys: the private ones in files of the data folder, the statement about each, and the key
that signs an event (spec/home-key.md).

A new key is written to its files before a commit states it, and signs only events after that commit. The statement is
stored beside the key as well, outside the store: a store that was put back from an older copy gets it again.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from comity.crypto.keys import PublicKey, Signer, SigningKey
from comity.documents.events import Event, Place, SignedEvent, open_event
from comity.documents.offers import HomeParty
from comity.errors import Malformed, Refused
from comity.transparency.server_keys import (
    MOST_STATEMENTS,
    HomeKeys,
    ListedStatement,
    PlacedStatement,
    VerifiedStatement,
    follow_keys,
    sign_statement,
    verify_statements,
)
from comity_server.data_dir import SEED, seed_in, write_whole
from comity_server.errors import NotPossible
from comity_server.store.errors import StoreDamaged
from comity_server.store.rows import StoredPlace, StoredStatement


class HomeKeyMissing(Exception):
    """The private key in force is not in the data folder; the text says what can be done."""


class _Files(NamedTuple):
    key: Path
    statement: Path


class HomeKeyring:
    """The keys of the home server: those stated so far, and the private ones that are here."""

    def __init__(self, data: Path, did: str) -> None:
        self._data = data
        self._did = did
        self._signers: dict[str, Signer] = {}
        self._rows: tuple[list[StoredStatement], list[StoredPlace]] = [], []
        self.stated: tuple[VerifiedStatement, ...] = ()
        self._keys: HomeKeys | None = None

    def load(self, rows: Iterable[StoredStatement], places: Iterable[StoredPlace]) -> None:
        """Loads the stored statements. Raises StoreDamaged if they are not valid."""
        self._rows = list(rows), list(places)
        entered: dict[int, list[Place]] = {}
        for place in self._rows[1]:
            entered.setdefault(place.n, []).append(Place(place.log, place.idx))
        try:
            self.stated = verify_statements(
                ListedStatement(statement=row.statement, signed=row.signed) for row in self._rows[0]
            )
        except Refused as fault:
            raise StoreDamaged(f"what is stated of the server's own keys does not hold: {fault}") from None
        if not self.stated:
            self._keys = follow_keys(HomeParty.of(self._first()))
        else:
            chain = [PlacedStatement(stated, tuple(entered.get(n, ()))) for n, stated in enumerate(self.stated)]
            # The server accepts every key that it stated, whoever vouched for it.
            accepted = {known.statement.kid for known in self.stated}
            self._keys = follow_keys(self.stated[0].statement.party, chain, accepted)

    def take(self, rows: Iterable[StoredStatement], places: Iterable[StoredPlace]) -> None:
        """Adds the statements of a commit."""
        more = list(rows), list(places)
        if any(more):
            self.load([*self._rows[0], *more[0]], [*self._rows[1], *more[1]])

    # --- which keys there are

    @property
    def keys(self) -> HomeKeys:
        """Every stated key, and the key that signs at a place. Only after `load`."""
        assert self._keys is not None
        return self._keys

    @property
    def party(self) -> HomeParty:
        """The server with its key in force."""
        return self.stated[-1].statement.party if self.stated else self.keys.pinned

    def find_key(self, kid: str) -> PublicKey | None:
        """The public key of that name, in force or earlier."""
        return self.keys.find_key(kid)

    def is_stated(self, party: HomeParty) -> bool:
        """Whether this is the server under a key that it stated and that is not broken (HOME-6)."""
        broken = {known.statement.before for known in self.stated if known.statement.broken}
        return party.kid not in broken and any(party == known.statement.party for known in self.stated)

    def statements_missing_in(self, log: str) -> list[int]:
        """The numbers of the statements that the log lacks."""
        return [n for n, placed in enumerate(self.keys.chain) if log not in {place.log for place in placed.places}]

    def open_own(self, raw: str) -> SignedEvent:
        """An event of this server's own that its store may have lost, if the key for its place signed it (HOME-4).
        Where the entry of a statement was lost with the end of the event's log, the statement's time says from where
        on.

        Raises what `open_event` does, and Refused("unknown_key") for another key, or one that is broken (HOME-5).
        """
        signed = open_event(raw, self.keys.find_key)
        event, kid = signed.event, self.keys.kid_at(Place(signed.event.log, signed.event.index))
        lost = [
            placed.stated.statement
            for placed in self.keys.chain
            if placed.stated.statement.log.partition("+")[0] == event.log
            and event.log not in {place.log for place in placed.places}
        ]
        in_force = [kid, *(lost_key.kid for lost_key in lost if lost_key.at < event.at)][-1]
        if signed.kid not in {in_force, *(lost_key.kid for lost_key in lost if lost_key.at == event.at)}:
            raise Refused("unknown_key", "another key of the home server signs at this position in the log")
        if any(known.statement.broken and known.statement.before == signed.kid for known in self.stated):
            raise Refused("unknown_key", "the key is broken, and nothing bears its event out")
        return signed

    # --- signing

    @property
    def signer(self) -> Signer:
        """The private key in force. Raises HomeKeyMissing."""
        return self.signer_of(self.party)

    def check_signer(self) -> None:
        """Raises HomeKeyMissing where the private key in force is not here."""
        assert self.signer

    def can_sign(self) -> bool:
        """Whether the private key in force is here."""
        try:
            return bool(self.signer)
        except HomeKeyMissing:
            return False

    def signer_of(self, party: HomeParty) -> Signer:
        """The private key of a party that is this server. Raises HomeKeyMissing."""
        known = self._signers.get(party.kid)
        if known is None:
            known = self._signers[party.kid] = Signer(party.kid, self._private(party))
        return known

    def signer_at(self, event: Event, fresh: Iterable["EnteredHomeKey"] = ()) -> Signer:
        """The private key that signs the event, by its place (HOME-4); `fresh` are statements that the same commit
        enters, the last first. Raises HomeKeyMissing."""
        for entered in fresh:
            if entered.place.log == event.log and entered.place.index < event.index:
                return self.signer_of(entered.party)
        kid = self.keys.kid_at(Place(event.log, event.index))
        if (known := self._signers.get(kid)) is not None:
            return known
        key = self.keys.find_key(kid)
        assert key is not None
        return self.signer_of(HomeParty(did=self._did, kid=kid, key=key.multibase))

    def _first(self) -> Signer:
        """The key of a folder in which nothing was stated yet, made if there is none."""
        key = SigningKey(seed_in(self._data / SEED))
        return Signer(f"{self._did}#{key.public.multibase}", key)

    def _private(self, party: HomeParty) -> SigningKey:
        for path in (self._data / SEED, self._files(party.key).key):
            key = _read_key(path)
            if key is not None and key.public.multibase == party.key:
                return key
        name = self._files(party.key).key.name
        raise HomeKeyMissing(
            f"the private key of this server, {party.key}, is neither in {SEED} nor in {name}: put the file back, or, "
            "if the key is lost, state a new one with `comity keys rotate-home --broken`"
        )

    # --- a new key

    def _files(self, multibase: str) -> _Files:
        return _Files(self._data / f"home-{multibase}.key", self._data / f"home-{multibase}.statement")

    def prepare(self, at: int, log: str, *, broken: bool) -> VerifiedStatement:
        """The statement about the next key from `at` (ms) on; both are in files when this returns. A statement that was
        prepared before and never stated is reused.

        Raises NotPossible, HomeKeyMissing if the key in force would have to sign and is not here.
        """
        found = self.pending_statement()
        if found is not None and bool(found.statement.broken) == broken:
            return found
        if found is not None:
            # A key that was made beside one that is broken is no better than that.
            self._files(found.statement.key).statement.unlink()
        if len(self.stated) >= MOST_STATEMENTS // 2:
            raise NotPossible(f"a home server states at most {MOST_STATEMENTS // 2} keys")
        key = SigningKey(secrets.token_bytes(32))
        new = Signer(f"{self._did}#{key.public.multibase}", key)
        stated = sign_statement(new, at, log, self.party.kid if broken else self.signer)
        files = self._files(key.public.multibase)
        write_whole(files.key, key.seed)
        write_whole(files.statement, msgspec.json.encode({"statement": stated.raw, "signed": stated.signed}))
        return stated

    def pending_statement(self, fresh: Iterable[VerifiedStatement] = ()) -> VerifiedStatement | None:
        """The statement of a key that follows the one in force and was prepared, but is not in the store: its commit
        failed, or the store was put back from an older copy. `fresh` are those that are about to be stated."""
        for path in sorted(self._data.glob("home-z*.statement")):
            listed = msgspec.json.decode(path.read_bytes(), type=dict[str, str | None])
            one = ListedStatement.model_validate(listed)
            try:
                behind = [ListedStatement(statement=known.raw, signed=known.signed) for known in (*self.stated, *fresh)]
                stated = verify_statements([*behind, one])[-1]
            except Refused:
                continue
            if _read_key(self._files(stated.statement.key).key) is not None:
                return stated
        return None


class EnteredHomeKey(NamedTuple):
    """A key whose statement a commit enters, and the place of the entry."""

    party: HomeParty
    place: Place


def _read_key(path: Path) -> SigningKey | None:
    try:
        return SigningKey(path.read_bytes())
    except (OSError, Malformed):
        return None


@dataclass(frozen=True, slots=True)
class Home:
    """The home server as the protocol knows it. `origin` is its public URL."""

    did: str
    origin: str
    operator: str
    keys: HomeKeyring

    @property
    def signer(self) -> Signer:
        """The private key in force. Raises HomeKeyMissing."""
        return self.keys.signer

    @property
    def party(self) -> HomeParty:
        """The server with its key in force, as offers and agreements pin it (HOME-1)."""
        return self.keys.party

    @property
    def host(self) -> str:
        """Host and port of the public URL."""
        return urlsplit(self.origin).netloc
