"""Offers and proposals that a wallet has received, checked and not answered yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from comity.client.connection.connection import Connection
from comity.client.connection.default_grants import FIRST_DEFAULTS, Default, suggest_grants
from comity.client.petnames import MARK
from comity.documents.agreements import HalfSigned, is_alternative
from comity.documents.offers import Allow, OfferedTerms, SignedOffer, Terms

SendCountersignature = Callable[["Proposal", bool], Awaitable[Connection]]
SendDecline = Callable[["Proposal", "str | None", bool], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class OfferPreview:
    """An offer whose hash and signature are valid, for an app to show before anybody accepts.

    `operator_is_other_party`: the party that offers also runs the server. `connections` are this wallet's connections
    with that party, ended ones too; `namesakes` its open connections with others of the same name.
    """

    signed: SignedOffer
    operator_is_other_party: bool
    blocked: bool = False
    defaults: Mapping[str, Default] = field(default_factory=lambda: FIRST_DEFAULTS)
    connections: tuple[Connection, ...] = ()
    namesakes: tuple[Connection, ...] = ()

    @property
    def name(self) -> str | None:
        """The name that the offerer gives itself. It is not verified."""
        return self.signed.offer.name

    @property
    def did(self) -> str:
        """The offerer's DID."""
        return self.signed.offer.iss

    @property
    def terms(self) -> tuple[OfferedTerms, ...]:
        """The agreements that the offerer accepts, its preferred one first."""
        return self.signed.offer.agreements

    @property
    def purposes(self) -> tuple[str, ...]:
        """The purposes for which the offerer asks a grant."""
        return self.signed.offer.purposes

    @property
    def promised_grant(self) -> Allow | None:
        """The grant that the offerer promises from the opening on, beside complaints; or None."""
        return self.signed.offer.allow

    @property
    def suggested_grants(self) -> tuple[dict[str, Any], ...]:
        """The grants (arguments of `Connection.grant`) that the wallet's own defaults give to such an offer: one for
        each class of purposes, and no more than it asked for (ALLOW-6)."""
        return suggest_grants(self.defaults, self.signed.offer)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for a person to read before accepting."""
        found = []
        if self.operator_is_other_party:
            found.append("The server is run by the other party: it can see when you write, and to whom.")
        if self.blocked:
            found.append("You have blocked this party.")
        for connection in self.connections:
            if connection.phase == "ended":
                found.append(f"You had a connection with this party, {connection.name}, which has ended.")
            elif connection.phase != "closed":
                found.append(f"You have a connection with this party already, {_label(connection)}.")
        for namesake in self.namesakes:
            found.append(f"Somebody else has this name: {_label(namesake)}. This is another party.")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Proposal:
    """The other side's half of an agreement on an own offer, to be countersigned or declined. `signed` is the offer;
    `at` (ms) is when the half arrived."""

    half: HalfSigned
    signed: SignedOffer
    at: int
    send_countersignature: SendCountersignature
    send_decline: SendDecline
    store_petname: Callable[[str, str | None], Awaitable[None]]
    petname: str | None = None
    phase: Literal["proposed"] = "proposed"
    offered_name: None = None

    @property
    def cid(self) -> str:
        """The id that the connection would have."""
        return self.half.cid

    @property
    def did(self) -> str:
        """The accepter's DID."""
        return self.half.agreement.accepter.did

    @property
    def name(self) -> str:
        """The accepter's petname, else the end of its DID."""
        return self.petname or self.did.rpartition(":")[2][:16]

    @property
    def terms(self) -> Terms:
        """The terms that the accepter chose, or proposed in place of those offered."""
        return self.half.agreement.terms

    @property
    def is_alternative(self) -> bool:
        """Whether the terms differ from every offered one, and must be read first."""
        return is_alternative(self.half.agreement, self.signed)

    @property
    def countersign_by(self) -> int:
        """The time (s) until which it can be countersigned."""
        return self.half.agreement.countersign_by

    async def countersign(self, *, again: bool = False) -> Connection:
        """Countersigns the half. Returns the open connection. Raises AlreadyConnected where one with this party exists
        and `again` is false (WHO-4); Blocked, Refused, Unreachable, Contradiction."""
        return await self.send_countersignature(self, again)

    async def set_petname(self, name: str | None) -> None:
        """Sets the accepter's petname in this wallet, before or without an answer; the connection keeps it. Raises
        Malformed."""
        await self.store_petname(self.cid, name)

    async def decline(self, reason: str | None = None, *, silent: bool = False) -> None:
        """Declines, with a reason code or none. With `silent` the other side is not told. Raises Refused,
        Unreachable."""
        await self.send_decline(self, reason, silent)


def _label(connection: Connection) -> str:
    return f"{connection.name} ({MARK}{connection.cid}, {connection.phase})"
