"""The operator's commands on hosted businesses, each with its request and its response. The running server carries them
out, or they run in its data folder where no server runs.

A request names things and holds no secret; two responses show a new API key, once.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, get_args

import msgspec
from pydantic import TypeAdapter, ValidationError

from comity.documents.types import describe_faults
from comity.errors import Malformed
from comity_server.api.business.endpoints.notices import compose_away, publish
from comity_server.api.business.endpoints.seats import seat_of, seat_secret
from comity_server.businesses.api_keys import ApiKey, new_key
from comity_server.businesses.directory import Business
from comity_server.businesses.roles import Role, Scope
from comity_server.businesses.sealing import key_of, seals
from comity_server.commands.provisioning import admit, begin, keys_of
from comity_server.commands.server_key_rotation import rotate_home
from comity_server.conditions import CONDITIONS as CURES
from comity_server.errors import NotPossible
from comity_server.operator.master_key_rotation import master_file, rotate_master
from comity_server.operator.signing_key_rotation import Turned, next_key, turn
from comity_server.schema import Label, instant
from comity_server.services import Server
from comity_server.writer.unit_of_work import UnitOfWork

Q = TypeVar("Q")
A = TypeVar("A")

_LABEL: TypeAdapter[str] = TypeAdapter(Label)


@dataclass(frozen=True, slots=True)
class Duty(Generic[Q, A]):
    """One of them. `do` raises NotPossible, Refused or CannotUnseal, whose texts are for the operator."""

    name: str
    takes: Any
    gives: Any
    do: Callable[[Server, Q], Awaitable[A]]


class Nothing(msgspec.Struct):
    """A question without members."""


class KeyToPublish(msgspec.Struct):
    """A business, and its public key, where it keeps the private one itself."""

    name: str
    did_key: str | None = None


class Away(msgspec.Struct):
    """The start and end (s) of a business's absence, and its text in each language."""

    starts: int
    until: int
    texts: dict[str, str]


class Told(msgspec.Struct):
    """A business; a new one with the API key of its owner, shown this once."""

    name: str
    did: str
    kids: list[str]
    api_key: str | None = None
    away: Away | None = None


class WantedKey(msgspec.Struct):
    """An API key to make; `staff` in the business's own words."""

    name: str
    role: str
    label: str
    scopes: list[str] | None = None
    staff: str | None = None


class ApiKeyLine(msgspec.Struct):
    """An API key in words; `key` is the key itself, shown this once when it was made."""

    id: str
    role: str
    scopes: list[str]
    label: str
    seat: str | None
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    in_force: bool
    key: str | None = None


class OfBusiness(msgspec.Struct):
    """A business by its name."""

    name: str


class OneKey(msgspec.Struct):
    """An API key by its id."""

    name: str
    id: str


class Sealed(msgspec.Struct):
    """How much of one kind the current master key sealed, and how much older ones."""

    what: str
    current: int
    older: int


class OfKept(msgspec.Struct):
    """A business whose signing keys are stored here, the oldest first."""

    name: str
    kids: list[str]


class MasterStatus(msgspec.Struct):
    """The names of the master keys, the one that seals first; where they come from; and whose signing keys are
    kept."""

    masters: list[str]
    source: str
    sealed: list[Sealed]
    businesses: list[OfKept]


class Resealed(msgspec.Struct):
    """How many secrets were sealed anew; where the master key is, and its name."""

    count: int
    source: str
    master: str


class Kid(msgspec.Struct):
    """The name of a signing key."""

    kid: str


class Absence(msgspec.Struct):
    """Publishes that a business is away (s; from 0: from now on), with a text in each language; until 0: it is back."""

    name: str
    starts: int
    until: int
    texts: dict[str, str]


class ConditionLine(msgspec.Struct):
    """A condition of the server (OPS-1); `stops`: it does not do all of its work in it."""

    condition: str
    cause: str
    cure: str
    stops: bool


class Moment(msgspec.Struct):
    """Accepts the current time of the clock."""

    at: str


class HomeRotation(msgspec.Struct):
    """A new key of the home server; `broken`: the key before is lost, or others may have it."""

    broken: bool = False


