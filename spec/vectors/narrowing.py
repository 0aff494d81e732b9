"""Contests, feedback, consents given up, topics and room: their limits and borders, in chains and in verdicts (GATE-6 to
GATE-8, GATE-21 to GATE-23, GRANT-7, CONN-14, CONN-23)."""

from typing import Any

from comity.crypto.keys import Signer
from comity.rules.state import Contest, Delivery, Grant, Renounced
from comity.documents.types import Side
from decided import Checked
from story import (
    DAY,
    EVE,
    HOUR,
    MIA,
    MINUTE,
    SECOND,
    SHOP,
    START,
    STATUS_URI,
    Story,
    begun,
    body,
    connected,
    published,
    words,
)

APP = ("app",)
LATER = (START + 800 * DAY) // 1000
MONTH = 30 * DAY


def chains() -> dict[str, Story]:
    """Each by its name."""
    return {
        "as many contests as there can be": _contests(),
        "as much feedback as there can be": _feedback(),
        "which messages feedback is about": _named(),
        "more consents given up than are kept": _renounced(),
        "who heard last from whom": _last(),
        "what waits, and was contested": _waits(),
        "a favour that is a sale": _asked(),
        "what closes something": _closings(),
    }


def verdicts() -> list[Checked]:
    """All of them."""
    return [
        _about(),
        _roots(),
        _strictest(),
        _agreement_purposes("a contest against a shop, of what rests on the agreement", SHOP, MIA),
        _agreement_purposes("a contest between two people", EVE, MIA),
        _agreement_purposes("a contest against a person, by a shop", MIA, SHOP),
        _agreement_purposes("a contest between two shops", SHOP, published("did:web:other.example")),
        _labels(),
        _given_up(),
        _topics(),
        _room("five to a person", SHOP, MIA, 5),
        _room("forty of a person to a shop", MIA, SHOP, 40),
        _room("five between two shops", SHOP, published("did:web:other.example"), 5),
        _room("five between two people", EVE, MIA, 5),
        _answered(),
        _exempt(),
        _offline(),
        _holds(),
        _recovering(),
        _family(),
    ]


# --- chains


def _contest(number: int, until: int, **members: Any) -> Contest:
    return Contest(words("message", str(number)), f"p{number}", "sales", until, **members)


def _says(story: Story, at: int, message: str, purpose: str, says: str = "mislabelled", **own: Any) -> Any:
    if says == "mislabelled":
        own = {"as_": "sales", **own}
    return story.compose("feedback", "second", at, message=message, purpose=purpose, says=says, **own)


