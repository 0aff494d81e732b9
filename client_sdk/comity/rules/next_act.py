"""Composing and sealing the next act of a chain (spec/act.md, section "Chain").

Both ends use it: the SDK for the party whose keys it holds, and a server for a business whose key it keeps.
"""

from typing import Any

from pydantic import ValidationError

from comity.crypto.keys import Signer
from comity.documents.acts import MODELS, SETTINGS, SignedAct, seal_act
from comity.documents.proofs import seal_mailbox_proof, seal_rotation_proof
from comity.documents.types import Side, faults, other
from comity.errors import Malformed
from comity.rules.state import Connection


def next_act(connection: Connection, side: Side, kind: str, iat: int, signer: Signer, /, **fields: Any) -> SignedAct:
    """The act `kind` with its own `fields`, sealed as the next of the side's chain (ACT-11).

    `iat` is in seconds. Raises Malformed for fields that the act does not have or take. Nothing is decided here:
    whether the act will be accepted is `connection.decide`'s to say. An act that got no answer is sent again as it is,
    never composed anew (ACT-13).
    """
    door = connection.door(side)
    if kind in SETTINGS:
        aud, seq, prev = connection.home, door.settings.seq, door.settings.head or connection.cid
    else:
        aud, seq, prev = connection.door(other(side)).did, door.seq, door.head
    return compose(kind, signer, iss=door.did, aud=aud, iat=iat, cid=connection.cid, seq=seq, prev=prev, **fields)


def next_rotation(connection: Connection, side: Side, iat: int, signer: Signer, new: Signer) -> SignedAct:
    """The `rotate` act by which `new` takes over the side, signed by the old key and the new (ACT-14)."""
    door = connection.door(side)
    proof = seal_rotation_proof(connection.cid, door.seq, door.head, new)
    return next_act(connection, side, "rotate", iat, signer, kid=new.kid, key=new.key.public.multibase, proof=proof)


def next_mailbox(connection: Connection, side: Side, iat: int, signer: Signer, mailbox: Signer) -> SignedAct:
    """The setting that brings the side's news to the stream of `mailbox`, signed by both keys (ACT-15)."""
    door = connection.door(side)
    seq, prev = door.settings.seq, door.settings.head or connection.cid
    proof = seal_mailbox_proof(door.did, connection.cid, seq, prev, mailbox)
    return next_act(connection, side, "mailbox", iat, signer, did=mailbox.did, proof=proof)


def blind_revoke(cid: str, aud: str, iat: int, signer: Signer) -> SignedAct:
    """A revoke by somebody who knows the connection but not where its chain stands (CONN-5)."""
    return compose("revoke", signer, iss=signer.did, aud=aud, iat=iat, cid=cid, seq=0, prev=cid)


def compose(kind: str, signer: Signer, /, **members: Any) -> SignedAct:
    """An act with exactly these members, sealed. Raises Malformed."""
    model = MODELS.get(kind)
    if model is None:
        raise Malformed("no such kind of act")
    try:
        payload = model.model_validate({"act": kind, **members})
    except ValidationError as fault:
        raise Malformed("the members are not those of this act", errors=faults(fault)) from None
    return seal_act(payload, signer)  # type: ignore[arg-type]