class Place(msgspec.Struct):
    """Where, in a business's connections, to go on."""

    name: str
    after: tuple[int, str] = (-1, "")


def business_answer(business: Business, api_key: str | None = None) -> Told:
    """A business in words that can be sent."""
    return Told(business.name, business.did, list(business.keys), api_key)


async def _conditions(server: Server, _: Nothing) -> list[ConditionLine]:
    return [ConditionLine(it.name, it.cause, it.cure, it.stops) for it in server.conditions.look()]


async def _believe(server: Server, _: Nothing) -> Moment:
    if server.writer.clock_behind():
        raise NotPossible(f"the last write to the store is later than the clock: {CURES['clock_behind'].cure}")
    server.clock.believe()
    return Moment(instant(server.clock.now()))


async def _create(server: Server, wanted: KeyToPublish) -> Told:
    return business_answer(*await server.writer.command(partial(begin, server.onboarding, wanted.name, wanted.did_key)))


async def _list(server: Server, _: Nothing) -> list[Told]:
    found, now = [business_answer(business) for business in server.directory.names()], server.clock.now()
    for it in found:
        notice = server.context.notices.away_notice(it.did, now)
        it.away = None if notice is None else Away(notice.starts, notice.until, dict(notice.texts))
    return found


async def _create_key(server: Server, wanted: WantedKey) -> ApiKeyLine:
    _must_be_there(server, wanted.name)
    role = _word(Role, "role", wanted.role)
    scopes = None if wanted.scopes is None else [_word(Scope, "scope", scope) for scope in wanted.scopes]
    label = _text("label", wanted.label)
    seat = None
    if wanted.staff is not None:
        seat = seat_of(await seat_secret(server, wanted.name), _text("staff", wanted.staff))

    async def decide(unit: UnitOfWork) -> ApiKeyLine:
        try:
            made = new_key(wanted.name, role, unit.now, label=label, scopes=scopes, seat=seat)
        except Malformed as fault:
            raise NotPossible(f"{fault.detail}: {fault.errors[0][1]}") from None
        shown, key = admit(unit, *made)
        if seat is not None:
            # Known already, perhaps: then nothing is written twice.
            unit.batch.put_seat.append({"name": wanted.name, "seat": seat, "created_at": unit.now})
        return _line(key, unit.now, shown)

    return await server.writer.command(decide)


async def _list_keys(server: Server, wanted: OfBusiness) -> list[ApiKeyLine]:
    _must_be_there(server, wanted.name)
    now = server.clock.now()
    return [_line(key, now) for key in server.context.keyring.of(wanted.name)]


async def _end_key(server: Server, wanted: OneKey) -> ApiKeyLine:
    _must_be_there(server, wanted.name)

    async def decide(unit: UnitOfWork) -> ApiKeyLine:
        key = keys_of(unit, wanted.name).get(wanted.id)
        if key is None or not key.is_in_force(unit.now):
            raise NotPossible("there is no key in force with this id")
        unit.batch.end_api_key.append({"expires_at": unit.now, "name": key.name, "id": key.id})
        return _line(keys_of(unit, wanted.name)[key.id], unit.now)

    return await server.writer.command(decide, narrows=True)


async def _status(server: Server, _: Nothing) -> MasterStatus:
    kept, found = server.context.kept, []
    for kind, names in (await seals(server.store.business)).items():
        current = names.get(key_of(kind, kept.master).name, 0)
        found.append(Sealed(kind.what, current, sum(names.values()) - current))
    businesses: dict[str, list[str]] = {}
    for row in await server.store.business.signing_keys():
        businesses.setdefault(row.name, []).append(row.kid)
    masters = [name.decode("ascii") for name in kept.master.names]
    return MasterStatus(masters, _source(server), found, [OfKept(*item) for item in businesses.items()])


async def _rotate_master(server: Server, _: Nothing) -> Resealed:
    count = await rotate_master(server)
    return Resealed(count, _source(server), server.context.kept.master.name.decode("ascii"))


async def _next_key(server: Server, wanted: OfBusiness) -> Kid:
    return Kid(await next_key(server, wanted.name))


async def _turn(server: Server, wanted: Place) -> Turned:
    return await turn(server, wanted.name, wanted.after)