def _contests() -> Story:
    end = START + HOUR
    had = [_contest(number, end // 1000 if number == 0 else LATER, had="a" if number == 1 else None) for number in range(31)]
    story, at = begun(connected(), second={"contests": tuple(had)}), START + SECOND
    story.send(_says(story, at, words("m"), "care", had="windows", topic="doors"), at)
    now = at + MINUTE
    for name, given in {
        "the thirty-third": {"message": words("n"), "purpose": "care"},
        "the thirty-third, of another topic": {"message": words("n"), "purpose": "care", "had": "windows"},
        "the thirty-third, as something else": {"message": words("n"), "purpose": "care", "had": "windows", "topic": "doors", "as_": "news"},
        "the thirty-third, had another topic": {"message": words("n"), "purpose": "care", "topic": "doors"},
    }.items():
        story.refuse(_says(story, now, **given), now, name)
    late = _says(story, end - 1, words("n"), "care")
    story.refuse(late, end - 1, "the thirty-third, a millisecond before one ends")
    story.send(_says(story, now, words("o"), "care", had="windows", topic="doors"), now)
    story.send(_says(story, now + 1, words("message", "5"), "p5", as_="news"), now + 1)
    story.send(_says(story, now + 2, words("message", "6"), "p6", "useful"), now + 2)
    story.send(_says(story, now + 3, words("n"), "care"), now + 3)
    story.send(_says(story, end, words("p"), "news"), end)
    story.send(_says(story, end + 1, words("q"), "news", "not_interested", had="blinds"), end + 1)
    story.go("revoke", "first", end + 2)
    return story


def _feedback() -> Story:
    at = START + 40 * DAY
    given = (at - MONTH, *(at - 20 * DAY + number for number in range(199)))
    story = begun(connected(), second={"feedback": given})
    before = _says(story, at - 1, words("m"), "care", "useful")
    story.refuse(before, at - 1, "the two hundred and first")
    story.send(_says(story, at, words("m"), "care", "too_often"), at)
    story.refuse(_says(story, at + 1, words("n"), "care", "thanks"), at + 1, "the two hundred and first within 30 days")
    story.send(_says(story, at + 1, words("n"), "care"), at + 1)
    story.send(_says(story, at + 10 * DAY, words("n"), "care", "not_useful"), at + 10 * DAY)
    far = _says(story, at + 11 * DAY, words("o"), "care", "useful", iat=0)
    story.refuse(far, at + 11 * DAY, "useful: a clock far behind")
    story.send(_says(story, at + 11 * DAY, words("o"), "care", iat=0), at + 11 * DAY)
    return story


def _named() -> Story:
    """CONN-23: the other side's message, delivered within ninety days, with its own purpose and topic."""
    story, at = connected(), START + HOUR
    story.go("grant", "second", START + 1, purposes=("care",), channels=APP, exp=LATER)
    sent = story.go("message", "first", at, purpose="care", topic="windows")
    bare = story.go("message", "first", at + 1, purpose="care.tips")
    called = story.go("contacted", "first", at + 2, channel="phone", purpose="sales")
    mine = story.go("message", "second", at + 3, purpose="complaint")
    mute = story.go("mute", "second", at + 4)
    held = story.go("message", "first", at + 5, purpose="care", exp=(at + DAY) // 1000)
    dropped = story.go("message", "first", at + 6, purpose="care", if_muted="drop")
    lost = story.go("message", "first", at + 7, purpose="care", topic="lost", exp=at // 1000 + 60)
    now = at + 2 * MINUTE
    story.release(now - 1)
    rows: list[tuple[str, str, str, str | None]] = [
        ("as it was", sent.id, "care", "windows"), ("without a topic", bare.id, "care.tips", None),
        ("a call", called.id, "sales", None), ("another purpose", sent.id, "care.tips", "windows"),
        ("another topic", sent.id, "care", "doors"), ("no topic", sent.id, "care", None),
        ("a topic too many", bare.id, "care.tips", "windows"), ("one's own", mine.id, "complaint", None),
        ("one that waits", held.id, "care", None), ("one that was dropped", dropped.id, "care", None),
        ("one that expired", lost.id, "care", "lost"), ("no message", mute.id, "care", None), ("nothing", words("m"), "care", None),
    ]  # fmt: skip
    for name, message, purpose, had in rows:
        story.name(name, _says(story, now, message, purpose, had=had, as_="news"), now)
    story.go("unmute", "second", now)
    let_go = now + HOUR
    story.release(let_go)
    for name, moment in (("on the ninetieth day", let_go + 90 * DAY - 1), ("after ninety days", let_go + 90 * DAY)):
        story.name(f"let go, {name}", _says(story, moment, held.id, "care", "thanks"), moment)
    late = at + 90 * DAY
    for moment in (late - 1, late):
        story.name(f"{late - moment} ms before ninety days", _says(story, moment, sent.id, "care", "useful", had="windows"), moment)
    story.send(_says(story, late - 2, sent.id, "care", had="windows"), late - 2)
    story.name("a contest of another message", _says(story, late + DAY, bare.id, "care.tips", "useful"), late + DAY)
    taken_back = (late - 2) // 1000 * 1000 + 365 * DAY
    for moment in (late + 100 * DAY, taken_back - 1, taken_back):
        story.name(f"a contest taken back, {taken_back - moment} ms before it ends", _says(story, moment, sent.id, "care", "useful", had="windows"), moment)
    return story


def _renounced() -> Story:
    grants = [Grant(words("grant", str(it)), ("care",), APP, (START + HOUR) // 1000 if it == 2 else LATER, it, STATUS_URI) for it in range(32)]
    given = [Renounced((grants[it].id,), ("care",), APP) for it in range(31)]
    given[4] = Renounced((grants[4].id, words("gone")), (), ("email",))
    given[5] = Renounced((words("gone"),), (), ())
    story, at = begun(connected(), second={"grants": tuple(grants)}, first={"renounced": tuple(given)}), START + SECOND
    for name, moment, ids in (
        ("none of theirs", at, (words("x"),)), ("one that has just ended", START + HOUR, (grants[2].id,)),
    ):  # fmt: skip
        story.refuse(story.compose("renounce", "first", moment, grants=ids, because="told_us"), moment, name)
    story.refuse(story.compose("renounce", "second", at, grants=(grants[0].id,), because="told_us"), at, "one's own")
    story.go("renounce", "first", at, grants=(grants[31].id, words("x"), grants[0].id), because="one_click", purposes=("care.tips",))
    story.go("renounce", "first", at + 1, grants=(grants[1].id,), because="reply_stop", channels=("email",))
    story.go("renounce", "first", at + 2, grants=(grants[1].id, grants[7].id), because="not_needed")
    story.go("renounce", "first", START + HOUR, grants=(grants[8].id,), because="told_us")
    story.go("renounce", "first", START + HOUR + 1, grants=(grants[9].id,), because="told_us")
    story.go("revoke", "first", START + HOUR + 2)
    return story


def _last() -> Story:
    """`last` and `unanswered`: of deliveries and contacts, by the root word as sent; a message alone answers."""
    story, at = connected(), START + HOUR
    for side in ("first", "second"):
        story.go("grant", side, START + 1 + (side == "second"), purposes=("care", "sales", "news"), channels=APP, exp=LATER)  # type: ignore[arg-type]
    steps: list[tuple[Side, str, dict[str, Any]]] = [
        ("first", "contacted", {"channel": "phone", "purpose": "care.visit"}),
        ("first", "message", {"purpose": "security"}),
        ("first", "remember", {"key": "name", "body": body("words", story.state.cid)}),
        ("first", "message", {"purpose": "care.away"}),
        ("first", "message", {"purpose": "care.away.long"}),
        ("first", "message", {"purpose": "care.tips"}),
        ("first", "message", {"purpose": "sales"}),
        ("second", "remember", {"key": "name"}),
        ("second", "contacted", {"channel": "phone", "purpose": "complaint"}),
        ("second", "message", {"purpose": "safety"}),
        ("second", "milestone", {"kind": "bought", "topic": "windows", "when": 0, "body": body("words", story.state.cid)}),
        ("second", "message", {"purpose": "care.away"}),
        ("second", "message", {"purpose": "careful", "if_muted": "drop"}),
        ("second", "message", {"purpose": "news"}),
        ("second", "message", {"purpose": "care"}),
        ("first", "contacted", {"channel": "visit", "purpose": "sales.doors"}),
        ("first", "message", {"purpose": "complaint"}),
        ("first", "budget", {}),
        ("first", "mute", {}),
        ("second", "message", {"purpose": "care"}),
        ("first", "unmute", {}),
    ]
    for number, (side, kind, given) in enumerate(steps):
        if given.get("purpose") == "careful":
            continue
        story.go(kind, side, at + number * SECOND, **given)
    story.release(at + HOUR)
    story.go("revoke", "second", at + 2 * HOUR)
    return story


def _waits() -> Story:
    """A waiting message is looked at again when a contest ends, or a grant for what it was contested as (CONN-12)."""
    at, hour = START + MINUTE, HOUR // 1000
    ends = [START // 1000 + it * hour for it in (3, 5, 6, 9)]
    contests = (
        Contest(words("a"), "care", "sales", ends[0]), Contest(words("b"), "care", "news", ends[3]),
        Contest(words("c"), "gifts", "sales", START // 1000),
    )  # fmt: skip
    grants = tuple(Grant(words("grant", it), (it,), APP, end, 1, STATUS_URI) for it, end in (("care", ends[3] + 9), ("sales", ends[2]), ("news", ends[1])))
    story = begun(connected(), second={"contests": contests, "grants": grants})
    story.go("mute", "second", at)
    story.go("message", "first", at + 1, purpose="care", exp=ends[3] + 99)
    story.release(at + 2)
    story.go("remember", "second", ends[0] * 1000, key="paper")
    for moment in (ends[0] * 1000 + 1, ends[1] * 1000 - 1, ends[1] * 1000):
        story.release(moment)
    return story


def _asked() -> Story:
    """GATE-21 holds for asks too: a favour that was contested as a sale is refused as one would be."""
    story, at = connected(), START + MINUTE
    story.go("grant", "second", START + 1, purposes=("favour", "sales"), channels=APP, exp=LATER)
    story.go("milestone", "first", START + 2, kind="bought", topic="windows", when=0)
    story.go("remember", "second", START + 3, key="no_interest", topic="blinds")
    for number, as_ in enumerate(({"topic": "windows.roof"}, {"topic": "blinds"}, {}, {"as_": "news"})):
        now = at + number * SECOND
        story.send(_says(story, now, words("m"), "favour", **as_), now)
        story.refuse(story.compose("ask", "first", now, kind="hold"), now + 1, f"contested as a favour of {as_.get('topic', as_.get('as_', 'any sale'))}")
    story.send(_says(story, at + MINUTE, words("m"), "favour", "useful"), at + MINUTE)
    story.go("ask", "first", at + 2 * MINUTE, kind="hold")
    return story


def _closings() -> Story:
    """CONN-24: a "no" that no limit keeps out, and one that only says again what is closed already."""
    story, at, both = connected(), START + HOUR, ("app", "email")
    grants = [
        story.go("grant", "second", START + 1 + it, purposes=purposes, channels=channels, exp=exp).id
        for it, (purposes, channels, exp) in enumerate((
            (("care", "sales"), both, LATER), (("news",), APP, (START + 2 * HOUR) // 1000), (("gifts.july",), APP, LATER),
        ))  # fmt: skip
    ]

    def mutes(closes: bool, now: int, *scopes: dict[str, Any]) -> None:
        for scope in scopes:
            story.close(f"a mute of {scope or 'everything'}", "mute", "second", now, closes=closes, **scope)

    part = {"purposes": ("sales", "care"), "channels": both}
    inside = (part, {"purposes": ("sales",), "channels": APP}, {"purposes": ("care.tips", "sales.july"), "channels": ("email",)})
    beyond = ({"purposes": ("sales",)}, {"channels": APP}, {**part, "purposes": ("sales", "news")}, {**part, "channels": (*both, "post")}, {"purposes": ("sale",), "channels": APP}, {})
    mutes(True, at, *inside, *beyond)
    story.go("mute", "second", at, **part, until=(at + DAY) // 1000)
    mutes(False, at + 1, *inside)
    mutes(True, at + 1, *beyond)
    story.close("the other side's own door", "mute", "first", at + 1, closes=True, purposes=("sales",), channels=APP)
    mutes(False, at + DAY - 1, *inside)
    mutes(True, at + DAY, *inside)
    hidden = story.go("mute", "second", at + 2, purposes=("sales",))
    mutes(False, at + 3, {"purposes": ("sales.july",)}, {"purposes": ("sales",), "channels": APP})
    mutes(True, at + 3, {"channels": APP}, {})
    story.go("mute_end", "second", at + 4, mute=hidden.id, until=(at + HOUR) // 1000)
    mutes(False, at + HOUR - 1, {"purposes": ("sales.july",)})
    mutes(True, at + HOUR, {"purposes": ("sales.july",)})
    story.go("mute", "second", at + 5, channels=("post",))
    mutes(False, at + 6, {"channels": ("post",)}, {"purposes": ("care",), "channels": ("post",)})
    mutes(True, at + 6, {"channels": ("post", "sms")}, {"purposes": ("gifts",)})
    story.go("remember", "second", at + 7, key="paper", topic="windows")
    for key, topic, closes in (("paper", "windows", True), ("paper", "doors", False), ("paper", None, False), ("name", "windows", False)):
        story.close(f"forget {key} of {topic}", "forget", "second", at + 8, closes=closes, key=key, topic=topic)
    story.close("forget what the other side remembers", "forget", "first", at + 8, closes=False, key="paper", topic="windows")
    over = START + 2 * HOUR
    for name, side, grant, now, closes in (
        ("a grant", "second", grants[0], at + 9, True), ("the other side's", "first", grants[0], at + 9, False), ("none", "second", words("g"), at + 9, False),
        ("one that ends now", "second", grants[1], over, False), ("one that ends in a millisecond", "second", grants[1], over - 1, True),
    ):  # fmt: skip
        story.close(f"withdraw {name}", "withdraw", side, now, closes=closes, grant=grant)  # type: ignore[arg-type]

    def renounces(closes: bool, now: int, *parts: dict[str, Any], named: tuple[str, ...] = (words("x"), grants[0])) -> None:
        for it in parts:
            story.close(f"give up {it or 'all'}", "renounce", "first", now, closes=closes, grants=named, because="told_us", **it)

    had = ({}, {"purposes": ("sales.july",)}, {"purposes": ("complaint", "care")}, {"channels": APP}, {"channels": ("post", "email")})
    renounces(True, at + 10, *had, {"purposes": ("sal", "sales"), "channels": APP})
    renounces(False, at + 10, {"purposes": ("complaint",)}, {"channels": ("post",)}, {"purposes": ("sales",), "channels": ("sms",)}, {"purposes": ("sal",)})
    renounces(False, at + 10, {}, named=(words("x"),))
    renounces(True, at + 10, {"purposes": ("gifts",)}, {"purposes": ("gifts.july.late",)}, named=(grants[2],))
    renounces(False, at + 10, {"purposes": ("gift",)}, {"purposes": ("gifts.june",)}, named=(grants[2],))
    renounces(True, over - 1, {}, named=(grants[1],))
    renounces(False, over, {}, named=(grants[1],))
    story.close("give up one's own", "renounce", "second", at + 10, closes=False, grants=(grants[0],), because="told_us")
    story.go("renounce", "first", at + 11, grants=(grants[0],), because="told_us", purposes=("sales", "care.tips"), channels=APP)
    renounces(False, at + 12, {"purposes": ("sales",), "channels": APP}, {"purposes": ("sales.july", "care.tips"), "channels": ("app", "post")})
    renounces(True, at + 12, *had[:2], {"purposes": ("sales", "care"), "channels": APP}, {"purposes": ("sales",), "channels": ("email",)}, {"purposes": ("sales",), "channels": both})
    story.go("renounce", "first", at + 13, grants=(grants[0],), because="told_us", purposes=("sales",))
    renounces(False, at + 14, {"purposes": ("sales.july",)}, {"purposes": ("sales",), "channels": ("email",)}, {"purposes": ("sales", "complaint")})
    renounces(True, at + 14, {}, {"purposes": ("care",)}, {"purposes": ("sales", "care")}, {"channels": APP})
    story.go("renounce", "first", at + 15, grants=(grants[0], grants[1]), because="told_us", channels=("email",))
    renounces(False, at + 16, {"channels": ("email",)}, {"purposes": ("care",), "channels": ("email",)})
    renounces(True, at + 16, {"channels": both}, {"purposes": ("care",), "channels": APP}, {})
    story.go("renounce", "first", at + 17, grants=(grants[0],), because="told_us")
    renounces(False, at + 18, *had)
    renounces(True, at + 18, {}, named=(grants[0], grants[1]))
    for kind, given in (
        ("unmute", {}), ("remember", {"key": "name"}), ("mute_end", {"mute": hidden.id, "until": LATER}), ("grant", {"purposes": ("care",)}),
        ("feedback", {"message": words("m"), "purpose": "care", "says": "mislabelled", "as_": "sales"}),
    ):  # fmt: skip
        story.close(f"{kind} closes nothing", kind, "second", at + 19, closes=False, **given)
    for side in ("first", "second"):
        story.close("the end", "revoke", side, at + 20, closes=True)  # type: ignore[arg-type]
    story.go("revoke", "first", at + 20)
    for side in ("first", "second"):
        story.close("the end, after it", "revoke", side, at + 21, closes=False)  # type: ignore[arg-type]
    return story


# --- verdicts


def _shop(name: str, offerer: Signer = SHOP, accepter: Signer = MIA, **doors: Any) -> Checked:
    story = connected(offerer, accepter)
    return Checked(name, begun(story, **doors) if doors else story, whole=False)


def _against(*contests: Contest, grants: tuple[str, ...] = ("care", "sales", "news"), **own: Any) -> dict[str, Any]:
    given = tuple(Grant(words("grant", it), (it,), ("app", "email"), LATER, at, STATUS_URI) for at, it in enumerate(grants))
    return {"contests": contests, "grants": given, **own}


def _about() -> Checked:
    """A contest is about its message's topic, what is below it, and no topic; and in force to its second."""
    end = START + DAY
    contest = Contest(words("m"), "care.offer", "sales", end // 1000, "windows", "windows.kitchen")
    bare = Contest(words("n"), "news", "gifts", LATER)
    checked = _shop("what a contest is about", second=_against(contest, bare))
    for now in (START + HOUR, end - 5001, end - 4999, end - 1, end):
        for purpose, topic in (
            ("care.offer", None), ("care.offer", "windows"), ("care.offer", "windows.roof"), ("care.offer", "doors"),
            ("care.offer", "windowsill"), ("care.offer.july", "windows"), ("care.offers", "windows"), ("care", "windows"),
        ):  # fmt: skip
            checked.note(now, purpose, topic=topic)
    for purpose, topic in (("news", None), ("news", "doors"), ("news.july", "doors"), ("safety", None), ("complaint", None)):
        checked.note(START + HOUR, purpose, topic=topic)
    checked.note(START + HOUR, "care.offer", sender="second")
    checked.statuses(START + HOUR, end - 1, end)
    return checked


def _roots() -> Checked:
    """Two purposes of one root, contested as the same, cover the root for as long as both are in force."""
    first, second = START + DAY, START + 2 * DAY
    contests = (
        Contest(words("a"), "care.offer", "sales", first // 1000),
        Contest(words("b"), "care.tips", "sales", second // 1000),
        Contest(words("c"), "news.a", "sales", LATER),
        Contest(words("d"), "news.a", "sales", LATER, "doors"),
        Contest(words("e"), "gifts.a", "sales", LATER),
        Contest(words("f"), "gifts.b", "news", LATER),
    )
    checked = _shop("two contests of one root", second=_against(*contests, grants=("care", "news", "gifts")))
    for now in (START + HOUR, first - 1, first, second):
        for purpose in ("care.offer", "care.tips", "care.checkin", "care", "news.a", "news.b", "gifts.a", "gifts.b", "gifts.c"):
            checked.note(now, purpose)
    checked.statuses(START + HOUR, first - 1, first, second - 1, second)
    return checked


def _strictest() -> Checked:
    """Refuse before hold before allow; of holds the latest end, shown only where all private ones show theirs."""
    contest = Contest(words("m"), "care", "sales", LATER)
    checked = _shop("the strictest of what was asked and what it was", second=_against(contest, grants=("care",)))
    story, now = checked.story, START + 2 * HOUR
    checked.note(now)
    story.go("mute", "second", START + 1, purposes=("care",), until=(START + DAY) // 1000)
    checked.note(now)
    story.go("grant", "second", START + 2, purposes=("sales",), channels=APP, budget={"max": 1, "per": "day"}, exp=LATER)
    checked.note(now)
    story.go("mute", "second", START + 3, purposes=("sales",), until=(START + 2 * DAY) // 1000)
    checked.note(now)
    hidden = story.go("mute", "second", START + 4, purposes=("sales", "news"))
    checked.note(now)
    story.go("mute_end", "second", START + 5, mute=hidden.id, until=(START + HOUR + DAY) // 1000)
    checked.note(now)
    story.go("unmute", "second", START + 6)
    checked.note(now)
    story.go("contacted", "first", START + HOUR, channel="phone", purpose="sales")
    checked.note(now)
    checked.note(START + HOUR + DAY - 3)
    story.go("mute", "second", START + HOUR + 1, purposes=("care",), until=(START + 3 * DAY) // 1000)
    checked.note(now)
    story.go("mute", "second", START + HOUR + 2, purposes=("sales",))
    checked.note(now)
    return checked


def _agreement_purposes(name: str, offerer: Signer, accepter: Signer) -> Checked:
    """A person narrows what a shop may by the agreement; a shop, or another person, does not."""
    contests = (
        Contest(words("m"), "renewal", "sales", LATER), Contest(words("n"), "safety", "sales", LATER),
        Contest(words("o"), "care", "gifts", LATER),
    )  # fmt: skip
    checked = _shop(name, offerer, accepter, second=_against(*contests, grants=("news", "care")))
    story, asked = checked.story, ("renewal", "complaint", "safety", "renewal.x", "care", "sales")
    for purpose in asked:
        checked.note(START + HOUR, purpose)
    checked.statuses(START + HOUR)
    story.go("grant", "second", START + HOUR, purposes=("sales",), channels=APP, budget={"max": 1, "per": "day"}, exp=LATER)
    story.go("contacted", "first", START + HOUR + 1, channel="phone", purpose="safety")
    story.go("contacted", "first", START + HOUR + 2, channel="phone", purpose="renewal")
    for purpose in asked:
        checked.note(START + 2 * HOUR, purpose)
    return checked


def _labels() -> Checked:
    """A contested message counts as what it was, once, also against the budget for that."""
    contest = Contest(words("m"), "care.offer", "sales", LATER)
    checked = _shop("what a contested message counts as", second=_against(contest, grants=("care",)))
    story, at = checked.story, START + HOUR
    story.go("grant", "second", START + 1, purposes=("sales", "care.offer"), channels=("app", "phone"), budget={"max": 2, "per": "week"}, exp=LATER)
    story.go("grant", "second", START + 2, purposes=("news",), channels=APP, budget={"max": 1, "per": "week"}, exp=LATER)
    for number, purpose in enumerate(("care.offer", "care.offer.july", "care.checkin", "safety", "sales")):
        story.go("contacted", "first", at + number, channel="phone", purpose=purpose)
        for asked in ("sales", "care.offer", "care.checkin", "news"):
            checked.note(at + MINUTE, asked)
    for now in (at + 7 * DAY - 1, at + 7 * DAY, at + 7 * DAY + 1):
        checked.note(now, "sales")
    return checked


def _given_up() -> Checked:
    """What the sender gave up, for some purposes and channels or for all, is no grant; offline it is asked about."""
    grants = tuple(Grant(words("grant", str(it)), ("care", "news"), ("app", "email"), LATER, it, STATUS_URI) for it in range(4))
    given = (
        Renounced((grants[0].id,), ("news",), ("email",)),
        Renounced((grants[1].id,), ("care.tips",), ()),
        Renounced((grants[2].id,), (), ("app",)),
    )
    checked = _shop("consents given up in part", second={"grants": grants}, first={"renounced": given})
    story = checked.story
    asked = [(purpose, channel) for purpose in ("care", "care.tips", "news", "news.july") for channel in ("app", "email")]
    for number in range(3):
        for purpose, channel in asked:
            checked.note(START + HOUR, purpose, channel)
        checked.statuses(START + HOUR)
        story.go("withdraw", "second", START + 1 + number, grant=grants[(3, 0, 1)[number]].id)
    return checked


def _topics() -> Checked:
    """What is on record of a topic, its own, broader, narrower or none; and an interest that is later than it."""
    checked = _shop("topics on record")
    story, now, since = checked.story, START + HOUR, START // 1000
    asked = (None, "windows", "windows.roof", "windows.roof.left", "doors", "win", "blinds", "blinds.red")

    def look(at: int = now) -> None:
        for topic in asked:
            checked.note(at, "sales.july", topic=topic)
        checked.note(at, "salesman", topic="windows")
        checked.statuses(at)

    story.go("grant", "second", START + 1, purposes=("sales", "salesman", "care"), channels=APP, exp=LATER)
    story.go("grant", "second", START + 2, purposes=("sales.july",), channels=APP, exp=LATER)
    story.go("grant", "second", START + 3, purposes=("care",), channels=APP, exp=LATER)
    story.go("remember", "second", START + 4, key="interested", topic="blinds")
    look()
    story.go("remember", "first", START + 10, key="no_interest", topic="blinds")
    story.go("milestone", "first", START + 11, kind="serviced", topic="doors", when=since)
    look()
    story.go("remember", "second", START + 12, key="no_interest", topic="blinds")
    look()
    story.go("milestone", "second", START + 13, kind="installed", topic="windows.roof", when=since - 10, lasts=(START + 2 * HOUR) // 1000)
    for at in (now, START + 2 * HOUR - 1, START + 2 * HOUR):
        look(at)
    story.go("remember", "second", START + 14, key="interested", topic="windows", iat=since - 11)
    look()
    story.go("remember", "second", START + 15, key="interested", topic="windows", iat=since - 10)
    look()
    story.go("milestone", "first", START + 16, kind="bought", topic="windows", when=since + 1)
    look()
    # Neither another thing that is remembered, nor an interest in nothing, says that it is wanted again.
    story.go("remember", "second", START + 17, key="paper", topic="windows", iat=since + 2)
    story.go("remember", "second", START + 18, key="interested", iat=since + 2)
    look()
    for number, iat in enumerate((since, since + 1)):
        story.go("remember", "second", START + 19 + number, key="interested", topic="windows", iat=iat)
        look()
    story.go("milestone", "second", START + 21, kind="bought", topic="windows", when=since, iat=since + 3)
    for number, iat in enumerate((since + 2, since + 3)):
        story.go("remember", "second", START + 22 + number, key="interested", topic="windows", iat=iat)
        look()
    story.go("forget", "second", START + 24, key="no_interest", topic="blinds")
    look()
    return checked


def _room(name: str, offerer: Signer, accepter: Signer, most: int) -> Checked:
    """GATE-22: so many that rest on the agreement within thirty days since the other side's last message."""
    at = START + 40 * DAY
    sent = tuple(Delivery(at - MONTH + 1 + number * 6 * HOUR, ("renewal", "complaint", "note")[number % 3], "app") for number in range(most - 1))
    others = (Delivery(at - 2, "care", "app"), Delivery(at - 1, "safety", "app"))
    checked = _shop(name, offerer, accepter, first={"sent": (Delivery(at - MONTH, "complaint", "app"), *sent, *others)})
    story = checked.story
    checked.note(at - 1, "complaint")
    checked.note(at, "complaint")
    checked.note(at, "renewal", "post")
    story.go("contacted", "first", at + 1, channel="phone", purpose="complaint")
    for now in (at + 2, at + 6 * HOUR, at + 6 * HOUR + 1, at + 6 * HOUR + 2):
        checked.note(now, "complaint")
    checked.note(at + 3, "safety")
    checked.note(at + 3, "complaint", sender="second")
    for number, (kind, given) in enumerate((
        ("contacted", {"channel": "phone", "purpose": "complaint"}), ("message", {"purpose": "safety"}),
        ("remember", {"key": "name", "body": body("note", story.state.cid)}), ("message", {"purpose": "complaint"}),
    )):  # fmt: skip
        story.go(kind, "second", at + SECOND + number, **given)
        checked.note(at + MINUTE, "complaint")
    story.go("grant", "second", at + 2 * MINUTE, purposes=("complaint",), channels=APP, budget={"max": 1, "per": "day"}, exp=LATER)
    for number in range(most if most < 10 else 0):
        story.go("contacted", "first", at + 3 * MINUTE + number, channel="phone", purpose="renewal")
        checked.note(at + 4 * MINUTE, "complaint")
    if most < 10:
        story.go("message", "first", at + 4 * MINUTE, purpose="complaint")
        for now in (at + 5 * MINUTE, at + 4 * MINUTE + DAY - 1, at + 4 * MINUTE + DAY):
            checked.note(now, "complaint")
    return checked


def _answered() -> Checked:
    """GATE-22: room is given anew by a message of the other side in the app that is no exempt notice, and by nothing
    else. What needs a grant has nothing to do with it."""
    checked = _shop("what gives room anew")
    story, at = checked.story, START + HOUR
    story.go("grant", "second", START + 1, purposes=("care",), channels=APP, budget={"max": 1, "per": "month"}, exp=LATER)
    for number in range(5):
        story.go("contacted", "first", at + number, channel="phone", purpose=("complaint", "renewal")[number % 2])
    story.go("contacted", "first", at + 5, channel="phone", purpose="care")
    end = at + MONTH
    checked.ask("over_budget", at + 6, "complaint", ends_at=end)
    checked.ask("over_budget", at + 6, "care", ends_at=end + 5)
    for number, (kind, given) in enumerate((
        ("contacted", {"channel": "phone", "purpose": "complaint"}), ("message", {"purpose": "safety"}),
        ("remember", {"key": "name", "body": body("note", story.state.cid)}), ("milestone", {"kind": "serviced", "topic": "doors", "when": 0}),
    )):  # fmt: skip
        story.go(kind, "second", at + SECOND + number, **given)
        checked.ask("over_budget", at + MINUTE, "complaint", ends_at=end)
    story.go("message", "second", at + 2 * SECOND, purpose="renewal")
    checked.ask("by_agreement", at + MINUTE, "complaint")
    checked.ask("over_budget", at + MINUTE, "care", ends_at=end + 5)
    return checked


def _exempt() -> Checked:
    """GATE-6: six within thirty days, of which four may be other than safety."""
    at = START + 40 * DAY
    exempt = [Delivery(at - MONTH, "security", "app"), *(Delivery(at - 10 * DAY + it, ("legal_notice", "security")[it % 2], "app") for it in range(3))]
    checked = _shop("exempt limits", first={"sent": (*exempt, Delivery(at - 1, "care", "app"))})
    story = checked.story

    def look(*moments: int) -> None:
        for now in moments:
            for purpose in ("safety", "security", "legal_notice"):
                checked.note(now, purpose)

    look(at - 1, at)
    story.go("contacted", "first", at, channel="phone", purpose="security")
    look(at + 1, at + 20 * DAY - 1, at + 20 * DAY)
    for number in range(3):
        story.go("contacted", "first", at + 10 + number, channel="phone", purpose="safety")
        look(at + 20, at + 20 * DAY, at + 20 * DAY + 1, at + 20 * DAY + 2, at + MONTH)
    story.refuse(story.compose("message", "first", at + 30, purpose="safety"), at + 30, "beyond the limit")
    story.go("mute", "second", at + 40, until=(at + DAY) // 1000)
    look(at + MONTH - 1)
    return checked


def _offline() -> Checked:
    """GRANT-7: what stands in a status list while nobody can say offline whether a grant still serves."""
    end = START + DAY
    contests = (Contest(words("m"), "care.offer", "news", end // 1000), Contest(words("n"), "sales", "care", end // 1000 + 5))
    grants = ("care", "care.offer.july", "care.tips", "sales.july", "news", "gifts")
    checked = _shop("what is to be asked about", second=_against(*contests, grants=grants))
    checked.statuses(START + HOUR, end - 1, end, end + 4999, end + 5000)
    story = checked.story
    story.go("milestone", "first", START + 1, kind="bought", topic="windows", when=0, lasts=(end + HOUR) // 1000)
    checked.statuses(end + 6000, end + HOUR - 1, end + HOUR)
    story.go("milestone", "second", START + 2, kind="installed", topic="doors", when=0)
    checked.statuses(end + 2 * HOUR)
    story.go("grant", "second", START + 3, purposes=("gifts", "care.offer"), channels=APP, exp=LATER)
    checked.statuses(START + HOUR, end)
    return checked


def _holds() -> Checked:
    """Which of several verdicts is told: the private one, with the latest end, and none that would give one away."""
    contest = Contest(words("m"), "care", "sales", LATER)
    checked = _shop("holds together", second=_against(contest, grants=("sales",)))
    story, now = checked.story, START + 2 * HOUR
    story.go("grant", "second", START + 1, purposes=("care",), channels=APP, budget={"max": 1, "per": "day"}, exp=(now + 3000) // 1000)
    checked.note(now)
    story.go("contacted", "first", START + HOUR, channel="phone", purpose="care.tips")
    checked.note(now)
    checked.note(now, "care.x")
    hidden = story.go("mute", "second", START + HOUR + 1, purposes=("sales",))
    checked.note(now)
    story.go("mute_end", "second", START + HOUR + 2, mute=hidden.id, until=(now + 3000) // 1000)
    checked.note(now)
    story.go("mute", "second", START + HOUR + 3, purposes=("care",), until=(now + 2000) // 1000)
    checked.note(now)
    story.go("mute", "second", START + HOUR + 4, purposes=("sales",), until=(now + HOUR) // 1000)
    checked.note(now)
    story.go("mute", "second", START + HOUR + 5, purposes=("sales",))
    checked.note(now)
    story.go("unmute", "second", START + HOUR + 6)
    story.go("grant", "second", START + HOUR + 7, purposes=("care",), channels=APP, exp=LATER)
    checked.note(now)
    story.go("withdraw", "second", START + HOUR + 8, grant=words("grant", "sales"))
    story.go("grant", "second", START + HOUR + 9, purposes=("sales",), channels=APP, exp=(now + 1000) // 1000)
    checked.note(now)
    checked.statuses(now)
    return checked


def _recovering() -> Checked:
    """After a restore nobody comes through, contested or not; offline everything is to be asked about."""
    contest = Contest(words("m"), "care", "gifts", LATER)
    checked = _shop("a contest and a restore", second=_against(contest))
    checked.statuses(START + HOUR)
    checked.story.restore(START + DAY)
    for purpose in ("care", "news", "safety"):
        checked.note(START + DAY + 1, purpose)
    checked.statuses(START + DAY + 1)
    checked.story.confirm("first", START + DAY + 2)
    checked.statuses(START + DAY + 3)
    checked.story.confirm("second", START + DAY + 4)
    checked.note(START + DAY + 5)
    checked.statuses(START + DAY + 5)
    return checked


def _family() -> Checked:
    """A root is covered while two of its purposes are contested as the same thing: until the second last ends."""
    ends = [START // 1000 + hours * 3600 for hours in (1, 2, 3, 4)]
    contests = (
        Contest(words("a"), "care.offer", "sales", ends[1]), Contest(words("b"), "care.tips", "sales", ends[2]),
        Contest(words("c"), "care.offer", "sales", ends[0], "doors"), Contest(words("d"), "care.call", "gifts", ends[3]),
    )  # fmt: skip
    checked = _shop("until the second last", second=_against(*contests, grants=("care.visit", "care.tips.july", "car", "news")))
    for end in ends:
        checked.statuses(end * 1000 - 1, end * 1000)
        for now in (end * 1000 - 1, end * 1000):
            checked.note(now, "care.visit")
    return checked
