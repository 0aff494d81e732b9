"""`Party`: the other side of one connection, and everything that one can do towards it.

The same for people and businesses. Before the other side has signed, every act raises `NotOpen`. Acts raise
`Refused` (with the protocol's code), `Unreachable` (then the act is kept and sent again with the next one), and
`Contradiction` when the server says otherwise than what was signed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import TypeAdapter

from comity.client.connection import feedback as opinion
from comity.client.connection import queries
from comity.client.connection.favours import Favour, body
from comity.client.connection.feedback import Because, Says
from comity.client.connection.history import Line
from comity.client.connection.overview import Overview, overview_of
from comity.client.connection.reads import ConnectionReads
from comity.client.models import Message, News
from comity.client.session import host_folded
from comity.client.times import Moment, seconds_of, span
from comity.crypto.encryption import body_key, encrypt_body
from comity.crypto.keys import PublicKey, is_pairwise
from comity.documents.acts import Grant, SignedAct
from comity.documents.names import normalize_name
from comity.documents.note_values import note_body
from comity.documents.types import (
    DAY,
    Budget,
    Category,
    Channels,
    Ground,
    Model,
    ReachPurposes,
    check_visible,
    other,
    parse_model,
)
from comity.errors import Contradiction, Malformed, Refused
from comity.rules.allowances import promised_grant
from comity.rules.gate import Verdict
from comity.rules.message_lifetime import LONGEST_LIFE, default_expiry, expiry_warning, public_end, public_verdict
from comity.rules.next_act import next_rotation
from comity.rules.renunciations import GrantPart, remaining_parts


class Party(ConnectionReads):
    """One connection, seen from this wallet. Made by `Wallet`; not by hand."""

    async def opened(self, timeout: float = 60.0) -> Self:  # noqa: ASYNC109
        """Waits until the other side has signed, and gives the grants that `accept` was told to. Raises NotOpen when
        it declined or let the time pass, TimeoutError."""
        await queries.until_open(self, self._core, self._postbox, timeout)
        await self.give_what_was_wished()
        return self

    async def sync(self, wait: float = 0) -> list[News]:
        """Reads what is new, gives the grants that `accept` was told to, sends again what was not answered, and
        compares this wallet's state with the server's.

        `wait` (s) is how long to wait for news when there is none. Raises Contradiction.
        """
        news = await super().sync(wait)
        if self.phase == "open":
            await self.give_what_was_wished()
        return news

    async def give_what_was_wished(self) -> None:
        """Gives the grants that this side chose when it accepted, or promised in its offer (ALLOW-3)."""
        wishes: list[dict[str, Any]] = self._core.kept.get("wishes", self.cid, list) or []
        while wishes:
            wish = wishes.pop(0)
            if (allow := self.allowed()) is not None and "promised" in wish:
                await self._grant(promised_grant(allow, self.writing.book.opened.event.at))
            else:
                async with self._told_once(wishes):
                    await self.grant(**wish)
            await self._core.kept.keep(("wishes", self.cid, wishes or None))

    @asynccontextmanager
    async def _told_once(self, left: list[dict[str, Any]]) -> AsyncIterator[None]:
        """A grant that can never be given is given up with its fault: it must not stop all that comes after it."""
        try:
            yield
        except Refused as fault:
            if fault.code == "malformed":
                await self._core.kept.keep(("wishes", self.cid, left or None))
            raise

    # --- the door ---

    async def mute(
        self,
        *,
        days: float | None = None,
        hours: float | None = None,
        until: Moment | None = None,
        purposes: Iterable[str] | None = None,
        channels: Iterable[str] | None = None,
        shown: Literal["not_now", "end"] = "not_now",
        why: Literal["away"] | None = None,
    ) -> str:
        """Stops the other side for a while, or, without an end, until `unmute`. Returns the mute's id.

        `shown="not_now"`: the other side does not learn when it ends; `"end"`: it does. `why="away"` shows the end,
        too: the other side reads "away until …" (AWAY-1). Raises Malformed for `why` without an end.
        """
        end = self._end(days, hours, until)
        fields = {"purposes": _some(purposes), "channels": _some(channels)}
        if end is None or shown == "end" or why is not None:
            return _id(await self._writing.write("mute", until=end, why=why, **fields))

        def both() -> list[SignedAct]:
            mute = self._writing.seal("mute", **fields)
            # The end first: the mute alone would be one without an end.
            return [self._writing.seal("mute_end", mute=mute.id, until=end), mute]

        return _id((await self._writing.write_all(both))[1])

    async def unmute(self, mute: str | None = None) -> None:
        """Ends one mute, or all."""
        await self._writing.write("unmute", mute=mute)

    async def revoke(self) -> None:
        """Ends the connection, both ways, for good. Works from an old copy of the wallet, too."""
        if self._writing.ledger is None:
            await self._catch_up()
        # The place does not matter for a revoke: an old head, or none, is as good as the last one.
        await self._writing.write_last(self._writing.seal("revoke"))

    async def grant(
        self,
        purposes: Iterable[str],
        channels: Iterable[str] = ("app",),
        *,
        days: float = 365,
        until: Moment | None = None,
        budget: tuple[int, Literal["day", "week", "month"]] | None = None,
        data: Iterable[str] | None = None,
        replaces: str | None = None,
        value: str | None = None,
        again: bool = False,
    ) -> str:
        """Gives the other side a consent token. Returns its id.

        With `replaces`, what the other side gave up of the earlier one is left out, unless `again` (GRANT-12); where
        that takes two grants, the id is the first one's. Raises Malformed where nothing is left.
        """
        fields: dict[str, Any] = {
            "exp": self._end(days if until is None else None, None, until),
            "purposes": _some(purposes),
            "channels": _some(channels),
            "data": _some(data),
            "budget": _budget(budget),
            "replaces": replaces,
            "value": value,
        }
        if replaces is None or again:
            return await self._grant(fields)
        return await self._grant_what_is_left(replaces, fields)

    async def _grant_what_is_left(self, earlier: str, fields: Mapping[str, Any]) -> str:
        """Grants with these members, but for what the other side gave up of the earlier grant. Returns the id of the
        first. Raises Malformed where nothing is left."""
        given_up = self.state.door(other(self.side)).renounced
        wanted = GrantPart(tuple(fields["purposes"]), tuple(fields["channels"]))
        before = self._own_grants().get(earlier)
        had = wanted if before is None else GrantPart(before.purposes, tuple(before.channels))
        is_one = fields.get("budget") is not None
        first, *rest = remaining_parts(earlier, had, wanted, given_up, is_one=is_one) or (None,)
        if first is None:
            raise Malformed("the other side gave all of this up; `again` gives it again")
        given = await self._grant({**fields, **first._asdict()})
        for part in rest:
            await self._grant({**fields, **part._asdict(), "replaces": None})
        return given

    async def _grant(self, fields: Mapping[str, Any]) -> str:
        _ = self.state
        home = self._core.home(self.link.home)
        reserved = await home.reserve(self.cid, self._writing.signer)
        if not reserved.uri.startswith(f"{home.base}/"):
            raise Contradiction("a status list that the home server does not serve", (reserved.uri,))
        status = {"status_list": {"idx": reserved.idx, "uri": reserved.uri}}
        return _id(await self._writing.write("grant", **{**fields, "status": status}))

    async def withdraw(self, grant: str) -> None:
        """Takes a consent token back."""
        await self._writing.write("withdraw", grant=grant)

    async def hours(
        self,
        zone: str,
        windows: Iterable[tuple[Iterable[str], str, str]],
        *,
        shown: Literal["not_now", "end"] = "not_now",
    ) -> None:
        """When the other side may come: `(["mo", "tu"], "09:00", "17:30")` …, in an IANA zone; no windows means at any
        time. The other side never sees this; `shown="end"`: what it may not do now it is told until when."""
        listed = tuple({"days": tuple(days), "start": start, "end": end} for days, start, end in windows)
        await self._writing.write("hours", zone=zone, windows=listed, shown=shown)

    async def budget(self, messages: tuple[int, str] | None = None, asks: tuple[int, str] | None = None) -> None:
        """How often the other side may come: `(3, "week")`. The other side never sees this."""
        await self._writing.write("budget", messages=_budget(messages), asks=_budget(asks))

    async def mailbox(self, did: str | None) -> None:
        """The key whose inbox brings this connection's news too (see `Wallet.use_mailbox`); None ends it. Raises
        ComityError for a key that this wallet does not hold: it has to sign."""
        await self._writing.write("mailbox", did=did)

    # --- messages and outside contacts ---

    async def message(
        self,
        purpose: str,
        text: str,
        *,
        topic: str | None = None,
        if_muted: Literal["hold", "drop", "fail"] = "hold",
        days: float | None = None,
        until: Moment | None = None,
        reply_to: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Message:
        """Writes to the other side; the text is encrypted to its key. `outcome` says what became of it.

        A held message waits `days`, or until `until`; where neither is given, as long as HOLD-1 says.
        """
        expires = self._end(days, None, until)
        if expires is not None and expires > self._core.seconds() + LONGEST_LIFE:
            raise Malformed(
                "the message would wait too long: at most 90 days", errors=(("/exp", "at most 90 days ahead"),)
            )
        if expires is None:
            expires = default_expiry(self._shown_hold(purpose, topic), self.now())
        fields = {
            "purpose": purpose,
            "topic": topic,
            "if_muted": if_muted,
            "exp": expires,
            "reply_to": reply_to,
        }
        line = await self._write_body("message", {"text": text, **(more or {})}, **fields)
        message = replace(queries.message_of(self, line), away_until=self.away_until())
        if message.outcome != "held":
            return message
        hold = self._shown_hold(purpose, topic)
        end = public_end(hold)
        return replace(
            message, warning=expiry_warning(hold, expires), held_until=None if end is None else -(-end // 1000)
        )

    def _shown_hold(self, purpose: str, topic: str | None) -> Verdict:
        return public_verdict(self.state, self.side, purpose, topic, self.now(), self._core.zones)

    async def contacted(self, channel: str, purpose: str, topic: str | None = None) -> str:
        """States that the other side was reached outside the app. Returns the verdict that it would have had."""
        line = await self._writing.write("contacted", channel=channel, purpose=purpose, topic=topic)
        return getattr(line.event, "verdict", None) or ""

    async def feedback(
        self, message: Message | str, says: Says, *, as_: str | None = None, topic: str | None = None
    ) -> str:
        """Says how a message of the other side was, or a contact outside; the last word on each counts, and the other
        side sees it. Returns the act's id.

        `mislabelled` contests it: it was really of purpose `as_`, about `topic`. What it called itself may then come
        only if that may come, too (GATE-21); another word takes that back. `what_it_does` says so before. Raises
        Refused("no_such_message" | "too_many_contests" | "too_much_feedback").
        """
        id_ = message.id if isinstance(message, Message) else message
        named = opinion.reached(self, id_)
        about = {"purpose": named.purpose, "had": named.topic, "as_": as_, "topic": topic}
        return _id(await self._writing.write("feedback", message=id_, says=says, **about))

    async def renounce(
        self,
        because: Because,
        grants: Iterable[str] | None = None,
        *,
        purposes: Iterable[str] | None = None,
        channels: Iterable[str] | None = None,
    ) -> str:
        """Gives consents of the other side up: this side will not use them, for these purposes and channels or at all
        (GATE-23). Without `grants`, all that are in force. Only a new grant of the other side opens that again."""
        _ = self.state
        live = [it.id for it in self.state.door(other(self.side)).grants if it.exp > self._core.seconds()]
        fields = {"purposes": _some(purposes), "channels": _some(channels)}
        named = tuple(live if grants is None else grants)
        if not named:
            raise Malformed("the other side allows nothing now that could be given up")
        return _id(await self._writing.write("renounce", grants=named, because=because, **fields))

    # --- favours ---

    async def ask(
        self,
        kind: str,
        text: str,
        *,
        effort: Literal["minute", "hour", "money"] = "minute",
        by: Moment | None = None,
        in_return: str | None = None,
    ) -> Favour:
        """Asks the other side a favour. Raises Refused with the etiquette's code when it is not the time."""
        content = body(text, in_return=in_return)
        line = await self._write_body("ask", content, kind=kind, effort=effort, by=self._end(None, None, by))
        return Favour(self, self, line)

    async def answer(
        self, favour: Favour | str, answer: Literal["yes", "no", "not_now"], text: str | None = None
    ) -> None:
        """Answers what the other side asked."""
        await self._write_body("answer", body(text), ask=_ask_id(favour), answer=answer)

    async def done(self, favour: Favour | str) -> None:
        """Says that a favour is done."""
        await self._writing.write("done", ask=_ask_id(favour))

    async def thank(self, favour: Favour | str, text: str | None = None) -> None:
        """Thanks for a favour done."""
        await self._write_body("thank", body(text), ask=_ask_id(favour))

    def favours(self) -> list[Favour]:
        """Every ask of both sides, oldest first."""
        return [Favour(self, self, line) for line in self.lines if line.act is not None and line.act.kind == "ask"]

    # --- what is between the two ---

    def overview(self) -> Overview:
        """All that is in force between the two and in this wallet, with words and ends (WHO-8). Raises NotOpen."""
        blocked = self._core.kept.get("blocked", host_folded(self.did), dict)
        return overview_of(self, self.favours(), None if blocked is None else blocked["at"])

    async def remember(self, key: str, *, value: Any = None, topic: str | None = None, text: str | None = None) -> None:
        """One of the little things: `language` with `value=["de", "en"]`, `receipt` with `"paper"`, `no_interest` in a
        topic … Raises Malformed where the value has not the form of its key (NOTE-2, NOTE-3)."""
        await self._write_body("remember", note_body(key, topic, value, text), key=key, topic=topic)

    async def forget(self, key: str, *, topic: str | None = None) -> None:
        """Takes a little thing back."""
        await self._writing.write("forget", key=key, topic=topic)

    async def milestone(
        self,
        kind: Literal["bought", "installed", "serviced", "complained", "put_right"],
        topic: str,
        *,
        when: Moment | None = None,
        lasts: Moment | None = None,
        text: str | None = None,
    ) -> None:
        """Notes what happened between the two, and how long it lasts: nobody is sold what she already has."""
        happened = self._core.seconds() if when is None else seconds_of(when)
        end = None if lasts is None else seconds_of(lasts)
        await self._write_body("milestone", body(text), kind=kind, topic=topic, when=happened, lasts=end)

    async def rotate(self, kid: str | None = None, *, again: bool = False) -> None:
        """Takes a new key for this side. A person's earlier grants are signed anew, without what the other side gave
        up of them, unless `again` (GRANT-12); a business names the `kid` under which it publishes the key that this
        wallet already holds."""
        before, renounced = self._own_grants(), self.state.door(other(self.side)).renounced
        if kid is None:
            new, entry = self._core.fresh_key()
            await self._core.kept.keep_first(entry)
        else:
            new = self._core.signer(kid)
        old = self._writing.signer

        def turn() -> list[SignedAct]:
            return [next_rotation(self.state, self.side, self._core.seconds(), old, new)]

        await self._writing.write_all(turn)
        if is_pairwise(new.did):
            for id_, grant in before.items():
                left_out = {"iss", "aud", "iat", "cid", "seq", "prev", "act", "status", "replaces"}
                fields = grant.model_dump(exclude_none=True, exclude=left_out)
                given_up = () if again else renounced
                had = GrantPart(grant.purposes, tuple(grant.channels))
                for part in remaining_parts(id_, had, had, given_up, is_one=grant.budget is not None):
                    await self._grant({**fields, **part._asdict()})

    def _own_grants(self) -> dict[str, Grant]:
        live = {grant.id for grant in self.state.door(self.side).grants if grant.exp > self._core.seconds()}
        acts = [line.act for line in self.lines if line.act is not None and line.act.id in live]
        return {act.id: act.payload for act in acts if isinstance(act.payload, Grant)}

    # --- after the end ---

    async def erasure(
        self,
        deleted: Iterable[Category] = (),
        *,
        kept: Iterable[tuple[Category, Ground] | tuple[Category, Ground, Moment]] = (),
        passed_on: Iterable[str] = (),
    ) -> str:
        """States what became of the other side's data after the end: `kept` is (category, ground) or (category,
        ground, until); `passed_on` who else had it and was told. It takes the place of an earlier statement whole.
        Returns its id. Raises Refused("connection_open" | "until_passed" | "too_many_statements") and as others do."""
        still = [{"what": it[0], "ground": it[1], "until": seconds_of(it[2]) if len(it) == 3 else None} for it in kept]
        listed = tuple({name: value for name, value in it.items() if value is not None} for it in still)
        told = tuple(normalize_name(name) for name in passed_on)
        return _id(
            await self._writing.write("erasure", deleted=tuple(deleted), kept=listed or None, passed_on=told or None)
        )

    # --- the wallet's own quiet ---

    async def call(self, name: str | None) -> None:
        """Gives the other side a name in this wallet, or takes it back. Nobody else learns it. Raises Malformed for
        one that would be read as an id (WHO-2)."""
        await self._core.call(self.cid, name)

    async def snooze(
        self, *, days: float | None = None, hours: float | None = None, until: Moment | None = None
    ) -> None:
        """Keeps quiet about this connection for a while (a day where no end is given). Nothing is signed or sent:
        messages arrive, marked `quiet`; and e-mail, phone and post go on, for only a `mute` stops those."""
        now = self._core.clock()
        end = self._end(days, hours, until) or now // 1000 + DAY
        if end * 1000 <= now:
            raise Malformed("a snooze ends in the time to come")
        spans: list[list[int]] = self._core.kept.get("snoozes", self.cid, list) or []
        await self._core.kept.keep_first(("snoozes", self.cid, [*spans, [now, end * 1000]]))

    async def wake(self) -> None:
        """Ends a snooze now."""
        now = self._core.clock()
        spans: list[list[int]] = self._core.kept.get("snoozes", self.cid, list) or []
        ended = [[start, min(end, now)] for start, end in spans if start < now]
        await self._core.kept.keep_first(("snoozes", self.cid, ended or None))

    # --- writing with a body ---

    async def _write_body(self, act: str, content: Mapping[str, Any] | None, /, **fields: Any) -> Line:
        if content is None:
            return await self._writing.write(act, **fields)
        if isinstance(text := content.get("text"), str):
            try:
                check_visible(text)
            except ValueError as fault:
                raise Malformed(str(fault)) from None

        def one() -> list[SignedAct]:
            door = self.state.door(other(self.side))
            to = body_key(door.kid, PublicKey.of_multibase(door.key))
            return [self._writing.seal(act, body=encrypt_body(content, self.cid, to), **fields)]

        # One's own words, too, are kept: what was sealed to the other side cannot be read again here.
        lines = await self._writing.write_all(one, about=lambda it: [("bodies", it.id, dict(content))])
        return lines[0]

    def _end(self, days: float | None, hours: float | None, until: Moment | None) -> int | None:
        if sum(value is not None for value in (days, hours, until)) > 1:
            raise Malformed("one end, not several")
        if until is not None:
            return seconds_of(until)
        if days is None and hours is None:
            return None
        return self._core.seconds() + span(days, hours)


class _Wish(Model):
    """The members of a grant that can be wrong before there is a connection."""

    purposes: ReachPurposes
    channels: Channels
    budget: Budget | None = None


_WISH: TypeAdapter[_Wish] = TypeAdapter(_Wish)


def check_wish(wish: Mapping[str, Any]) -> None:
    """Raises Malformed for arguments of `Party.grant` of which no grant can be made, so that nothing is signed before
    that is known."""
    budget = {"budget": _budget(wish["budget"])} if wish.get("budget") is not None else {}
    channels = _some(wish.get("channels", ("app",)))
    parse_model(_WISH, json.dumps({"purposes": _some(wish["purposes"]), "channels": channels, **budget}).encode())
    if "days" in wish:
        span(wish["days"])


def _some(items: Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(items, str):
        return (items,)
    return None if items is None else tuple(items)


def _budget(budget: tuple[int, str] | None) -> dict[str, Any] | None:
    return None if budget is None else {"max": budget[0], "per": budget[1]}


def _ask_id(favour: Favour | str) -> str:
    return favour if isinstance(favour, str) else favour.id


def _id(line: Line) -> str:
    return line.act.id if line.act is not None else ""
