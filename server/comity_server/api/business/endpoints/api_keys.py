"""API keys over REST (BIZ-1 to BIZ-6)."""

from typing import Annotated, Literal

from pydantic import Field

from comity.errors import Refused
from comity_server.api.business.idempotency import run_idempotent
from comity_server.api.business.pagination import AFTER_ALL, NextCursor, Page, page_start, seal_cursor
from comity_server.api.business.route import BUSINESS, Call, Reply, Route, no_such
from comity_server.businesses.api_keys import ApiKey, new_key
from comity_server.businesses.roles import Role, Scope
from comity_server.commands.provisioning import admit, keys_of
from comity_server.schema import Due, Instant, Label, Model, instant, seconds
from comity_server.writer.unit_of_work import UnitOfWork

MOST_OVERLAP = 30 * 24 * 3600
"""The longest time (s) for which a rotated key stays valid beside its successor."""
_DAY = 24 * 3600


class Self(Model):
    """The business of an API key, and the key's scopes."""

    object: Literal["self"] = "self"
    business: str
    did: str
    api_key: str = Field(description="The API key's id.", examples=["key_9gkCkfxbKDl2rZ0q"])
    role: Role
    scopes: tuple[Scope, ...]
    seat: str | None = None
    expires_at: Instant | None = None
    signing: str


class ApiKeySummary(Model):
    """An API key without its secret, which is shown only when the key is created."""

    id: str = Field(examples=["key_9gkCkfxbKDl2rZ0q"])
    object: Literal["api_key"] = "api_key"
    status: Literal["active", "ended"]
    label: str = Field(examples=["night shift"])
    role: Role
    scopes: tuple[Scope, ...] = Field(description="All scopes of its role, or fewer.")
    seat: str | None = Field(default=None, description="The seat of the member of staff who has the key.")
    created_at: Instant
    expires_at: Instant | None = Field(default=None, description="The end of the key. Absent: it has no end.")
    last_used_at: Instant | None = Field(
        default=None, description="The time of its last use, to the minute. Absent: never used."
    )


class CreatedApiKey(ApiKeySummary):
    """A new API key. The server does not store `key`: if you lose it, create another."""

    key: str | None = Field(
        default=None,
        description="The key itself. It is shown once, and absent when the answer is sent again.",
        examples=["ck_live_m7Qx1c0Zb8r2VfT5uYw9Jk3Ls6Nd4Hg1Pa0Ee8Ri2To"],
    )


class ApiKeyList(Model):
    """A page of API keys, the newest first."""

    object: Literal["list"] = "list"
    items: tuple[ApiKeySummary, ...]
    next_cursor: NextCursor | None = None


class NewApiKey(Model):
    """The label, role and scopes of a new API key."""

    label: Label = Field(description="A name for people.", examples=["night shift"])
    role: Role
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        description="Fewer scopes than the role has. Absent: all scopes of the role.",
        examples=[["check"]],
    )
    seat: Annotated[str, Field(pattern=r"^seat_[A-Za-z0-9_-]{22}$")] | None = Field(
        default=None, description="The seat of the member of staff who gets the key (POST /seats)."
    )
    expires_at: Due | None = Field(
        default=None, description="The end of the key. Absent: the end of the key that creates it."
    )


class ApiKeyRotation(Model):
    """The time for which the old key stays valid."""

    overlap_seconds: int = Field(
        default=_DAY, ge=0, le=MOST_OVERLAP, description="0 ends the old key at once. The default is a day."
    )


# --- who am I ---------------------------------------------------------------------------------------------------------


async def get_self(call: Call) -> Reply:
    """The business of the key, and the key's scopes."""
    key = call.key
    kept = call.server.context.kept.newest(call.business.name) is not None
    return Reply.of(
        Self(
            business=call.business.name,
            did=call.business.did,
            api_key=key.id,
            role=key.role,
            scopes=tuple(sorted(key.scopes)),
            seat=key.seat,
            expires_at=_instant(key.expires_at),
            signing="kept" if kept else "own",
        )
    )


# --- keys -------------------------------------------------------------------------------------------------------------


async def list_keys(call: Call) -> Reply:
    """Lists the keys of the business, the newest first, ended keys too."""
    before = page_start(call, "keys", AFTER_ALL)
    keys = [key for key in call.server.context.keyring.of(call.business.name) if (key.created_at, key.id) < before]
    keys.reverse()
    page, now = keys[: call.query.limit], call.server.clock.now()
    cursor = seal_cursor(call, "keys", page[-1].created_at, page[-1].id) if len(keys) > len(page) else None
    return Reply.of(ApiKeyList(items=tuple(_key_summary(key, now) for key in page), next_cursor=cursor))


async def create_key(call: Call) -> Reply:
    """Creates a key, which has no scope and no later end than the key of the caller."""
    wanted: NewApiKey = call.body
    name = call.business.name

    async def decide(unit: UnitOfWork) -> Reply:
        manager = _manager(call, unit)
        ends = manager.expires_at if wanted.expires_at is None else seconds(wanted.expires_at) * 1000
        shown, key = new_key(
            name, wanted.role, unit.now, label=wanted.label, scopes=wanted.scopes, seat=wanted.seat, expires_at=ends
        )
        _must_be_within(manager, key)
        if not key.is_in_force(unit.now):
            raise Refused("until_passed")
        if key.seat is not None and not await is_seat(call, unit, key.seat):
            raise Refused("not_found", no_such("seat"))
        admit(unit, shown, key)
        return _created_answer(shown, key, unit.now)

    return await run_idempotent(call, decide)


