"""Favours: asks, answers, completion and thanks. The etiquette is the protocol's (spec: Favours)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

from comity.client.connection.history import HistoryRecord
from comity.client.connection.view import ConnectionView
from comity.client.models import News
from comity.documents.acts import Answer, Ask, SignedAct, Thank
from comity.documents.types import other
from comity.errors import ComityError
from comity.rules import favours

AskAnswer = Literal["yes", "no", "not_now"]


class Reply(NamedTuple):
    """The answer to an ask, and its text as far as it can be read here."""

    answer: AskAnswer
    text: str | None


class FavourActs(Protocol):
    """The acts of a connection on a favour."""

    async def answer(self, favour: Favour, answer: AskAnswer, text: str | None = None) -> None: ...
    async def mark_done(self, favour: Favour) -> None: ...
    async def thank(self, favour: Favour, text: str | None = None) -> None: ...
    async def sync(self, wait: float = 0) -> list[News]: ...


class Favour:
    """One ask of either side. `is_mine`: this side asked. `asked_at` is in ms, `by` in s."""

    def __init__(self, connection: ConnectionView, acts: FavourActs, record: HistoryRecord) -> None:
        if record.act is None or not isinstance(record.act.payload, Ask):
            raise ComityError("that is not an ask")
        self._connection = connection
        self._acts = acts
        self.id = record.act.id
        self.kind = record.act.payload.kind
        self.effort = record.act.payload.effort
        self.by = record.act.payload.by
        self.asked_at = record.at
        self.is_mine = record.act.kid in connection.own_kids()
        self.body = connection.body_of(record.act)

    @property
    def text(self) -> str | None:
        """The text of the ask; None where it cannot be read."""
        return text_in(self.body, "text")

    @property
    def in_return(self) -> str | None:
        """The text of the return offer, or None."""
        return text_in(self.body, "in_return")

    @property
    def reply(self) -> Reply | None:
        """The answer; None where there is none yet."""
        for act in self._signed_acts():
            if isinstance(act.payload, Answer) and act.payload.ask == self.id:
                return Reply(act.payload.answer, self._text_of(act))
        return None

    @property
    def thanks(self) -> str | None:
        """The text of the thanks, or None."""
        for act in self._signed_acts():
            if isinstance(act.payload, Thank) and act.payload.ask == self.id:
                return self._text_of(act)
        return None

    def _signed_acts(self) -> list[SignedAct]:
        return [record.act for record in self._connection.records if record.act is not None]

    def _text_of(self, act: SignedAct) -> str | None:
        return text_in(self._connection.body_of(act), "text")

    @property
    def status(self) -> favours.AskStatus:
        """`asked`, `promised`, `refused`, `not_now`, `done`, `thanked`, or by time alone `lapsed` or `broken`; `none`
        once a later ask replaced it or the connection ended."""
        side = self._connection.side if self.is_mine else other(self._connection.side)
        ask = self._connection.state.door(side).ask
        if ask is None or ask.id != self.id:
            return "none"
        return favours.ask_status(ask, self._connection.now())

    @property
    def ends_at(self) -> int:
        """The time (s) at which an unanswered ask ends: at its `by`, after 30 days at the latest (FAV-4)."""
        last = (self.asked_at + favours.LONGEST_ASK) // 1000
        return last if self.by is None else min(self.by, last)

    @property
    def ends_before_return(self) -> bool:
        """Whether an own ask ends before the other side is back from its absence; an absence does not extend an ask."""
        away = self._connection.away_until()
        return self.is_mine and away is not None and self.ends_at <= away

    async def answer(self, answer: AskAnswer, text: str | None = None) -> None:
        """Answers the other side's ask with yes, no or not now. No reason is needed."""
        await self._acts.answer(self, answer, text)

    async def mark_done(self) -> None:
        """States that the favour which the other side asked for is done."""
        await self._acts.mark_done(self)

    async def thank(self, text: str | None = None) -> None:
        """Thanks for the favour that the other side did."""
        await self._acts.thank(self, text)

    async def wait_for_answer(self, timeout: float = 60.0) -> favours.AskStatus:  # noqa: ASYNC109
        """Waits until an own ask is answered or has ended, and returns its status. Raises TimeoutError after `timeout`
        seconds."""
        async with asyncio.timeout(timeout):
            while self.status == "asked":
                await self._acts.sync(wait=min(timeout, 20.0))
            return self.status

    def __repr__(self) -> str:
        return f"Favour({self.kind}, {self.status}, {'mine' if self.is_mine else 'theirs'})"


def text_in(body: Mapping[str, Any] | None, member: str) -> str | None:
    """The text of that name in a body, which the other side may have made; None where it is not a text."""
    found = None if body is None else body.get(member)
    return found if isinstance(found, str) else None


def body(text: str | None, **more: Any) -> dict[str, Any] | None:
    """A body with its text and further members; None where all are None."""
    members = {"text": text, **more}
    present = {name: value for name, value in members.items() if value is not None}
    return present or None
