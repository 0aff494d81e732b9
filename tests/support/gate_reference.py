"""May I? A second answer, written from the rules' words alone: slow, plain, and importing nothing of the project.

Where the gate computes an end, this one looks for the first moment at which there is room. A state is anything with the
members that spec/connection.md names. Times are milliseconds, but for those of acts, which are seconds.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

MONTH = 2_592_000_000
HALF_AN_HOUR = 1_800_000
EXEMPT = ("safety", "security", "legal_notice")
BY_AGREEMENT = ("renewal", "complaint", "note")
TOLD_AS_NOT_NOW = ("muted", "outside_hours", "over_limit")


@dataclass(frozen=True)
class Answer:
    """What the gate must say; `ends_at` and `end_shown` of a hold and of `exempt_limit`."""

    decision: str
    reason: str
    ends_at: int | None = None
    end_shown: bool = False


def covers(general: str, particular: str) -> bool:
    """GATE-4: the word itself, and what is below it."""
    return f"{particular}.".startswith(f"{general}.")


def may(state: Any, sender: str, purpose: str, channel: str, topic: str | None, now: int) -> Answer:
    """GATE-2 in its order, then GATE-21."""
    if state is None:
        return Answer("refuse", "no_agreement")
    if state.phase == "ended":
        return Answer("refuse", "ended")
    me, she = (state.first, state.second) if sender == "first" else (state.second, state.first)
    if purpose in EXEMPT:
        end = first_room(lambda at: has_exempt_room(me, purpose, at), me.sent, [MONTH], now)
        if end is not None:
            return Answer("refuse", "exempt_limit", end, True)
    if state.recovering:
        return Answer("hold", "recovering")
    if purpose in EXEMPT:
        return Answer("allow", "exempt")
    answers = [plain(state, me, she, purpose, channel, topic, now)]
    for contest in narrowing(me, she, purpose, now):
        if contest.had is None or topic is None or covers(contest.had, topic):
            answers.append(plain(state, me, she, contest.as_, channel, contest.topic or topic, now))
    return strictest(answers)


def strictest(answers: list[Answer]) -> Answer:
    """GATE-21: refuse before hold before allow."""
    refused = [it for it in answers if it.decision == "refuse"]
    if refused:
        return refused[0]
    held = [it for it in answers if it.decision == "hold"]
    if not held:
        return answers[0]
    private = [it for it in held if it.reason in TOLD_AS_NOT_NOW]
    end = None if any(it.ends_at is None for it in held) else max(it.ends_at or 0 for it in held)
    shown = all(it.end_shown for it in private or held)
    return Answer("hold", (private or held)[0].reason, end, shown)


def plain(state: Any, me: Any, she: Any, purpose: str, channel: str, topic: str | None, now: int) -> Answer:
    """The verdict on a purpose that is not exempt, without regard to contests."""
    grants = [
        it
        for it in she.grants
        if now < it.exp * 1000
        and channel in it.channels
        and any(covers(granted, purpose) for granted in it.purposes)
        and not is_renounced(me, it, purpose, channel)
    ]
    if not grants and purpose not in BY_AGREEMENT:
        return Answer("refuse", "no_grant")
    if covers("sales", purpose) and (reason := sale(state, she, topic, now)):
        return Answer("refuse", reason)
    if held := muted(she, purpose, channel, now) or outside_hours(she, now) or over_own_limit(me, she, now):
        return held
    ends = []
    if (end := room_of(me, lambda it: it.purpose not in EXEMPT, 1000, MONTH, now)) is not None:
        return Answer("hold", "over_budget", end, True)
    if purpose in BY_AGREEMENT:
        end = first_room(lambda at: has_agreement_room(me, she, at), me.sent, [MONTH], now)
        if end is None:
            return Answer("allow", "by_agreement")
        ends.append(end)
    for grant in grants:
        if grant.budget is None or has_grant_room(me, she, grant, now):
            return Answer("allow", "granted")
        end = None
        if grant.budget.max:
            # When contests end is not asked: the end is that of what counts now.
            words = counted_words(me, she, grant, now)
            end = room_of(me, lambda it, words=words: it.purpose in words, *in_ms(grant.budget), now)  # type: ignore[misc]
        ends.append(grant.exp * 1000 if end is None else min(end, grant.exp * 1000))
    return Answer("hold", "over_budget", min(ends), True)


# --- contests


def covering(she: Any, purpose: str, now: int) -> Iterator[Any]:
    """The contests in force that cover a purpose, root rule included (GATE-21)."""
    in_force = [it for it in she.contests if now < it.until * 1000]
    for contest in in_force:
        root = contest.purpose.split(".")[0]
        alike = [it for it in in_force if it.as_ == contest.as_ and it.purpose.split(".")[0] == root]
        reach = root if len({it.purpose for it in alike}) > 1 else contest.purpose
        if covers(reach, purpose):
            yield contest


def narrowing(me: Any, she: Any, purpose: str, now: int) -> Iterator[Any]:
    """Those of them that have an effect."""
    if purpose not in EXEMPT and (purpose not in BY_AGREEMENT or is_person_and_business(she, me)):
        yield from covering(she, purpose, now)


def fresh_until(state: Any, sender: str, answer: Answer, grant: str | None, purpose: str, now: int) -> int:
    """GATE-14: no later than this, but for hours."""
    she = state.second if sender == "first" else state.first
    ends = [now + 5000, *(it.exp * 1000 for it in she.grants if it.id == grant)]
    ends += [it.until * 1000 for it in covering(she, purpose, now)]
    if answer.end_shown and answer.ends_at is not None:
        ends.append(answer.ends_at)
    return int(min(ends))


def is_person_and_business(receiver: Any, sender: Any) -> bool:
    """Whether the receiving side is pairwise and the sending side public."""
    return bool(receiver.did.startswith("did:key:") and not sender.did.startswith("did:key:"))


def counted_words(me: Any, she: Any, grant: Any, now: int) -> set[str]:
    """The purposes of deliveries that count in a grant's budget: covered by it, by their own name or as what they were
    contested as; exempt ones never (GATE-11, GATE-21)."""

    def counts(purpose: str) -> bool:
        names = [purpose, *(it.as_ for it in narrowing(me, she, purpose, now))]
        return purpose not in EXEMPT and any(covers(granted, name) for granted in grant.purposes for name in names)

    return {purpose for purpose in {it.purpose for it in me.sent} if counts(purpose)}


def is_renounced(me: Any, grant: Any, purpose: str, channel: str) -> bool:
    """GATE-23."""
    for entry in me.renounced:
        for_this = not entry.purposes or any(covers(it, purpose) for it in entry.purposes)
        if grant.id in entry.grants and for_this and (not entry.channels or channel in entry.channels):
            return True
    return False


# --- what a sale is about


def sale(state: Any, she: Any, topic: str | None, now: int) -> str | None:
    """GATE-7 and GATE-8."""
    has = [
        it
        for it in (*state.first.milestones, *state.second.milestones)
        if it.kind in ("bought", "installed") and (it.lasts is None or now < it.lasts * 1000)
    ]
    unwanted = [it.topic for it in she.little if it.key == "no_interest" and it.topic]
    if topic is not None:
        wanted = [it for it in she.little if it.key == "interested" and it.topic and covers(it.topic, topic)]
        if any(
            covers(it.topic, topic) and not any(want.since >= max(it.when, it.since) for want in wanted) for it in has
        ):
            return "already_has"
        if any(covers(it, topic) for it in unwanted):
            return "no_interest"
    on_record = [*(it.topic for it in has), *unwanted]
    if on_record and (topic is None or any(it.startswith(f"{topic}.") for it in on_record)):
        return "topic_needed"
    return None


# --- not now


def muted(she: Any, purpose: str, channel: str, now: int) -> Answer | None:
    """GATE-9 and GATE-10."""
    ends = {end.mute: end.until for end in she.settings.mute_ends}
    named = [
        it
        for it in she.mutes
        if (not it.purposes or any(covers(word, purpose) for word in it.purposes))
        and (not it.channels or channel in it.channels)
    ]
    lasting = []
    for mute in named:
        end = mute.until if mute.until is not None else ends.get(mute.id)
        if end is None or now < end * 1000:
            lasting.append(None if end is None else end * 1000)
    if not lasting:
        return None
    end = None if None in lasting else max(it for it in lasting if it is not None)
    return Answer("hold", "muted", end, all(it.until is not None for it in named))


def outside_hours(she: Any, now: int) -> Answer | None:
    """HOURS-2 to HOURS-5."""
    own = she.settings
    if own.zone is None or not own.windows:
        return None
    try:
        zone = ZoneInfo(own.zone)
    except (KeyError, ValueError):
        return Answer("hold", "outside_hours")
    if is_open(own.windows, zone, now):
        return None
    return Answer("hold", "outside_hours", next_open(own.windows, own.zone, now), own.hours_end_shown)


def is_open(windows: Iterable[tuple[int, int, int]], zone: ZoneInfo, now: int) -> bool:
    """HOURS-2 and HOURS-3: windows are (weekday, minute of its start, of its end), counted on into the next day."""
    wall = datetime.fromtimestamp(now // 1000, zone)
    minutes = wall.weekday() * 1440 + wall.hour * 60 + wall.minute
    return any(0 <= (minutes - day * 1440 - start) % 10080 < end - start for day, start, end in windows)


@lru_cache(maxsize=4096)
def _next_open(windows: tuple[tuple[int, int, int], ...], name: str, half_hour: int) -> int | None:
    zone = ZoneInfo(name)
    for ahead in range(1, 16 * 48 + 1):
        moment = (half_hour + ahead) * HALF_AN_HOUR
        if is_open(windows, zone, moment):
            return moment
    return None


def next_open(windows: tuple[tuple[int, int, int], ...], name: str, now: int) -> int | None:
    """HOURS-4, for windows and zones that change at whole or half hours alone."""
    return _next_open(windows, name, now // HALF_AN_HOUR)


def over_own_limit(me: Any, she: Any, now: int) -> Answer | None:
    """GATE-11 and GATE-12, of the receiving side's own budget."""
    budget = she.settings.messages
    if budget is None:
        return None
    if budget.max == 0:
        return Answer("hold", "over_limit")
    end = room_of(me, lambda it: it.purpose not in EXEMPT, *in_ms(budget), now)
    return None if end is None else Answer("hold", "over_limit", end)


