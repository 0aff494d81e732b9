"""API keys: shown once, stored hashed, kept at hand (BIZ-1 to BIZ-5)."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace

from comity.encoding import b64u_encode, hash_id
from comity.errors import Malformed, Refused
from comity_server.businesses.roles import ROLES, Role, Scope
from comity_server.store.business import StoredApiKey

LIVE = "ck_live_"
SANDBOX = "ck_test_"
MOST_KEYS = 100
"""Keys of one business that are in force."""
MOST_LISTED = 1000
"""Keys of one business that are in force, or ended and not pruned yet."""
USE_NOTED = 60_000
"""ms between two notes of a key's last use."""
_SECRET = 32
_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept; times in ms. `scopes` are what is left of its role's, `seat` the hashed id of the member of
    staff whose it is, `line` the id of the first of the keys that took each other's place (BIZ-11)."""

    name: str
    id: str
    hash: str
    role: Role
    scopes: frozenset[Scope]
    seat: str | None
    label: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    line: str

    def is_in_force(self, now: int) -> bool:
        """Whether it is good at `now` (ms)."""
        return self.expires_at is None or now < self.expires_at

    @property
    def used_at(self) -> int | None:
        """When (ms) it was used last, to the minute; None: never (BIZ-3)."""
        return None if self.last_used_at is None else self.last_used_at // _MINUTE * _MINUTE

    def row(self) -> dict[str, object]:
        """The key as it is stored for the first time."""
        members = {name: getattr(self, name) for name in StoredApiKey._fields if name != "last_used_at"}
        return {**members, "scopes": " ".join(sorted(self.scopes))}


def new_key(
    name: str,
    role: Role,
    now: int,
    *,
    label: str = "",
    scopes: Iterable[Scope] | None = None,
    seat: str | None = None,
    expires_at: int | None = None,
    line: str | None = None,
) -> tuple[str, ApiKey]:
    """(the key as it is shown, once; what is kept of it), the first of its line unless one is given. Scopes beyond the
    role's raise Malformed."""
    wanted = ROLES[role] if scopes is None else frozenset(scopes)
    if not wanted <= ROLES[role]:
        beyond = ", ".join(sorted(wanted - ROLES[role]))
        raise Malformed(
            "a key can have no scope that its role has not", errors=(("/scopes", f"not of {role}: {beyond}"),)
        )
    token = LIVE + b64u_encode(secrets.token_bytes(_SECRET))
    id_ = "key_" + b64u_encode(secrets.token_bytes(12))
    return token, ApiKey(name, id_, hash_of(token), role, wanted, seat, label, now, expires_at, None, line or id_)


def hash_of(token: str) -> str:
    """What is stored of a key. It has 256 bits of chance, so nothing slower than a hash is needed (BIZ-2)."""
    return hash_id(b"comity.api-key.v1\x00" + token.encode("utf-8", "replace"))


class Keyring:
    """Every API key of this server, by its hash."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._by_id: dict[str, dict[str, str]] = {}

    def load(self, rows: Iterable[StoredApiKey]) -> None:
        """Exactly the keys that are stored."""
        self._keys.clear()
        self._by_id.clear()
        for row in rows:
            scopes: frozenset[Scope] = frozenset(row.scopes.split())  # type: ignore[arg-type]
            self.put(ApiKey(**{**row._asdict(), "scopes": scopes}))

    def put(self, key: ApiKey) -> None:
        """A key that was stored just now."""
        self._keys[key.hash] = key
        self._by_id.setdefault(key.name, {})[key.id] = key.hash

    def end(self, name: str, id_: str, expires_at: int) -> None:
        """A key whose end was stored just now."""
        if (hash_ := self._by_id.get(name, {}).get(id_)) is not None:
            self._keys[hash_] = replace(self._keys[hash_], expires_at=expires_at)

    def get(self, name: str, id_: str) -> ApiKey | None:
        """A business's key by its id."""
        hash_ = self._by_id.get(name, {}).get(id_)
        return None if hash_ is None else self._keys[hash_]

    def of(self, name: str) -> list[ApiKey]:
        """A business's keys, ended ones too, the oldest first."""
        mine = (self._keys[hash_] for hash_ in self._by_id.get(name, {}).values())
        return sorted(mine, key=lambda it: (it.created_at, it.id))

    def long_ended(self, now: int, kept: int, most: int) -> list[ApiKey]:
        """Keys that ended `kept` ms before `now`, and of each business those beyond its `most` that ended last."""
        found: list[ApiKey] = []
        for name in self._by_id:
            ended = [(key.expires_at, key) for key in self.of(name) if key.expires_at is not None]
            ended = sorted((it for it in ended if it[0] <= now), key=lambda it: it[0], reverse=True)
            found += [key for place, (at, key) in enumerate(ended) if at <= now - kept or place >= most]
        return found

    def drop(self, keys: Iterable[ApiKey]) -> None:
        """Keys that are stored no more."""
        for key in keys:
            self._keys.pop(key.hash, None)
            self._by_id.get(key.name, {}).pop(key.id, None)

    def bearer(self, authorization: str | None, now: int) -> ApiKey:
        """The key in an Authorization header (RFC 6750), if it is in force. One answer for all that are not, so that
        nobody learns whether a key was ever good. Raises Refused("api_key_required" | "no_sandbox")."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or len(token) > 200:
            raise Refused("api_key_required")
        if token.startswith(SANDBOX):
            raise Refused("no_sandbox")
        # Looked up by a hash of the whole: how long that takes says nothing about a key that is nearly right.
        key = self._keys.get(hash_of(token))
        if key is None or not key.is_in_force(now):
            raise Refused("api_key_required")
        return key

    def used(self, key: ApiKey, now: int) -> bool:
        """Take in that a key is used; whether that is to be written down again."""
        if key.last_used_at is not None and now - key.last_used_at < USE_NOTED:
            return False
        self._keys[key.hash] = replace(key, last_used_at=now)
        return True
