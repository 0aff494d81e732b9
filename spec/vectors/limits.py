"""Chains at their limits (CONN-14), at the borders of their times (CONN-7, CONN-8, FAV-4 to FAV-9), and what the fold
drops when (CONN-15)."""

from typing import Any

from comity.documents.acts import SignedAct
from comity.rules.next_act import compose_act
from comity.rules.state import Delivery, Grant, HeldMessage, Note, Milestone, Mute
from comity.crypto.keys import Signer, SigningKey
from story import (
    DAY,
    EVE,
    HOME_DID,
    HOUR,
    MIA,
    MINUTE,
    NOW,
    SECOND,
    SHOP,
    START,
    STATUS_URI,
    Story,
    begun,
    body,
    connected,
    pairwise,
    published,
    words,
)

LATER = (START + 300 * DAY) // 1000
APP = ("app",)


def stories() -> dict[str, Story]:
    """Each by its name."""
    return {
        "as many grants as there can be": _grants(),
        "as many mutes as there can be": _mutes(),
        "the scope of a mute is a set": _scopes(),
        "as many messages as can wait": _held(),
        "as many little things as there can be": _little(),
        "as many milestones as there can be": _milestones(),
        "as many deliveries as count": _deliveries(),
        "as many exempt deliveries as are kept": _exempt(),
        "more names than are kept": _names(),
        "two people with new names": _renamed(),
        "ten minutes": _clocks(),
        "ends that are now": _ends(),
        "ends that are far, and milestones to come": _slips(),
        "words at the door": _words(),
        "asks to the day": _asks(),
        "promises": _promises(),
        "six asks": _six_asks(),
        "asks that the other side's setting leaves": _asks_left(),
        "the end of a connection, and what was asked": _revoked(),
        "grants end": _expiry(),
        "what waits for more than one end": _due(),
        "a mute that is over before a delivery": _over(),
        "a mute that is over before what waits": _over_first(),
        "a mute that is over, and what is no delivery": _over_for_others(),
        "whose act it is, and in which place": _places(),
        "room for words, favours and exempt notices": _spent(),
        "a delivery thirty days ago": _month(),
        "what is owed after the end": _owed(),
        "what was done for each other": _balance(),
    }


