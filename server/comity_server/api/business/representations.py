"""One side of a connection as the business side tells it: what it allows the other, remembers and asked. All of the
customer's is public state (CONN-20), with her words where they can be opened (INV-14)."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from comity.documents.hours import Window, windows_of
from comity.documents.note_values import parse_note
from comity.rules import favours
from comity.rules.contests import CONTEST_LASTS
from comity.rules.gate import mute_end
from comity.rules.state import Ask, Budget, Contest, Door, Mute, Note
from comity_server.api.business.received import Words
from comity_server.schema import Hash, Instant, Model, instant


class AllowedRate(Model):
    """At most `max` in any rolling span of `seconds`."""

    max: int
    seconds: int


class GrantInForce(Model):
    """What somebody allows the other side, and until when."""

    id: Hash
    purposes: tuple[str, ...]
    channels: tuple[str, ...]
    expires_at: Instant
    budget: AllowedRate | None = None


class MuteInForce(Model):
    """A mute; without purposes and channels it is of everything. `until` where its end is shown, or the mute is yours;
    `why`: `away`."""

    id: Hash
    purposes: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    until: Instant | None = None
    why: Literal["away"] | None = None
    hidden: Annotated[
        bool | None, Field(description="Of a mute of yours with an end: whether your customer is not shown it.")
    ] = None


class ContestInForce(Model):
    """A side's word that a message was something else than it said. Messages of `purpose` are judged as `as`, too."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    message: Annotated[Hash, Field(description="The message that was contested.")]
    purpose: Annotated[str, Field(description="What it said that it was for.", examples=["care"])]
    had: Annotated[str, Field(description="Its topic.")] | None = None
    as_: Annotated[str, Field(alias="as", description="What it was really for.", examples=["sales"])]
    topic: Annotated[str, Field(description="What it was really about.", examples=["windows"])] | None = None
    since: Instant
    until: Instant


class GivenUp(Model):
    """Grants of the other side that this side gave up, for some purposes and channels or for all."""

    grants: tuple[Hash, ...]
    purposes: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None


class ShownNote(Model):
    """A note that one side keeps and both can read."""

    key: str
    topic: str | None = None
    act: Hash
    value: Annotated[
        Any, Field(description="The value. Of a customer's note, where the server keeps your signing key.")
    ] = None
    text: Annotated[str, Field(description="More of it, as your customer wrote it.")] | None = None


class ShownMilestone(Model):
    """Something that happened."""

    kind: str
    topic: str
    when: Instant
    lasts: Instant | None = None
    act: Hash
    text: Annotated[str, Field(description="More of it, as your customer wrote it; where your key is kept here.")] | (
        None
    ) = None


class ShownAsk(Model):
    """A side's last ask, and where it stands: `lapsed` and `broken` come of themselves with time."""

    ask: Hash = Field(description="Its id: that of its act.")
    kind: str
    status: Literal["asked", "promised", "refused", "not_now", "done", "thanked", "lapsed", "broken"]
    asked_at: Instant
    ends_at: Instant = Field(description="When it lapses unanswered, or when what was promised is due.")


class ChainHead(Model):
    """Where a side's chain of acts stands: the next `seq`, and what the next act names in `prev`."""

    seq: int
    head: Hash


class OwnHours(Model):
    """When your customer may come; `shown`: she reads when that is next, and else no more than "not now"."""

    zone: str
    windows: tuple[Window, ...]
    shown: bool


class OwnSettings(Model):
    """What you set in a connection for yourself: your customer gets none of it."""

    hours: OwnHours | None = None
    messages: Annotated[AllowedRate, Field(description="How often she may write.")] | None = None
    asks: Annotated[AllowedRate, Field(description="How often she may ask a favour.")] | None = None


class ShownDoor(Model):
    """One side: what it allows the other, what it remembers, what it asked."""

    did: str
    grants: tuple[GrantInForce, ...]
    mutes: tuple[MuteInForce, ...]
    notes: tuple[ShownNote, ...]
    milestones: tuple[ShownMilestone, ...]
    contests: Annotated[
        tuple[ContestInForce, ...],
        Field(description="Messages of the other's that were something else than they said, by this side's word."),
    ]
    given_up: Annotated[tuple[GivenUp, ...], Field(description="Grants of the other's that this side gave up.")]
    ask: ShownAsk | None = None
    waiting: int = Field(description="Messages of this side that wait at the other's door.")
    chain: ChainHead


