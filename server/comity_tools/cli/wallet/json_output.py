"""The wallet's lists and pages as values for JSON."""

from typing import Any

from comity.client import Party, Proposal, ShownOffer
from comity_tools.cli.json_output import plain_value


def party_value(party: Party) -> dict[str, Any]:
    """A connection, in a list of them."""
    return {
        "cid": party.cid,
        "phase": party.phase,
        "name": party.name,
        "petname": party.petname,
        "offered_name": party.offered_name,
        "did": party.did,
        "own_did": party.own_did,
        "side": party.side,
        "home": party.link.home,
        "snoozed_until": party.snoozed_until(),
        "recovering": list(party.unconfirmed()),
    }


async def overview_value(party: Party) -> dict[str, Any]:
    """Everything about one connection."""
    if party.phase not in ("open", "ended"):
        return party_value(party)
    return {
        **party_value(party),
        **plain_value(party.overview()),
        "promise": party.promise(),
        "notices": plain_value(party.notices_shown()),
        "exempt_notices": plain_value(await party.exempt_notices()),
    }


def proposal_value(proposal: Proposal) -> dict[str, Any]:
    """A half-signed agreement that waits for a signature."""
    offer = proposal.signed.offer
    return {
        "cid": proposal.cid,
        "did": proposal.did,
        "petname": proposal.petname,
        "at": proposal.at,
        "countersign_by": proposal.countersign_by,
        "offer": {"id": proposal.signed.hash, "iat": offer.iat, "purposes": list(offer.purposes), "use": offer.use},
        "terms": plain_value(proposal.terms),
        "is_alternative": proposal.is_alternative,
    }


def offer_value(shown: ShownOffer) -> dict[str, Any]:
    """An offer."""
    return {
        "id": shown.signed.hash,
        "did": shown.did,
        "name": shown.name,
        "purposes": list(shown.purposes),
        "operator": shown.signed.offer.operator,
        "exp": shown.signed.offer.exp,
        "terms": plain_value(shown.terms),
        "allowed": plain_value(shown.allowed),
        "suggested": plain_value(shown.suggested),
        "connections": [party_value(it) for it in shown.connections],
        "warnings": list(shown.warnings),
    }
