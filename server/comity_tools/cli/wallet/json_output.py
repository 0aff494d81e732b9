"""The wallet's lists and pages as values for JSON."""

from typing import Any

from comity.client import Connection, OfferPreview, Proposal
from comity_tools.cli.json_output import to_plain


def party_value(party: Connection) -> dict[str, Any]:
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
        "home": party.info.home,
        "snoozed_until": party.snoozed_until(),
        "recovering": list(party.pending_confirmations()),
    }


async def overview_value(party: Connection) -> dict[str, Any]:
    """Everything about one connection."""
    if party.phase not in ("open", "ended"):
        return party_value(party)
    return {
        **party_value(party),
        **to_plain(party.overview()),
        "promise": party.promise_status(),
        "notices": to_plain(party.cached_notices()),
        "exempt_notices": to_plain(await party.exempt_notices()),
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
        "terms": to_plain(proposal.terms),
        "is_alternative": proposal.is_alternative,
    }


def offer_value(shown: OfferPreview) -> dict[str, Any]:
    """An offer."""
    return {
        "id": shown.signed.hash,
        "did": shown.did,
        "name": shown.name,
        "purposes": list(shown.purposes),
        "operator": shown.signed.offer.operator,
        "exp": shown.signed.offer.exp,
        "terms": to_plain(shown.terms),
        "allowed": to_plain(shown.promised_grant),
        "suggested": to_plain(shown.suggested_grants),
        "connections": [party_value(connection) for connection in shown.connections],
        "warnings": list(shown.warnings),
    }
