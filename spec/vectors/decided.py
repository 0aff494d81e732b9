"""Vectors of what is decided: chains with the state after each record, verdicts of the gate."""

from typing import Any

import contradictions
import limits
import msgspec

from comity.rules import gate
from comity.rules.next_act import blind_revoke, compose_act, next_mailbox
from comity.rules.message_lifetime import public_verdict
from comity.rules.state import Connection, Grant
from comity.documents.types import Side, other
from story import (
    DAY,
    EVE,
    HOUR,
    MIA,
    MINUTE,
    SECOND,
    SHOP,
    START,
    ZONES,
    Story,
    body,
    connected,
    instant,
    pairwise,
    published,
    words,
)

ALL_WEEK = ("mo", "tu", "we", "th", "fr", "sa", "su")


def window(start: str, end: str, *days: str) -> dict[str, Any]:
    """A window of opening hours."""
    return {"days": days or ALL_WEEK, "start": start, "end": end}


# --- chains


def chains() -> dict[str, Any]:
    """Connections from their opening on, with the public state after every record and what is refused between."""
    import narrowing  # it is made of what stands here

    stories = {
        "a customer and her window maker": _windows(),
        "favours, both ways": _favours(),
        "new keys on both sides": _new_keys(),
        "messages that wait": _waiting(),
        "after the end": _after_the_end(),
        "away": _away(),
        "a server that was restored": _restored(),
        **limits.stories(),
        **contradictions.stories(),
        **narrowing.chains(),
    }
    return {
        "keys": stories["new keys on both sides"].keys(),
        "chains": [{"name": n, **s.told()} for n, s in stories.items()],
        "openings": contradictions.openings(),
    }


