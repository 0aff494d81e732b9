"""What two connected sides may do to each other, once more and smaller: a reference to hold the server against.

Written from the specification and importing nothing of the project. One `Model` is one connection; its sides are 0 and
1. Each call takes the time in ms and returns what the server must answer: "" or an outcome for an act that is accepted,
the code for one that is refused. What a side may send rests on the door of the other.
"""

from dataclasses import dataclass, field
from typing import Literal

HOUR, DAY = 3_600_000, 86_400_000
EXEMPT = ("safety", "security", "legal_notice")
IfMuted = Literal["hold", "drop", "fail"]


def covers(general: str, purpose: str) -> bool:
    """Whether what is said of a purpose is also said of another: itself, or one below it."""
    return purpose == general or purpose.startswith(f"{general}.")


@dataclass
class Grant:
    """One consent."""

    id: str
    purposes: tuple[str, ...]
    ends: int


@dataclass
class Mute:
    """One mute: `ends` is None for an open one; `shown` says whether the other side knows the end."""

    id: str
    purposes: tuple[str, ...]
    ends: int | None
    shown: bool


@dataclass
class Waiting:
    """A message that waits at the other side's door."""

    id: str
    purpose: str
    topic: str | None
    ends: int


@dataclass
class Ask:
    """A side's last ask."""

    id: str
    ends: int
    status: str = "asked"


@dataclass
class Side:
    """What one side has set, and what it has sent."""

    grants: list[Grant] = field(default_factory=list)
    mutes: list[Mute] = field(default_factory=list)
    day_hours: bool = False
    waiting: list[Waiting] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    ask: Ask | None = None
    asked: list[int] = field(default_factory=list)
    cool: int = 0
    noticed: int | None = None
    said: int = 0