def _grants() -> Story:
    story, at = connected(), START + SECOND
    each = [
        Grant(words("grant", str(it)), ("care",), APP, (START + HOUR) // 1000 if it < 2 else LATER, it, STATUS_URI)
        for it in range(31)
    ]
    begun(story, second={"grants": tuple(each)})
    last = story.go("grant", "second", at, purposes=("care",))
    grants = story.state.second.grants
    now, late = at + MINUTE, START + HOUR
    more = story.compose("grant", "second", now, purposes=("care",))
    story.refuse(more, now, "the thirty-third")
    more = story.compose("grant", "second", late - 1, purposes=("care",))
    story.refuse(more, late - 1, "the thirty-third, a millisecond before two end")
    gone = story.compose("grant", "second", late, purposes=("care",), replaces=grants[0].id)
    story.refuse(gone, late, "in place of one that has just ended")
    foreign = story.compose("grant", "second", now, purposes=("care",), replaces=words("g"))
    story.refuse(foreign, now, "in place of none of one's own")
    story.go("grant", "second", now + 1, purposes=("sales",), replaces=grants[5].id)
    story.go("grant", "second", late, purposes=("care",))
    story.go("withdraw", "second", late + 1, grant=last.id)
    story.refuse(story.compose("withdraw", "second", late + 2, grant=last.id), late + 2, "withdrawn already")
    story.refuse(story.compose("withdraw", "first", late + 2, grant=grants[30].id), late + 2, "the other side's")
    return story


def _expiry() -> Story:
    """A grant past its end stays until the next grant of its side, and can be withdrawn until then."""
    story, at = connected(), START + SECOND
    grants = [
        story.go("grant", "second", at + number, purposes=("care",), exp=(START + HOUR) // 1000) for number in range(3)
    ]
    over = START + HOUR
    story.go("mute", "second", over)
    story.go("withdraw", "second", over + 1, grant=grants[1].id)
    story.go("grant", "first", over + 2, purposes=("care",))
    story.go("grant", "second", over + 3, purposes=("care",))
    return story


def _mutes() -> Story:
    story, at = connected(), START + SECOND
    over = START + HOUR
    each = [Mute(words("mute", str(it)), (f"p{it}",), (), over // 1000 if it == 3 else None) for it in range(31)]
    begun(story, second={"mutes": tuple(each)})
    story.go("mute", "second", at, purposes=("p31",))
    mutes = story.state.second.mutes
    now = at + MINUTE
    more = story.compose("mute", "second", now, channels=("email",))
    story.refuse(more, now, "the thirty-third")
    story.refuse(more, over - 1, "the thirty-third, a millisecond before one ends")
    story.go("mute", "second", now, purposes=("p7",))
    story.refuse(story.compose("unmute", "second", now + 1, mute=mutes[7].id), now + 1, "one that gave way")
    story.refuse(story.compose("unmute", "first", now + 1, mute=mutes[8].id), now + 1, "the other side's")
    story.refuse(story.compose("unmute", "second", over, mute=mutes[3].id), over, "one whose end is now")
    everything = story.go("mute", "second", now + 2)
    story.go("unmute", "second", now + 3, mute=everything.id)
    story.go("unmute", "second", now + 4, mute=mutes[3].id)
    story.go("mute", "second", now + 5, purposes=("p3",), until=(START + HOUR) // 1000)
    story.go("mute", "second", over, channels=("email",))
    story.go("unmute", "second", over + 1)
    story.refuse(story.compose("unmute", "second", over + 2), over + 2, "none is left")
    return story


def _scopes() -> Story:
    story, at = connected(), START + SECOND
    story.go("mute", "second", at, purposes=("care", "sales"), channels=("app", "email"))
    story.go("mute", "second", at + 1, channels=("email", "app"), purposes=("sales", "care"))
    story.go("mute", "second", at + 2, purposes=("care", "sales"))
    story.go("mute", "second", at + 3, channels=("app", "email"))
    story.go("mute", "second", at + 4, purposes=("care",), until=(START + HOUR) // 1000)
    story.go("mute", "second", at + 5, until=(START + HOUR) // 1000)
    story.go("mute", "second", at + 6)
    story.go("mute", "second", START + HOUR, channels=("post",))
    return story


def _held() -> Story:
    at, exp = START + SECOND, (START + 3 * DAY) // 1000
    each = [HeldMessage(words("held", str(it)), "care", exp, f"t{it}") for it in range(19)]
    grant = Grant(words("grant"), ("care", "sales"), APP, LATER, 7, STATUS_URI)
    shut = {"grants": (grant,), "mutes": (Mute(words("mute"), until=LATER),)}
    story, now = begun(connected(), first={"held": tuple(each)}, second=shut), at + MINUTE
    story.go("message", "first", now - 1, purpose="care")
    for name, given in {
        "the twenty-first": {"purpose": "care"},
        "the twenty-first, about something else": {"purpose": "care", "topic": "t20"},
        "the twenty-first, for another purpose": {"purpose": "sales", "topic": "t3"},
    }.items():
        story.refuse(story.compose("message", "first", now, **given), now, name)
    story.go("message", "first", now, purpose="care", topic="t3")
    story.go("message", "first", now + 1, purpose="care", if_muted="drop", topic="t4")
    wait = story.compose("message", "first", now + 2, purpose="care", if_muted="fail", topic="t4")
    story.refuse(wait, now + 2, "or not at all")
    story.release(now + HOUR)
    story.go("unmute", "second", now + HOUR + 1)
    story.release(now + HOUR + 2)
    about = {"message": words("held", "0"), "purpose": "care", "had": "t0", "says": "useful"}
    story.name("of which nobody here saw the acceptance", story.compose("feedback", "second", now + HOUR, **about), now + HOUR + 999)
    return story


def _little() -> Story:
    things = [Note(f"k{number}", words("little", str(number)), NOW) for number in range(62)]
    things.append(Note("no_interest", words("little", "62"), NOW, "blinds"))
    story, at = begun(connected(), second={"little": tuple(things)}), START + SECOND
    story.go("remember", "second", at, key="no_interest", topic="doors")
    for name, given in {
        "the sixty-fifth": {"key": "k64"},
        "the sixty-fifth, about another topic": {"key": "no_interest", "topic": "windows"},
        "the sixty-fifth, about a topic": {"key": "k3", "topic": "blinds"},
    }.items():
        story.refuse(story.compose("remember", "second", at + 1, **given), at + 1, name)
    story.go("remember", "second", at + 1, key="k3")
    story.go("remember", "second", at + 2, key="no_interest", topic="blinds")
    story.refuse(story.compose("forget", "second", at + 3, key="no_interest"), at + 3, "a topic is part of the name")
    story.refuse(story.compose("forget", "second", at + 3, key="k3", topic="blinds"), at + 3, "a topic too many")
    story.refuse(story.compose("forget", "first", at + 3, key="k3"), at + 3, "the other side's")
    story.go("forget", "second", at + 3, key="no_interest", topic="doors")
    story.go("remember", "second", at + 4, key="k64")
    story.refuse(story.compose("remember", "second", at + 5, key="k65"), at + 5, "full again")
    return story


def _milestones() -> Story:
    had = [Milestone("serviced", "windows", START // 1000, words("milestone", str(number)), NOW) for number in range(199)]
    story, at = begun(connected(), first={"milestones": tuple(had)}), START + SECOND
    given = {"kind": "bought", "topic": "windows", "when": START // 1000}
    story.go("milestone", "first", at, lasts=LATER, **given)
    story.refuse(story.compose("milestone", "first", at + 1, **given), at + 1, "the two hundred and first")
    story.go("milestone", "second", at + 1, **given)
    return story


def _many(count: int, first: int, purpose: str = "care") -> tuple[Delivery, ...]:
    return tuple(Delivery(first + number * MINUTE, purpose, "email") for number in range(count))


def _deliveries() -> Story:
    """999 within thirty days, and one that is thirty days old to the millisecond at the first act."""
    month, at = 30 * DAY, START + 31 * DAY
    sent = (Delivery(at - month, "care", "post"), *_many(999, at - 20 * DAY))
    story = begun(connected(), first={"sent": sent})
    story.go("grant", "second", at - HOUR, purposes=("care",))
    story.go("contacted", "first", at, channel="phone", purpose="care")
    story.refuse(
        story.compose("message", "first", at + 1, purpose="care", if_muted="fail"), at + 1, "a thousand and one"
    )
    story.go("contacted", "first", at + 1, channel="phone", purpose="care.visit", topic="windows")
    story.go("contacted", "first", at + 2, channel="visit", purpose="security")
    return story


def _exempt() -> Story:
    at = START + 31 * DAY
    sent = (Delivery(at - 29 * DAY, "care", "post"), *_many(999, at - 20 * DAY, "safety"))
    story = begun(connected(), first={"sent": sent})
    story.go("contacted", "first", at, channel="phone", purpose="legal_notice")
    story.go("contacted", "first", at + 1, channel="sms", purpose="safety")
    story.go("contacted", "first", at + 2, channel="sms", purpose="complaint")
    return story


def _names() -> Story:
    """A side's first name and the sixteen before its present one are known; what came to one between is not."""
    story, at = connected(), START + SECOND
    story.go("grant", "second", at, purposes=("care",))
    to_names = [_narrowing(story)]
    for number in range(18):
        story.rotate("second", pairwise(f"mia, name {number}"), at + (number + 1) * SECOND)
        to_names.append(_narrowing(story))
    now = at + MINUTE
    story.refuse(to_names[1], now, "to a name that is no longer kept")
    refused = story.compose("message", "first", now, purpose="complaint")
    old = compose_act("message", SHOP, **{**_own(refused), "aud": MIA.did})
    story.refuse(old, now, "a message to a former name")
    for number, name in ((0, "under the first key"), (2, "under the oldest key that is kept")):
        signer = MIA if number == 0 else pairwise(f"mia, name {number - 1}")
        story.refuse(_revoke(story, signer), now, name)
    story.refuse(_revoke(story, pairwise("mia, name 0")), now, "under a key that is no longer kept")
    story.send(to_names[2], now + 1)
    story.go("remember", "first", now + 2, key="name")
    grant = story.go("grant", "first", now + 3, purposes=("care",))
    for kind, given in (("mute", {"until": LATER}), ("withdraw", {"grant": grant.id}), ("forget", {"key": "name"})):
        last = story.compose(kind, "first", now + 4, **given)
        story.send(compose_act(kind, SHOP, **{**_own(last), "aud": MIA.did}), now + 4)
    last = story.compose("revoke", "first", now + 5)
    story.send(compose_act("revoke", SHOP, **{**_own(last), "aud": MIA.did}), now + 5)
    return story


def _renamed() -> Story:
    """A person who offered, and one who accepted, under new names: each side is known by either, and by no other."""
    story, at = connected(EVE, MIA), START + MINUTE
    story.rotate("first", pairwise("eve 2"), at)
    story.go("message", "first", at + 1, purpose="complaint")
    story.rotate("second", pairwise("mia 2"), at + 2)
    story.go("message", "second", at + 3, purpose="complaint")
    story.rotate("first", pairwise("eve 3"), at + 4)
    story.go("message", "first", at + 5, purpose="complaint")
    for signer in (EVE, pairwise("eve 2"), MIA):
        story.refuse(_revoke(story, signer), at + 6, "under a key that was replaced")
    story.refuse(_revoke(story, pairwise("stranger")), at + 6, "under a stranger's key")
    story.go("revoke", "first", at + 7)
    return story


def _narrowing(story: Story) -> SignedAct:
    """A mute by the shop to the name that Mia has now, as if it were the shop's first act."""
    return story.compose("mute", "first", START)


def _own(act: SignedAct) -> dict[str, Any]:
    """The members of an act, to be composed again."""
    return {name: value for name, value in act.payload.model_dump(exclude_none=True).items() if name != "act"}


def _revoke(story: Story, signer: Any) -> SignedAct:
    place = {"cid": story.state.cid, "seq": 0, "prev": story.state.cid}
    return compose_act("revoke", signer, iss=signer.did, aud=SHOP.did, iat=START // 1000, **place)


def _clocks() -> Story:
    """The signer's clock: ten minutes off and no more, and for a no whatever it says."""
    story, at = connected(), START + HOUR
    far = at // 1000 + 400 * 86_400
    for name, iat, now in (
        ("slow by ten minutes and a millisecond", at // 1000 - 600, at + 1),
        ("slow by ten minutes and a second", at // 1000 - 601, at),
        ("fast by ten minutes and a millisecond", at // 1000 + 600, at - 1),
        ("fast by ten minutes and a second", at // 1000 + 601, at),
    ):
        story.refuse(story.compose("remember", "second", at, key="slow", iat=iat), now, name)
    for kind, given in (
        ("unmute", {}),
        ("grant", {"purposes": ("care",)}),
        ("message", {"purpose": "complaint"}),
        ("contacted", {"channel": "phone", "purpose": "care"}),
        ("milestone", {"kind": "bought", "topic": "a", "when": 0}),
        ("hours", {"zone": "Europe/Berlin", "windows": (), "shown": "end"}),
        ("budget", {}),
        ("mailbox", {}),
    ):
        story.refuse(story.compose(kind, "second", at, iat=far, **given), at, f"{kind}: a clock far ahead")
    story.go("remember", "second", at, key="slow", iat=at // 1000 - 600)
    story.go("remember", "second", at + SECOND, key="fast", iat=at // 1000 + 601)
    grant = story.go("grant", "second", at + 2 * SECOND, purposes=("care",))
    story.go("withdraw", "second", at + 3 * SECOND, grant=grant.id, iat=0)
    story.go("forget", "second", at + 4 * SECOND, key="slow", iat=far)
    mute = story.go("mute", "second", at + 5 * SECOND, iat=0)
    story.go("mute_end", "second", at + 6 * SECOND, mute=mute.id, until=LATER, iat=far)
    theirs = story.go("grant", "first", at + 6 * SECOND + 1, purposes=("care",))
    story.go("renounce", "second", at + 6 * SECOND + 2, grants=(theirs.id,), because="told_us", iat=far)
    story.go("revoke", "second", at + 7 * SECOND, iat=far)
    return story


def _ends() -> Story:
    """An act whose own end has come says nothing: at that second it is refused, a millisecond before it is accepted."""
    story, end = connected(), START + HOUR
    until = end // 1000
    story.go("grant", "first", START + 1, purposes=("favour",), channels=APP)
    for kind, given in (
        ("grant", {"purposes": ("care",), "exp": until}),
        ("mute", {"until": until}),
        ("mute_end", {"mute": words("m"), "until": until}),
        ("message", {"purpose": "complaint", "exp": until}),
        ("ask", {"kind": "hold", "by": until}),
    ):
        act = story.compose(kind, "second", end, **given)
        story.refuse(act, end, f"{kind}: its end is now")
        story.refuse(act, end + 1, f"{kind}: its end is over")
        story.send(act, max(end - 10, story.state.at + 1))
    return story


def _slips() -> Story:
    """CONN-8: a grant of ten years and no longer; a milestone at most a day ahead, that does not end before it began."""
    story, at = connected(), START + HOUR
    second, years, day = at // 1000, 3653 * DAY // 1000, DAY // 1000
    grant = story.compose("grant", "second", at, purposes=("care",), exp=second + years)
    story.refuse(grant, at - 1, "grant: a millisecond more than ten years")
    story.send(grant, at)
    far = story.compose("grant", "second", at + SECOND, purposes=("care",), exp=second + years + 2)
    story.refuse(far, at + SECOND, "grant: a second more than ten years")
    stone = {"kind": "installed", "topic": "windows"}
    ahead = story.compose("milestone", "first", at + SECOND, when=second + day + 1, **stone)
    story.refuse(ahead, at + SECOND - 1, "milestone: more than a day ahead")
    story.send(ahead, at + SECOND)
    bent = story.compose("milestone", "first", at + MINUTE, when=second, lasts=second - 1, **stone)
    story.refuse(bent, at + MINUTE, "milestone: over before it happened")
    story.go("milestone", "first", at + MINUTE, when=second, lasts=second, **stone)
    return story


def _words() -> Story:
    """CONN-22: words in `remember` and `milestone` wait outside as a message would; silent facts do not."""
    story, at = connected(), START + HOUR
    stone = {"kind": "installed", "topic": "windows", "when": START // 1000}
    quiet = (("mute", {"channels": ("email",)}), ("mute", {"purposes": ("sales",)}))
    for number, (kind, given) in enumerate(quiet):
        story.go(kind, "first", at + number, **given)
    story.go("remember", "second", at + 2, key="name", body=body("Mia", story.state.cid))
    story.go("milestone", "second", at + 3, body=body("done", story.state.cid), **stone)
    stops: list[tuple[str, dict[str, Any], str]] = [
        ("mute", {}, "beside a mute of everything"),
        ("mute", {"purposes": ("note",)}, "beside a mute of notes"),
        ("mute", {"channels": ("app",), "until": (at + DAY) // 1000}, "beside a mute of the app"),
        ("budget", {"messages": {"max": 0, "per": "day"}}, "beside a limit of none"),
    ]
    for number, (kind, given, name) in enumerate(stops):
        now = at + (number + 1) * MINUTE
        story.go(kind, "first", now, **given)
        for act, own in (("remember", {"key": "nick"}), ("milestone", stone)):
            words_ = story.compose(act, "second", now + 1, body=body("words", story.state.cid), **own)
            story.refuse(words_, now + 1, f"{act}: words {name}")
        story.go("remember", "second", now + 2, key="nick")
        story.go("milestone", "second", now + 3, **stone)
        story.go("remember", "first", now + 4, key="nick", body=body("mine", story.state.cid))
        if kind == "mute":
            story.go("unmute", "first", now + 5, mute=story.state.first.mutes[-1].id)
        else:
            story.go("budget", "first", now + 5)
    return story


def _befriended() -> Story:
    """Both may ask favours of each other."""
    story = connected()
    for number, side in enumerate(("first", "second")):
        story.go("grant", side, START + number + 1, purposes=("favour",), channels=APP, exp=LATER + 400 * 86_400)  # type: ignore[arg-type]
    return story


def _asks() -> Story:
    """When an ask ends, and when one may ask again."""
    story, at = _befriended(), START + MINUTE
    ask = story.go("ask", "first", at, kind="review", by=(at + 40 * DAY) // 1000)
    story.refuse(story.compose("answer", "first", at + 1, ask=ask.id, answer="yes"), at + 1, "one's own ask")
    story.refuse(story.compose("answer", "second", at + 1, ask=words("a"), answer="yes"), at + 1, "no such ask")
    story.refuse(story.compose("thank", "first", at + 1, ask=ask.id), at + 1, "thanks for what was not done")
    lapse = at + 30 * DAY
    answer = story.compose("answer", "second", lapse, ask=ask.id, answer="no")
    story.refuse(answer, lapse, "an answer when it has just lapsed")
    story.refuse(story.compose("ask", "first", lapse - 1, kind="review"), lapse - 1, "open to the last millisecond")
    story.refuse(story.compose("ask", "first", lapse, kind="review"), lapse, "cooling from its lapse on")
    again = lapse + 7 * DAY
    story.refuse(story.compose("ask", "first", again - 1, kind="review"), again - 1, "a millisecond too soon")
    second = story.go("ask", "first", again, kind="review", by=(again + DAY) // 1000)
    story.go("answer", "second", again + DAY - 1, ask=second.id, answer="not_now")
    for kind in ("answer", "done"):
        given = {"ask": second.id, **({"answer": "yes"} if kind == "answer" else {})}
        story.refuse(story.compose(kind, "second", again + DAY, **given), again + DAY, f"{kind}: after not now")
    cool = again + DAY - 1 + 7 * DAY
    story.refuse(story.compose("ask", "first", cool - 1, kind="review"), cool - 1, "after not now: too soon")
    third = story.go("ask", "first", cool, kind="hold")
    story.go("answer", "second", cool + 1, ask=third.id, answer="no")
    story.refuse(story.compose("done", "second", cool + 2, ask=third.id), cool + 2, "done after a no")
    story.refuse(story.compose("answer", "second", cool + 2, ask=third.id, answer="yes"), cool + 2, "a second answer")
    story.refuse(story.compose("answer", "second", cool + 2, ask=second.id, answer="yes"), cool + 2, "an earlier ask")
    warm = cool + 1 + 30 * DAY
    story.refuse(story.compose("ask", "first", warm - 1, kind="hold"), warm - 1, "after a no: too soon")
    story.go("message", "first", warm - HOUR, purpose="security")
    story.refuse(story.compose("ask", "first", warm - 1, kind="renewal"), warm - 1, "cooling before the notice")
    noticed = story.state.first.noticed + DAY
    story.refuse(story.compose("ask", "first", noticed - 1, kind="renewal"), noticed - 1, "a day after the notice, almost")
    story.go("ask", "first", noticed, kind="renewal")
    return story


def _promises() -> Story:
    """A promise with a day named, one without, one broken and done late; favours go after a year."""
    story, at = _befriended(), START + MINUTE
    named = story.go("ask", "first", at, kind="hold", by=(at + 2 * DAY) // 1000)
    story.go("answer", "second", at + DAY, ask=named.id, answer="yes", body=body("gladly", story.state.cid))
    story.refuse(story.compose("answer", "second", at + DAY + 1, ask=named.id, answer="no"), at + DAY + 1, "promised")
    story.refuse(story.compose("ask", "first", at + DAY + 1, kind="hold"), at + DAY + 1, "a promise is open")
    broken = at // 1000 * 1000 + 2 * DAY
    story.refuse(story.compose("thank", "first", broken, ask=named.id), broken, "thanks for a broken promise")
    story.refuse(
        story.compose("answer", "second", broken, ask=named.id, answer="no"), broken, "an answer to a broken promise"
    )
    story.go("done", "second", broken + HOUR, ask=named.id)
    story.refuse(story.compose("done", "second", broken + HOUR + 1, ask=named.id), broken + HOUR + 1, "done twice")
    story.refuse(
        story.compose("answer", "second", broken + HOUR + 1, ask=named.id, answer="no"), broken + HOUR + 1, "done"
    )
    story.refuse(story.compose("thank", "second", broken + HOUR + 1, ask=named.id), broken + HOUR + 1, "the doer's thanks")
    story.go("thank", "first", broken + 2 * HOUR, ask=named.id, body=body("thanks", story.state.cid))
    for kind, side in (("thank", "first"), ("done", "second")):
        act = story.compose(kind, side, broken + 3 * HOUR, ask=named.id)  # type: ignore[arg-type]
        story.refuse(act, broken + 3 * HOUR, f"{kind}: thanked already")
    at = broken + DAY
    open_end = story.go("ask", "first", at, kind="hold")
    story.go("answer", "second", at + 29 * DAY, ask=open_end.id, answer="yes")
    still = at + 59 * DAY - 1
    story.refuse(story.compose("ask", "first", still, kind="hold"), still, "promised for thirty days from the yes")
    story.go("ask", "first", still + 1, kind="hold")
    year = story.state.second.favours[0] + 365 * DAY
    for number, moment in enumerate((year - 2 * DAY, year - DAY, year)):
        ask = story.go("ask", "first", moment - 40 * DAY + number * DAY if number == 0 else moment - HOUR, kind="hold")
        story.go("answer", "second", story.state.at + 1, ask=ask.id, answer="yes")
        story.go("done", "second", moment, ask=ask.id)
    return story


def _six_asks() -> Story:
    """Six asks within thirty days; the first of them falls out to the millisecond."""
    story, at = _befriended(), START + MINUTE
    for number in range(6):
        moment = at + number * 10 * MINUTE
        ask = story.go("ask", "second", moment, kind="hold")
        story.go("answer", "first", moment + 1, ask=ask.id, answer="yes")
        story.go("done", "first", moment + 2, ask=ask.id)
    free = at + 30 * DAY
    for kind in ("hold", "renewal"):
        story.refuse(story.compose("ask", "second", free - 1, kind=kind), free - 1, f"{kind}: the seventh")
    story.go("ask", "first", free - 1, kind="hold")
    story.go("ask", "second", free, kind="hold")
    return story


def _asks_left() -> Story:
    """The setting of the other side is private: what it refuses is "not now", and only after all else."""
    story, at = _befriended(), START + MINUTE
    story.go("budget", "first", at, asks={"max": 2, "per": "week"}, messages={"max": 5, "per": "day"})
    for number in range(2):
        ask = story.go("ask", "second", at + HOUR + number, kind="hold")
        story.go("answer", "first", at + HOUR + number + 10, ask=ask.id, answer="yes")
        story.go("done", "first", at + HOUR + number + 20, ask=ask.id)
    first = story.state.second.asked[0]
    free = first + 7 * DAY
    story.refuse(story.compose("ask", "second", free - 1, kind="hold"), free - 1, "the third within a week")
    story.go("ask", "first", free - 1, kind="hold")
    story.go("ask", "second", free, kind="hold")
    story.go("answer", "first", free + 1, ask=story.state.second.ask.id, answer="yes")
    story.go("done", "first", free + 2, ask=story.state.second.ask.id)
    story.go("budget", "first", free + 3, asks={"max": 0, "per": "day"})
    story.refuse(story.compose("ask", "second", free + 2 * DAY, kind="hold"), free + 2 * DAY, "none at all")
    story.go("budget", "first", free + 4)
    story.go("hours", "first", free + 5, zone="Europe/Berlin", shown="end", windows=({"days": ("su",), "start": "01:00", "end": "02:00"},))
    story.refuse(story.compose("ask", "second", free + 2 * DAY, kind="hold"), free + 2 * DAY, "outside hours")
    story.go("hours", "first", free + 6, zone="Europe/Berlin", shown="end", windows=())
    story.go("mute", "first", free + 7, purposes=("favour",), until=(free + 9 * DAY) // 1000)
    story.refuse(story.compose("ask", "second", free + 2 * DAY, kind="hold"), free + 2 * DAY, "beside a mute of favours")
    story.go("ask", "second", free + 2 * DAY, kind="renewal")
    return story


def _revoked() -> Story:
    """CONN-16: grants, mutes, little things, what waits and the open ask go on both sides; what happened stays."""
    story, at = _befriended(), START + MINUTE
    for side, number in (("first", 0), ("second", 1)):
        base = at + number * MINUTE
        story.go("remember", side, base, key="paper")  # type: ignore[arg-type]
        story.go("milestone", side, base + 1, kind="bought", topic="windows", when=0)  # type: ignore[arg-type]
        story.go("message", side, base + 2, purpose="complaint")  # type: ignore[arg-type]
        story.go("ask", side, base + 3, kind="hold")  # type: ignore[arg-type]
    story.go("answer", "first", at + 2 * MINUTE, ask=story.state.second.ask.id, answer="no")
    for number, side in enumerate(("first", "second")):
        story.go("mute", side, at + 3 * MINUTE + number)  # type: ignore[arg-type]
    for number, side in enumerate(("first", "second")):
        story.go("message", side, at + 4 * MINUTE + number, purpose="complaint")  # type: ignore[arg-type]
    story.go("revoke", "first", at + 5 * MINUTE)
    now = at + 6 * MINUTE
    for kind, side, given in (
        ("grant", "second", {"purposes": ("care",)}),
        ("answer", "second", {"ask": words("a"), "answer": "yes"}),
        ("revoke", "second", {}),
        ("revoke", "first", {}),
        ("rotate", "second", {"kid": MIA.kid}),
        ("mute_end", "second", {"mute": words("m"), "until": LATER}),
        ("hours", "second", {"zone": "Europe/Berlin", "windows": (), "shown": "end"}),
    ):
        if kind != "rotate":
            story.refuse(story.compose(kind, side, now, **given), now, f"{kind} after the end")  # type: ignore[arg-type]
    return story




def _due() -> Story:
    """A held message is looked at again when what holds it ends, when the last grant that it rests on does, and when it
    is over itself (CONN-12)."""
    story, at = connected(), START + MINUTE
    ends = [(START + hours * HOUR) // 1000 for hours in (2, 3, 5, 8)]
    for number, (purposes, channels) in enumerate(((("care",), APP), (("care.tips",), APP), (("care",), ("email",)), (("sales",), APP))):
        story.go("grant", "second", START + 1 + number, purposes=purposes, channels=channels, exp=ends[number])
    # What rests on the agreement rests on no grant, though there is one.
    story.go("grant", "second", START + 9, purposes=("complaint",), channels=APP, exp=ends[0] - 3600)
    story.release(at - 1, even_if_nothing_waits=True)
    hidden = story.go("mute", "second", at)
    story.go("message", "first", at + 1, purpose="care.tips")
    now = story.compose("message", "first", at + 2, purpose="care.tips", if_muted="fail")
    story.refuse(now, at + 2, "not now, for who knows how long")
    story.release(at + 2)
    story.go("renounce", "first", at + 2, grants=(story.state.second.grants[1].id,), because="not_needed")
    story.release(at + 3)
    story.go("message", "second", at + 3, purpose="complaint")
    story.go("mute", "first", at + 4, until=ends[3])
    story.go("message", "second", at + 5, purpose="complaint", exp=ends[3] + 60)
    story.release(at + 6)
    story.go("message", "first", at + 7, purpose="complaint", exp=(START + 20 * HOUR) // 1000)
    story.release(at + 8)
    story.go("mute_end", "second", at + 9, mute=hidden.id, until=(START + 90 * MINUTE) // 1000)
    story.release(at + 10)
    for moment in (START + 90 * MINUTE - 1, START + 90 * MINUTE, START + 4 * HOUR, START + 9 * HOUR):
        story.release(moment)
    return story


def _over() -> Story:
    """AUD-1: a delivery that relies on the end of a mute of everything is preceded by the statement that it is over."""
    story, at = connected(), START + MINUTE
    story.go("grant", "second", START + 1, purposes=("care",), channels=APP)
    hidden = story.go("mute", "second", at)
    end = START + HOUR
    story.go("mute_end", "second", at + 1, mute=hidden.id, until=end // 1000 + 60)
    story.go("mute_end", "second", at + 2, mute=hidden.id, until=end // 1000)
    story.go("message", "first", end - 1, purpose="care", exp=(end + DAY) // 1000)
    story.go("message", "first", end, purpose="safety")
    story.go("remember", "first", end + MINUTE, key="paper")
    story.go("message", "second", end + MINUTE + 1, purpose="complaint")
    story.go("message", "first", end + MINUTE + 2, purpose="care")
    story.go("mute", "second", end + HOUR, until=(end + 2 * HOUR) // 1000)
    story.go("mute", "second", end + HOUR + 1, purposes=("care",), until=(end + 3 * HOUR) // 1000)
    story.go("message", "first", end + 2 * HOUR, purpose="care", if_muted="drop")
    story.go("message", "first", end + 2 * HOUR + MINUTE, purpose="complaint")
    story.go("mute", "first", end + 4 * HOUR, until=(end + 5 * HOUR) // 1000)
    story.go("mute", "second", end + 4 * HOUR + 1)
    story.go("unmute", "second", end + 4 * HOUR + 2)
    story.go("message", "first", end + 4 * HOUR + 3, purpose="care")
    story.go("message", "second", end + 5 * HOUR, purpose="complaint")
    whole = story.go("mute", "second", end + 5 * HOUR + MINUTE, until=(end + 5 * HOUR + 30 * MINUTE) // 1000)
    story.go("unmute", "second", end + 5 * HOUR + 2 * MINUTE, mute=whole.id)
    story.go("message", "first", end + 5 * HOUR + 40 * MINUTE, purpose="care")
    for number, scope in enumerate(({"purposes": ("sales",)}, {"channels": ("email",)})):
        moment = end + (6 + 2 * number) * HOUR
        story.go("mute", "second", moment, until=(moment + HOUR) // 1000)
        part = story.go("mute", "second", moment + 1, **scope)
        story.go("unmute", "second", moment + 2, mute=part.id)
        story.go("message", "first", moment + HOUR, purpose="care")
    return story


def _over_for_others() -> Story:
    """Only a delivery relies on a mute being over: what is no message is accepted without that being stated."""
    story, end = connected(), START + HOUR
    for side in ("first", "second"):
        story.go("grant", side, START + 1 + (side == "second"), purposes=("favour", "care"), channels=APP)  # type: ignore[arg-type]
    story.go("mute", "second", START + MINUTE, until=end // 1000)
    for number, (kind, given) in enumerate((
        ("contacted", {"channel": "phone", "purpose": "care"}), ("remember", {"key": "name", "body": body("name", story.state.cid)}),
        ("ask", {"kind": "hold"}), ("mute", {"purposes": ("sales",)}), ("budget", {}),
    )):  # fmt: skip
        story.go(kind, "first", end + number, **given)
    story.go("message", "first", end + MINUTE, purpose="care")
    return story


def _over_first() -> Story:
    """The same for messages that waited: one that is delivered, one that waits on, one that expires."""
    story, at, end = connected(), START + MINUTE, START + HOUR
    story.go("grant", "second", START + 1, purposes=("care", "sales"), channels=APP)
    story.go("mute", "second", at, purposes=("sales",), until=(end + HOUR) // 1000)
    story.go("mute", "second", at + 1, until=end // 1000)
    for number, (purpose, exp) in enumerate((("sales", end + DAY), ("care", end), ("care", end + DAY), ("complaint", end + DAY))):
        story.go("message", "first", at + 2 + number, purpose=purpose, exp=exp // 1000)
    for moment in (end - 1, end, end + 5, end + HOUR, end + HOUR + 1):
        story.release(moment)
    return story


def _places() -> Story:
    """CONN-2, 1 to 6: of a party, to the other, under its key, in its place."""
    story, at = connected(), START + MINUTE
    elsewhere = connected(SHOP, pairwise("stranger"))
    foreign = elsewhere.compose("remember", "first", at, key="paper")
    story.refuse(foreign, at, "an act of the shop in another connection")
    mine = story.compose("remember", "first", at, key="paper")
    second = published(SHOP.did, "key-9")
    other_key = Signer(SHOP.kid, SigningKey(bytes(32)))
    for name, signer in (("under another name of its key", Signer(f"{SHOP.did}#key-8", SHOP.key)), ("under another of its keys", second), ("under another key of the same name", other_key)):
        act = compose_act("remember", signer, **_own(mine))
        story.refuse(act, at, name)
        story.refusals[-1]["keys"] = {signer.kid: signer.key.public.multibase}
    for name, members in (
        ("to a stranger", {"aud": EVE.did}), ("to itself", {"aud": SHOP.did}), ("to the home server", {"aud": HOME_DID}),
        ("a place too far", {"seq": 1}), ("after another head", {"prev": words("head")}),
    ):  # fmt: skip
        story.refuse(compose_act("remember", SHOP, **{**_own(mine), **members}), at, name)
    setting = story.compose("hours", "second", at, zone="Europe/Berlin", windows=(), shown="end")
    for name, members in (
        ("hours: to the other side", {"aud": SHOP.did}), ("hours: a place too far", {"seq": 1}),
        ("hours: after another head", {"prev": words("head")}), ("hours: of a zone that is none", {"zone": "Mars/Olympus_Mons"}),
    ):  # fmt: skip
        story.refuse(compose_act("hours", MIA, **{**_own(setting), **members}), at, name)
    story.send(mine, at)
    story.send(setting, at + 1)
    for act in (mine, setting):
        again = compose_act(act.kind, SHOP if act is mine else MIA, **{**_own(act), "iat": at // 1000 + 1})
        story.refuse(again, at + 2, f"{act.kind}: a place that is taken")
    behind = story.compose("remember", "first", at + 3, key="paper")
    story.refuse(compose_act("remember", SHOP, **{**_own(behind), "prev": story.state.cid}), at + 3, "after the beginning")
    return story


def _spent() -> Story:
    """What the limits of exempt notices, of words beside messages and of a favour's grant refuse, and until when."""
    story, at = connected(), START + MINUTE
    for number in range(4):
        story.go("message", "first", at + number, purpose="security")
    notice = at + HOUR
    for moment in (notice, notice + 1, at + 30 * DAY - 1):
        story.refuse(story.compose("message", "first", moment, purpose="legal_notice"), moment, "one exempt notice too many")
    late = story.compose("message", "first", notice, purpose="safety", if_muted="fail")
    story.send(late, notice)
    stone = {"kind": "bought", "topic": "windows", "when": 0}
    for number in range(5):
        story.go("remember", "first", notice + 1 + number, key=f"k{number}", body=body("words", story.state.cid))
    after = notice + MINUTE
    for kind, given in (("remember", {"key": "more"}), ("milestone", stone)):
        act = story.compose(kind, "first", after, body=body("words", story.state.cid), **given)
        story.refuse(act, after, f"{kind}: words without room")
        story.go(kind, "first", after + 1, **given)
    story.go("grant", "first", after + 2, purposes=("favour",), channels=APP, budget={"max": 1, "per": "day"})
    story.go("contacted", "second", after + 3, channel="phone", purpose="favour")
    ask = story.compose("ask", "second", after + 4, kind="hold")
    story.refuse(ask, after + 4, "a favour over the budget of its grant")
    story.go("budget", "first", after + 4, asks={"max": 0, "per": "day"})
    story.refuse(ask, after + 5, "the same, and no ask is left besides")
    story.go("grant", "second", after + 6, purposes=("sales",), channels=APP, budget={"max": 1, "per": "day"})
    story.go("message", "first", after + 7, purpose="sales", topic="doors")
    for if_muted in ("fail", "drop", "hold"):
        act = story.compose("message", "first", after + 8, purpose="sales", topic="doors", if_muted=if_muted)
        if if_muted == "fail":
            story.refuse(act, after + 8, "over the budget, or not at all")
        else:
            story.send(act, after + 8)
    bare = story.compose("message", "first", after + 20, purpose="sales")
    story.refuse(bare, after + 20, "a sale about nothing, to somebody who has something")
    return story


def _month() -> Story:
    """What is thirty days old goes at the next delivery, and nothing that is a millisecond younger."""
    at = START + 31 * DAY
    sent = tuple(Delivery(at - 30 * DAY + number, "care", "post") for number in range(-1, 2))
    story = begun(connected(), first={"sent": sent})
    story.go("contacted", "first", at, channel="phone", purpose="care")
    return story


def _owed() -> Story:
    """ERA-6: a public side states within thirty days of the end what became of the data; a person owes nothing."""
    story = connected(SHOP, published("did:web:other.example"))
    story.look(START + MINUTE)
    story.go("revoke", "second", START + HOUR)
    due = story.state.at + 30 * DAY
    story.look(START + 2 * HOUR, due, due + 1)
    story.go("erasure", "second", due, deleted=("contact",), kept=({"what": "payments", "ground": "legal_claims"},))
    story.go("erasure", "first", due + 1, deleted=("contact",))
    story.look(due + 2)
    story.go("erasure", "second", due + DAY, deleted=())
    story.look(due + 2 * DAY)
    return story


def _balance() -> Story:
    """FAV-9: favours that each did for the other within a year, to the millisecond."""
    story, at = _befriended(), START + MINUTE
    for number, (asker, doer) in enumerate((("first", "second"), ("second", "first"), ("first", "second"))):
        moment = at + number * HOUR
        ask = story.go("ask", asker, moment, kind="hold")  # type: ignore[arg-type]
        story.go("answer", doer, moment + 1, ask=ask.id, answer="yes")  # type: ignore[arg-type]
        story.go("done", doer, moment + 2, ask=ask.id)  # type: ignore[arg-type]
    year = at + 2 + 365 * DAY
    story.look(at + DAY, year - 1, year, year + HOUR - 1, year + HOUR, year + 2 * HOUR)
    later = year - HOUR
    ask = story.go("ask", "first", later, kind="hold")
    story.go("answer", "second", later + 1, ask=ask.id, answer="yes")
    story.go("done", "second", later + 2, ask=ask.id)
    story.look(later + 3)
    return story
