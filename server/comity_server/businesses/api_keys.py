"""API keys: shown once, stored as hashes, and held in memory (BIZ-1 to BIZ-5)."""

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
"""Maximum number of keys in force of a business."""
MOST_LISTED = 1000
"""Maximum number of keys of a business that are in force, or ended and not pruned."""
USE_NOTED = 60_000
"""Least time between two writes of a key's last use, in ms."""
_SECRET = 32
_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key; times in ms. `scopes` are those of its role, or fewer. `seat` is the pseudonym of its member of
    staff. `line` is the id of the first key of its series of rotations (BIZ-11)."""

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
        """Whether the key is valid at `now` (ms)."""
        return self.expires_at is None or now < self.expires_at

    @property
    def used_at(self) -> int | None:
        """The time (ms) of the last use, to the minute; None if never used (BIZ-3)."""
        return None if self.last_used_at is None else self.last_used_at // _MINUTE * _MINUTE

    def row(self) -> dict[str, object]:
        """The row of a new key."""
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
    """(the secret token, the key to store). Without `line` the key begins a series of rotations. Raises Malformed for
    scopes that the role has not."""
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
    """The hash of a token. A token has 256 random bits, so a fast hash is enough (BIZ-2)."""
    return hash_id(b"comity.api-key.v1\x00" + token.encode("utf-8", "replace"))


class Keyring:
    """All API keys of this server, by their hashes."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._by_id: dict[str, dict[str, str]] = {}

    def load(self, rows: Iterable[StoredApiKey]) -> None:
        """Replaces the keys by the stored ones."""
        self._keys.clear()
        self._by_id.clear()
        for row in rows:
            scopes: frozenset[Scope] = frozenset(row.scopes.split())  # type: ignore[arg-type]
            self.put(ApiKey(**{**row._asdict(), "scopes": scopes}))

    def put(self, key: ApiKey) -> None:
        """Adds or replaces a key that was just stored."""
        self._keys[key.hash] = key
        self._by_id.setdefault(key.name, {})[key.id] = key.hash

    def end(self, name: str, id_: str, expires_at: int) -> None:
        """Sets the end of a key."""
        if (hash_ := self._by_id.get(name, {}).get(id_)) is not None:
            self._keys[hash_] = replace(self._keys[hash_], expires_at=expires_at)

    def get(self, name: str, id_: str) -> ApiKey | None:
        """The key of a business with this id."""
        hash_ = self._by_id.get(name, {}).get(id_)
        return None if hash_ is None else self._keys[hash_]

    def of(self, name: str) -> list[ApiKey]:
        """All keys of a business, also those that have ended, the oldest first."""
        keys = (self._keys[hash_] for hash_ in self._by_id.get(name, {}).values())
        return sorted(keys, key=lambda key: (key.created_at, key.id))

    def long_ended(self, now: int, kept: int, most: int) -> list[ApiKey]:
        """The keys that ended at least `kept` ms before `now`, and of each business all but the last `most` to end."""
        found: list[ApiKey] = []
        for name in self._by_id:
            ended = [(key.expires_at, key) for key in self.of(name) if key.expires_at is not None]
            ended = sorted((pair for pair in ended if pair[0] <= now), key=lambda pair: pair[0], reverse=True)
            found += [key for place, (at, key) in enumerate(ended) if at <= now - kept or place >= most]
        return found

    def drop(self, keys: Iterable[ApiKey]) -> None:
        """Removes keys that were deleted from the store."""
        for key in keys:
            self._keys.pop(key.hash, None)
            self._by_id.get(key.name, {}).pop(key.id, None)

    def bearer(self, authorization: str | None, now: int) -> ApiKey:
        """The key in an Authorization header (RFC 6750). Raises Refused("no_sandbox") for a sandbox key, and
        Refused("api_key_required") for every other token that is no key in force: one answer, so that nobody learns
        whether a key was ever valid."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or len(token) > 200:
            raise Refused("api_key_required")
        if token.startswith(SANDBOX):
            raise Refused("no_sandbox")
        # The lookup is by the hash, so its duration says nothing about a similar key.
        key = self._keys.get(hash_of(token))
        if key is None or not key.is_in_force(now):
            raise Refused("api_key_required")
        return key

    def used(self, key: ApiKey, now: int) -> bool:
        """Records a use of a key in memory. Returns whether the use must be stored."""
        if key.last_used_at is not None and now - key.last_used_at < USE_NOTED:
            return False
        self._keys[key.hash] = replace(key, last_used_at=now)
        return True
