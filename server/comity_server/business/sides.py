"""One side of a connection as the business side tells it: what it allows the other, remembers and asked. All of it is
public state (CONN-20)."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from comity import favours
from comity.contests import LASTS
from comity.state import Ask, Contest, Door
from comity_server.business.models import Hash, Instant, Model, instant


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
    """A mute; without purposes and channels it is of everything. `until` where its end is shown; `why`: `away`."""

    id: Hash
    purposes: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    until: Instant | None = None
    why: Literal["away"] | None = None


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


class ShownLittleThing(Model):
    """Something that a side wants remembered."""

    key: str
    topic: str | None = None
    act: Hash


class ShownMilestone(Model):
    """Something that happened."""

    kind: str
    topic: str
    when: Instant
    lasts: Instant | None = None
    act: Hash


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


class ShownDoor(Model):
    """One side: what it allows the other, what it remembers, what it asked."""

    did: str
    grants: tuple[GrantInForce, ...]
    mutes: tuple[MuteInForce, ...]
    little_things: tuple[ShownLittleThing, ...]
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
            budget=None if it.budget is None else AllowedRate(max=it.budget.max, seconds=it.budget.seconds),
        )
        for it in door.grants
        if now < it.exp * 1000
    )


def mutes_of(door: Door, now: int) -> tuple[MuteInForce, ...]:
    """The side's mutes as both sides know them: an end that is not shown counts for nothing here (GATE-15)."""
    return tuple(
        MuteInForce(
            id=it.id,
            purposes=it.purposes or None,
            channels=it.channels or None,
            until=None if it.until is None else instant(it.until * 1000),
            why=it.why,
        )
        for it in door.mutes
        if it.until is None or now < it.until * 1000
    )


def contests_of(contests: Iterable[Contest]) -> tuple[ContestInForce, ...]:
    """Contests of the state, each of which lasts for a year."""
    return tuple(
        ContestInForce(
            message=it.message,
            purpose=it.purpose,
            had=it.had,
            as_=it.as_,
            topic=it.topic,
            since=instant((it.until - LASTS) * 1000),
            until=instant(it.until * 1000),
        )
        for it in contests
    )


def door_of(door: Door, now: int) -> ShownDoor:
    """The whole side at `now` (ms)."""
    return ShownDoor(
        did=door.did,
        grants=grants_of(door, now),
        mutes=mutes_of(door, now),
        little_things=tuple(ShownLittleThing(key=it.key, topic=it.topic, act=it.id) for it in door.little),
        milestones=tuple(
            ShownMilestone(
                kind=it.kind,
                topic=it.topic,
                when=instant(it.when * 1000),
                lasts=None if it.lasts is None else instant(it.lasts * 1000),
                act=it.id,
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


def ask_of(ask: Ask, now: int) -> ShownAsk:
    """Where the ask stands at `now` (ms)."""
    status = favours.status(ask, now)
    assert status != "none", "there is an ask"
    return ShownAsk(ask=ask.id, kind=ask.kind, status=status, asked_at=instant(ask.at), ends_at=instant(ask.ends_at))
