"""Beginning a connection: offers, half-signed agreements, countersigning and declining them, and reserving status
indexes. Each function decides one command of a unit of work; the fault that it raises is the answer.

An offer that is unknown, expired, used, declined or another party's gets one answer: not_found (HTTP-9).
"""

from collections import Counter
from typing import Protocol

from comity.crypto.keys import Signer, key_of_kid
from comity.documents.agreements import CLOCK_SKEW, HalfSigned, SignedAgreement, countersign, fits_offer, is_alternative
from comity.documents.events import Opened
from comity.documents.names import check_names
from comity.documents.offers import Allow, PartyKey, SignedOffer, open_offer
from comity.documents.types import Side
from comity.errors import Refused
from comity.lru import LRU
from comity.rules.allowances import promised_grant
from comity.rules.fold import initial_state
from comity.rules.next_act import next_act
from comity_server.businesses.directory import Business, Directory, new_key
from comity_server.config import Config
from comity_server.store.business import BusinessOffer, BusinessRows
from comity_server.store.rows import Offer, Proposal, Rival, WaitingHalf
from comity_server.writer import status_indexes
from comity_server.writer.unit_of_work import Answer, UnitOfWork

NO_ROOM = "no_room"
"""The reason reported for a half that was dropped for newer ones."""
MOST_ADDRESSES = 65_536
"""The number of halves whose client addresses are remembered."""
INVITES_IN = 24 * 3600 * 1000
"""ms in which a hosted business may publish so many offers for one use (INV-7)."""


class OnboardingStore(Protocol):
    """The queries of these decisions."""

    @property
    def business(self) -> BusinessRows: ...
    async def offer(self, short: str) -> Offer | None: ...
    async def offers_open(self, iss: str, now: int) -> int: ...
    async def proposal(self, cid: str) -> Proposal | None: ...
    async def rivals(self, offer: str, second_did: str, now: int) -> list[Rival]: ...
    async def halves_waiting(self, offer: str, now: int, most: int) -> list[WaitingHalf]: ...
    async def agreement(self, cid: str) -> tuple[bytes, str] | None: ...
    async def unused_indexes(self, cid: str, side: str, first: int) -> dict[tuple[int, int], int]: ...


