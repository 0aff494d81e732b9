"""Proofs: the consent of a second key to an act. A `rotate` needs that of the new key, a `mailbox` that of its own
(spec/act.md, ACT-14, ACT-15)."""

from pydantic import TypeAdapter

from comity.crypto.jws import open_jws, sign_jws
from comity.crypto.keys import PublicKey, Signer
from comity.documents.types import Did, Hash, Model, Sequence, parse_model
from comity.errors import Refused

ROTATE_TYP = "comity-rotate+jwt"
MAILBOX_TYP = "comity-mailbox+jwt"


class Proof(Model):
    """The payload that the second key signs: a connection, and the act's position in its side's chain.

    `iss` is the name of the side after the act: of a `rotate` the new key's, of a `mailbox` that of the setting.
    """

    iss: Did
    cid: Hash
    seq: Sequence
    prev: Hash


_PROOF: TypeAdapter[Proof] = TypeAdapter(Proof)


def sign_rotation_proof(cid: str, seq: int, prev: str, new: Signer) -> str:
    """The new key's signature for a `rotate` act (ACT-14)."""
    return sign_jws(Proof(iss=new.did, cid=cid, seq=seq, prev=prev).to_json(), ROTATE_TYP, new)


def sign_mailbox_proof(side: str, cid: str, seq: int, prev: str, mailbox: Signer) -> str:
    """The mailbox key's signature for a `mailbox` setting of the side with this DID (ACT-15)."""
    return sign_jws(Proof(iss=side, cid=cid, seq=seq, prev=prev).to_json(), MAILBOX_TYP, mailbox)


def check_proof(raw: str, typ: str, kid: str, key: PublicKey, wanted: Proof) -> None:
    """Raises Refused("wrong_proof") unless `key`, with the name `kid`, signed exactly `wanted`."""
    try:
        jws = open_jws(raw, {typ}, {kid: key}.get)
        proof = parse_model(_PROOF, jws.payload)
    except Refused:
        raise Refused("wrong_proof") from None
    if proof != wanted or jws.header.kid != kid:
        raise Refused("wrong_proof")