# --- room


def in_ms(budget: Any) -> tuple[int, int]:
    """A budget as (max, ms)."""
    return budget.max, budget.seconds * 1000


def within(sent: Iterable[Any], per: int, now: int) -> int:
    """How many of them lie within the last `per` ms, not counting those exactly that long ago."""
    return sum(1 for it in sent if it.at > now - per)


def first_room(has_room: Callable[[int], bool], sent: Iterable[Any], periods: list[int], now: int) -> int | None:
    """None where there is room; else the first later moment with room: one at which a delivery is old enough."""
    if has_room(now):
        return None
    moments: list[int] = sorted(it.at + per for it in sent for per in periods if it.at + per > now)
    return next(moment for moment in moments if has_room(moment))


def room_of(me: Any, counts: Callable[[Any], bool], most: int, per: int, now: int) -> int | None:
    """When a budget has room again (GATE-12), None where it has."""
    counted = [it for it in me.sent if counts(it)]
    return first_room(lambda at: within(counted, per, at) < most, counted, [per], now)


def has_grant_room(me: Any, she: Any, grant: Any, now: int) -> bool:
    """Whether a grant's budget has room."""
    words, (most, per) = counted_words(me, she, grant, now), in_ms(grant.budget)
    return within((it for it in me.sent if it.purpose in words), per, now) < most


def has_exempt_room(me: Any, purpose: str, now: int) -> bool:
    """GATE-6: six, of which four may be something else than `safety`."""
    exempt = [it for it in me.sent if it.purpose in EXEMPT]
    others = [it for it in exempt if it.purpose != "safety"]
    return within(exempt, MONTH, now) < 6 and (purpose == "safety" or within(others, MONTH, now) < 4)


def has_agreement_room(me: Any, she: Any, now: int) -> bool:
    """GATE-22."""
    most = 40 if is_person_and_business(me, she) else 5
    answered = [it.at for it in she.sent if it.channel == "app" and it.purpose not in (*EXEMPT, "note")]
    since = max(answered, default=-1)
    return within((it for it in me.sent if it.purpose in BY_AGREEMENT and it.at > since), MONTH, now) < most
