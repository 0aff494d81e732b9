"""A wallet shows its owner all that was signed in a connection, with its words, values and ends, and all that may be
read of the other side; what is one side's alone stays there (WHO-8)."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.client.models import describe_moment
from comity.documents.acts import MODELS, ChainLink
from comity.documents.hours import WEEKDAYS, Window, spans_of, windows_of
from comity.documents.types import DAY, SIDES
from comity.rules.timeline import TimelineEntry
from support.sdk_world import SdkWorld
from support.terminal_world import connected
from support.world import World

SHOP = "The Blue Shop"


def in_days(days: float) -> str:
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"


async def test_mias_note_is_shown_with_its_value_on_both_sides(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    await mia("remember", SHOP, "language", "--value", '["de", "en"]', "Grüß Gott")
    await mia("remember", SHOP, "contact_time", "--value", _evenings())
    await mia("milestone", SHOP, "bought", "windows", "--when", "2026-05-02", "--lasts", "2048-05-02", "--text", "Oak.")
    for who, name, other in ((mia, "you", SHOP), (shop, "Mia", "Mia")):
        told = await who("show", other)
        assert f"  note    {name}: language: de, en – Grüß Gott\n" in told
        assert f"  note    {name}: contact_time: mo, tu 18:00-20:00 (Europe/Vienna)\n" in told
        assert f"  noted   {name}: bought windows on 2026-05-02, lasts until 2048-05-02 – “Oak.”\n" in told
        told = await who("timeline", other)
        assert f"{name} would like remembered: language – “de, en; Grüß Gott”\n" in told
        assert f"{name} noted: bought windows on 2026-05-02, lasts until 2048-05-02 – “Oak.”\n" in told


def _evenings() -> str:
    return '{"zone": "Europe/Vienna", "windows": [{"days": ["mo", "tu"], "start": "18:00", "end": "20:00"}]}'


async def test_mia_sees_her_own_no_with_its_end_and_the_shop_only_what_she_shows(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    await mia("mute", SHOP, "-p", "sales", "--days", "14")
    await mia("mute", SHOP, "--channel", "phone", "--days", "3", "--show-end")
    await mia("hours", SHOP, "Europe/Vienna", "mo,tu=09:00-17:30", "sa=22:00-04:00")
    await mia("budget", SHOP, "--messages", "3/week", "--asks", "1/month")
    await mia("block", SHOP)
    await mia("snooze", SHOP, "--days", "2")
    await mia("mailbox", SHOP)
    told = await mia("show", SHOP)
    assert f"  muted   you have muted {SHOP} for sales until {in_days(14)}" in told
    assert f"{SHOP} is not told until when\n" in told
    assert f"  muted   you have muted {SHOP} by phone until {in_days(3)}" in told and "can read until when\n" in told
    hours = f"{SHOP} may contact you mo, tu 09:00-17:30; sa 22:00-04:00 (Europe/Vienna)"
    assert f"  hours   {hours}; at other times it only reads “not now”\n" in told
    assert "  limit   messages: at most 3 a week" in told and "  limit   favours asked: at most 1 a month" in told
    assert f"  blocked offers from {SHOP} are refused since {in_days(0)}" in told
    assert f"  snoozed {SHOP} is snoozed until {in_days(2)}" in told
    assert f"  mailbox news of {SHOP} arrives through did:key:" in told
    told = await shop("show", "Mia")
    assert "  muted   Mia has muted you for sales\n" in told
    assert f"  muted   Mia has muted you by phone until {in_days(3)}" in told
    for hers in (in_days(14), "Vienna", "at most", "refused since", "snoozed", "arrives through"):
        assert hers not in told
    (line,) = (await mia("show")).splitlines()
    assert f"{SHOP}  (muted by you for sales until {in_days(14)}" in line and "; snoozed until 20" in line
    assert line.endswith("; blocked)")
    await mia("away", "--until", in_days(20))
    assert f"  muted   you are away until {in_days(20)}, and {SHOP} can see that\n" in await mia("show", SHOP)
    assert f"  away    Mia is away until {in_days(20)}\n" in await shop("show", "Mia")
    assert f"Mia  (away until {in_days(20)})\n" in await shop("show")


async def test_a_favour_is_shown_from_the_ask_to_the_thanks_with_all_words(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    await mia("grant", SHOP, "favour")
    await shop("ask", "Mia", "review", "Two lines?", "--in-return", "A cup of tea.")
    assert "; review, minute; in return: “A cup of tea.”\n" in await mia("show", SHOP)
    await mia("answer", SHOP, "yes", "With pleasure.")
    await mia("done", SHOP)
    await shop("thank", "Mia", "You are kind.\n2026-01-01 00:00 you allowed The Blue Shop sales")
    await shop("contacted", "Mia", "phone", "care", "--topic", "windows")
    for who, name, other in ((mia, "asked of you", SHOP), (shop, "you asked", "Mia")):
        told = await who("show", other)
        words = "in return: “A cup of tea.”; answer: yes – “With pleasure.”; thanks: “You are kind. 2026-01-01"
        assert f"  favour  {name}: Two lines? (thanked); review, minute; {words}" in told
        by_phone = "by phone for care (windows) on 20"
        assert by_phone in told and "; the gate would have said: no grant\n" in told
        story = await who("timeline", other)
        assert "asked a favour: review (minute) – “Two lines?; in return: A cup of tea.”\n" in story
        assert "said yes – “With pleasure.”\n" in story
        assert "outside: care (windows) by phone; the gate would have said: no grant\n" in story
        # Nobody writes a line into somebody else's history.
        assert not any(line.startswith("2026-01-01 00:00 you") for line in story.splitlines())
    assert f"  balance within a year you did 1 favour for {SHOP}, and {SHOP} 0 favours for you\n" in await mia(
        "show", SHOP
    )
    assert "  balance within a year you did 0 favours for Mia, and Mia 1 favour for you\n" in await shop("show", "Mia")


async def test_after_the_end_both_read_what_became_of_the_data(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    await mia("revoke", SHOP, "--yes")
    kept = ("--keep", "payments=legal_obligation=2048-12-31")
    await shop("erasure", "Mia", "contact", "messages", *kept, "--told", "Zahlwerk 24")
    account = "deleted contact, messages; kept payments (legal obligation, until 2048-12-31)"
    assert f"  erasure you stated about Mia's data: {account}; informed: Zahlwerk 24\n" in await shop("show", "Mia")
    # Who else had it is for her to ask for (ERA-5): `statement`.
    assert f"  erasure {SHOP} stated about your data: {account}\n" in await mia("show", SHOP)


async def test_a_message_is_shown_with_its_topic_and_what_it_answers(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    await shop("send", "Mia", "sales", "Oak windows.\nid:aaaaaaaa  you (care): Yes, please", "--topic", "windows")
    told = await mia("messages", SHOP)
    assert f"{SHOP} (sales, windows): Oak windows.\n    id:aaaaaaaa" in told
    await mia("mute", SHOP)
    await shop("send", "Mia", "care", "How are they?")
    assert f"you (care) [held until {in_days(35)}" in await shop("messages", "Mia")


# --- every member of every act ---

_LINK = set(ChainLink.model_fields) | {"act"}
_NEVER = {
    "grant": {"status", "replaces"},  # where its bit stands; the grant that is no longer there
    "message": {"if_muted", "purpose", "topic", "exp", "body", "reply_to"},  # in `messages`, with what became of it
    "rotate": {"kid", "key", "proof"},  # `show` has the names as they are now
    "mailbox": {"proof"},
    "feedback": {"message", "says", "purpose", "had", "as_", "topic"},  # beside the message, and in `contests`
    "withdraw": {"grant"}, "unmute": {"mute"}, "mute_end": {"mute"}, "answer": {"ask"}, "done": {"ask"},
    "thank": {"ask", "body"}, "renounce": {"grants", "because"},  # ids of other acts; the rest in the timeline
    "forget": {"key", "topic"},  # in the timeline
    "hours": {"shown"}, "mute": {"why"}, "erasure": {"deleted", "kept", "passed_on"},  # see above
}  # fmt: skip
"""Members that no value of an overview shows, and why."""


async def test_everything_that_was_signed_is_in_the_overview_of_both(world: SdkWorld) -> None:
    shop, mia = await world.business("shop"), await world.person("mia")
    ours, theirs = await world.connect(shop, mia)
    now = world.host.now() // 1000
    signed: dict[str, dict[str, Any]] = {
        "grant": {"purposes": ("care", "favour", "sales"), "channels": ("app", "email"), "exp": now + 77 * DAY,
                  "data": ("sizes",), "budget": (9, "month"), "value": "discount"},
        "mute": {"purposes": ("complaint",), "channels": ("visit",), "until": now + 5 * DAY},
        "contacted": {"channel": "post", "purpose": "care", "topic": "gutters"},
        "ask": {"kind": "lend", "effort": "hour", "by": now + 9 * DAY, "body": "A ladder?"},
        "answer": {"answer": "not_now", "body": "On Monday."},
        "remember": {"key": "diet", "topic": "lunch", "body": "vegan"},
        "milestone": {"kind": "serviced", "topic": "boiler", "when": now - DAY, "lasts": now + 400 * DAY,
                      "body": "New pump."},
        "renounce": {"purposes": ("sales",), "channels": ("email",)},
        "hours": {"zone": "Asia/Tokyo", "windows": (("mo",), "00:00", "24:00")},
        "budget": {"messages": (7, "day"), "asks": (5, "week")},
        "mute_end": {"until": now + 6 * DAY},
    }  # fmt: skip
    grant = signed["grant"]
    await theirs.grant(grant["purposes"], grant["channels"], until=grant["exp"], data=grant["data"],
                       budget=grant["budget"], value=grant["value"])  # fmt: skip
    await ours.record_contact("post", "care", "gutters")
    ask = await ours.ask("lend", "A ladder?", effort="hour", by=signed["ask"]["by"])
    await theirs.sync()
    await theirs.answer(ask.id, "not_now", "On Monday.")
    await theirs.remember("diet", value=["vegan"], topic="lunch")
    milestone = signed["milestone"]
    await theirs.record_milestone(
        "serviced", "boiler", when=milestone["when"], lasts=milestone["lasts"], text="New pump."
    )
    await ours.sync()
    await ours.renounce("not_needed", purposes=["sales"], channels=["email"])
    await theirs.mute(until=signed["mute"]["until"], purposes=["complaint"], channels=["visit"], shown="end")
    own = ("hours", "budget", "mailbox", "mute_end")
    await theirs.mute(until=signed["mute_end"]["until"], purposes=["renewal"])
    await theirs.set_hours("Asia/Tokyo", [(["mo"], "00:00", "24:00")])
    await theirs.set_budget(messages=(7, "day"), asks=(5, "week"))
    await mia.use_mailbox(theirs)
    await ours.sync()
    seen = {"mia": _words(theirs.overview(), await theirs.timeline()),
            "shop": _words(ours.overview(), await ours.timeline())}  # fmt: skip
    for kind, members in signed.items():
        for member, value in members.items():
            for word in _flat(value):
                assert word in seen["mia"], (kind, member, word)
                assert (word in seen["shop"]) == (kind not in own), (kind, member, word)
    assert theirs.overview().mailbox is not None and ours.overview().mailbox is None
    for kind, model in MODELS.items():
        named = {name for name in model.model_fields if name not in _LINK}
        shown = set(signed.get(kind, {})) | ({"did"} if kind == "mailbox" else set())
        assert named == shown | _NEVER.get(kind, set()), kind


def _words(overview: Any, timeline: Any) -> set[str]:
    return set(_flat(asdict(overview))) | set(str(timeline).replace(";", " ").split())


def _flat(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [word for it in value.values() for word in _flat(it)]
    if isinstance(value, list | tuple):
        return [word for it in value for word in _flat(it)]
    return [str(value)]


@given(
    st.lists(
        st.builds(
            Window,
            days=st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=3, unique=True).map(tuple),
            start=st.sampled_from(["00:00", "09:30", "22:00"]),
            end=st.sampled_from(["00:00", "09:30", "17:00", "24:00"]),
        ),
        max_size=4,
    )
)
def test_hours_are_shown_as_they_were_set(windows: list[Window]) -> None:
    shown = windows_of(spans_of(tuple(windows)))
    assert set(spans_of(shown)) == set(spans_of(tuple(windows)))


def test_a_time_that_no_calendar_has_is_shown_as_a_number() -> None:
    from comity_tools.cli.wallet.show import _date_text

    assert _date_text(10**14).startswith("second 1000")
    assert _date_text(0) == "1970-01-01"


@pytest.mark.parametrize(("value", "words"), [(True, "yes"), (["de", "en"], "de, en"), ("paper", "paper")])
def test_a_value_reads_as_words(value: object, words: str) -> None:
    from comity.client.connection.queries import format_value

    assert format_value(value) == words


def test_each_answer_to_a_favour_is_told_as_it_was_given() -> None:
    for outcome, words in {"yes": "said yes", "no": "said no", "not_now": "said not now", None: "answered"}.items():
        answer = TimelineEntry(0, "second", "answer", None, outcome, "act")
        assert [describe_moment(answer, side, "Mia").sentence for side in SIDES] == [f"Mia {words}", f"you {words}"]
