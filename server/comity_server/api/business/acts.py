"""Acts of a business: composed here and signed with the key that it left with the server, or signed by itself and
sent whole (BIZ-8). Either way they are decided like everybody's, in the group (spec/act.md)."""

from typing import Any

from comity.crypto.keys import Signer
from comity.documents.acts import Feedback, SignedAct
from comity.documents.events import Accepted
from comity.documents.types import Side
from comity.errors import Refused
from comity.rules.feedback import DeliveredMessage
from comity.rules.next_act import next_act
from comity.rules.state import Connection, decode_state
from comity_server.api.business.route import Call, no_such
from comity_server.businesses.directory import Business
from comity_server.reads.connections import accepted_in
from comity_server.writer.repeats import possible_repeats
from comity_server.writer.unit_of_work import Answer, UnitOfWork


def side_in(connection: Connection | None, business: Business) -> Side:
    """Which side of the connection the business is. Raises Refused("not_found") for none, and for a connection that
    never was: one answer for both (BIZ-13)."""
    side = None if connection is None else connection.side_of(business.did)
    if connection is None or side is None or connection.door(side).did != business.did:
        raise Refused("not_found", no_such("connection"))
    return side


async def own_connection(call: Call) -> tuple[Connection, Side]:
    """The connection in the path as it is stored, and which side of it the business is. Raises Refused("not_found")."""
    known = await call.server.store.state(call.path["connection"])
    state = None if known is None else decode_state(known.state)
    side = side_in(state, call.business)
    assert state is not None
    return state, side


def signer_of(call: Call, connection: Connection, side: Side) -> Signer:
    """Who signs for the business in this connection. Raises Refused("signing_key_not_kept")."""
    return kept_signer(call, connection.door(side).kid)


def kept_signer(call: Call, kid: str) -> Signer:
    """Who signs as `kid`. Raises Refused("signing_key_not_kept")."""
    signer = call.server.grounds.kept.signer(kid)
    if signer is None:
        raise Refused("signing_key_not_kept")
    return signer


def newest_signer(call: Call) -> Signer:
    """The newest key that the business left here. Raises Refused("signing_key_not_kept")."""
    signer = call.server.grounds.kept.newest(call.business.name)
    if signer is None:
        raise Refused("signing_key_not_kept")
    return signer


async def act(call: Call, group: UnitOfWork, cid: str, kind: str, /, **fields: Any) -> Answer:
    """Do an act in the connection: the one in the request, where the business signs itself, else the act `kind` with
    these fields, composed as the next of its chain. Raises Refused."""
    state = group.states.get(cid)
    side = side_in(state, call.business)
    assert state is not None
    if call.signed is None and state.recovering and kind != "revoke":
        # What is composed here might take the place of an act that was lost (REC-6).
        raise Refused("recovering")
    if call.signed is None:
        signed = next_act(state, side, kind, group.now // 1000, signer_of(call, state, side), **fields)
    else:
        signed = _sent(call, cid)
        await _at_hand(call, group, signed)
    answer = group.act(signed, call.over)
    doing = {"cid": cid, "act": signed.id, "key_id": call.key.id, "seat": call.key.seat}
    group.batch.put_doing.append(doing)
    return answer


async def look_up(call: Call, group: UnitOfWork, message: str) -> DeliveredMessage | None:
    """The message, delivered by now, or contact of that id, whosever it is; at hand from now on (CONN-2)."""
    if message not in group.reached:
        group.reached.update(await call.server.store.messages_by_id([message]))
    return group.reached.get(message)


def accepted(answer: Answer) -> Accepted:
    """What the server states of an act: just decided, or long ago."""
    return answer.accepted or accepted_in(answer.event)


def _sent(call: Call, cid: str) -> SignedAct:
    """The act that the business signed, if it is its own and of this connection. Raises Refused("not_found")."""
    assert call.signed is not None
    if call.signed.payload.cid != cid or call.signed.payload.iss != call.business.did:
        raise Refused("not_found", no_such("connection"))
    return call.signed


async def _at_hand(call: Call, group: UnitOfWork, signed: SignedAct) -> None:
    """What deciding an act that may have come before needs from the store."""
    if possible_repeats([signed], group.states):
        group.first_answers.update(await call.server.store.acceptances([signed.id]))
    if isinstance(signed.payload, Feedback):
        await look_up(call, group, signed.payload.message)
    if places := call.server.accept.places([signed]):
        # What the group has done to a place by now is newer than what is stored.
        group.reservations = await call.server.store.reservations(places) | group.reservations
