"""What is read. Nothing here decides about acts; what is not the reader's does not exist for him (HTTP-9)."""

from typing import Any, Protocol

import msgspec

from comity.encoding import b64u_decode
from comity.errors import Refused
from comity.events import Accepted
from comity.state import Connection, decode_state, public
from comity.words import Side
from comity_server.clock import Clock
from comity_server.connecting import is_open
from comity_server.store.rows import Offer, StoredAct


class AnswerStore(Protocol):
    """What answers ask of a store."""

    async def state(self, cid: str) -> bytes | None: ...
    async def agreement(self, cid: str) -> tuple[bytes, str] | None: ...
    async def offer(self, short: str) -> Offer | None: ...
    async def act(self, id_: str) -> StoredAct | None: ...


class Answers:
    """Reads for one party at a time."""

    def __init__(self, store: AnswerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def offer(self, short: str) -> str:
        """The text of an open offer. Raises Refused("not_found")."""
        offer = await self._store.offer(short)
        if offer is None or not is_open(offer, self._clock.now()):
            raise Refused("not_found")
        return offer.raw

    async def connection(self, cid: str, did: str) -> bytes:
        """The connection as JSON, for the side that is `did` now. Raises Refused("not_found")."""
        state, side = await self._mine(cid, did)
        agreement = await self._store.agreement(cid)
        if agreement is None:
            raise Refused("not_found")
        settings = state.door(side).settings
        return msgspec.json.encode(
            {
                "cid": cid,
                "agreement": msgspec.Raw(agreement[0]),
                "heads": {
                    "first": {"seq": state.first.seq, "head": state.first.head},
                    "second": {"seq": state.second.seq, "head": state.second.head},
                },
                "settings": {"seq": settings.seq, "head": settings.head or cid},
                "state": public(state),
            }
        )

    async def act(self, id_: str, did: str) -> bytes:
        """An act's acceptance as JSON for a side, with the act where it may have it. Raises Refused("not_found")."""
        stored = await self._store.act(id_)
        if stored is None:
            raise Refused("not_found")
        _, side = await self._mine(stored.cid, did)
        own = side == stored.side
        if stored.chain == "settings" and not own:
            raise Refused("not_found")
        answer: dict[str, Any] = {"event": stored.event}
        if own or (stored.chain == "acts" and (stored.delivered is not None or was_shown(stored.event))):
            answer["act"] = stored.raw
        return msgspec.json.encode(answer)

    async def _mine(self, cid: str, did: str) -> tuple[Connection, Side]:
        blob = await self._store.state(cid)
        if blob is None:
            raise Refused("not_found")
        state = decode_state(blob)
        side = state.side_of(did)
        # A name that was replaced reads no more: its key may be the reason why it was.
        if side is None or state.door(side).did != did:
            raise Refused("not_found")
        return state, side


def was_shown(event: str) -> bool:
    """Whether an acceptance of ours let the other side have the act at once."""
    return Accepted.model_validate_json(b64u_decode(event.split(".")[1])).brings_the_act
