"""What a second key says to an act: the new key of a `rotate`, the key of a mailbox (spec/act.md, ACT-14, ACT-15)."""

from pydantic import TypeAdapter

from comity.crypto.jws import open_jws, seal
from comity.crypto.keys import PublicKey, Signer
from comity.documents.types import Did, Hash, Model, Sequence, read_model
from comity.errors import Refused

ROTATE_TYP = "comity-rotate+jwt"
MAILBOX_TYP = "comity-mailbox+jwt"


class Proof(Model):
    """The one place that the second key signs for: a connection, and the act's place in its side's chain.

    `iss` is the name that the side has from the act on: of a `rotate` the new key's, of a `mailbox` the setting's own.
    """

    iss: Did
    cid: Hash
    seq: Sequence
    prev: Hash


_PROOF: TypeAdapter[Proof] = TypeAdapter(Proof)


def seal_rotation_proof(cid: str, seq: int, prev: str, new: Signer) -> str:
    """The new key's signature for a `rotate` act (ACT-14)."""
    return seal(Proof(iss=new.did, cid=cid, seq=seq, prev=prev).to_json(), ROTATE_TYP, new)


def seal_mailbox_proof(side: str, cid: str, seq: int, prev: str, mailbox: Signer) -> str:
    """The mailbox key's signature for a `mailbox` setting of the side with this DID (ACT-15)."""
    return seal(Proof(iss=side, cid=cid, seq=seq, prev=prev).to_json(), MAILBOX_TYP, mailbox)


def check_proof(raw: str, typ: str, kid: str, key: PublicKey, wanted: Proof) -> None:
    """Raises Refused("wrong_proof") unless `key`, under the name `kid`, signed exactly the place `wanted`."""
    try:
        opened = open_jws(raw, {typ}, {kid: key}.get)
        proof = read_model(_PROOF, opened.payload)
    except Refused:
        raise Refused("wrong_proof") from None
    if proof != wanted or opened.header.kid != kid:
        raise Refused("wrong_proof")
