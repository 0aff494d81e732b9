"""Reads of offers, connections and acts for one party. What another party owns is not found (HTTP-9)."""

from typing import Protocol

import msgspec

from comity.documents.events import Accepted, Delivered, MuteOver, Place
from comity.documents.types import Side, other
from comity.encoding import b64u_decode, b64u_encode
from comity.errors import Refused
from comity.rules.state import Connection, decode_state, public_state
from comity.transparency.entries import tag_key
from comity_server.businesses.notices import Notices
from comity_server.clock import Clock
from comity_server.log.receipts import Receipts
from comity_server.store.rows import Known, Offer, StoredAct


class AnswerStore(Protocol):
    """The reads that this module needs of a store."""

    async def state(self, cid: str) -> Known | None: ...
    async def agreement(self, cid: str) -> tuple[bytes, str] | None: ...
    async def offer(self, short: str) -> Offer | None: ...
    async def act(self, id_: str) -> StoredAct | None: ...
    async def mute_over(self, cid: str, act: str) -> str | None: ...


class Answers:
    """Answers to reads, as JSON."""

    def __init__(self, store: AnswerStore, receipts: Receipts, clock: Clock, notices: Notices) -> None:
        self._store = store
        self._notices = notices
        self._receipts = receipts
        self._clock = clock

    async def offer(self, short: str) -> str:
        """The text of an open offer. Raises Refused("not_found")."""
        offer = await self._store.offer(short)
        if offer is None or not offer.is_open(self._clock.now()):
            raise Refused("not_found")
        return offer.raw

    async def connection(self, cid: str, did: str) -> bytes:
        """The connection as JSON, for the side that is `did` now. Raises Refused("not_found")."""
        state, side, tag_secret = await self.mine(cid, did)
        agreement = await self._store.agreement(cid)
        if agreement is None:
            raise Refused("not_found")
        settings, across = state.door(side).settings, state.door(other(side)).did
        is_open = state.phase == "open"
        return msgspec.json.encode(
            {
                "cid": cid,
                "agreement": msgspec.Raw(agreement[0]),
                "heads": {
                    "first": {"seq": state.first.seq, "head": state.first.head},
                    "second": {"seq": state.second.seq, "head": state.second.head},
                },
                "settings": {"seq": settings.seq, "head": settings.head or cid},
                "state": public_state(state),
                "tags": tags(tag_secret, side),
                "notices": self._notices.in_force(across, self._clock.now()) if is_open else (),
            }
        )

    async def act(self, id_: str, did: str) -> bytes:
        """The acceptance of an act as JSON for the side `did`, with the act and its receipts if that side may read
        them. Raises Refused("not_found")."""
        stored = await self._store.act(id_)
        if stored is None:
            raise Refused("not_found")
        _, side, _ = await self.mine(stored.cid, did)
        own = side == stored.side
        event = accepted_in(stored.event)
        if stored.chain == "settings" and not own:
            raise Refused("not_found")
        if not stored.raw:
            # A restored act whose text is lost (REC-8).
            return msgspec.json.encode({"event": stored.event})
        if not own and (stored.chain != "acts" or (stored.delivered is None and not event.includes_act)):
            return msgspec.json.encode({"event": stored.event})
        place = Place(event.log, event.index)
        found = {
            "receipt": await self._receipts.of(place),
            "delivery": await self._receipts.of(place.next()) if event.outcome == "delivered" else None,
        }
        if stored.delivered is not None:
            later = Delivered.model_validate_json(_payload(stored.delivered))
            found["delivery"] = await self._receipts.of(Place(later.log, later.index))
        if own and event.kind in ("mute", "mute_end"):
            found["over"] = await self._over(stored, id_)
        there = {name: text for name, text in found.items() if text is not None}
        return msgspec.json.encode({"event": stored.event, "act": stored.raw, **there})

    async def _over(self, stored: StoredAct, id_: str) -> str | None:
        """The receipt of the log entry that this mute, or its hidden end, has ended; None without an entry (AUD-1)."""
        mute = msgspec.json.decode(_payload(stored.raw)).get("mute", id_)
        raw = await self._store.mute_over(stored.cid, mute)
        over = None if raw is None else MuteOver.model_validate_json(_payload(raw))
        return None if over is None or over.by != id_ else await self._receipts.of(Place(over.log, over.index))

    async def mine(self, cid: str, did: str) -> tuple[Connection, Side, bytes]:
        """(state, side, tag secret) of the connection, for the side that is `did` now. Raises Refused("not_found")."""
        known = await self._store.state(cid)
        if known is None:
            raise Refused("not_found")
        state = decode_state(known.state)
        side = state.side_of(did)
        # A replaced DID cannot read: its key may be compromised.
        if side is None or state.door(side).did != did:
            raise Refused("not_found")
        return state, side, known.tag_secret


def accepted_in(event: str) -> Accepted:
    """The acceptance in a text that this server signed."""
    return Accepted.model_validate_json(_payload(event))


def _payload(event: str) -> bytes:
    return b64u_decode(event.split(".")[1])


def tags(secret: bytes, side: Side) -> dict[str, str]:
    """The tag keys that a side of a connection has (LOG-9)."""
    return {"both": b64u_encode(tag_key(secret, "both")), "own": b64u_encode(tag_key(secret, side))}
