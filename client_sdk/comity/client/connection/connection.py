"""`Connection`: one connection of a wallet, with every act that this side can send.

The same class serves people and businesses. Before the other side has signed, every act raises `NotOpen`. Acts raise
`Refused` (with the protocol's code), `Unreachable` (the act is stored and sent again with the next one), and
`Contradiction` when the server's answer contradicts what was signed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import TypeAdapter

from comity.client.connection import feedback, queries
from comity.client.connection.favours import Favour, body
from comity.client.connection.feedback import Because, Says
from comity.client.connection.history import HistoryRecord
from comity.client.connection.overview import Overview, overview_of
from comity.client.connection.reads import ConnectionReads
from comity.client.models import Message, News
from comity.client.session import fold_host
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


class Connection(ConnectionReads):
    """One connection of this wallet. Made by `Wallet`."""

    async def wait_until_open(self, timeout: float = 60.0) -> Self:  # noqa: ASYNC109
        """Waits at most `timeout` seconds until the other side has signed, then gives the grants chosen in `accept`.
        Returns the connection. Raises NotOpen when the other side declined or its time has passed; TimeoutError."""
        await queries.wait_until_open(self, self._session, self._news_source, timeout)
        await self.give_pending_grants()
        return self

    async def sync(self, wait: float = 0) -> list[News]:
        """Sends unanswered acts again, reads the news, compares this wallet's state with the server's, and gives the
        grants chosen in `accept`. Returns the news.

        `wait` (s) is how long to wait for news when there is none. Raises Refused, Unreachable, Contradiction.
        """
        news = await super().sync(wait)
        if self.phase == "open":
            await self.give_pending_grants()
        return news

    async def give_pending_grants(self) -> None:
        """Gives the grants that this side chose when it accepted, or promised in its offer (ALLOW-3)."""
        pending: list[dict[str, Any]] = self._session.records.get("wishes", self.cid, list) or []
        while pending:
            arguments = pending.pop(0)
            if (allow := self.promised_grant()) is not None and "promised" in arguments:
                await self._grant(promised_grant(allow, self.queue.history.opened.event.at))
            else:
                async with self._drop_if_malformed(pending):
                    await self.grant(**arguments)
            await self._session.records.store(("wishes", self.cid, pending or None))

    @asynccontextmanager
    async def _drop_if_malformed(self, remaining: list[dict[str, Any]]) -> AsyncIterator[None]:
        """Removes a pending grant that is malformed and raises its fault: it must not block every later call."""
        try:
            yield
        except Refused as fault:
            if fault.code == "malformed":
                await self._session.records.store(("wishes", self.cid, remaining or None))
            raise

    # --- permissions ---

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
        """Mutes the other side for a while, or, without an end, until `unmute`. Returns the mute's id.

        `shown="not_now"` hides the end from the other side, `"end"` shows it. `why="away"` shows the end as "away until
        …" (AWAY-1). Raises Malformed for `why` without an end.
        """
        end = self._end(days, hours, until)
        fields = {"purposes": _as_tuple(purposes), "channels": _as_tuple(channels)}
        if end is None or shown == "end" or why is not None:
            return _act_id(await self._queue.send("mute", until=end, why=why, **fields))

        def compose() -> list[SignedAct]:
            mute = self._queue.sign_act("mute", **fields)
            # The end first: the mute alone would have no end.
            return [self._queue.sign_act("mute_end", mute=mute.id, until=end), mute]

        return _act_id((await self._queue.send_all(compose))[1])

    async def unmute(self, mute: str | None = None) -> None:
        """Ends one mute by its id, or all mutes."""
        await self._queue.send("unmute", mute=mute)

    async def revoke(self) -> None:
        """Ends the connection for both sides, permanently. Works from an old copy of the wallet, too."""
        if self._queue.history_or_none is None:
            await self._catch_up()
        # A revoke may stand at any place: an old head, or none, is as good as the last one.
        await self._queue.send_revoke(self._queue.sign_act("revoke"))

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

        `budget` is (messages, period). `until` takes the place of `days`. With `replaces` (an earlier grant's id), what
        the other side renounced of that grant is left out, unless `again` (GRANT-12); where that takes two grants, the
        id is the first one's. Raises Malformed where nothing remains to be granted.
        """
        fields: dict[str, Any] = {
            "exp": self._end(days if until is None else None, None, until),
            "purposes": _as_tuple(purposes),
            "channels": _as_tuple(channels),
            "data": _as_tuple(data),
            "budget": _budget(budget),
            "replaces": replaces,
            "value": value,
        }
        if replaces is None or again:
            return await self._grant(fields)
        return await self._grant_remainder(replaces, fields)

    async def _grant_remainder(self, earlier: str, fields: Mapping[str, Any]) -> str:
        """Grants these fields without what the other side renounced of the earlier grant. Returns the id of the first
        grant. Raises Malformed where nothing remains."""
        given_up = self.state.door(other(self.side)).renounced
        wanted = GrantPart(tuple(fields["purposes"]), tuple(fields["channels"]))
        before = self._own_grants().get(earlier)
        had = wanted if before is None else GrantPart(before.purposes, tuple(before.channels))
        is_one = fields.get("budget") is not None
        first, *rest = remaining_parts(earlier, had, wanted, given_up, is_one=is_one) or (None,)
        if first is None:
            raise Malformed("the other side renounced all of this; `again` grants it again")
        given = await self._grant({**fields, **first._asdict()})
        for part in rest:
            await self._grant({**fields, **part._asdict(), "replaces": None})
        return given

    async def _grant(self, fields: Mapping[str, Any]) -> str:
        _ = self.state
        home = self._session.server(self.info.home)
        reserved = await home.reserve_index(self.cid, self._queue.signer)
        if not reserved.uri.startswith(f"{home.base}/"):
            raise Contradiction("a status list that the home server does not serve", (reserved.uri,))
        status = {"status_list": {"idx": reserved.idx, "uri": reserved.uri}}
        return _act_id(await self._queue.send("grant", **{**fields, "status": status}))

    async def withdraw(self, grant: str) -> None:
        """Withdraws a consent token by its id."""
        await self._queue.send("withdraw", grant=grant)

    async def set_hours(
        self,
        zone: str,
        windows: Iterable[tuple[Iterable[str], str, str]],
        *,
        shown: Literal["not_now", "end"] = "not_now",
    ) -> None:
        """Sets the times at which the other side may reach this one: `(["mo", "tu"], "09:00", "17:30")` …, in an IANA
        zone. No windows means at any time. The other side never sees the hours; with `shown="end"` a refusal tells it
        when it may try again."""
        listed = tuple({"days": tuple(days), "start": start, "end": end} for days, start, end in windows)
        await self._queue.send("hours", zone=zone, windows=listed, shown=shown)

    async def set_budget(self, messages: tuple[int, str] | None = None, asks: tuple[int, str] | None = None) -> None:
        """Limits how often the other side may write and ask: `(3, "week")`. The other side never sees this."""
        await self._queue.send("budget", messages=_budget(messages), asks=_budget(asks))

    async def set_mailbox(self, did: str | None) -> None:
        """Sets the key whose inbox also receives this connection's news (see `Wallet.use_mailbox`); None removes it.
        Raises ComityError for a key that this wallet does not hold, because that key must sign."""
        await self._queue.send("mailbox", did=did)

    # --- messages and outside contacts ---

    async def send_message(
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
        """Sends a message to the other side; the text is encrypted to its key. Returns the message; its `outcome` is
        `delivered`, `held` or `dropped`.

        A held message expires after `days`, or at `until`; by default as HOLD-1 says. `more` adds members to the
        encrypted body. Raises Malformed for more than 90 days.
        """
        expires = self._end(days, None, until)
        if expires is not None and expires > self._session.seconds() + LONGEST_LIFE:
            raise Malformed(
                "the message would wait too long: at most 90 days", errors=(("/exp", "at most 90 days ahead"),)
            )
        if expires is None:
            expires = default_expiry(self._shown_hold(purpose, topic), self.now())
        fields = {"purpose": purpose, "topic": topic, "if_muted": if_muted, "exp": expires, "reply_to": reply_to}
        record = await self._send_with_body("message", {"text": text, **(more or {})}, **fields)
        message = replace(queries.message_of(self, record), away_until=self.away_until())
        if message.outcome != "held":
            return message
        hold = self._shown_hold(purpose, topic)
        end = public_end(hold)
        return replace(
            message, warning=expiry_warning(hold, expires), held_until=None if end is None else -(-end // 1000)
        )

    def _shown_hold(self, purpose: str, topic: str | None) -> Verdict:
        return public_verdict(self.state, self.side, purpose, topic, self.now(), self._session.zones)

    async def record_contact(self, channel: str, purpose: str, topic: str | None = None) -> str:
        """Records that this side reached the other one outside the app. Returns the verdict of the gate."""
        record = await self._queue.send("contacted", channel=channel, purpose=purpose, topic=topic)
        return getattr(record.event, "verdict", None) or ""

    async def give_feedback(
        self, message: Message | str, says: Says, *, as_: str | None = None, topic: str | None = None
    ) -> str:
        """Gives feedback on a message of the other side, or on its contact outside the app. The latest feedback on each
        counts, and the other side sees it. Returns the act's id.

        `says="mislabelled"` contests the message: it was really of purpose `as_`, about `topic`. Messages labelled like
        it then pass only if that purpose may pass too (GATE-21). Other feedback on the same message ends the contest.
        `explain_feedback` describes the effects beforehand. Raises Refused("no_such_message" | "too_many_contests" |
        "too_much_feedback").
        """
        id_ = message.id if isinstance(message, Message) else message
        named = feedback.find_reached_message(self, id_)
        about = {"purpose": named.purpose, "had": named.topic, "as_": as_, "topic": topic}
        return _act_id(await self._queue.send("feedback", message=id_, says=says, **about))

    async def renounce(
        self,
        because: Because,
        grants: Iterable[str] | None = None,
        *,
        purposes: Iterable[str] | None = None,
        channels: Iterable[str] | None = None,
    ) -> str:
        """Renounces consents of the other side: this side will not use them, for these purposes and channels or at all
        (GATE-23). Without `grants`, renounces all that are in force. Only a new grant of the other side undoes that.
        Returns the act's id."""
        _ = self.state
        live = [grant.id for grant in self.state.door(other(self.side)).grants if grant.exp > self._session.seconds()]
        fields = {"purposes": _as_tuple(purposes), "channels": _as_tuple(channels)}
        named = tuple(live if grants is None else grants)
        if not named:
            raise Malformed("the other side has no grant in force that could be renounced")
        return _act_id(await self._queue.send("renounce", grants=named, because=because, **fields))

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
        """Asks the other side a favour. Returns it. `by` is the time by which an answer is wanted. Raises Refused with
        the code of the etiquette's rule."""
        content = body(text, in_return=in_return)
        record = await self._send_with_body("ask", content, kind=kind, effort=effort, by=self._end(None, None, by))
        return Favour(self, self, record)

    async def answer(
        self, favour: Favour | str, answer: Literal["yes", "no", "not_now"], text: str | None = None
    ) -> None:
        """Answers an ask of the other side."""
        await self._send_with_body("answer", body(text), ask=_ask_id(favour), answer=answer)

    async def mark_done(self, favour: Favour | str) -> None:
        """States that a favour is done."""
        await self._queue.send("done", ask=_ask_id(favour))

    async def thank(self, favour: Favour | str, text: str | None = None) -> None:
        """Thanks for a favour that the other side did."""
        await self._send_with_body("thank", body(text), ask=_ask_id(favour))

    def favours(self) -> list[Favour]:
        """Every ask of both sides, oldest first."""
        return [
            Favour(self, self, record) for record in self.records if record.act is not None and record.act.kind == "ask"
        ]

    # --- notes, milestones, the key ---

    def overview(self) -> Overview:
        """Everything in force in this connection, with words and ends (WHO-8). Raises NotOpen."""
        blocked = self._session.records.get("blocked", fold_host(self.did), dict)
        return overview_of(self, self.favours(), None if blocked is None else blocked["at"])

    async def remember(self, key: str, *, value: Any = None, topic: str | None = None, text: str | None = None) -> None:
        """Asks the other side to remember a note: `language` with `value=["de", "en"]`, `receipt` with `"paper"`,
        `no_interest` in a topic … Raises Malformed where the value has not the form of its key (NOTE-2, NOTE-3)."""
        await self._send_with_body("remember", note_body(key, topic, value, text), key=key, topic=topic)

    async def forget(self, key: str, *, topic: str | None = None) -> None:
        """Removes a note."""
        await self._queue.send("forget", key=key, topic=topic)

    async def record_milestone(
        self,
        kind: Literal["bought", "installed", "serviced", "complained", "put_right"],
        topic: str,
        *,
        when: Moment | None = None,
        lasts: Moment | None = None,
        text: str | None = None,
    ) -> None:
        """Records an event between the two sides, when it happened (default: now) and how long it lasts, so that nobody
        is offered what she already has."""
        happened = self._session.seconds() if when is None else seconds_of(when)
        end = None if lasts is None else seconds_of(lasts)
        await self._send_with_body("milestone", body(text), kind=kind, topic=topic, when=happened, lasts=end)

    async def rotate_key(self, kid: str | None = None, *, again: bool = False) -> None:
        """Replaces this side's key. A person's grants are signed again under the new key, without what the other side
        renounced of them, unless `again` (GRANT-12). A business names the published `kid`, whose private key this
        wallet holds."""
        before, renounced = self._own_grants(), self.state.door(other(self.side)).renounced
        if kid is None:
            new, entry = self._session.fresh_key()
            await self._session.records.store_durably(entry)
        else:
            new = self._session.signer(kid)
        old = self._queue.signer

        def compose() -> list[SignedAct]:
            return [next_rotation(self.state, self.side, self._session.seconds(), old, new)]

        await self._queue.send_all(compose)
        if is_pairwise(new.did):
            for id_, grant in before.items():
                left_out = {"iss", "aud", "iat", "cid", "seq", "prev", "act", "status", "replaces"}
                fields = grant.model_dump(exclude_none=True, exclude=left_out)
                given_up = () if again else renounced
                had = GrantPart(grant.purposes, tuple(grant.channels))
                for part in remaining_parts(id_, had, had, given_up, is_one=grant.budget is not None):
                    await self._grant({**fields, **part._asdict()})

    def _own_grants(self) -> dict[str, Grant]:
        live = {grant.id for grant in self.state.door(self.side).grants if grant.exp > self._session.seconds()}
        acts = [record.act for record in self.records if record.act is not None and record.act.id in live]
        return {act.id: act.payload for act in acts if isinstance(act.payload, Grant)}

    # --- after the end ---

    async def state_erasure(
        self,
        deleted: Iterable[Category] = (),
        *,
        kept: Iterable[tuple[Category, Ground] | tuple[Category, Ground, Moment]] = (),
        passed_on: Iterable[str] = (),
    ) -> str:
        """States what became of the other side's data after the end. `kept` lists (category, ground) or (category,
        ground, until); `passed_on` names the recipients of the data that were told. Replaces an earlier statement.
        Returns its id. Raises Refused("connection_open" | "until_passed" | "too_many_statements")."""
        remaining = [
            {"what": it[0], "ground": it[1], "until": seconds_of(it[2]) if len(it) == 3 else None} for it in kept
        ]
        listed = tuple({name: value for name, value in it.items() if value is not None} for it in remaining)
        recipients = tuple(normalize_name(name) for name in passed_on)
        return _act_id(
            await self._queue.send("erasure", deleted=tuple(deleted), kept=listed or None, passed_on=recipients or None)
        )

    # --- the wallet's own settings ---

    async def set_petname(self, name: str | None) -> None:
        """Sets the other side's petname in this wallet; None removes it. Nobody else learns it. Raises Malformed for a
        name that could be read as an id (WHO-2)."""
        await self._session.set_petname(self.cid, name)

    async def snooze(
        self, *, days: float | None = None, hours: float | None = None, until: Moment | None = None
    ) -> None:
        """Silences notifications about this connection for a while (default: a day). Nothing is signed or sent:
        messages arrive, marked `quiet`; e-mail, phone and post continue, because only a `mute` stops those. Raises
        Malformed for an end in the past."""
        now = self._session.clock()
        end = self._end(days, hours, until) or now // 1000 + DAY
        if end * 1000 <= now:
            raise Malformed("a snooze must end in the future")
        spans: list[list[int]] = self._session.records.get("snoozes", self.cid, list) or []
        await self._session.records.store_durably(("snoozes", self.cid, [*spans, [now, end * 1000]]))

    async def end_snooze(self) -> None:
        """Ends the snooze now."""
        now = self._session.clock()
        spans: list[list[int]] = self._session.records.get("snoozes", self.cid, list) or []
        ended = [[start, min(end, now)] for start, end in spans if start < now]
        await self._session.records.store_durably(("snoozes", self.cid, ended or None))

    # --- acts with a body ---

    async def _send_with_body(self, act: str, content: Mapping[str, Any] | None, /, **fields: Any) -> HistoryRecord:
        if content is None:
            return await self._queue.send(act, **fields)
        if isinstance(text := content.get("text"), str):
            try:
                check_visible(text)
            except ValueError as fault:
                raise Malformed(str(fault)) from None

        def compose() -> list[SignedAct]:
            door = self.state.door(other(self.side))
            to = body_key(door.kid, PublicKey.of_multibase(door.key))
            return [self._queue.sign_act(act, body=encrypt_body(content, self.cid, to), **fields)]

        # The own text is stored, because a body encrypted to the other side cannot be read here.
        records = await self._queue.send_all(compose, about=lambda it: [("bodies", it.id, dict(content))])
        return records[0]

    def _end(self, days: float | None, hours: float | None, until: Moment | None) -> int | None:
        if sum(value is not None for value in (days, hours, until)) > 1:
            raise Malformed("give give one end, not several")
        if until is not None:
            return seconds_of(until)
        if days is None and hours is None:
            return None
        return self._session.seconds() + span(days, hours)


class _GrantArguments(Model):
    """The arguments of a grant that can be checked before there is a connection."""

    purposes: ReachPurposes
    channels: Channels
    budget: Budget | None = None


_GRANT_ARGUMENTS: TypeAdapter[_GrantArguments] = TypeAdapter(_GrantArguments)


def check_grant(arguments: Mapping[str, Any]) -> None:
    """Raises Malformed for arguments of `Connection.grant` that no grant can have, before anything is signed."""
    budget = {"budget": _budget(arguments["budget"])} if arguments.get("budget") is not None else {}
    channels = _as_tuple(arguments.get("channels", ("app",)))
    parse_model(
        _GRANT_ARGUMENTS,
        json.dumps({"purposes": _as_tuple(arguments["purposes"]), "channels": channels, **budget}).encode(),
    )
    if "days" in arguments:
        span(arguments["days"])


def _as_tuple(items: Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(items, str):
        return (items,)
    return None if items is None else tuple(items)


def _budget(budget: tuple[int, str] | None) -> dict[str, Any] | None:
    return None if budget is None else {"max": budget[0], "per": budget[1]}


def _ask_id(favour: Favour | str) -> str:
    return favour if isinstance(favour, str) else favour.id


def _act_id(record: HistoryRecord) -> str:
    return record.act.id if record.act is not None else ""
