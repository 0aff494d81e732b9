"""Composes and signs the next act of a chain (spec/act.md, section "Chain").

The SDK calls it for the party whose keys it holds, a server for a business whose key it stores.
"""

from typing import Any

from pydantic import ValidationError

from comity.crypto.keys import Signer
from comity.documents.acts import MODELS, SETTINGS, SignedAct, sign_act
from comity.documents.proofs import sign_mailbox_proof, sign_rotation_proof
from comity.documents.types import Side, describe_faults, other
from comity.errors import Malformed
from comity.rules.state import Connection


def next_act(connection: Connection, side: Side, kind: str, iat: int, signer: Signer, /, **fields: Any) -> SignedAct:
    """The act `kind` with its own `fields`, signed as the next of the side's chain (ACT-11).

    `iat` is in seconds. Raises Malformed for fields that the act does not have. It does not check acceptance:
    `decide.decide` does. An act without an answer is sent again unchanged, never composed anew (ACT-13).
    """
    door = connection.door(side)
    if kind in SETTINGS:
        aud, seq, prev = connection.home, door.settings.seq, door.settings.head or connection.cid
    else:
        aud, seq, prev = connection.door(other(side)).did, door.seq, door.head
    return compose_act(kind, signer, iss=door.did, aud=aud, iat=iat, cid=connection.cid, seq=seq, prev=prev, **fields)


def next_rotation(connection: Connection, side: Side, iat: int, signer: Signer, new: Signer) -> SignedAct:
    """The `rotate` act by which `new` becomes the side's key, signed by the old key and the new (ACT-14)."""
    door = connection.door(side)
    proof = sign_rotation_proof(connection.cid, door.seq, door.head, new)
    return next_act(connection, side, "rotate", iat, signer, kid=new.kid, key=new.key.public.multibase, proof=proof)


def next_mailbox(connection: Connection, side: Side, iat: int, signer: Signer, mailbox: Signer) -> SignedAct:
    """The setting that sends the side's items to the inbox of `mailbox`, signed by both keys (ACT-15)."""
    door = connection.door(side)
    seq, prev = door.settings.seq, door.settings.head or connection.cid
    proof = sign_mailbox_proof(door.did, connection.cid, seq, prev, mailbox)
    return next_act(connection, side, "mailbox", iat, signer, did=mailbox.did, proof=proof)


def blind_revoke(cid: str, aud: str, iat: int, signer: Signer) -> SignedAct:
    """A revoke by a signer who knows the connection but not the head of its chain (CONN-5)."""
    return compose_act("revoke", signer, iss=signer.did, aud=aud, iat=iat, cid=cid, seq=0, prev=cid)


def compose_act(kind: str, signer: Signer, /, **members: Any) -> SignedAct:
    """Signs an act with exactly these members. Raises Malformed."""
    model = MODELS.get(kind)
    if model is None:
        raise Malformed("no such kind of act")
    try:
        payload = model.model_validate({"act": kind, **members})
    except ValidationError as fault:
        raise Malformed("the members do not fit this kind of act", errors=describe_faults(fault)) from None
    return sign_act(payload, signer)
