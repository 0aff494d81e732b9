"""One side of a connection as the business sees it: grants, mutes, notes, milestones, contests and the last ask. The
customer's side is public state (CONN-20). The customer's words are decrypted where the server can (INV-14)."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from comity.documents.hours import Window, windows_of
from comity.documents.note_values import parse_note
from comity.rules import favours
from comity.rules.contests import CONTEST_LASTS
from comity.rules.gate import mute_end
from comity.rules.state import Ask, Budget, Contest, Door, Milestone, Mute, Note
from comity_server.api.business.received import Bodies
from comity_server.schema import Hash, Instant, Model, instant


class AllowedRate(Model):
    """At most `max` in any rolling span of `seconds`."""

    max: int
    seconds: int


class ActiveGrant(Model):
    """A grant in force: the purposes and channels for which one side may reach the other."""

    id: Hash = Field(description="The id of its act.")
    object: Literal["grant"] = "grant"
    purposes: tuple[str, ...]
    channels: tuple[str, ...]
    expires_at: Instant
    budget: AllowedRate | None = None


class ActiveMute(Model):
    """A mute in force. Without purposes and channels it covers everything. A customer's mute has `ends_at` only where
    the customer shows the end."""

    id: Hash = Field(description="The id of its act.")
    object: Literal["mute"] = "mute"
    purposes: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    ends_at: Instant | None = None
    reason: Literal["away"] | None = None
    end_shown: Annotated[
        bool | None, Field(description="Of your own mute with an end: whether the customer sees the end.")
    ] = None


class ActiveContest(Model):
    """A contest in force: one side states that a message of the other had another purpose than it named. Messages of
    `purpose` must then also be allowed as `actual_purpose`."""

    message: Annotated[Hash, Field(description="The contested message.")]
    purpose: Annotated[str, Field(description="The purpose that the message named.", examples=["care"])]
    topic: Annotated[str, Field(description="The topic that the message named.")] | None = None
    actual_purpose: Annotated[str, Field(description="The purpose that it really had.", examples=["sales"])]
    actual_topic: Annotated[str, Field(description="The topic that it really had.", examples=["windows"])] | None = None
    started_at: Instant
    ends_at: Instant


class Renouncement(Model):
    """Grants of the other side that this side renounced, for some purposes and channels or for all."""

    grants: tuple[Hash, ...]
    purposes: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None


class StoredNote(Model):
    """A note that one side keeps and both can read."""

    id: Hash = Field(description="The id of its act.")
    object: Literal["note"] = "note"
    key: str
    topic: str | None = None
    value: Annotated[
        Any, Field(description="The value. Of a customer's note, where the server keeps your signing key.")
    ] = None
    text: Annotated[str, Field(description="Further text of a customer's note.")] | None = None


class StoredMilestone(Model):
    """A milestone that one side recorded and both can read."""

    id: Hash = Field(description="The id of its act.")
    object: Literal["milestone"] = "milestone"
    kind: str
    topic: str
    happened_at: Instant
    lasts_until: Instant | None = None
    text: Annotated[
        str | None,
        Field(description="The text of a customer's milestone, where the server keeps your signing key."),
    ] = None


class AskSummary(Model):
    """The last ask of a side. `lapsed` and `broken` follow from the time alone."""

    id: Hash = Field(description="The id of its act.")
    object: Literal["ask"] = "ask"
    kind: str
    status: Literal["asked", "promised", "refused", "not_now", "done", "thanked", "lapsed", "broken"]
    asked_at: Instant
    ends_at: Instant = Field(description="The time at which it lapses without an answer, or a promised favour is due.")


class ChainHead(Model):
    """The end of a side's chain of acts: the `seq` of the next act, and the hash that it names in `prev`."""

    seq: int
    head: Hash


class OwnHours(Model):
    """The weekly windows in which the customer reaches you."""

    zone: str
    windows: tuple[Window, ...]
    end_shown: Annotated[bool, Field(description="Whether the customer sees the start of the next window.")]


class OwnSettings(Model):
    """Your private settings in a connection. The customer never sees them."""

    hours: OwnHours | None = None
    messages: Annotated[AllowedRate, Field(description="Limit of the customer's messages.")] | None = None
    asks: Annotated[AllowedRate, Field(description="Limit of the customer's asks.")] | None = None


class ConnectionSide(Model):
    """The state of one side of a connection."""

    did: str
    grants: tuple[ActiveGrant, ...]
    mutes: tuple[ActiveMute, ...]
    notes: tuple[StoredNote, ...]
    milestones: tuple[StoredMilestone, ...]
    contests: Annotated[
        tuple[ActiveContest, ...],
        Field(description="Messages of the other side that this side contests."),
    ]
    renounced: Annotated[tuple[Renouncement, ...], Field(description="Grants of the other side that it renounced.")]
    ask: AskSummary | None = None
    held_messages: int = Field(description="The number of this side's messages that are held.")
    chain: ChainHead


