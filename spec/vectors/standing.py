"""Vectors of what follows from records beside the state: promises, who is away, how long a message waits, and what a
restored server takes back (ALLOW-2 to ALLOW-4, AWAY-2, HOLD-1, HOLD-3, NOTICE-8, REC-5, REC-7)."""

import json
from typing import Any

import msgspec
from comity.rules.next_act import blind_revoke
from comity.rules.allowances import promised_grant, promise_status
from comity.rules.away import is_muted, muted_away_until
from comity.errors import Contradiction
from comity.documents.events import Opened, sign_event
from comity.rules.fold import Record
from comity.rules.gate import AsOf, Verdict
from comity.rules.message_lifetime import default_expiry, expiry_warning
from comity.encoding import b64u_encode
from comity.documents.notices import PublishedKey, parse_stored_notice, is_in_force, key_for_entry, choose_text
from comity.documents.offers import Allow
from comity.rules.recovery import Heads, missing_heads, merge_records
from comity.rules.renunciations import GrantPart, remaining_parts
from comity.rules.state import Connection, Door, Mute, Renounced, public_state
from story import DAY, HOME, HOME_DID, HOUR, LOG, MIA, MINUTE, NOW, SECOND, SHOP, START, Story, connected, words

ALLOW: dict[str, Any] = {"purposes": ["service"], "channels": ["app"], "days": 30, "budget": {"max": 2, "per": "week"}}
EXP = NOW + 30 * 86_400


def standing() -> dict[str, Any]:
    """`promises`: how an offer's promise stands after so many records of a chain. `expiry`: when a message without an end
    of its own expires, and whether one does before the shown end of its hold. `taken_back`: which of the records
    `offered` a server that `kept` some of a chain's takes back (numbers of its records, in the order given)."""
    told = [_kept(), _broken(), _given_again(DAY - 1), _given_again(DAY)]
    return {
        "keys": told[0][0].keys(),
        "grants": [{"allow": it, "opened_at": START + 999, "grant": _grant(it)} for it in (ALLOW, {**ALLOW, "budget": None})],
        "promises": [{**_short(story), "checks": checks} for story, checks in told],
        "away": _away(),
        "expiry": _expiry(),
        "lacking": _lacking(),
        "taken_back": _taken_back(),
        "left": _left(),
        "notices": _notices(),
    }


def _short(story: Story) -> dict[str, Any]:
    told = story.told()
    records = [{name: it[name] for name in ("event", "act") if name in it} for it in story.records]
    return {"agreement": told["agreement"], "opened": told["opened"], "records": records}


def _allow(members: dict[str, Any]) -> Allow:
    return Allow.model_validate_json(json.dumps({name: it for name, it in members.items() if it is not None}))


def _grant(members: dict[str, Any]) -> dict[str, Any]:
    made = promised_grant(_allow(members), START + 999)
    return json.loads(json.dumps({name: it.model_dump() if name == "budget" else it for name, it in made.items()}))


# --- promises


