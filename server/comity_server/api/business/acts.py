"""Acts of a business: composed by the server and signed with the business's key, or sent as a JWS that the business
signed (BIZ-8). Both are decided like the acts of wallets (spec/act.md)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from comity.crypto.keys import Signer
from comity.documents.acts import Feedback, SignedAct
from comity.documents.events import Accepted
from comity.documents.types import Side
from comity.errors import Malformed, Refused
from comity.rules.feedback import DeliveredMessage
from comity.rules.next_act import next_act
from comity.rules.state import Connection, decode_state
from comity_server.api.business.route import Call, no_such
from comity_server.businesses.directory import Business
from comity_server.reads.connections import accepted_in
from comity_server.schema import rest_pointer
from comity_server.writer.repeats import possible_repeats
from comity_server.writer.unit_of_work import Answer, UnitOfWork


def own_side(connection: Connection | None, business: Business) -> Side:
    """The side of the business. Raises Refused("not_found") if it has none, or there is no connection: the same answer
    for both (BIZ-13)."""
    side = None if connection is None else connection.side_of(business.did)
    if connection is None or side is None or connection.door(side).did != business.did:
        raise Refused("not_found", no_such("connection"))
    return side


async def read_connection(call: Call) -> tuple[Connection, Side]:
    """(the stored connection of the path, the business's side of it). Raises Refused("not_found")."""
    known = await call.server.store.state(call.path["connection"])
    state = None if known is None else decode_state(known.state)
    side = own_side(state, call.business)
    assert state is not None
    return state, side


def connection_signer(call: Call, connection: Connection, side: Side) -> Signer:
    """The business's signer in this connection. Raises Refused("signing_key_not_kept")."""
    return kept_signer(call, connection.door(side).kid)


def kept_signer(call: Call, kid: str) -> Signer:
    """The signer of the key `kid`. Raises Refused("signing_key_not_kept")."""
    signer = call.server.context.kept.signer(kid)
    if signer is None:
        raise Refused("signing_key_not_kept")
    return signer


def newest_signer(call: Call) -> Signer:
    """The signer of the business's newest key. Raises Refused("signing_key_not_kept")."""
    signer = call.server.context.kept.newest(call.business.name)
    if signer is None:
        raise Refused("signing_key_not_kept")
    return signer


async def apply_act(call: Call, unit: UnitOfWork, cid: str, kind: str, /, **fields: Any) -> Answer:
    """Decides an act in the connection and adds it to the unit of work: the signed act of the request, or else the act
    `kind` with these fields as the next of the business's chain. Raises Refused."""
    state = unit.states.get(cid)
    side = own_side(state, call.business)
    assert state is not None
    if call.signed is None and state.recovering and kind != "revoke":
        # A new act could take the place of one that the backup lacks (REC-6).
        raise Refused("recovering")
    if call.signed is None:
        with _rest_pointers(kind):
            signed = next_act(state, side, kind, unit.now // 1000, connection_signer(call, state, side), **fields)
            answer = unit.act(signed, call.over)
    else:
        signed = _signed_by_business(call, cid)
        await _load_for_repeat(call, unit, signed)
        answer = unit.act(signed, call.over)
    doing = {"cid": cid, "act": signed.id, "key_id": call.key.id, "seat": call.key.seat}
    unit.batch.put_doing.append(doing)
    return answer


@contextmanager
def _rest_pointers(kind: str) -> Iterator[None]:
    """Points the faults of a composed act to the members of the request."""
    try:
        yield
    except Malformed as fault:
        errors = tuple((rest_pointer(kind, pointer), detail) for pointer, detail in fault.errors)
        raise Malformed(fault.detail or fault.title, errors=errors) from None


async def find_message(call: Call, unit: UnitOfWork, message: str) -> DeliveredMessage | None:
    """The delivered message, or the contact, with this id, of any connection. Later reads of this unit of work find it
    in memory (CONN-2)."""
    if message not in unit.reached:
        unit.reached.update(await call.server.store.messages_by_id([message]))
    return unit.reached.get(message)


def acceptance_of(answer: Answer) -> Accepted:
    """The server's acceptance of an act, now or at an earlier request."""
    return answer.accepted or accepted_in(answer.event)


def _signed_by_business(call: Call, cid: str) -> SignedAct:
    """The signed act of the request. Raises Refused("not_found") if it is of another party or connection."""
    assert call.signed is not None
    if call.signed.payload.cid != cid or call.signed.payload.iss != call.business.did:
        raise Refused("not_found", no_such("connection"))
    return call.signed


async def _load_for_repeat(call: Call, unit: UnitOfWork, signed: SignedAct) -> None:
    """Loads the rows that the decision about a signed act needs: earlier acceptances, messages, reservations."""
    if possible_repeats([signed], unit.states):
        unit.first_answers.update(await call.server.store.acceptances([signed.id]))
    if isinstance(signed.payload, Feedback):
        await find_message(call, unit, signed.payload.message)
    if places := call.server.writer.places([signed]):
        # Reservations of this unit of work are newer than the stored ones.
        unit.reservations = await call.server.store.reservations(places) | unit.reservations