def active_grants(door: Door, now: int) -> tuple[ActiveGrant, ...]:
    """The side's grants that are in force at `now` (ms)."""
    return tuple(
        ActiveGrant(
            id=grant.id,
            purposes=grant.purposes,
            channels=grant.channels,
            expires_at=instant(grant.exp * 1000),
            budget=_rate(grant.budget),
        )
        for grant in door.grants
        if now < grant.exp * 1000
    )


def _rate(budget: Budget | None) -> AllowedRate | None:
    return None if budget is None else AllowedRate(max=budget.max, seconds=budget.seconds)


def active_mutes(door: Door, now: int) -> tuple[ActiveMute, ...]:
    """The side's mutes as both sides know them, without an end that is not shown (GATE-15)."""
    return tuple(_mute(mute, mute.until) for mute in door.mutes if mute.until is None or now < mute.until * 1000)


def own_active_mutes(door: Door, now: int) -> tuple[ActiveMute, ...]:
    """The mutes of the business's own side, with the ends that only the business knows."""
    ends = [(mute, mute_end(door, mute)) for mute in door.mutes]
    return tuple(
        _mute(mute, None if end is None else end // 1000, own=True) for mute, end in ends if end is None or now < end
    )


def _mute(mute: Mute, until: int | None, *, own: bool = False) -> ActiveMute:
    return ActiveMute(
        id=mute.id,
        purposes=mute.purposes or None,
        channels=mute.channels or None,
        ends_at=None if until is None else instant(until * 1000),
        reason=mute.why,
        end_shown=mute.until is not None if own and until is not None else None,
    )


def own_settings(door: Door) -> OwnSettings:
    """The business's private settings."""
    own = door.settings
    hours = None
    if own.zone is not None and own.windows:
        hours = OwnHours(zone=own.zone, windows=windows_of(own.windows), end_shown=own.hours_end_shown)
    return OwnSettings(hours=hours, messages=_rate(own.messages), asks=_rate(own.asks))


def contest_list(contests: Iterable[Contest]) -> tuple[ActiveContest, ...]:
    """The contests as answers show them."""
    return tuple(
        ActiveContest(
            message=contest.message,
            purpose=contest.purpose,
            topic=contest.had,
            actual_purpose=contest.as_,
            actual_topic=contest.topic,
            started_at=instant((contest.until - CONTEST_LASTS) * 1000),
            ends_at=instant(contest.until * 1000),
        )
        for contest in contests
    )


def customer_side(door: Door, now: int, words: Bodies) -> ConnectionSide:
    """The customer's side at `now` (ms), with the decrypted bodies of its acts in `words`."""
    return _side(door, now, active_mutes(door, now), words)


def own_side(door: Door, now: int) -> ConnectionSide:
    """The business's own side at `now` (ms)."""
    return _side(door, now, own_active_mutes(door, now), {})


def _side(door: Door, now: int, mutes: tuple[ActiveMute, ...], words: Bodies) -> ConnectionSide:
    return ConnectionSide(
        did=door.did,
        grants=active_grants(door, now),
        mutes=mutes,
        notes=tuple(_note(note, words.get(note.id)) for note in door.little),
        milestones=tuple(_milestone(milestone, words.get(milestone.id)) for milestone in door.milestones),
        contests=contest_list(contest for contest in door.contests if now < contest.until * 1000),
        renounced=tuple(
            Renouncement(grants=part.grants, purposes=part.purposes or None, channels=part.channels or None)
            for part in door.renounced
        ),
        ask=None if door.ask is None else ask_summary(door.ask, now),
        held_messages=len(door.held),
        chain=ChainHead(seq=door.seq, head=door.head),
    )


def _note(note: Note, body: dict[str, Any] | None) -> StoredNote:
    # A value that has not the form of its key is a text, as in a wallet (NOTE-4).
    content = parse_note(note.key, body)
    return StoredNote(id=note.id, key=note.key, topic=note.topic, value=content.value, text=content.text)


def _milestone(milestone: Milestone, body: dict[str, Any] | None) -> StoredMilestone:
    return StoredMilestone(
        id=milestone.id,
        kind=milestone.kind,
        topic=milestone.topic,
        happened_at=instant(milestone.when * 1000),
        lasts_until=None if milestone.lasts is None else instant(milestone.lasts * 1000),
        text=_text(body),
    )


def _text(body: dict[str, Any] | None) -> str | None:
    text = (body or {}).get("text")
    return text if isinstance(text, str) else None


def ask_summary(ask: Ask, now: int) -> AskSummary:
    """The ask with its status at `now` (ms)."""
    status = favours.ask_status(ask, now)
    assert status != "none", "there is an ask"
    return AskSummary(id=ask.id, kind=ask.kind, status=status, asked_at=instant(ask.at), ends_at=instant(ask.ends_at))