async def rotate_key(call: Call) -> Reply:
    """Creates the successor of a key, and sets the end of the old one."""

    async def decide(unit: UnitOfWork) -> Reply:
        old = _managed_key(call, unit)
        shown, key = new_key(
            old.name,
            old.role,
            unit.now,
            label=old.label,
            scopes=old.scopes,
            seat=old.seat,
            expires_at=old.expires_at,
            line=old.line,
        )
        ends = unit.now + call.body.overlap_seconds * 1000
        ends = ends if old.expires_at is None else min(ends, old.expires_at)
        admit(unit, shown, key, instead_of=old.id if ends <= unit.now else None)
        unit.batch.end_api_key.append({"expires_at": ends, "name": old.name, "id": old.id})
        return _created_answer(shown, key, unit.now)

    return await run_idempotent(call, decide)


async def delete_key(call: Call) -> Reply:
    """Ends a key at once."""

    async def decide(unit: UnitOfWork) -> Reply:
        key = _managed_key(call, unit)
        others = [other for other in keys_of(unit, key.name).values() if other.id != key.id]
        if _is_lasting_owner(key) and not any(map(_is_lasting_owner, others)):
            raise Refused("last_owner")
        unit.batch.end_api_key.append({"expires_at": unit.now, "name": key.name, "id": key.id})
        return Reply(204)

    return await run_idempotent(call, decide)


def _manager(call: Call, unit: UnitOfWork) -> ApiKey:
    """Rereads the caller's API key, including changes made earlier in this transaction. Raises Refused."""
    key = keys_of(unit, call.business.name)[call.key.id]
    if not key.is_in_force(unit.now):
        raise Refused("api_key_required")
    return key


def _managed_key(call: Call, unit: UnitOfWork) -> ApiKey:
    """The valid key in the path, if the caller's key may manage it. Raises Refused."""
    manager = _manager(call, unit)
    key = keys_of(unit, call.business.name).get(call.path["id"])
    if key is None or not key.is_in_force(unit.now):
        raise Refused("not_found")
    _must_be_within(manager, key)
    return key


def _must_be_within(manager: ApiKey, key: ApiKey) -> None:
    """Raises Refused if the key has a scope that its manager lacks, or a later end: otherwise a narrowed key, or one
    that ends soon, could create a stronger one (BIZ-4)."""
    if not key.scopes <= manager.scopes:
        raise Refused("scope_missing", "a key manages only keys that have no scope beyond its own")
    if manager.expires_at is not None and (key.expires_at is None or key.expires_at > manager.expires_at):
        raise Refused("scope_missing", "a key manages only keys that end no later than itself")


def _is_lasting_owner(key: ApiKey) -> bool:
    """True if the key can manage keys and has no end (BIZ-3)."""
    return "keys:manage" in key.scopes and key.expires_at is None


def _key_summary(key: ApiKey, now: int) -> ApiKeySummary:
    return ApiKeySummary(
        id=key.id,
        status="active" if key.is_in_force(now) else "ended",
        label=key.label,
        role=key.role,
        scopes=tuple(sorted(key.scopes)),
        seat=key.seat,
        created_at=instant(key.created_at),
        expires_at=_instant(key.expires_at),
        last_used_at=_instant(key.used_at),
    )


def _created_answer(shown: str, key: ApiKey, now: int) -> Reply:
    """The answer with the key itself. The copy for a repeated request lacks it (BIZ-11)."""
    kept = _key_summary(key, now)
    body = CreatedApiKey(**dict(kept), key=shown).to_json()
    return Reply(201, body, f"{BUSINESS}/keys/{key.id}", replay_body=kept.to_json())


async def is_seat(call: Call, unit: UnitOfWork, seat: str) -> bool:
    """True if the business has this seat."""
    name = call.business.name
    fresh = any((row["name"], row["seat"]) == (name, seat) for row in unit.batch.put_seat)
    return fresh or await call.server.store.business.seat(name, seat) is not None


# --- times ------------------------------------------------------------------------------------------------------------


def _instant(ms: int | None) -> str | None:
    return None if ms is None else instant(ms)


_TAG = "keys"
ROUTES = (
    Route(
        "GET", "/self", None, get_self, "getSelf", "Get the business and the scopes of this API key", _TAG, answer=Self
    ),
    Route(
        "GET",
        "/keys",
        "keys:manage",
        list_keys,
        "listKeys",
        "List the API keys",
        _TAG,
        description="Every key of the business, ended keys too. The keys themselves are not shown.",
        query=Page,
        answer=ApiKeyList,
    ),
    Route(
        "POST",
        "/keys",
        "keys:manage",
        create_key,
        "createKey",
        "Create an API key",
        _TAG,
        description=(
            "Only this answer shows the key. The new key has no scope, and no later end, than the key that creates it"
            " (BIZ-4)."
        ),
        body=NewApiKey,
        answer=CreatedApiKey,
        statuses=(201,),
        codes=("not_found", "too_many_keys", "until_passed"),
    ),
    Route(
        "POST",
        "/keys/{id}/rotate",
        "keys:manage",
        rotate_key,
        "rotateKey",
        "Replace an API key with a new one",
        _TAG,
        description=(
            "The new key has the role, scopes, seat, label and end of the old one. The old one stays valid for the"
            " overlap, but not beyond its own end."
        ),
        body=ApiKeyRotation,
        answer=CreatedApiKey,
        statuses=(201,),
        codes=("not_found", "too_many_keys"),
    ),
    Route(
        "DELETE",
        "/keys/{id}",
        "keys:manage",
        delete_key,
        "deleteKey",
        "Delete an API key",
        _TAG,
        description="The key is invalid from this answer on. It stays in the list as one that has ended.",
        statuses=(204,),
        codes=("not_found", "last_owner"),
    ),
)
