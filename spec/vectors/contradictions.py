"""Records that cannot follow (CONN-18): whoever is shown one holds a contradiction of the home server."""

import json
from typing import Any

from comity.documents.acts import SignedAct, open_act
from comity.rules.next_act import compose_act
from comity.rules.decide import decide
from comity.documents.events import (
    Contents,
    Delivered,
    Event,
    Expired,
    MuteOver,
    Opened,
    erased_hash,
    open_event,
    sign_event,
)
from comity.rules.fold import contents_of, initial_state
from comity.crypto.keys import Signer
from comity.rules.state import public_state
from connecting import events
from story import (
    DAY,
    EVE,
    HOME,
    HOME_DID,
    HOUR,
    LOG,
    MIA,
    MINUTE,
    SECOND,
    SHOP,
    START,
    ZONES,
    Story,
    connected,
    finder,
    forge,

    key,
    payload_of,
    published,
    as_of,
    statement,
    words,
)

OTHER_HOME = published("did:web:elsewhere.example", "home-1")
LATER = (START + 300 * DAY) // 1000


def stories() -> dict[str, Story]:
    """Each by its name."""
    return {
        "records that cannot follow": _records(),
        "contents that are not the act's": _contents(),
        "messages that do not wait": _waiting(),
        "what answers no ask": _asks(),
        "out of place, before the end and after it": _around_the_end(),
        "after a restore": _after_a_restore(),
        "events that change nothing": _nothing(),
        "mutes that are not over": _not_over(),
    }


def _records() -> Story:
    story, at = connected(), START + MINUTE
    story.go("mute", "second", at)
    story.go("budget", "second", at + 1)
    act = story.compose("remember", "second", at + SECOND, key="paper")
    setting = story.compose("budget", "second", at + SECOND)
    now = at + SECOND
    other = connected(accepter=EVE)
    story.contradict("another connection", statement(story, act, now, cid=other.state.cid), act)
    story.contradict("another home", statement(story, act, now, iss=OTHER_HOME.did), act, OTHER_HOME)
    story.contradict("opened again", Opened(iss=HOME_DID, cid=story.state.cid, event="opened", log=LOG, index=story.index, at=now))
    story.contradict("at the time of the record before it", statement(story, act, story.state.at), act)
    story.contradict("earlier than the record before it", statement(story, act, story.state.at - 1), act)
    for chain, it in (("act", act), ("setting", setting)):
        _out_of_place(story, chain, it, now)
    moved = _again(act, MIA, cid=other.state.cid)
    story.contradict("an act of another connection", statement(story, moved, now), moved)
    story.contradict("an event of the other side", statement(story, act, now, side="first"), act)
    for name, side in (("the first", "first"), ("the second", "second")):
        for head in (story.state.cid, words("head")):
            if head != as_of(story)[side]:
                wrong = {**as_of(story), side: head}
                told = "an earlier" if head == story.state.cid else "another"
                story.contradict(f"after {told} head of {name} side", statement(story, act, now, as_of=wrong), act)
    eve = _again(act, EVE, iss=EVE.did)
    story.contradict("under a stranger's key", statement(story, eve, now, side="second"), eve)
    shop = story.compose("remember", "first", now, key="paper")
    _under_another_key(story, shop, now)
    story.send(act, now)
    story.contradict("the same act a second time", statement(story, act, now + 1), act)
    return story


def _out_of_place(story: Story, chain: str, act: SignedAct, now: int) -> None:
    """Before its place, behind it, after another head, as another act or kind."""
    signer = MIA
    seq, head = act.payload.seq, act.payload.prev
    story.contradict(f"{chain}: not given", statement(story, act, now))
    for name, members in {
        "one left out": {"seq": seq + 1},
        "one too many": {"seq": seq - 1},
        "after another head": {"prev": words("head")},
        "after the connection's beginning": {"prev": story.state.cid},
    }.items():
        other = _again(act, signer, **{"prev": head, **members})
        story.contradict(f"{chain}: {name}", statement(story, other, now), other)
    for name, members in {
        "of another id": {"act": words("act")},
        "at another place": {"seq": seq + 1},
        "at another place of the event alone": {"seq": seq - 1},
        "of another kind": {"kind": "unmute" if chain == "act" else "mailbox"},
        "in the other chain": {"chain": "settings" if chain == "act" else "acts"},
    }.items():
        story.contradict(f"{chain}: an event {name}", statement(story, act, now, **members), act)