async def _away(server: Server, wanted: Absence) -> Nothing:
    _must_be_there(server, wanted.name)
    business = server.directory.get(wanted.name)
    signer = server.context.kept.newest(wanted.name)
    if business is None or signer is None:
        raise NotPossible("the business holds its own signing key, so it must sign and publish the notice itself")

    async def decide(unit: UnitOfWork) -> Nothing:
        now = unit.now // 1000
        if 0 < wanted.until <= now:
            raise NotPossible("the day of return must be in the future; `back` ends an absence early")
        signed = compose_away(signer, wanted.starts or now, wanted.until, wanted.texts, now)
        await publish(server.store.business, business, signed, unit)
        return Nothing()

    try:
        return await server.writer.command(decide)
    except Malformed as fault:
        raise NotPossible("; ".join(f"{pointer}: {what}" for pointer, what in fault.errors)) from None


async def _rotate_home(server: Server, wanted: HomeRotation) -> Kid:
    log = server.logs.active.key.text
    return Kid(await rotate_home(server.writer, server.home.keys, log, broken=wanted.broken))


def _source(server: Server) -> str:
    file = master_file(server.config)
    return "COMITY_MASTER_KEY" if file is None else str(file)


def _must_be_there(server: Server, name: str) -> None:
    if server.directory.get(name) is None:
        raise NotPossible("there is no business with this name")


def _word(words: Any, what: str, word: str) -> Any:
    if word not in get_args(words):
        raise NotPossible(f"no such {what}; there are {', '.join(get_args(words))}")
    return word


def _text(what: str, text: str) -> str:
    try:
        return _LABEL.validate_python(text)
    except ValidationError as fault:
        raise NotPossible(f"the {what} is not valid: {describe_faults(fault)[0][1]}") from None


def _line(key: ApiKey, now: int, shown: str | None = None) -> ApiKeyLine:
    ends = None if key.expires_at is None else instant(key.expires_at)
    used = None if key.used_at is None else instant(key.used_at)
    scopes: list[str] = sorted(key.scopes)
    about = (key.id, key.role, scopes, key.label, key.seat, instant(key.created_at), ends, used)
    return ApiKeyLine(*about, key.is_in_force(now), shown)


CREATE: Duty[KeyToPublish, Told] = Duty("create", KeyToPublish, Told, _create)
LIST: Duty[Nothing, list[Told]] = Duty("list", Nothing, list[Told], _list)
CREATE_KEY: Duty[WantedKey, ApiKeyLine] = Duty("create-key", WantedKey, ApiKeyLine, _create_key)
LIST_KEYS: Duty[OfBusiness, list[ApiKeyLine]] = Duty("list-keys", OfBusiness, list[ApiKeyLine], _list_keys)
END_KEY: Duty[OneKey, ApiKeyLine] = Duty("end-key", OneKey, ApiKeyLine, _end_key)
STATUS: Duty[Nothing, MasterStatus] = Duty("master-status", Nothing, MasterStatus, _status)
ROTATE_MASTER: Duty[Nothing, Resealed] = Duty("rotate-master", Nothing, Resealed, _rotate_master)
NEXT_KEY: Duty[OfBusiness, Kid] = Duty("next-key", OfBusiness, Kid, _next_key)
TURN: Duty[Place, Turned] = Duty("turn", Place, Turned, _turn)
AWAY: Duty[Absence, Nothing] = Duty("away", Absence, Nothing, _away)
ROTATE_HOME: Duty[HomeRotation, Kid] = Duty("rotate-home", HomeRotation, Kid, _rotate_home)
CONDITIONS: Duty[Nothing, list[ConditionLine]] = Duty("conditions", Nothing, list[ConditionLine], _conditions)
BELIEVE: Duty[Nothing, Moment] = Duty("believe-clock", Nothing, Moment, _believe)

DUTIES: tuple[Duty[Any, Any], ...] = (
    CREATE,
    LIST,
    CREATE_KEY,
    LIST_KEYS,
    END_KEY,
    STATUS,
    ROTATE_MASTER,
    NEXT_KEY,
    TURN,
    AWAY,
    ROTATE_HOME,
    CONDITIONS,
    BELIEVE,
)