def grants_of(door: Door, now: int) -> tuple[GrantInForce, ...]:
    """What the side allows the other at `now` (ms)."""
    return tuple(
        GrantInForce(
            id=it.id,
            purposes=it.purposes,
            channels=it.channels,
            expires_at=instant(it.exp * 1000),
            budget=_rate(it.budget),
        )
        for it in door.grants
        if now < it.exp * 1000
    )


def _rate(budget: Budget | None) -> AllowedRate | None:
    return None if budget is None else AllowedRate(max=budget.max, seconds=budget.seconds)


def mutes_of(door: Door, now: int) -> tuple[MuteInForce, ...]:
    """The side's mutes as both sides know them: an end that is not shown counts for nothing here (GATE-15)."""
    return tuple(_mute(it, it.until) for it in door.mutes if it.until is None or now < it.until * 1000)


def own_mutes_of(door: Door, now: int) -> tuple[MuteInForce, ...]:
    """The same of the business's own side, with the ends that only it knows."""
    ends = [(it, mute_end(door, it)) for it in door.mutes]
    return tuple(
        _mute(it, None if end is None else end // 1000, own=True) for it, end in ends if end is None or now < end
    )


def _mute(mute: Mute, until: int | None, *, own: bool = False) -> MuteInForce:
    return MuteInForce(
        id=mute.id,
        purposes=mute.purposes or None,
        channels=mute.channels or None,
        until=None if until is None else instant(until * 1000),
        why=mute.why,
        hidden=mute.until is None if own and until is not None else None,
    )


def settings_of(door: Door) -> OwnSettings:
    """What the business set for itself."""
    own = door.settings
    hours = None
    if own.zone is not None and own.windows:
        hours = OwnHours(zone=own.zone, windows=windows_of(own.windows), shown=own.hours_end_shown)
    return OwnSettings(hours=hours, messages=_rate(own.messages), asks=_rate(own.asks))


def contests_of(contests: Iterable[Contest]) -> tuple[ContestInForce, ...]:
    """Contests of the state, each of which lasts for a year."""
    return tuple(
        ContestInForce(
            message=it.message,
            purpose=it.purpose,
            had=it.had,
            as_=it.as_,
            topic=it.topic,
            since=instant((it.until - CONTEST_LASTS) * 1000),
            until=instant(it.until * 1000),
        )
        for it in contests
    )


def door_of(door: Door, now: int, words: Words) -> ShownDoor:
    """The customer's side at `now` (ms), with what was written in these acts of hers."""
    return _door_of(door, now, mutes_of(door, now), words)


def own_door_of(door: Door, now: int) -> ShownDoor:
    """The business's own side at `now` (ms)."""
    return _door_of(door, now, own_mutes_of(door, now), {})


def _door_of(door: Door, now: int, mutes: tuple[MuteInForce, ...], words: Words) -> ShownDoor:
    return ShownDoor(
        did=door.did,
        grants=grants_of(door, now),
        mutes=mutes,
        notes=tuple(_note(it, words.get(it.id)) for it in door.little),
        milestones=tuple(
            ShownMilestone(
                kind=it.kind,
                topic=it.topic,
                when=instant(it.when * 1000),
                lasts=None if it.lasts is None else instant(it.lasts * 1000),
                act=it.id,
                text=_text(words.get(it.id)),
            )
            for it in door.milestones
        ),
        contests=contests_of(it for it in door.contests if now < it.until * 1000),
        given_up=tuple(
            GivenUp(grants=it.grants, purposes=it.purposes or None, channels=it.channels or None)
            for it in door.renounced
        ),
        ask=None if door.ask is None else ask_of(door.ask, now),
        waiting=len(door.held),
        chain=ChainHead(seq=door.seq, head=door.head),
    )


def _note(thing: Note, body: dict[str, Any] | None) -> ShownNote:
    """As a wallet shows it: a value without the form of its key is a text (NOTE-4)."""
    note = parse_note(thing.key, body)
    return ShownNote(key=thing.key, topic=thing.topic, act=thing.id, value=note.value, text=note.text)


def _text(body: dict[str, Any] | None) -> str | None:
    found = (body or {}).get("text")
    return found if isinstance(found, str) else None


def ask_of(ask: Ask, now: int) -> ShownAsk:
    """Where the ask stands at `now` (ms)."""
    status = favours.ask_status(ask, now)
    assert status != "none", "there is an ask"
    return ShownAsk(ask=ask.id, kind=ask.kind, status=status, asked_at=instant(ask.at), ends_at=instant(ask.ends_at))