def _again(act: SignedAct, signer: Signer, **changes: Any) -> SignedAct:
    """The act with other members."""
    members = {**act.payload.model_dump(exclude_none=True), **changes}
    return compose_act(members.pop("act"), signer, **members)


def _under_another_key(story: Story, act: SignedAct, now: int) -> None:
    """The shop's published name for a key, and another key."""
    raw = forge(payload_of(act.raw), "comity-act+jwt", Signer(SHOP.kid, key("eve")))
    other = open_act(raw, {SHOP.kid: key("eve").public}.get)
    story.contradict("under another key of the same name", statement(story, other, now), other)
    story.contradictions[-1]["keys"] = {SHOP.kid: key("eve").public.multibase}
    same = Signer(f"{SHOP.did}#key-8", SHOP.key)
    other = open_act(forge(payload_of(act.raw), "comity-act+jwt", same), finder(same))
    story.contradict("under another name of the same key", statement(story, other, now), other)
    story.contradictions[-1]["keys"] = {same.kid: same.key.public.multibase}
    second = published(SHOP.did, "key-9")
    other = open_act(forge(payload_of(act.raw), "comity-act+jwt", second), finder(second))
    story.contradict("under another of its names", statement(story, other, now), other)
    story.contradictions[-1]["keys"] = {second.kid: second.key.public.multibase}


def _contents() -> Story:
    """A sale that is recorded as a safety notice would count against nothing."""
    story, at = connected(), START + MINUTE
    story.go("grant", "second", at, purposes=("sales",), channels=("app",))
    now = at + SECOND
    message = story.compose("message", "first", now, purpose="sales", topic="windows")
    told = {"purpose": "sales", "channel": "app", "topic": "windows", "exp": message.payload.exp}
    given: dict[str, Any] = {"outcome": "delivered"}
    for name, changes in {
        "another purpose": {"purpose": "safety"},
        "a wider purpose": {"purpose": "sales.windows"},
        "another channel": {"channel": "email"},
        "another topic": {"topic": "doors"},
        "no topic": {"topic": None},
        "another end": {"exp": message.payload.exp + 1},
        "no end": {"exp": None},
    }.items():
        contents = Contents.model_validate({k: v for k, v in {**told, **changes}.items() if v is not None})
        story.contradict(name, statement(story, message, now, contents=contents, **given), message)
    whole = Contents.model_validate(told)
    story.contradict("nothing said of what it was for", statement(story, message, now, **given), message)
    story.contradict("nothing said of it, and no message", statement(story, message, now, **given))
    story.contradict("no outcome", statement(story, message, now, contents=whole), message)
    no_end = Contents.model_validate({k: v for k, v in told.items() if k != "exp"})
    story.contradict("held without an end, and no message", statement(story, message, now, contents=no_end, outcome="held"))
    mute = story.compose("mute", "first", now)
    story.contradict("contents of a mute", statement(story, mute, now, contents=whole), mute)
    called = story.compose("contacted", "first", now, channel="phone", purpose="sales")
    by_mail = Contents(purpose="sales", channel="email")
    story.contradict("a call that is recorded as a letter", statement(story, called, now, contents=by_mail, verdict="no_grant"), called)
    story.contradict("a call without contents", statement(story, called, now, verdict="no_grant"), called)
    _said_elsewhere(story, message, called, mute, now)
    story.send(message, now)
    return story