class Promised:
    """A story, and how promises stand in it."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.checks: list[dict[str, Any]] = []

    def look(self, *moments: int, giver: str = "second", **changes: Any) -> None:
        """Write down how it stands at some moments."""
        members = {name: it for name, it in {**ALLOW, **changes}.items() if it is not None}
        for now in moments:
            stands = promise_status(_allow(members), giver, START, self.story.shown, now)  # type: ignore[arg-type]
            row = {"after": len(self.story.records), "giver": giver, "allow": members, "now": now, "stands": stands}
            self.checks.append(row)


def _kept() -> tuple[Story, list[dict[str, Any]]]:
    story = connected()
    promised = Promised(story)
    promised.look(START, START + DAY - 1, START + DAY)
    given = {"purposes": ("service",), "channels": ("app",), "exp": EXP, "budget": {"max": 2, "per": "week"}}
    less = (
        {"purposes": ("care",)}, {"channels": ("email",)}, {"exp": EXP - 1}, {"budget": {"max": 1, "per": "week"}},
        {"budget": {"max": 2, "per": "month"}},
    )  # fmt: skip
    for number, changes in enumerate(less):
        story.go("grant", "second", START + 1 + number, **{**given, **changes})
        promised.look(START + HOUR)
    story.go("grant", "first", START + 10, **given)
    promised.look(START + HOUR)
    promised.look(START + HOUR, giver="first")
    story.go("grant", "second", START + 11, **{**given, "channels": ("email", "app"), "budget": {"max": 3, "per": "day"}})
    promised.look(START + HOUR, START + 2 * DAY)
    promised.look(START + HOUR, budget=None)
    promised.look(START + HOUR, purposes=["service.window"])
    promised.look(START + HOUR, purposes=["service", "care"])
    promised.look(START + HOUR, days=31)
    kept = story.state.second.grants[-1].id
    story.go("remember", "second", START + 12, key="paper")
    promised.look(START + HOUR)
    story.go("grant", "second", START + 13, **{**given, "purposes": ("care", "service")})
    promised.look(START + HOUR)
    story.go("withdraw", "second", START + 14, grant=story.state.second.grants[-1].id)
    story.go("grant", "second", START + 15, **{**given, "purposes": ("care", "service")})
    promised.look(START + HOUR)
    story.go("withdraw", "second", START + 7 * DAY, grant=story.state.second.grants[-1].id)
    story.go("withdraw", "second", START + 7 * DAY + 1, grant=kept)
    promised.look(START + 8 * DAY)
    return story, promised.checks


def _broken() -> tuple[Story, list[dict[str, Any]]]:
    story = connected()
    promised = Promised(story)
    given = {"purposes": ("service",), "channels": ("app",), "exp": EXP}
    story.go("grant", "second", START + 1, **given)
    first = story.state.second.grants[-1].id
    promised.look(START + HOUR)
    story.go("grant", "second", START + 2, **{**given, "exp": EXP - 5}, replaces=first)
    promised.look(START + HOUR)
    story.go("grant", "second", START + 3, **given)
    promised.look(START + HOUR)
    story.go("withdraw", "second", START + 7 * DAY - 1, grant=story.state.second.grants[-1].id)
    promised.look(START + 7 * DAY)
    story.go("mute", "second", START + 7 * DAY + 1)
    promised.look(START + 8 * DAY)
    # A message that nobody shows, and an event of no side.
    story.go("message", "second", START + 8 * DAY, purpose="complaint")
    del story.records[-1]["act"]
    story.shown[-1] = Record(story.shown[-1].event)
    story.restore(START + 8 * DAY + 1)
    promised.look(START + 9 * DAY)
    return story, promised.checks


def _given_again(after: int) -> tuple[Story, list[dict[str, Any]]]:
    """Taken back within a second, and given again so many ms after that, and once more (ALLOW-4)."""
    story = connected()
    promised = Promised(story)
    given = {"purposes": ("care", "service"), "channels": ("app",), "exp": EXP}
    story.go("grant", "second", START + 1, **given)
    story.go("withdraw", "second", START + SECOND, grant=story.state.second.grants[-1].id)
    promised.look(START + SECOND)
    for at in (START + SECOND + after, START + 28 * DAY):
        story.go("grant", "second", at, **given)
        promised.look(at, START + 29 * DAY)
    return story, promised.checks


# --- away, and how long a message waits


def _away() -> list[dict[str, Any]]:
    end = NOW + 100
    sets: dict[str, tuple[Mute, ...]] = {
        "nothing": (),
        "away": (Mute("a", until=end, why="away"),),
        "away twice": (Mute("a", until=end, why="away"), Mute("b", ("sales",), until=end + 10, why="away")),
        "not away": (Mute("a", until=end),),
        "in part": (Mute("a", ("sales",)),),
        "in the app": (Mute("a", (), ("app", "email")),),
        "by e-mail": (Mute("a", (), ("email",)),),
        "open": (Mute("a"),),
        "in part, then all": (Mute("a", ("sales",), ("app",)), Mute("b", until=end)),
    }
    rows = []
    for name, mutes in sets.items():
        for now in (end * 1000 - 1, end * 1000, (end + 10) * 1000):
            door = Door("d", "k", "m", "d", "h", mutes=mutes)
            rows.append(
                {
                    "name": name,
                    "mutes": msgspec.to_builtins(mutes),
                    "now": now,
                    "until": muted_away_until(door, now),
                    "muted": is_muted(door, now),
                }
            )
    return rows


def _expiry() -> list[dict[str, Any]]:
    rows, day = [], 86_400
    for ends in (None, NOW * 1000 + 1, (NOW + 34 * day) * 1000, (NOW + 34 * day) * 1000 + 1, (NOW + 60 * day) * 1000, (NOW + 89 * day) * 1000 + 1, (NOW + 99 * day) * 1000):
        for decision, shown in (("hold", True), ("hold", False), ("refuse", True)):
            verdict = Verdict(decision, "muted", AsOf("", "", ""), START, ends, shown)  # type: ignore[arg-type]
            for now in (START, START + 999):
                expires = [] if ends is None else [ends // 1000 - 1, ends // 1000, ends // 1000 + 1]
                row = {"decision": decision, "ends_at": ends, "end_shown": shown, "now": now}
                warned = [it for it in expires if expiry_warning(verdict, it) is not None]
                rows.append({**row, "expires": default_expiry(verdict, now), "asked": expires, "too_early": warned})
    return rows


def _left() -> list[dict[str, Any]]:
    """GRANT-12: what whoever signs a grant anew still gives of it."""
    app, both = ("app",), ("app", "email")
    sets: dict[str, list[Renounced]] = {
        "nothing given up": [],
        "of another grant": [Renounced((words("x"),), (), ())],
        "all of it": [Renounced((words("g"),), (), ())],
        "all of it, but nothing else is wanted": [Renounced((words("g"),), (), ())],
        "all of it, and something new is wanted": [Renounced((words("g"),), (), ())],
        "one purpose": [Renounced((words("x"), words("g")), ("care",), ())],
        "one channel": [Renounced((words("g"),), (), ("email",))],
        "a purpose by one channel": [Renounced((words("g"),), ("sales",), app)],
        "below a purpose": [Renounced((words("g"),), ("care.tips",), app)],
        "above a purpose": [Renounced((words("g"),), ("car",), app), Renounced((words("g"),), ("news.july",), both)],
        "twice": [Renounced((words("g"),), ("care",), app), Renounced((words("g"),), ("care", "sales"), ("email",))],
    }
    rows = []
    for name, given_up in sets.items():
        for is_one in (False, True):
            purposes, channels = ("care", "sales", "news.july.late"), both
            had = GrantPart(("care", "sales", "news.july"), ("app", "email"))
            channels = both if "nothing else" in name else (*both, "post")
            purposes = (*purposes, "gifts") if name == "twice" or "something new" in name else purposes
            found = remaining_parts(words("g"), had, GrantPart(purposes, channels), given_up, is_one=is_one)
            given = [{"grants": it.grants, "purposes": it.purposes, "channels": it.channels} for it in given_up]
            rows.append(
                {
                    "name": name, "grant": words("g"), "had": had._asdict(), "purposes": purposes, "channels": channels, "given_up": given,
                    "is_one": is_one, "parts": [it._asdict() for it in found],
                }
            )  # fmt: skip
    return rows


def _notices() -> dict[str, Any]:
    """Whether a notice is in force (NOTICE-4), which key signs one (NOTICE-6), and which of its texts is shown."""
    away = {"v": 2, "iss": SHOP.did, "iat": NOW, "kind": "away", "from": NOW, "until": NOW + 10, "texts": {}}
    goal = {"id": "a", "measure": "kept", "target": 0.5, "by": NOW}
    plan = {"v": 2, "iss": SHOP.did, "iat": NOW, "kind": "plan", "title": "Plan", "goals": [goal], "initiatives": []}
    cases = [
        (it, now) for it in (away, {**away, "iat": NOW + 9}, {**away, "iat": NOW + 10}, plan)
        for now in (START, (NOW + 10) * 1000 - 1, (NOW + 10) * 1000)
    ]  # fmt: skip
    stated = [{"place": 3, "kid": "a"}, {"place": 9, "kid": "b"}, {"place": 5, "kid": "c"}]
    texts = {"en": "one", "de": "two", "fr-CH": "three"}
    asked = (["de"], ["DE-ch"], ["it", "de"], ["fr"], ["fr-ch"], ["it"], [], ["en-GB", "de"])
    return {
        "in_force": [{"notice": it, "now": now, "in_force": is_in_force(_read(it), now)} for it, now in cases],
        "keys": [
            {"stated": stated, "index": index, "kid": key_for_entry([PublishedKey(**it) for it in stated], index)}  # type: ignore[arg-type]
            for index in (0, 3, 4, 5, 6, 9, 10)
        ],
        "texts": [
            {"texts": some, "languages": it, "text": choose_text(some, it)} for some in (texts, {}) for it in asked
        ],
    }


def _read(payload: dict[str, Any]) -> Any:
    return parse_stored_notice(f".{b64u_encode(json.dumps(payload).encode())}.")


# --- after a restore


def _lacking() -> list[dict[str, Any]]:
    known = {"first": [words("a"), words("b")], "second": [words("c")], "settings": [words("d")]}
    rows = []
    for heads in (
        ("b", "c", "d"), ("a", "cid", "cid"), ("cid", "cid", "cid"), ("c", "c", "d"), ("b", "a", "d"), ("b", "c", "x"), ("x", "x", "x"),
    ):  # fmt: skip
        named = Heads(*(words(it) for it in heads))
        found = missing_heads(named, words("cid"), known)  # type: ignore[arg-type]
        rows.append({"cid": words("cid"), "heads": named._asdict(), "known": known, "lacking": list(found)})
    return rows


def _taken_back() -> list[dict[str, Any]]:
    """A chain, another end of it, and what of the one a server takes back that kept some of the other."""
    whole = connected()
    for number, (kind, side, given) in enumerate((
        ("remember", "second", {"key": "a"}), ("budget", "second", {}), ("mute", "second", {"channels": ("email",)}),
        ("remember", "first", {"key": "b"}), ("budget", "second", {"messages": {"max": 3, "per": "day"}}),
        ("message", "first", {"purpose": "complaint"}), ("remember", "second", {"key": "c"}), ("revoke", "second", {}),
    )):  # fmt: skip
        whole.go(kind, side, START + MINUTE + number * SECOND, **given)  # type: ignore[arg-type]
    opened = Opened(iss=HOME_DID, cid=whole.state.cid, event="opened", log=LOG, index=0, at=START + 7)
    other = connected()
    other.go("remember", "second", START + MINUTE, key="a")
    other.go("budget", "second", START + MINUTE + SECOND)
    other.restore(START + HOUR)
    other.go("mute", "second", START + HOUR + 1)
    other.confirm("first", START + HOUR + 2)
    other.go("remember", "second", START + HOUR + SECOND, key="d")
    other.restore(START + 2 * HOUR)
    # Of the first side, after an act that nobody else has.
    alone = connected()
    alone.go("remember", "second", START + MINUTE, key="z")
    alone.go("remember", "first", START + HOUR + 100, key="z")
    # Another chain of the second side, and one whose second act comes later; a message that waited.
    forks = [connected(), connected()]
    for at in (30, 45, 60):
        forks[0].go("remember", "second", START + at * SECOND, key="f")
    for at in (31, 90):
        forks[1].go("remember", "second", START + at * SECOND, key="g")
    waited = connected()
    waited.go("mute", "second", START + MINUTE)
    waited.go("message", "first", START + MINUTE + 1, purpose="complaint")
    waited.go("unmute", "second", START + MINUTE + 2)
    waited.release(START + MINUTE + 3)
    third = connected()
    third.send(blind_revoke(third.state.cid, SHOP.did, NOW, MIA), START + 30 * MINUTE)
    begun = connected().state
    made = (whole, other, third, alone, *forks, waited)
    records = [*(it for story in made for it in story.shown), Record(opened)]
    first = len(whole.shown)
    of_third, of_alone, of_fork, of_late, of_waited = (sum(len(it.shown) for it in made[:place]) for place in range(2, 7))
    last = len(records) - 1
    cases = [
        (range(first), []), (range(2), range(2, first)), (range(2), [5, 4, 3, 2]), (range(2), [3, 5]), (range(2), [4]),
        (range(2), [7]), (range(first), [0, 1]), (range(2), [last]), (range(2), [2, 2]), (range(1), [4]), (range(1), [6]),
        ([*range(first, first + 6)], [of_third]), ([*range(first, first + 7)], [of_third]), ([*range(first, first + 7)], [2, 3]),
        ([*range(first, first + 7)], [3, 4]), (range(2), [of_third]), (range(2), [first + 2, first + 4]), ([*range(first, first + 5)], range(2, first)),
        ([*range(first, first + 5)], [2, 3]), ([*range(first, first + 5)], [3, 4]), ([0], [2]), ([0, 2], [1]), ([2], [0]), ([1, 2], []),
        ([*range(first, first + 4)], [7]), (range(first, first + 7), [of_alone + 1]), (range(first, first + 6), [of_alone + 1]),
        ([], [0, of_fork + 2]), ([0], [of_late + 1]), ([0], [of_waited + 3]), ([0], range(of_waited, of_waited + 4)), ([], range(of_waited, of_waited + 4)),
    ]  # fmt: skip
    rows = []
    for kept, offered in cases:
        row: dict[str, Any] = {"kept": list(kept), "offered": list(offered)}
        try:
            found = merge_records(begun, [records[it] for it in kept], [records[it] for it in offered])
        except Contradiction:
            rows.append({**row, "contradiction": True})
            continue
        number = {id(record): place for place, record in enumerate(records)}
        taken = [number[id(it)] for it in found.taken]
        refused = [[number[id(it)], code] for it, code in found.refused]
        rows.append({**row, "taken": taken, "refused": refused, "state": _heads(found.state)})
    texts = _short(whole)
    texts["records"] += [it for story in made[1:] for it in _short(story)["records"]]
    texts["records"].append({"event": sign_event(opened, HOME)})
    return [{**texts, "cases": rows}]


def _heads(state: Connection) -> dict[str, Any]:
    told = public_state(state)
    return {"first": told["first"]["head"], "second": told["second"]["head"], "phase": told["phase"]}