class Onboarding:
    """The decisions, over a store, with the operator's limits."""

    def __init__(self, store: OnboardingStore, config: Config) -> None:
        self._store = store
        self._most_offers = config.max_offers
        self._most_invites = config.max_invites
        self._most_proposals = config.max_proposals
        self._most_reserved = config.max_reserved
        self._addresses = LRU[str, str](MOST_ADDRESSES)
        """By connection id, the client address that sent a half."""

    # --- offers -----------------------------------------------------------------------------------------------------

    async def publish(self, signed: SignedOffer, unit: UnitOfWork, label: str = "", *, auto: bool = False) -> None:
        """Publish an offer; the same one again changes nothing. Of a business of this host: under a label of its own,
        and perhaps with the server to countersign by itself (INV-3)."""
        offer, home = signed.offer, unit.context.home
        if not home.keys.is_stated(offer.home) or offer.operator != home.operator:
            raise Refused("wrong_home")
        if offer.test:
            raise Refused("test_only")
        if offer.exp * 1000 <= unit.now:
            raise Refused("offer_expired")
        check_names({"/name": offer.name})
        known = await self._offer(unit, signed.short)
        if known is not None and known.hash == signed.hash:
            return
        # Two offers whose hashes begin alike: no accident, and the first keeps the name.
        if known is not None:
            raise Refused("agreement_conflict", "another offer has this name")
        fresh = sum(row["iss"] == offer.iss for row in unit.batch.put_offer)
        if await self._store.offers_open(offer.iss, unit.now) + fresh >= self._most_offers:
            raise Refused("too_many_offers")
        if (business := unit.context.directory.hosted(offer.iss)) is not None:
            await self._publish_for(business, signed, unit, label, auto=auto)
        unit.batch.put_offer.append(
            {
                "short": signed.short,
                "hash": signed.hash,
                "iss": offer.iss,
                "raw": signed.raw,
                "expires_at": offer.exp * 1000,
                "good_until": offer.exp * 1000,
                "uses": offer.use,
            }
        )
        if offer.to is not None and unit.context.directory.is_hosted(offer.to):
            unit.tell_stream(offer.to, "offer", "", signed.hash)

    async def _publish_for(
        self, business: Business, signed: SignedOffer, unit: UnitOfWork, label: str, *, auto: bool
    ) -> None:
        """Stores a business's own data about its offer. Raises Refused("invite_quota") for one invitation too many in a
        rolling day (INV-7)."""
        if signed.offer.use == "one":
            count, first = await self._store.business.invites(business.name, unit.now - INVITES_IN)
            mine = [row for row in unit.batch.put_business_offer if row["name"] == business.name]
            if count + sum(row["uses"] == "one" for row in mine) >= self._most_invites:
                unit.count(business.name, "offers.over_quota")
                free_at = (unit.now if first is None else first) + INVITES_IN
                raise Refused("invite_quota", retry_after=(free_at - unit.now) // 1000 + 1)
        unit.count(business.name, "offers.made")
        unit.batch.put_business_offer.append(
            {
                "name": business.name,
                "short": signed.short,
                "label": label,
                "countersign": int(auto),
                "uses": signed.offer.use,
                "created_at": unit.now,
            }
        )

    async def end_offer(self, business: Business, short: str, unit: UnitOfWork) -> None:
        """Ends a business's offer: nobody can accept it any more. Ending it twice changes nothing. Raises
        Refused("not_found")."""
        offer = await self._offer(unit, short)
        if offer is None or offer.iss != business.did:
            raise Refused("not_found")
        if offer.is_open(unit.now):
            unit.batch.end_offer.append({"expires_at": unit.now, "short": short})

    async def _offer(self, unit: UnitOfWork, short: str) -> Offer | None:
        """The offer, as it is with what the group did to it."""
        ended = next((row["expires_at"] for row in unit.batch.end_offer if row["short"] == short), None)
        used = next((row["used_at"] for row in unit.batch.use_offer if row["short"] == short), None)
        new = next((row for row in unit.batch.put_offer if row["short"] == short), None)
        found = Offer(**new, used_at=None) if new is not None else await self._store.offer(short)
        if found is not None and ended is not None:
            found = found._replace(expires_at=ended)
        return found if found is None or used is None else found._replace(used_at=used)

    async def offer_to_accept(self, unit: UnitOfWork, short: str) -> SignedOffer:
        """The offer, if it can be accepted. Raises Refused("not_found")."""
        offer = await self._offer(unit, short)
        if offer is None or not offer.is_open(unit.now):
            raise Refused("not_found")
        return open_offer(offer.raw, unit.context.directory.find_key)

    # --- half-signed agreements -------------------------------------------------------------------------------------

    async def propose(self, short: str, half: HalfSigned, unit: UnitOfWork, address: str = "") -> None:
        """Take an accepter's half in, and tell the offerer; the same half again changes nothing. Where the server is to
        countersign for a business, the connection opens at once (INV-3). Of what waits, the halves from one `address`
        give way to each other first."""
        agreement = half.agreement
        known = await self._proposal(unit, half.cid)
        if agreement.offer.startswith(short) and await self._is_there(known, half.cid, unit):
            return
        signed = await self.offer_to_accept(unit, short)
        if known is not None:
            raise Refused("not_found")
        if agreement.home != unit.context.home.party or agreement.operator != unit.context.home.operator:
            raise Refused("wrong_home")
        if agreement.test:
            raise Refused("test_only")
        if not fits_offer(agreement, signed):
            raise Refused("agreement_conflict")
        publishes(unit.context.directory, agreement.accepter)
        if abs(agreement.iat * 1000 - unit.now) > CLOCK_SKEW * 1000:
            raise Refused("iat_out_of_range")
        if agreement.countersign_by * 1000 <= unit.now:
            raise Refused("until_passed")
        await self._check_rivals(short, half, unit)
        signer = await self._countersigner(signed, half, unit)
        if signer is not None and (offer := await self._offer(unit, short)) is not None:
            # However many halves wait for this offer, one that can be countersigned at once never waits with them
            # (INV-15).
            await self._open(countersign(half, signer), offer, signer, unit)
            return
        await self._let_wait(short, half, unit, address, is_alternative=is_alternative(agreement, signed))

    async def _let_wait(
        self, short: str, half: HalfSigned, unit: UnitOfWork, address: str, *, is_alternative: bool
    ) -> None:
        """Keep a half until the offerer has looked at it. Raises Refused("rate_limited")."""
        await self._make_room(short, unit, address, is_alternative=is_alternative)
        self._addresses.put(half.cid, address)
        agreement = half.agreement
        unit.batch.put_proposal.append(
            {
                "cid": half.cid,
                "offer": short,
                "first_did": agreement.offerer.did,
                "second_did": agreement.accepter.did,
                "raw": half.raw,
                "countersign_by": agreement.countersign_by * 1000,
                "alternative": int(is_alternative),
                "created_at": unit.now,
            }
        )
        unit.tell_stream(agreement.offerer.did, "proposal", half.cid)

    async def _is_there(self, known: Proposal | None, cid: str, unit: UnitOfWork) -> bool:
        """True if the half waits, as far as its accepter may know, or its connection is open."""
        if known is not None:
            return _seems_to_wait(known) or known.phase == "opened"
        # A half that was countersigned at once never waited: no proposal is stored, only the agreement.
        return cid in unit.agreements or await self._store.agreement(cid) is not None

    async def _countersigner(self, signed: SignedOffer, half: HalfSigned, unit: UnitOfWork) -> Signer | None:
        """The signer that countersigns at once: the offerer's, if it is a business whose signing key is here, the offer
        asks the server to countersign, and the terms are among those offered."""
        business = unit.context.directory.hosted(signed.offer.iss)
        signer = unit.context.kept.signer(signed.kid)
        if business is None or signer is None or is_alternative(half.agreement, signed):
            return None
        known = await self.business_offer(unit, business, signed.short)
        return None if known is None or not known.countersign else signer

    async def business_offer(self, unit: UnitOfWork, business: Business, short: str) -> BusinessOffer | None:
        """A business's own data about its offer, including the changes of this unit of work."""
        offer = await self._offer(unit, short)
        for row in unit.batch.put_business_offer:
            if (row["name"], row["short"]) == (business.name, short) and offer is not None:
                members = (row["label"], row["countersign"], row["created_at"])
                return BusinessOffer(short, *members, offer.hash, offer.uses, offer.expires_at, offer.used_at)
        return await self._store.business.offer(business.name, short)

    async def _check_rivals(self, short: str, half: HalfSigned, unit: UnitOfWork) -> None:
        """One half of an accepter at a time, and none after a "no" (AGR-6). Raises Refused."""
        mine = half.agreement.accepter.did
        rivals = await self._store.rivals(short, mine, unit.now)
        ended = {row["cid"]: row["phase"] for row in unit.batch.end_proposal}
        phases = [ended.get(rival.cid, rival.phase) for rival in rivals]
        new = (row for row in unit.batch.put_proposal if (row["offer"], row["second_did"]) == (short, mine))
        phases += [ended.get(row["cid"], "waiting") for row in new]
        if "declined" in phases:
            if (business := unit.context.directory.hosted(mine)) is not None:
                unit.count(business.name, "offers.declined_used_again")
            raise Refused("not_found")
        if "waiting" in phases or "silenced" in phases:
            raise Refused("agreement_conflict", "a half of yours waits already")

    async def _make_room(self, short: str, unit: UnitOfWork, address: str, *, is_alternative: bool) -> None:
        """Drops a waiting half in favour of a new one where too many wait for the offer, and reports it to both sides
        (INV-15). Raises Refused("rate_limited") if every waiting half takes precedence over an alternative."""
        ended = {row["cid"] for row in unit.batch.end_proposal}
        waiting = await self._store.halves_waiting(short, unit.now, self._most_proposals + len(ended))
        new = [row for row in unit.batch.put_proposal if row["offer"] == short]
        waiting += [WaitingHalf(row["cid"], row["second_did"], row["alternative"]) for row in new]
        waiting = [half for half in waiting if half.cid not in ended]
        if len(waiting) < self._most_proposals:
            return
        gives_way = [half for half in waiting if half.alternative] or ([] if is_alternative else waiting)
        if not gives_way:
            raise Refused("rate_limited", "too many wait for this offer", retry_after=60)
        # The oldest half of the address that has the most here: nobody displaces others with halves of their own.
        addresses = [self._addresses.get(half.cid) or "" for half in gives_way]
        many = Counter([*(it for it in addresses if it), *([address] if address else [])])
        chosen = max(zip(gives_way, addresses, strict=True), key=lambda it: many[it[1]])[0]
        end = {"cid": chosen.cid, "phase": "replaced", "ended_at": unit.now, "ended_by": None, "reason": NO_ROOM}
        unit.batch.end_proposal.append(end)
        proposal = await self._proposal(unit, chosen.cid)
        assert proposal is not None, "it waits"
        for did in (proposal.first_did, proposal.second_did):
            unit.tell_stream(did, "declined", chosen.cid)
        if (business := unit.context.directory.hosted(proposal.first_did)) is not None:
            unit.count(business.name, "proposals.replaced")

    async def _proposal(self, unit: UnitOfWork, cid: str) -> Proposal | None:
        """The proposal, as it is with what the group did to it."""
        new = next((row for row in unit.batch.put_proposal if row["cid"] == cid), None)
        if new is not None:
            found: Proposal | None = Proposal(**new, phase="waiting", ended_by=None)
        else:
            found = await self._store.proposal(cid)
        ended = next((row for row in unit.batch.end_proposal if row["cid"] == cid), None)
        if found is None or ended is None:
            return found
        return found._replace(phase=ended["phase"], ended_by=ended["ended_by"])

    # --- the other half ---------------------------------------------------------------------------------------------

    async def waiting_half(self, cid: str, offerer: Business, unit: UnitOfWork) -> bytes:
        """The half of that connection-to-be, if it waits for the business. Raises Refused("not_found")."""
        proposal = await self._proposal(unit, cid)
        if proposal is None or proposal.first_did != offerer.did or proposal.phase != "waiting":
            raise Refused("not_found")
        return proposal.raw

    async def countersign(self, signed: SignedAgreement, unit: UnitOfWork, signer: Signer | None = None) -> Answer:
        """Open the connection, and tell both; the same agreement again gets the first answer. `signer` is the key kept
        here that countersigned."""
        if (known := await self._store.agreement(signed.cid)) is not None:
            return Answer(signed.cid, known[1])
        if (earlier := unit.agreements.get(signed.cid)) is not None:
            return earlier
        proposal = await self._proposal(unit, signed.cid)
        if proposal is None or proposal.phase != "waiting" or proposal.countersign_by <= unit.now:
            raise Refused("not_found")
        offer = await self._open_offer_of(unit, proposal)
        publishes(unit.context.directory, signed.agreement.offerer)
        publishes(unit.context.directory, signed.agreement.accepter)
        return await self._open(signed, offer, signer, unit)

    async def _open_offer_of(self, unit: UnitOfWork, proposal: Proposal) -> Offer:
        """The offer of a waiting half: it may have ended meanwhile, but not have been used by another."""
        offer = await self._offer(unit, proposal.offer)
        if offer is None or offer.used_at is not None:
            raise Refused("not_found")
        return offer

    async def _open(self, signed: SignedAgreement, offer: Offer, signer: Signer | None, unit: UnitOfWork) -> Answer:
        """Open the connection, and give what the offer allows in the same commit, where the key that countersigned is
        kept here (ALLOW-3)."""
        about = {"iss": unit.context.home.did, "cid": signed.cid, "event": "opened", "at": unit.now}
        opened = Opened.model_validate({**about, **unit.log.place().members})
        if offer.uses == "one":
            unit.batch.use_offer.append({"short": offer.short, "used_at": unit.now})
        end = {"cid": signed.cid, "phase": "opened", "ended_at": unit.now, "ended_by": None, "reason": None}
        unit.batch.end_proposal.append(end)
        answer = unit.open_connection(initial_state(signed, opened), opened, offer.short)
        unit.keep_agreement(signed, answer)
        if signer is not None:
            await self._give(
                open_offer(offer.raw, unit.context.directory.find_key).offer.allow, signed.cid, signer, unit
            )
        return answer

    async def _give(self, allow: Allow | None, cid: str, signer: Signer, unit: UnitOfWork) -> None:
        """Compose and accept the grant that the offer promised, on a status index reserved with it (SAY-11)."""
        if allow is None:
            return
        state = unit.states[cid]
        place = await self.reserve(cid, state.first.did, unit)
        status = {"status_list": unit.context.lists.reference(place)}
        members = promised_grant(allow, state.at)
        unit.act(next_act(state, "first", "grant", unit.now // 1000, signer, status=status, **members))

    async def decline(self, cid: str, did: str, reason: str | None, silent: bool, unit: UnitOfWork) -> None:
        """Decline (the offerer) or take back (the accepter) a waiting half; doing it again changes nothing."""
        proposal = await self._proposal(unit, cid)
        if proposal is None or did not in (proposal.first_did, proposal.second_did):
            raise Refused("not_found")
        if proposal.phase != "waiting" and proposal.ended_by == did:
            return
        first = did == proposal.first_did
        waits = proposal.phase == "waiting" if first else _seems_to_wait(proposal)
        if not waits or proposal.countersign_by <= unit.now:
            raise Refused("not_found")
        phase = ("silenced" if silent else "declined") if first else "taken_back"
        told = None if silent else reason
        end = {"cid": cid, "phase": phase, "ended_at": unit.now, "ended_by": did, "reason": told}
        unit.batch.end_proposal.append(end)
        if not silent and proposal.phase == "waiting":
            unit.tell_stream(proposal.second_did if first else proposal.first_did, "declined", cid)

    # --- status indexes ---------------------------------------------------------------------------------------------

    async def reserve(self, cid: str, did: str, unit: UnitOfWork) -> tuple[int, int]:
        """The place (list, index) that is reserved for the side that is `did` now (STATUS-3)."""
        state = unit.states.get(cid)
        side: Side | None = None if state is None else state.side_of(did)
        if state is None or side is None or state.door(side).did != did:
            raise Refused("not_found")
        if state.phase == "ended":
            raise Refused("connection_ended")
        if state.recovering:
            raise Refused("recovering")
        unused = await self._store.unused_indexes(cid, side, unit.context.lists.first)
        return status_indexes.reserve(unit, cid, side, unused, self._most_reserved)

    # --- businesses -------------------------------------------------------------------------------------------------

    async def add_business_key(self, name: str, did_key: str, unit: UnitOfWork) -> Business:
        """Publish the key of a hosted business. Raises NotPossible."""
        business = new_key(unit.context.home, unit.context.directory, name, did_key)
        return unit.publish_key(business)


def _seems_to_wait(proposal: Proposal) -> bool:
    """Whether the half waits as far as its accepter may know: a silent "no" looks like silence (AGR-10)."""
    return proposal.phase in ("waiting", "silenced")


def publishes(directory: Directory, party: PartyKey) -> None:
    """Raises Refused("unknown_key") unless the key in an agreement is really its party's (AGR-3)."""
    found = key_of_kid(party.kid) or directory.find_key(party.kid)
    if found is None or found.multibase != party.key:
        raise Refused("unknown_key")
