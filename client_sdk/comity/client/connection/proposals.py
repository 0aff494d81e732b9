"""What others put before a wallet, checked and not yet answered: offers and proposals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from comity.client.connection.connection import Party
from comity.client.connection.default_grants import FIRST_DEFAULTS, Default, suggested_grants
from comity.client.petnames import MARK
from comity.documents.agreements import HalfSigned, is_alternative
from comity.documents.offers import Allow, OfferedTerms, SignedOffer, Terms

Sign = Callable[["Proposal", bool], Awaitable[Party]]
Refuse = Callable[["Proposal", "str | None", bool], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ShownOffer:
    """An offer whose hash and signature held: what an app shows before anybody accepts.

    `warnings` are for people; `operator_is_other_party` says that whoever runs the server is the one who offers;
    `connections` are those that this wallet has, or had, with that party; `namesakes` those with others of its name
    that are open.
    """

    signed: SignedOffer
    operator_is_other_party: bool
    blocked: bool = False
    defaults: Mapping[str, Default] = field(default_factory=lambda: FIRST_DEFAULTS)
    connections: tuple[Party, ...] = ()
    namesakes: tuple[Party, ...] = ()

    @property
    def name(self) -> str | None:
        """What the offerer calls itself; nobody has checked it."""
        return self.signed.offer.name

    @property
    def did(self) -> str:
        """Who offers."""
        return self.signed.offer.iss

    @property
    def terms(self) -> tuple[OfferedTerms, ...]:
        """The agreements that it accepts, the one it likes best first."""
        return self.signed.offer.agreements

    @property
    def purposes(self) -> tuple[str, ...]:
        """What it would like to come for."""
        return self.signed.offer.purposes

    @property
    def allowed(self) -> Allow | None:
        """What it lets you come for from the opening on, beside complaints; a promise."""
        return self.signed.offer.allow

    @property
    def suggested(self) -> tuple[dict[str, Any], ...]:
        """The grants (arguments of `Party.grant`) that the wallet's own defaults give to such an offer: one for each
        class of purposes, and no more than it asked for (ALLOW-6)."""
        return suggested_grants(self.defaults, self.signed.offer)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know before accepting."""
        found = []
        if self.operator_is_other_party:
            found.append("The server is run by the other party: it can see when you write, and to whom.")
        if self.blocked:
            found.append("You have blocked this party.")
        for it in self.connections:
            if it.phase == "ended":
                found.append(f"You had a connection with this party, {it.name}, which has ended.")
            elif it.phase != "closed":
                found.append(f"You have a connection with this party already, {it.name} ({MARK}{it.cid}, {it.phase}).")
        for it in self.namesakes:
            found.append(f"Somebody else has this name: {it.name} ({MARK}{it.cid}, {it.phase}). This is another party.")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Somebody's half of an agreement on an own offer, to be countersigned or declined. `signed` is the offer; the half
    came `at` (ms)."""

    half: HalfSigned
    signed: SignedOffer
    at: int
    sign: Sign
    refuse: Refuse
    give_name: Callable[[str, str | None], Awaitable[None]]
    petname: str | None = None
    phase: Literal["proposed"] = "proposed"
    offered_name: None = None

    @property
    def cid(self) -> str:
        """The connection that it would make."""
        return self.half.cid

    @property
    def did(self) -> str:
        """Who accepts the offer."""
        return self.half.agreement.accepter.did

    @property
    def name(self) -> str:
        """What to call who accepts: its petname, else its DID's end."""
        return self.petname or self.did.rpartition(":")[2][:16]

    @property
    def terms(self) -> Terms:
        """The terms that it chose, or put in place of those offered."""
        return self.half.agreement.terms

    @property
    def is_alternative(self) -> bool:
        """Whether these are other terms than any offered: then read them first."""
        return is_alternative(self.half.agreement, self.signed)

    @property
    def countersign_by(self) -> int:
        """Until when (s) it can be countersigned."""
        return self.half.agreement.countersign_by

    async def countersign(self, *, again: bool = False) -> Party:
        """Signs the same bytes: the connection is open. Raises AlreadyConnected where there is one with this party, and
        not `again` (WHO-4); Blocked, Refused."""
        return await self.sign(self, again)

    async def call(self, name: str | None) -> None:
        """Gives who accepts a name in this wallet, before or instead of an answer; the connection keeps it. Raises
        Malformed."""
        await self.give_name(self.cid, name)

    async def decline(self, reason: str | None = None, *, silent: bool = False) -> None:
        """Declines, with a reason code or none; `silent` tells the other side nothing at all."""
        await self.refuse(self, reason, silent)