def _windows() -> Story:
    story, at = connected(), START
    first = story.compose("message", "first", at + 1, purpose="care")
    story.refuse(first, at + 1, "a message without a grant")
    grant = story.go("grant", "second", at + MINUTE, purposes=("care", "sales"), budget={"max": 3, "per": "week"})
    story.go("message", "first", at + 2 * MINUTE, purpose="care.welcome", topic="windows")
    story.refuse(first, at + 2 * MINUTE, "another act was accepted at its place")
    mute = story.go("mute", "second", at + HOUR, until=(at + 15 * DAY) // 1000)
    story.refuse(
        story.compose("message", "first", at + HOUR + 1, purpose="sales", if_muted="fail"), at + HOUR + 1, "not now"
    )
    story.go("message", "first", at + 2 * HOUR, purpose="sales", if_muted="drop")
    story.go("contacted", "first", at + 3 * HOUR, channel="phone", purpose="complaint")
    story.go("message", "first", at + 4 * HOUR, purpose="safety", topic="windows")
    story.go("unmute", "second", at + DAY, mute=mute.id)
    story.go("remember", "second", at + DAY + 1, key="no_interest", topic="blinds")
    story.go("remember", "second", at + DAY + 2, key="language", body=body("en", story.state.cid))
    story.go("milestone", "first", at + DAY + 3, kind="installed", topic="windows", when=at // 1000)
    for topic, name in (("windows.roof", "already has"), ("blinds", "no interest")):
        story.refuse(story.compose("message", "first", at + DAY + 4, purpose="sales", topic=topic), at + DAY + 4, name)
    story.go("forget", "second", at + DAY + 5, key="no_interest", topic="blinds")
    story.go(
        "hours", "second", at + DAY + 6, zone="Europe/Berlin", shown="not_now", windows=(window("08:00", "20:00"),)
    )
    story.go("budget", "second", at + DAY + 7, messages={"max": 9, "per": "month"})
    story.send(next_mailbox(story.state, "second", (at + DAY + 8) // 1000, MIA, pairwise("mailbox")), at + DAY + 8)
    story.look(at + DAY + 8)
    open_mute = story.compose("mute", "second", at + DAY + 9, channels=("email",))
    story.go("mute_end", "second", at + DAY + 9, mute=open_mute.id, until=(at + 3 * DAY) // 1000)
    story.send(open_mute, at + DAY + 10)
    story.go("grant", "second", at + 2 * DAY, purposes=("care",), channels=("app",), replaces=grant.id)
    story.refuse(story.compose("withdraw", "second", at + 2 * DAY, grant=grant.id), at + 2 * DAY, "replaced already")
    story.go("mute", "second", at + 2 * DAY + 1)
    late = story.compose("unmute", "second", at + 2 * DAY, iat=at // 1000)
    story.refuse(late, at + 2 * DAY + 2, "the clock two days off")
    revoke = blind_revoke(story.state.cid, SHOP.did, at // 1000, MIA)
    story.refuse(story.compose("unmute", "first", at + 2 * DAY + 2), at + 2 * DAY + 2, "no mute of one's own")
    story.go("mailbox", "second", at + 2 * DAY + 3)
    story.look(at + 2 * DAY + 3)
    story.send(revoke, at + 3 * DAY)
    story.look(at + 4 * DAY)
    story.refuse(story.compose("message", "first", at + 3 * DAY, purpose="safety"), at + 3 * DAY + 1, "after the end")
    return story


def _favours() -> Story:
    story, at = connected(), START
    story.refuse(story.compose("ask", "first", at, kind="review"), at + 1, "no grant for favours")
    story.go("grant", "second", at + 1, purposes=("favour",), channels=("app",))
    story.go("grant", "first", at + 2, purposes=("favour",), channels=("app",))
    ask = story.go("ask", "second", at + MINUTE, kind="hold", by=(at + 4 * DAY) // 1000)
    story.refuse(story.compose("ask", "second", at + HOUR, kind="hold"), at + HOUR, "one is open")
    story.refuse(story.compose("done", "first", at + HOUR, ask=ask.id), at + HOUR, "done before it was promised")
    story.go("answer", "first", at + HOUR, ask=ask.id, answer="yes")
    story.refuse(
        story.compose("answer", "first", at + HOUR, ask=ask.id, answer="no"), at + HOUR + 1, "answered already"
    )
    story.go("done", "first", at + 5 * DAY, ask=ask.id)
    story.go("thank", "second", at + 5 * DAY + 1, ask=ask.id)
    back = story.go("ask", "first", at + 6 * DAY, kind="review", effort="hour")
    story.go("answer", "second", at + 6 * DAY + 1, ask=back.id, answer="no")
    again = at + 6 * DAY + 2
    story.refuse(story.compose("ask", "first", again, kind="review"), again, "after a no")
    story.refuse(story.compose("ask", "first", at + 36 * DAY, kind="review"), at + 36 * DAY, "a millisecond too soon")
    story.go("ask", "first", at + 36 * DAY + 1, kind="review")
    lapsed = at + 66 * DAY + 1
    story.refuse(story.compose("ask", "first", lapsed, kind="review"), lapsed, "unanswered: seven days more")
    story.go("ask", "first", lapsed + 7 * DAY, kind="renewal")
    story.go("message", "second", lapsed + 7 * DAY + 1, purpose="legal_notice")
    notice = lapsed + 7 * DAY + 2
    story.refuse(story.compose("ask", "second", notice, kind="hold"), notice, "on the heels of a notice")
    return story


def _new_keys() -> Story:
    story, at = connected(), START
    story.go("grant", "second", at + 1, purposes=("care",))
    story.go("grant", "first", at + 2, purposes=("care",))
    to_old_name = story.compose("message", "first", at + DAY, purpose="complaint")
    mute_to_old_name = story.compose("mute", "first", at + DAY)
    old = story.compose("message", "second", at + DAY, purpose="care")
    story.rotate("second", pairwise("mia 2"), at + DAY)
    story.refuse(to_old_name, at + DAY + 1, "to a name that was replaced")
    story.refuse(old, at + DAY + 1, "under a key that was replaced")
    story.refuse(story.compose("message", "first", at + DAY, purpose="care"), at + DAY + 1, "the grants are gone")
    story.send(mute_to_old_name, at + DAY + 2)
    story.rotate("first", published(SHOP.did, "key-2"), at + 2 * DAY)
    story.go("message", "second", at + 2 * DAY + 1, purpose="complaint")
    story.go("unmute", "first", at + 2 * DAY + 2)
    revoke = compose_act(
        "revoke", MIA, iss=MIA.did, aud=SHOP.did, iat=at // 1000, cid=story.state.cid, seq=0, prev=story.state.cid
    )
    story.refuse(revoke, at + 3 * DAY, "a revoke under the old key")
    story.refuse(
        compose_act(
            "revoke", EVE, iss=EVE.did, aud=SHOP.did, iat=at // 1000, cid=story.state.cid, seq=0, prev=story.state.cid
        ),
        at + 3 * DAY,
        "a revoke by a stranger",
    )
    story.go("revoke", "first", at + 3 * DAY)
    return story


def _waiting() -> Story:
    story, at = connected(), START
    story.go("grant", "second", at + 1, purposes=("care", "sales"), budget={"max": 2, "per": "day"})
    story.go("mute", "second", at + 2, until=(at + 10 * HOUR) // 1000)
    story.go("message", "first", at + HOUR, purpose="care", topic="windows.service")
    story.go("message", "first", at + 2 * HOUR, purpose="care", topic="windows.service")
    story.go("message", "first", at + 3 * HOUR, purpose="sales", exp=(at + 4 * HOUR) // 1000)
    story.go("message", "first", at + 3 * HOUR + 1, purpose="sales")
    story.go("message", "first", at + 3 * HOUR + 2, purpose="care.checkin")
    story.release(at + 5 * HOUR)
    story.release(at + 10 * HOUR)
    story.release(at + 30 * HOUR)
    story.release(at + 34 * HOUR)
    story.release(at + 34 * HOUR + 1)
    story.go("mute", "second", at + 60 * HOUR, purposes=("care",))
    story.go("message", "first", at + 61 * HOUR, purpose="care")
    story.go("message", "first", at + 61 * HOUR + 1, purpose="sales")
    story.go("withdraw", "second", at + 62 * HOUR, grant=story.state.second.grants[0].id)
    story.release(at + 62 * HOUR + 1)
    return story


def _after_the_end() -> Story:
    story, at, wholly = connected(), START, ("contact", "messages")
    early = story.compose("erasure", "first", at + 1, deleted=wholly)
    story.refuse(early, at + 1, "a statement before the end")
    gone = {"what": "payments", "ground": "contract", "until": at // 1000 - 1}
    story.refuse(story.compose("erasure", "first", at + 1, deleted=wholly, kept=(gone,)), at + 1, "before the end, and kept until a time that is over")
    story.go("grant", "second", at + 1, purposes=("care",))
    story.go("message", "first", at + 2, purpose="care")
    story.send(blind_revoke(story.state.cid, SHOP.did, at // 1000, MIA), at + HOUR)
    end = story.state.at
    story.refuse(story.compose("mute", "second", end, iat=at // 1000), end + 1, "a mute after the end")
    invoices = {"what": "payments", "ground": "legal_obligation", "until": (end + 2 * DAY) // 1000}
    past = story.compose("erasure", "first", end + 2 * DAY, deleted=wholly, kept=(invoices,))
    story.refuse(past, end + 2 * DAY, "kept until a time that is over")
    story.go("erasure", "first", end + DAY, deleted=wholly, kept=(invoices,), passed_on=("Zahlwerk 24",))
    story.refuse(story.compose("message", "first", end + DAY, purpose="safety"), end + DAY + 1, "a message after it")
    story.go("erasure", "second", end + DAY + 2, deleted=("messages",))
    late = end + 31 * DAY
    story.refuse(story.compose("erasure", "first", late, deleted=(), iat=at // 1000), late, "an old clock")
    story.go("erasure", "first", late, deleted=(*wholly, "payments"), passed_on=("Zahlwerk 24",))
    for number in range(10):
        story.go("erasure", "first", late + 1 + number, deleted=wholly)
    story.refuse(story.compose("erasure", "first", late + 11, deleted=wholly), late + 11, "the thirteenth")
    return story


# --- the gate


def _restored() -> Story:
    story, at = connected(), START
    story.go("grant", "second", at + MINUTE, purposes=("care",))
    story.go("mute", "second", at + 2 * MINUTE)
    story.go("message", "first", at + 3 * MINUTE, purpose="care", exp=(at + 3 * DAY) // 1000)
    story.restore(at + DAY)
    for kind, given in (("message", {"purpose": "safety"}), ("unmute", {}), ("withdraw", {"grant": words("one")})):
        side: Side = "first" if kind == "message" else "second"
        story.refuse(story.compose(kind, side, at + DAY + 1, **given), at + DAY + 1, f"{kind} while a door recovers")
    hours = story.compose("hours", "second", at + DAY + 1, zone="Europe/Berlin", windows=(), shown="not_now")
    story.refuse(hours, at + DAY + 1, "a setting while a door recovers")
    story.go("mute", "first", at + DAY + MINUTE)
    hidden = story.compose("mute", "second", at + DAY + HOUR, purposes=("sales",))
    story.go("mute_end", "second", at + DAY + HOUR, mute=hidden.id, until=(at + 5 * DAY) // 1000)
    story.release(at + 3 * DAY)
    story.confirm("second", at + 3 * DAY + HOUR)
    story.go("unmute", "second", at + 3 * DAY + 2 * HOUR)
    story.restore(at + 4 * DAY)
    story.confirm("first", at + 4 * DAY + HOUR)
    story.go("revoke", "first", at + 4 * DAY + 2 * HOUR)
    story.confirm("second", at + 5 * DAY)
    story.restore(at + 6 * DAY)
    return story


class Checked:
    """A story and what the gate says in it; each check is written down by hand and held against the code."""

    def __init__(self, name: str, story: Story, *, whole: bool = True) -> None:
        self.name = name
        self.story = story
        self.whole = whole
        self.checks: list[dict[str, Any]] = []
        self.offline: list[dict[str, Any]] = []
        self.shown: list[dict[str, Any]] = []

    def note(self, now: int, purpose: str = "care", channel: str = "app", **given: Any) -> None:
        """A check that is written down as the rules decide it."""
        sender = given.get("sender", "first")
        verdict = gate.may(self.story.state, sender, purpose, channel, given.get("topic"), now, ZONES)
        self.ask(verdict.reason, now, purpose, channel, **{**given, "ends_at": verdict.ends_at})

    def look(self, now: int, purpose: str = "care", sender: Side = "first", topic: str | None = None) -> None:
        """What the verdict would be without the other side's settings: on it rests how long a message waits (HOLD-2)."""
        verdict = public_verdict(self.story.state, sender, purpose, topic, now, ZONES)
        row = {"after": len(self.story.records), "sender": sender, "purpose": purpose, "topic": topic, "now": now}
        self.shown.append({**row, "verdict": told(verdict)})

    def statuses(self, *moments: int) -> None:
        """What a status list says of the second side's grants at some moments (STATUS-4)."""
        for now in moments:
            said = {it.id: status_of(self.story.state, "second", it, now) for it in self.story.state.second.grants}
            self.offline.append({"after": len(self.story.records), "side": "second", "now": now, "status": said})

    def ask(self, reason: str, now: int, purpose: str = "care", channel: str = "app", **given: Any) -> None:
        """A check by the shop that must give this reason; `ends_at` where one is expected."""
        topic, ends_at = given.get("topic"), given.get("ends_at")
        verdict = gate.may(self.story.state, given.get("sender", "first"), purpose, channel, topic, now, ZONES)
        if (verdict.reason, verdict.ends_at) != (reason, ends_at):
            raise AssertionError(f"{self.name}: {verdict} instead of {reason} until {ends_at}")
        question = {
            "sender": given.get("sender", "first"),
            "purpose": purpose,
            "channel": channel,
            "topic": topic,
            "now": now,
        }
        outward = told(verdict.outward())
        self.checks.append(
            {
                "after": len(self.story.records),
                **{name: value for name, value in question.items() if value is not None},
                "verdict": told(verdict),
                **({} if outward == told(verdict) else {"outward": outward}),
            }
        )

    def as_json(self) -> dict[str, Any]:
        """The story and its checks."""
        records = [{name: record[name] for name in ("event", "act") if name in record} for record in self.story.records]
        told = self.story.told()
        begins = {"begins": told["begins"]} if self.story.begun else {}
        return {
            "name": self.name,
            "agreement": told["agreement"],
            "opened": self.story.opened,
            **begins,
            "records": records,
            "checks": self.checks if self.whole else _without_repeats(self.checks),
            "offline": self.offline,
            "shown": self.shown,
        }


def _without_repeats(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The checks without what their verdicts rest on, where that is as in the check before."""
    shorter, last = [], None
    for check in checks:
        as_of = check["verdict"]["as_of"]
        if as_of == last:
            said = {name: check[name] for name in ("verdict", "outward") if name in check}
            cut = {name: {part: it[part] for part in it if part != "as_of"} for name, it in said.items()}
            check = {**check, **cut}
        shorter.append(check)
        last = as_of
    return shorter


def status_of(state: Connection, side: Side, grant: Grant, now: int) -> int:
    """What a status list says of a grant in force: 0 valid, 1 over, 2 ask."""
    if grant.exp * 1000 <= now or gate.is_fully_renounced(state.door(other(side)), grant):
        return 1
    return 2 if gate.undecidable_until(state, side, grant) > now else 0


def told(verdict: gate.Verdict) -> dict[str, Any]:
    """A verdict as JSON."""
    members = {
        "decision": verdict.decision,
        "reason": verdict.reason,
        "as_of": msgspec.to_builtins(verdict.as_of),
        "valid_until": verdict.valid_until,
        "ends_at": verdict.ends_at,
        "end_shown": verdict.end_shown,
        "grant": verdict.grant,
        "contest": msgspec.to_builtins(verdict.contest) or None,
    }
    return {name: value for name, value in members.items() if value is not None}


def _away() -> Story:
    story, at = connected(), START
    story.go("grant", "second", at + 1, purposes=("care",))
    story.go("mute", "second", at + 2, purposes=("sales",), until=(at + DAY) // 1000)
    away = story.go("mute", "second", at + 3, until=(at + 14 * DAY) // 1000, why="away")
    held = story.compose("message", "first", at + HOUR, purpose="care", if_muted="fail")
    story.refuse(held, at + HOUR, "away is a mute")
    story.go("mute", "second", at + 2 * DAY, until=(at + 21 * DAY) // 1000, why="away")
    story.refuse(story.compose("unmute", "second", at + 3 * DAY, mute=away.id), at + 3 * DAY, "that one was replaced")
    story.go("mute", "first", at + 3 * DAY, purposes=("complaint",), until=(at + 4 * DAY) // 1000, why="away")
    story.go("mute", "second", at + 4 * DAY)
    return story


def gates() -> dict[str, Any]:
    """Verdicts, and what status lists say. `zones` in `as_of` is a name of these vectors: compare it only if you take it over."""
    made = [_by_grants(), _muted(), _budgets(), _topics(), _night(), _spring_in_berlin(), _autumn_in_berlin()]
    made += [_spring_in_new_york(), _autumn_in_new_york(), _ended(), _recovering(), _contests(), _taken_back()]
    made += [_holds_of_a_contest(), _counted_under_a_contest(), _room(), _exempt(), _renounced(), _wanted_again()]
    import gate_edges  # both are made of what stands here
    import narrowing

    made += gate_edges.stories() + narrowing.verdicts()
    nobody = gate.may(None, "first", "care", "app", None, START, ZONES)
    return {
        "keys": made[0].story.keys(),
        "reasons": [{"reason": reason, "decision": decision} for reason, decision in gate.REASONS.items()],
        "nobody": {"now": START, "verdict": told(nobody)},
        "stories": [checked.as_json() for checked in made],
    }


def _by_grants() -> Checked:
    checked = Checked("grants", connected())
    checked.ask("no_grant", START + 1)
    exp = START + DAY
    checked.story.go("grant", "second", START + 2, purposes=("care",), channels=("app",), exp=exp // 1000)
    now = START + HOUR
    checked.ask("granted", now)
    checked.ask("granted", now, "care.checkin")
    checked.ask("no_grant", now, "careful")
    checked.ask("no_grant", now, "sales")
    checked.ask("no_grant", now, "care", "email")
    checked.ask("no_grant", now, sender="second")
    checked.ask("by_agreement", now, "renewal")
    checked.ask("by_agreement", now, "complaint", "post")
    checked.ask("exempt", now, "safety", "visit")
    checked.ask("granted", exp - 1)
    checked.ask("no_grant", exp)
    return checked


def _muted() -> Checked:
    story, end = connected(), START + 14 * DAY
    checked = Checked("mutes", story)
    story.go("grant", "second", START + 1, purposes=("care", "sales"))
    shown = story.go("mute", "second", START + 2, purposes=("sales",), until=end // 1000)
    now = START + HOUR
    checked.ask("muted", now, "sales.windows", ends_at=end)
    checked.ask("granted", now, "care")
    checked.ask("muted", end - 1, "sales", ends_at=end)
    checked.ask("granted", end, "sales")
    hidden = story.compose("mute", "second", START + 3, channels=("app",))
    story.go("mute_end", "second", START + 3, mute=hidden.id, until=(end + DAY) // 1000)
    story.send(hidden, START + 4)
    checked.ask("muted", now, "care", ends_at=end + DAY)
    checked.ask("muted", now, "sales", ends_at=end + DAY)
    checked.ask("muted", now, "sales", "email", ends_at=end)
    checked.ask("granted", now, "care", "email")
    checked.ask("granted", end + DAY, "care")
    story.go("mute", "second", START + 5)
    checked.ask("muted", now, "care")
    checked.ask("muted", now, "complaint")
    checked.ask("exempt", now, "security")
    checked.ask("no_grant", now, "care", sender="second")
    story.go("unmute", "second", START + 6)
    checked.ask("granted", now, "sales")
    assert shown.id != hidden.id
    return checked


def _budgets() -> Checked:
    story = connected()
    checked = Checked("budgets", story)
    story.go("grant", "second", START + 1, purposes=("care",), budget={"max": 2, "per": "day"})
    story.go("message", "first", START + HOUR, purpose="care")
    story.go("contacted", "first", START + 2 * HOUR, channel="phone", purpose="care.visit")
    spent = START + 3 * HOUR
    checked.ask("over_budget", spent, ends_at=START + HOUR + DAY)
    checked.ask("over_budget", START + HOUR + DAY - 1, ends_at=START + HOUR + DAY)
    checked.ask("granted", START + HOUR + DAY)
    checked.ask("by_agreement", spent, "complaint")
    story.go("grant", "second", START + 4 * HOUR, purposes=("care.checkin",))
    checked.ask("granted", START + 5 * HOUR, "care.checkin")
    checked.ask("over_budget", START + 5 * HOUR, "care", ends_at=START + HOUR + DAY)
    story.go("budget", "second", START + 6 * HOUR, messages={"max": 2, "per": "week"})
    checked.ask("over_limit", START + 7 * HOUR, "care.checkin", ends_at=START + HOUR + 7 * DAY)
    checked.ask("exempt", START + 7 * HOUR, "safety")
    story.go("budget", "second", START + 8 * HOUR, messages={"max": 0, "per": "day"})
    checked.ask("over_limit", START + 9 * HOUR, "complaint")
    return checked


def _topics() -> Checked:
    story = connected()
    checked = Checked("topics", story)
    story.go("grant", "second", START + 1, purposes=("care", "sales"))
    lasts = START + 365 * DAY - DAY
    story.go("milestone", "first", START + 2, kind="bought", topic="windows", when=START // 1000, lasts=lasts // 1000)
    story.go("milestone", "second", START + 3, kind="serviced", topic="doors", when=START // 1000)
    story.go("remember", "second", START + 4, key="no_interest", topic="blinds")
    now = START + HOUR
    checked.ask("already_has", now, "sales", topic="windows.roof")
    checked.ask("already_has", now, "sales.offers", "email", topic="windows")
    checked.ask("topic_needed", now, "sales")
    checked.ask("granted", now, "sales", topic="doors")
    checked.ask("granted", now, "care", topic="windows")
    checked.ask("no_interest", now, "sales", topic="blinds.outside")
    checked.ask("already_has", lasts - 1, "sales", topic="windows")
    checked.ask("granted", lasts, "sales", topic="windows")
    return checked


def _named(story: Story, at: int, purpose: str, says: str = "mislabelled", **about: Any) -> None:
    """A message of the shop and what the other side says of it."""
    had = about.pop("had", None)
    sent = story.go("message", "first", at, purpose=purpose, topic=had)
    story.go("feedback", "second", at + 1, message=sent.id, purpose=purpose, had=had, says=says, **about)


def _contests() -> Checked:
    story = connected()
    checked = Checked("contests", story)
    story.go("grant", "second", START + 1, purposes=("care", "news", "sales"), budget={"max": 4, "per": "month"})
    story.go("milestone", "second", START + 2, kind="installed", topic="windows.kitchen", when=START // 1000)
    _named(story, START + HOUR, "care.offer", as_="sales", topic="windows.kitchen", had="windows")
    now = START + 2 * HOUR
    checked.ask("already_has", now, "care.offer")
    checked.ask("already_has", now, "care.offer", topic="windows.roof")
    checked.ask("granted", now, "care.offer", topic="doors")
    checked.ask("granted", now, "care.tips")
    checked.ask("granted", now, "care")
    _named(story, START + 3 * HOUR, "care.tips", as_="sales")
    now = START + 4 * HOUR
    checked.ask("already_has", now, "care.checkin")
    checked.ask("granted", now, "care.checkin", topic="doors")
    checked.ask("already_has", now, "care.checkin", topic="windows.kitchen.left")
    checked.ask("already_has", now, "care", topic="windows")
    checked.ask("granted", now, "news")
    checked.ask("granted", now, "sales", topic="doors")
    _named(story, START + 5 * HOUR, "news", "thanks")
    _named(story, START + 6 * HOUR, "news", as_="care", topic="doors")
    checked.ask("over_budget", START + 7 * HOUR, "news", ends_at=START + HOUR + 30 * DAY)
    checked.ask("by_agreement", START + 7 * HOUR, "complaint")
    return checked


def _taken_back() -> Checked:
    story = connected()
    checked = Checked("a contest that is taken back", story)
    story.go("grant", "second", START + 1, purposes=("care",))
    sent = story.go("message", "first", START + HOUR, purpose="care.offer")
    about = {"message": sent.id, "purpose": "care.offer"}
    story.go("feedback", "second", START + HOUR + 1, **about, says="mislabelled", as_="sales")
    checked.ask("no_grant", START + 2 * HOUR, "care.offer")
    story.go("feedback", "second", START + 3 * HOUR, **about, says="useful")
    checked.ask("granted", START + 4 * HOUR, "care.offer")
    return checked


def _holds_of_a_contest() -> Checked:
    story = connected()
    checked = Checked("holds under a contest", story)
    budget = {"max": 1, "per": "week"}
    story.go("grant", "second", START + 1, purposes=("care",))
    story.go("grant", "second", START + 2, purposes=("sales",), budget=budget)
    story.go("message", "first", START + MINUTE, purpose="sales")
    _named(story, START + HOUR, "care.offer", as_="sales")
    # The contested message counts as a sale.
    spent = START + HOUR + 7 * DAY
    checked.ask("over_budget", START + 2 * HOUR, "care.offer", ends_at=spent)
    mute = story.go("mute", "second", START + 3 * HOUR, purposes=("care",))
    checked.ask("muted", START + 4 * HOUR, "care.offer")
    story.go("mute_end", "second", START + 5 * HOUR, mute=mute.id, until=(START + 2 * DAY) // 1000)
    checked.ask("muted", START + 6 * HOUR, "care.offer", ends_at=spent)
    story.go("mute", "second", START + 7 * HOUR, purposes=("care",), until=(START + 9 * DAY) // 1000)
    checked.ask("muted", START + 8 * HOUR, "care.offer", ends_at=START + 9 * DAY)
    return checked


def _counted_under_a_contest() -> Checked:
    """What is contested counts as a sale with all below it, and what is above it does not."""
    story = connected()
    checked = Checked("what counts under a contest", story)
    story.go("grant", "second", START + 1, purposes=("care",))
    story.go("grant", "second", START + 2, purposes=("sales",), budget={"max": 2, "per": "week"})
    story.go("message", "first", START + MINUTE, purpose="care")
    _named(story, START + HOUR, "care.offer", as_="sales")
    checked.ask("granted", START + 2 * HOUR, "sales")
    return checked


def _room() -> Checked:
    story = connected()
    checked = Checked("what rests on the agreement", story)
    for number in range(4):
        story.go("message", "first", START + HOUR + number, purpose="complaint")
    checked.ask("by_agreement", START + 2 * HOUR, "renewal")
    story.go("milestone", "first", START + 2 * HOUR, kind="bought", topic="doors", when=START // 1000, body=body("x", story.state.cid))
    full = START + HOUR + 30 * DAY
    checked.ask("over_budget", START + 3 * HOUR, "renewal", ends_at=full)
    checked.ask("over_budget", full - 1, "complaint", ends_at=full)
    checked.ask("by_agreement", full, "complaint")
    story.go("remember", "second", START + 3 * HOUR, key="name", body=body("y", story.state.cid))
    checked.ask("over_budget", START + 4 * HOUR, "complaint", ends_at=full)
    story.go("message", "second", START + 5 * HOUR, purpose="complaint")
    checked.ask("by_agreement", START + 6 * HOUR, "complaint")
    return checked


def _exempt() -> Checked:
    story = connected()
    checked = Checked("exempt notices", story)
    for number in range(4):
        story.go("message", "first", START + HOUR + number, purpose=("security", "legal_notice")[number % 2])
    now, end = START + 2 * HOUR, START + HOUR + 30 * DAY
    checked.ask("exempt_limit", now, "security", ends_at=end)
    checked.ask("exempt_limit", end - 1, "legal_notice", "post", ends_at=end)
    checked.ask("exempt", now, "safety")
    story.go("contacted", "first", START + 3 * HOUR, channel="phone", purpose="safety")
    story.go("message", "first", START + 4 * HOUR, purpose="safety")
    checked.ask("exempt_limit", START + 5 * HOUR, "safety", ends_at=end)
    checked.ask("exempt", end, "safety")
    checked.ask("exempt", START + 5 * HOUR, "safety", sender="second")
    return checked


def _renounced() -> Checked:
    story = connected()
    checked = Checked("consents that were given up", story)
    grant = story.go("grant", "second", START + 1, purposes=("care", "sales"))
    story.go(
        "renounce", "first", START + HOUR, grants=(grant.id,), because="one_click", purposes=("sales",), channels=("email",)
    )
    now = START + 2 * HOUR
    checked.ask("no_grant", now, "sales.july", "email")
    checked.ask("granted", now, "sales")
    checked.ask("granted", now, "care", "email")
    story.go("renounce", "first", START + 3 * HOUR, grants=(grant.id,), because="told_us")
    checked.ask("no_grant", START + 4 * HOUR, "care")
    story.go("grant", "second", START + 5 * HOUR, purposes=("care",))
    checked.ask("granted", START + 6 * HOUR, "care")
    return checked


def _wanted_again() -> Checked:
    story = connected()
    checked = Checked("wanted again", story)
    story.go("grant", "second", START + 1, purposes=("sales",))
    when = START // 1000 - 86_400
    story.go("milestone", "first", START + 2, kind="bought", topic="windows.kitchen", when=when)
    checked.ask("already_has", START + HOUR, "sales", topic="windows.kitchen")
    checked.ask("topic_needed", START + HOUR, "sales", topic="windows")
    checked.ask("granted", START + HOUR, "sales", topic="windows.roof")
    story.go("remember", "second", START + HOUR + 1, key="interested", topic="windows")
    checked.ask("granted", START + 2 * HOUR, "sales", topic="windows.kitchen")
    checked.ask("topic_needed", START + 2 * HOUR, "sales", topic="windows")
    story.go("milestone", "second", START + 3 * HOUR, kind="installed", topic="windows", when=(START + 3 * HOUR) // 1000)
    checked.ask("already_has", START + 4 * HOUR, "sales", topic="windows.kitchen")
    return checked


def _hours(name: str, zone: str, shown: str, *windows: dict[str, Any]) -> Checked:
    story = connected()
    story.go("grant", "second", START + 1, purposes=("care",))
    story.go("hours", "second", START + 2, zone=zone, shown=shown, windows=windows)
    return Checked(name, story)


def _night() -> Checked:
    checked = _hours("from Friday evening over midnight", "Europe/Berlin", "end", window("22:00", "06:00", "fr"))
    opens, closes = instant("2026-03-06T21:00:00"), instant("2026-03-07T05:00:00")
    checked.ask("outside_hours", opens - 1, ends_at=opens)
    checked.ask("granted", opens)
    checked.ask("granted", instant("2026-03-06T23:30:00"))
    checked.ask("granted", closes - 1)
    checked.ask("outside_hours", closes, ends_at=opens + 7 * DAY)
    return checked


def _spring_in_berlin() -> Checked:
    checked = _hours("a spring night in Berlin", "Europe/Berlin", "end", window("02:30", "04:00"))
    gap = instant("2026-03-29T01:00:00")
    checked.ask("outside_hours", gap - MINUTE, ends_at=gap)
    checked.ask("granted", gap)
    checked.ask("outside_hours", gap + HOUR, ends_at=instant("2026-03-30T00:30:00"))
    return checked


def _autumn_in_berlin() -> Checked:
    checked = _hours("an autumn night in Berlin", "Europe/Berlin", "end", window("02:00", "02:30"))
    first, second = instant("2026-10-25T00:00:00"), instant("2026-10-25T01:00:00")
    checked.ask("outside_hours", first - 1, ends_at=first)
    checked.ask("granted", first)
    checked.ask("outside_hours", first + 30 * MINUTE, ends_at=second)
    checked.ask("granted", second)
    checked.ask("outside_hours", second + 30 * MINUTE, ends_at=instant("2026-10-26T01:00:00"))
    return checked


def _spring_in_new_york() -> Checked:
    checked = _hours(
        "a window that a spring night swallows", "America/New_York", "not_now", window("02:00", "03:00", "su")
    )
    gap, next_week = instant("2026-03-08T07:00:00"), instant("2026-03-15T06:00:00")
    checked.ask("outside_hours", gap - 1, ends_at=next_week)
    checked.ask("outside_hours", gap, ends_at=next_week)
    checked.ask("granted", next_week)
    return checked


def _autumn_in_new_york() -> Checked:
    checked = _hours("an hour that comes twice", "America/New_York", "end", window("01:00", "02:00", "su"))
    first = instant("2026-11-01T05:00:00")
    checked.ask("outside_hours", first - SECOND, ends_at=first)
    checked.ask("granted", first)
    checked.ask("granted", first + HOUR)
    checked.ask("granted", first + 2 * HOUR - 1)
    checked.ask("outside_hours", first + 2 * HOUR, ends_at=instant("2026-11-08T06:00:00"))
    return checked


def _ended() -> Checked:
    checked = Checked("after the end", connected())
    checked.story.go("grant", "second", START + 1, purposes=("care",))
    checked.story.go("revoke", "second", START + 2)
    checked.ask("ended", START + 3)
    checked.ask("ended", START + 3, "safety")
    checked.ask("ended", START + 3, "care", sender="second")
    return checked


def _recovering() -> Checked:
    checked = Checked("after a restore", connected())
    checked.story.go("grant", "second", START + 1, purposes=("care",))
    checked.story.restore(START + DAY)
    now = START + DAY + 1
    for purpose in ("care", "sales", "renewal", "safety"):
        checked.ask("recovering", now, purpose)
    checked.ask("recovering", now, "care", sender="second")
    checked.story.confirm("second", now + 1)
    checked.ask("recovering", now + 2)
    checked.story.confirm("first", now + 3)
    checked.ask("granted", now + 4)
    checked.ask("exempt", now + 4, "safety")
    return checked