def _said_elsewhere(story: Story, message: SignedAct, called: SignedAct, mute: SignedAct, now: int) -> None:
    """What an event says of an act stands where EVENT-3 wants it, and nowhere else."""
    of_message = contents_of(message.payload)
    of_call = contents_of(called.payload)
    assert of_message is not None
    assert of_call is not None
    for name, act, members in (
        ("a message with a verdict", message, {"contents": of_message, "outcome": "delivered", "verdict": "granted"}),
        ("a delivered message in place of another", message, {"contents": of_message, "outcome": "delivered", "replaces": words("x")}),
        ("a dropped message in place of another", message, {"contents": of_message, "outcome": "dropped", "replaces": words("x")}),
        ("a call without a verdict", called, {"contents": of_call}),
        ("a call with an outcome", called, {"contents": of_call, "verdict": "granted", "outcome": "delivered"}),
        ("a call in place of a message", called, {"contents": of_call, "verdict": "granted", "replaces": words("x")}),
        ("a mute with an outcome", mute, {"outcome": "held"}),
        ("a mute with a verdict", mute, {"verdict": "granted"}),
        ("a mute in place of a message", mute, {"replaces": words("x")}),
    ):
        story.contradict(name, statement(story, act, now, **members), act)
    dropped = {"outcome": "dropped", "contents": of_message.model_copy(update={"channel": "email"})}
    story.contradict("dropped by another channel than the app, and no message", statement(story, message, now, **dropped))
    dropped = {"outcome": "dropped", "contents": of_message.model_copy(update={"exp": None})}
    story.contradict("dropped without an end, and no message", statement(story, message, now, **dropped))


def _waiting() -> Story:
    story, at = connected(), START + MINUTE
    story.go("mute", "second", at)
    held = story.go("message", "first", at + 1, purpose="complaint", topic="windows")
    now = at + SECOND
    about: dict[str, Any] = {"iss": HOME_DID, "cid": story.state.cid, "act": held.id, "side": "first", "at": now}
    about["as_of"] = as_of(story)
    place = {"log": LOG, "index": story.index}
    for name, changes in {"another": {"act": words("act")}, "the other side's": {"side": "second"}}.items():
        for kind, event in _ends({**about, **changes}, place).items():
            story.contradict(f"{kind}: {name}", event)
    for kind, event in _ends({**about, "at": story.state.at}, place).items():
        story.contradict(f"{kind}: not later than the record before it", event)
    newer = story.compose("message", "first", now, purpose="complaint", topic="windows")
    outcome = decide(story.state, newer, now, ZONES)
    given = {"contents": outcome.contents, "outcome": "held"}
    story.contradict(
        "in place of one that does not wait", statement(story, newer, now, replaces=words("act"), **given), newer
    )
    story.go("unmute", "second", now)
    for kind, event in _ends({**about, "at": now + 1}, place).items():
        story.contradict(f"{kind}: as if nothing had been taken back", event)
    story.release(now + 1)
    for kind, event in _ends({**about, "at": now + SECOND, "as_of": as_of(story)}, place).items():
        story.contradict(f"{kind}: delivered already", event)
    return story


def _ends(about: dict[str, Any], place: dict[str, Any]) -> dict[str, Event]:
    return {
        "delivered": Delivered.model_validate({"event": "delivered", **about, **place}),
        "expired": Expired.model_validate({"event": "expired", **about, **place}),
    }