class Model:
    """One connection."""

    def __init__(self) -> None:
        self.sides = (Side(), Side())
        self.ended = False

    # --- the door ---

    def grant(self, me: int, id_: str, purposes: tuple[str, ...], ends: int, now: int) -> str:
        """Consent for some purposes."""
        if self._start(now):
            return "connection_ended"
        mine = self.sides[me]
        mine.grants = [it for it in mine.grants if it.ends > now] + [Grant(id_, purposes, ends)]
        return self._done(now)

    def withdraw(self, me: int, id_: str, now: int) -> str:
        """A consent taken back."""
        if self._start(now):
            return "connection_ended"
        mine = self.sides[me]
        if id_ not in [it.id for it in mine.grants]:
            return "no_such_grant"
        mine.grants = [it for it in mine.grants if it.id != id_]
        return self._done(now)

    def mute(self, me: int, mute: Mute, now: int) -> str:
        """Not now: for everything (no purposes) or for some."""
        if self._start(now):
            return "connection_ended"
        mine = self.sides[me]
        kept = [it for it in self._listed(me, now) if set(it.purposes) != set(mute.purposes)]
        mine.mutes = [*kept, mute]
        return self._done(now)

    def unmute(self, me: int, now: int) -> str:
        """All mutes taken back."""
        if self._start(now):
            return "connection_ended"
        if not self._listed(me, now):
            return "no_such_mute"
        self.sides[me].mutes = []
        return self._done(now)

    def _listed(self, me: int, now: int) -> list[Mute]:
        """A mute whose end is not shown stays until it is taken back, for all that the other side can see."""
        return [it for it in self.sides[me].mutes if it.ends is None or not it.shown or now < it.ends]

    def hours(self, me: int, by_day: bool, now: int) -> str:
        """Only from 8 to 18 o'clock, or at any time."""
        if self._start(now):
            return "connection_ended"
        self.sides[me].day_hours = by_day
        return self._done(now)

    def revoke(self, now: int) -> str:
        """The end."""
        if self._start(now):
            return "connection_ended"
        self.ended = True
        for side in self.sides:
            side.grants, side.mutes, side.waiting, side.ask = [], [], [], None
        return ""

    def erasure(self, me: int, now: int) -> str:
        """What became of the data, once it is over."""
        if not self._start(now):
            return "connection_open"
        if self.sides[me].said >= 12:
            return "too_many_statements"
        self.sides[me].said += 1
        return ""

    # --- may I? ---

    def may(self, me: int, purpose: str, now: int) -> str:
        """allow, hold, or no_grant."""
        door = self.sides[1 - me]
        if purpose in EXEMPT:
            return "allow"
        granted = any(covers(given, purpose) for it in door.grants if now < it.ends for given in it.purposes)
        if not granted:
            return "no_grant"
        for mute in door.mutes:
            running = mute.ends is None or now < mute.ends
            if running and (not mute.purposes or any(covers(it, purpose) for it in mute.purposes)):
                return "hold"
        if door.day_hours and not 8 <= now // HOUR % 24 < 18:
            return "hold"
        return "allow"

    # --- messages ---

    def message(
        self, me: int, id_: str, purpose: str, topic: str | None, if_muted: IfMuted, ends: int, now: int
    ) -> str:
        """A message; the outcome, or the code."""
        if self._start(now):
            return "connection_ended"
        answer, mine = self.may(me, purpose, now), self.sides[me]
        if answer == "no_grant":
            return answer
        if answer == "hold" and if_muted == "fail":
            return "not_now"
        outcome = {"allow": "delivered", "hold": "held" if if_muted == "hold" else "dropped"}[answer]
        if outcome == "delivered":
            self._deliver(me, id_, purpose, now)
        elif outcome == "held":
            mine.waiting = [it for it in mine.waiting if topic is None or (it.purpose, it.topic) != (purpose, topic)]
            mine.waiting.append(Waiting(id_, purpose, topic, ends))
        self._done(now)
        return outcome

    def _deliver(self, me: int, id_: str, purpose: str, now: int) -> None:
        self.sides[me].delivered.append(id_)
        if purpose in EXEMPT:
            self.sides[me].noticed = now

    def settle(self, now: int) -> None:
        """What waits, decided again."""
        for me, side in enumerate(self.sides):
            for it in list(side.waiting):
                answer = self.may(me, it.purpose, now)
                if now >= it.ends or answer == "no_grant":
                    side.expired.append(it.id)
                elif answer == "allow":
                    self._deliver(me, it.id, it.purpose, now)
                else:
                    continue
                side.waiting.remove(it)

    # --- favours ---

    def status(self, asker: int, now: int) -> str:
        """How a side's last ask stands."""
        ask = self.sides[asker].ask
        if ask is None:
            return "none"
        over = now >= ask.ends
        return {"asked": "lapsed", "promised": "broken"}.get(ask.status, ask.status) if over else ask.status

    def ask(self, me: int, id_: str, now: int) -> str:
        """A favour asked."""
        if self._start(now):
            return "connection_ended"
        mine = self.sides[me]
        cool = mine.cool
        if mine.ask is not None and self.status(me, now) == "lapsed":
            cool = max(cool, mine.ask.ends + 7 * DAY)
        if self.status(me, now) in ("asked", "promised"):
            return "ask_open"
        if now < cool:
            return "cooling_down"
        if mine.noticed is not None and now < mine.noticed + DAY:
            return "after_exempt_notice"
        if len([at for at in mine.asked if at > now - 30 * DAY]) >= 6:
            return "ask_budget"
        answer = self.may(me, "favour", now)
        if answer != "allow":
            return "not_now" if answer == "hold" else answer
        mine.cool = cool
        mine.asked.append(now)
        mine.ask = Ask(id_, now + 30 * DAY)
        return self._done(now)

    def answer(self, me: int, id_: str, answer: str, now: int) -> str:
        """What the other side asked is answered."""
        if self._start(now):
            return "connection_ended"
        asker = self.sides[1 - me]
        if asker.ask is None or asker.ask.id != id_ or self.status(1 - me, now) != "asked":
            return "no_such_ask"
        if answer == "yes":
            asker.ask.status, asker.ask.ends = "promised", now + 30 * DAY
        else:
            asker.ask.status = "refused" if answer == "no" else "not_now"
            asker.cool = now + (30 if answer == "no" else 7) * DAY
        return self._done(now)

    def do(self, me: int, id_: str, now: int) -> str:
        """What was promised is done, late perhaps."""
        if self._start(now):
            return "connection_ended"
        ask = self.sides[1 - me].ask
        if ask is None or ask.id != id_ or self.status(1 - me, now) not in ("promised", "broken"):
            return "no_such_ask"
        ask.status = "done"
        return self._done(now)

    def thank(self, me: int, id_: str, now: int) -> str:
        """Thanks for what was done."""
        if self._start(now):
            return "connection_ended"
        ask = self.sides[me].ask
        if ask is None or ask.id != id_ or ask.status != "done":
            return "no_such_ask"
        ask.status = "thanked"
        return self._done(now)

    # --- around every act ---

    def _start(self, now: int) -> bool:
        """Whether it is over; if not, what was due comes first."""
        if not self.ended:
            self.settle(now)
        return self.ended

    def _done(self, now: int) -> str:
        self.settle(now)
        return ""
