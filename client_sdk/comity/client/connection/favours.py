"""Favours: asked by one side, answered, done and thanked for; the etiquette is the protocol's (spec: Favours)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

from comity.client.connection.history import Line
from comity.client.connection.view import View
from comity.client.models import News
from comity.documents.acts import Answer, Ask, SignedAct, Thank
from comity.documents.types import other
from comity.errors import ComityError
from comity.rules import favours

AskAnswer = Literal["yes", "no", "not_now"]


class Reply(NamedTuple):
    """The answer to an ask, and what was written with it, as far as it can be read here."""

    answer: AskAnswer
    text: str | None


class FavourActs(Protocol):
    """The acts of a connection on a favour."""

    async def answer(self, favour: Favour, answer: AskAnswer, text: str | None = None) -> None: ...
    async def done(self, favour: Favour) -> None: ...
    async def thank(self, favour: Favour, text: str | None = None) -> None: ...
    async def sync(self, wait: float = 0) -> list[News]: ...


class Favour:
    """One ask, of either side. `mine` says who asked."""

    def __init__(self, party: View, acts: FavourActs, line: Line) -> None:
        if line.act is None or not isinstance(line.act.payload, Ask):
            raise ComityError("that is not an ask")
        self._party = party
        self._acts = acts
        self.id = line.act.id
        self.kind = line.act.payload.kind
        self.effort = line.act.payload.effort
        self.by = line.act.payload.by
        self.asked_at = line.at
        self.mine = line.act.kid in party.own_kids()
        self.body = party.body_of(line.act)

    @property
    def text(self) -> str | None:
        """What was asked for, in words; None where it cannot be read."""
        return text_in(self.body, "text")

    @property
    def in_return(self) -> str | None:
        """What is offered in return, in words."""
        return text_in(self.body, "in_return")

    @property
    def reply(self) -> Reply | None:
        """How it was answered; None where it was not."""
        for act in self._signed_acts():
            if isinstance(act.payload, Answer) and act.payload.ask == self.id:
                return Reply(act.payload.answer, self._text_of(act))
        return None

    @property
    def thanks(self) -> str | None:
        """The words of the thanks for it; None where there are none."""
        for act in self._signed_acts():
            if isinstance(act.payload, Thank) and act.payload.ask == self.id:
                return self._text_of(act)
        return None

    def _signed_acts(self) -> list[SignedAct]:
        return [line.act for line in self._party.lines if line.act is not None]

    def _text_of(self, act: SignedAct) -> str | None:
        return text_in(self._party.body_of(act), "text")

    @property
    def status(self) -> favours.AskStatus:
        """`asked`, `promised`, `refused`, `not_now`, `done`, `thanked`, or by time alone `lapsed` or `broken`; `none`
        once a later ask took its place or the connection ended."""
        side = self._party.side if self.mine else other(self._party.side)
        ask = self._party.state.door(side).ask
        if ask is None or ask.id != self.id:
            return "none"
        return favours.ask_status(ask, self._party.now())

    @property
    def ends_at(self) -> int:
        """When (s) an ask that nobody answers has ended: at its `by`, and after 30 days at the latest (FAV-4)."""
        last = (self.asked_at + favours.LONGEST_ASK) // 1000
        return last if self.by is None else min(self.by, last)

    @property
    def ends_before_return(self) -> bool:
        """Whether the other side says that it is away until after the end of this ask: the clock of a favour goes
        on."""
        away = self._party.away_until()
        return self.mine and away is not None and self.ends_at <= away

    async def answer(self, answer: AskAnswer, text: str | None = None) -> None:
        """Says yes, no or not now to what the other side asked. No reason is needed."""
        await self._acts.answer(self, answer, text)

    async def done(self) -> None:
        """Says that the favour the other side asked for is done."""
        await self._acts.done(self)

    async def thank(self, text: str | None = None) -> None:
        """Thanks for the favour that the other side did."""
        await self._acts.thank(self, text)

    async def answered(self, timeout: float = 60.0) -> favours.AskStatus:  # noqa: ASYNC109
        """Waits until an own ask is no longer just asked, and returns its status. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while self.status == "asked":
                await self._acts.sync(wait=min(timeout, 20.0))
            return self.status

    def __repr__(self) -> str:
        return f"Favour({self.kind}, {self.status}, {'mine' if self.mine else 'theirs'})"


def text_in(body: Mapping[str, Any] | None, member: str) -> str | None:
    """The text of that name in a body, which the other side may have made; None where it is no text."""
    found = None if body is None else body.get(member)
    return found if isinstance(found, str) else None


def body(text: str | None, **more: Any) -> dict[str, Any] | None:
    """A body with its text and what else there is; None for none at all."""
    members = {"text": text, **more}
    present = {name: value for name, value in members.items() if value is not None}
    return present or None