def _not_over() -> Story:
    """A mute of everything is over by its latest hidden end, or by the end that it shows, and once (AUD-1, AUD-2)."""
    story, at = connected(), START + MINUTE
    end, later = START + DAY, START + 2 * DAY
    story.go("grant", "second", at, purposes=("care",), channels=("app",))
    mute = story.compose("mute", "second", at + 1)
    first = story.go("mute_end", "second", at + 1, mute=mute.id, until=end // 1000)
    story.send(mute, at + 2)

    def over(moment: int, by: str, act: str = mute.id) -> MuteOver:
        about = {"iss": HOME_DID, "cid": story.state.cid, "event": "mute_over", "act": act, "by": by, "at": moment}
        return MuteOver.model_validate({**about, "log": LOG, "index": story.index})

    story.contradict("a millisecond before its end", over(end - 1, first.id))
    story.contradict("by the mute, which shows no end", over(end, mute.id))
    story.contradict("by a setting that there is not", over(end, words("setting")))
    story.contradict("a mute that there is not", over(end, first.id, words("mute")))
    part = story.go("mute", "second", at + 3, purposes=("sales",), until=end // 1000)
    story.contradict("a mute of a part", over(end, part.id, part.id))
    second = story.go("mute_end", "second", at + 4, mute=mute.id, until=later // 1000)
    story.contradict("by an end that was set anew", over(end, first.id))
    story.contradict("by an end that was set anew, after both", over(later, first.id))
    story.contradict("before the end that was set anew", over(later - 1, second.id))
    # What is exempt relies on no end, and what is delivered afterwards does.
    story.go("message", "first", later, purpose="safety")
    story.go("message", "first", later + MINUTE, purpose="care")
    story.contradict("over a second time", over(later + 2 * MINUTE, second.id))
    shown = story.go("mute", "second", later + 60 * MINUTE, until=(later + 120 * MINUTE) // 1000)
    story.contradict("before the end that it shows", over(later + 120 * MINUTE - 1, shown.id, shown.id))
    story.contradict("by another's hidden end", over(later + 120 * MINUTE, second.id, shown.id))
    # Her next mute drops it from the state (CONN-15), and it stands in the log all the same.
    story.go("mute", "second", later + 180 * MINUTE, channels=("email",))
    story.go("message", "first", later + 240 * MINUTE, purpose="care")
    third = story.go("mute", "second", later + 300 * MINUTE, until=(later + 360 * MINUTE) // 1000)
    story.go("unmute", "second", later + 300 * MINUTE + 1)
    story.contradict("after it was taken back", over(later + 420 * MINUTE, third.id, third.id))
    return story


def _asks() -> Story:
    story, at = connected(), START + MINUTE
    story.go("grant", "second", at, purposes=("favour",), channels=("app",))
    now = at + SECOND

    def none(name: str, ask: str) -> None:
        for kind, side, given in (
            ("answer", "second", {"answer": "yes"}),
            ("answer", "second", {"answer": "no"}),
            ("done", "second", {}),
            ("thank", "first", {}),
        ):
            act = story.compose(kind, side, now, ask=ask, **given)  # type: ignore[arg-type]
            story.contradict(f"{kind} {given.get('answer', '')}: {name}".replace(" :", ":"), statement(story, act, now), act)

    none("nothing was asked", words("a"))
    story.go("ask", "first", at + 1, kind="hold")
    none("another ask", words("a"))
    story.go("answer", "second", at + 2, ask=story.state.first.ask.id, answer="not_now")
    return story


def _around_the_end() -> Story:
    story, at = connected(), START + MINUTE
    held = _muted_message(story, at)
    early = story.compose("erasure", "first", at + SECOND, deleted=("contact",))
    story.contradict("an erasure before the end", statement(story, early, at + SECOND), early)
    revoke = compose_act("revoke", MIA, iss=MIA.did, aud=SHOP.did, iat=0, cid=story.state.cid, seq=0, prev=words("head"))
    story.send(revoke, at + MINUTE)
    now = at + 2 * MINUTE
    for kind, side, given in (
        ("mute", "first", {}),
        ("revoke", "first", {}),
        ("budget", "first", {}),
        ("forget", "second", {"key": "paper"}),
    ):
        act = story.compose(kind, side, now, **given)  # type: ignore[arg-type]
        story.contradict(f"{kind} after the end", statement(story, act, now), act)
    about: dict[str, Any] = {"iss": HOME_DID, "cid": story.state.cid, "act": held.id, "side": "first", "at": now}
    about["as_of"] = as_of(story)
    for kind, event in _ends(about, {"log": LOG, "index": story.index}).items():
        story.contradict(f"{kind} after the end", event)
    said = story.compose("erasure", "second", now, deleted=("contact",))
    again = _again(said, MIA, prev=story.state.cid)
    story.contradict("an erasure that passes over the revoke", statement(story, again, now), again)
    for side in ("first", "second"):
        wrong = {**as_of(story), side: words("head")}
        story.contradict(f"an erasure after another head of the {side} side", statement(story, said, now, as_of=wrong), said)
    gap = _again(said, MIA, seq=said.payload.seq + 1)
    story.contradict("an erasure behind a gap", statement(story, gap, now), gap)
    story.send(said, now)
    return story


def _muted_message(story: Story, at: int) -> SignedAct:
    story.go("mute", "second", at)
    return story.go("message", "first", at + 1, purpose="complaint", topic="windows")


def openings() -> list[dict[str, Any]]:
    """An agreement and the event that opens it: the state where it does, nothing where it is another's."""
    story = connected()
    own = Opened(iss=HOME_DID, cid=story.state.cid, event="opened", log=LOG, index=0, at=START)
    agreement = json.loads(story.agreement.raw)
    other = connected(accepter=EVE)
    return [
        {
            "name": "its own",
            "agreement": agreement,
            "event": sign_event(own, HOME),
            "state": public_state(initial_state(story.agreement, own)),
        },
        {
            "name": "another connection's",
            "agreement": agreement,
            "event": sign_event(own.model_copy(update={"cid": other.state.cid}), HOME),
        },
        {
            "name": "another home's",
            "agreement": agreement,
            "event": sign_event(own.model_copy(update={"iss": OTHER_HOME.did}), OTHER_HOME),
        },
    ]


def _after_a_restore() -> Story:
    """REC-7: what a restored server did not know of may come late; all else is held to the rules again."""
    story, at = connected(), START + MINUTE
    held = _muted_message(story, at)
    back = START + DAY
    about: dict[str, Any] = {"iss": HOME_DID, "cid": story.state.cid, "act": words("act"), "side": "first"}
    story.restore(back)
    other = {"first": words("head"), "second": words("head"), "zones": ZONES.version}
    ends = _ends({**about, "at": back + 1, "as_of": other}, {"log": LOG, "index": story.index})
    story.contradict("delivered after a restore: another message", ends["delivered"])
    story.state_event(ends["expired"])
    mute = story.compose("mute", "first", back + 2)
    story.keep_event(statement(story, mute, back + 2, as_of=other), mute)
    for number, side in enumerate(("first", "second")):
        story.confirm(side, back + 10 + number)  # type: ignore[arg-type]
    now = back + MINUTE
    early = story.compose("erasure", "first", now, deleted=("contact",))
    story.contradict("an erasure before the end, after a restore", statement(story, early, now), early)
    act = story.compose("remember", "second", now, key="paper")
    story.contradict("after other heads, once all have confirmed", statement(story, act, now, as_of=other), act)
    story.go("revoke", "second", now + SECOND)
    late = story.compose("mute", "first", now + 2 * SECOND)
    story.keep_event(statement(story, late, now + 2 * SECOND, as_of=other), late)
    setting = story.compose("budget", "first", now + 3 * SECOND)
    story.keep_event(statement(story, setting, now + 3 * SECOND), setting)
    story.go("erasure", "first", now + MINUTE, deleted=("contact",))
    assert held.kind == "message"
    return story


def _nothing() -> Story:
    """EVENT-8: these events move the time of the connection and nothing else."""
    story, at = connected(), START + MINUTE
    story.go("remember", "second", at, key="paper")
    given = {row["name"]: row["payload"] for row in events()["good"]}
    kinds = ("disclosed", "erasing", "erasing, by the operator", "erasing, taken back", "erasure_held", "erased")
    hashed = {"cid_hash": erased_hash(story.state.cid)}
    for number, kind in enumerate(kinds):
        members = {**given[kind], "cid": story.state.cid, "at": at + HOUR + number, "index": story.index}
        if kind == "erased":
            members = {**{name: it for name, it in members.items() if name != "cid"}, **hashed}
        text = forge(members, "comity-event+jwt", HOME)
        story.state_event(open_event(text, finder(HOME)).event)
    other = {**given["disclosed"], "cid": connected(accepter=EVE).state.cid, "at": at + DAY}
    text = forge(other, "comity-event+jwt", HOME)
    story.contradict("disclosed: another connection", open_event(text, finder(HOME)).event)
    old = {**given["erasing"], "cid": story.state.cid, "at": story.state.at}
    story.contradict("erasing: at the time of the record before it", open_event(forge(old, "comity-event+jwt", HOME), finder(HOME)).event)
    story.go("remember", "second", at + DAY, key="name")
    return story
