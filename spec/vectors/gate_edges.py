"""Verdicts at every border: of mutes, budgets, hours and of how long an answer is good (GATE-9 to GATE-15, HOURS-1 to
HOURS-5, STATUS-4)."""

from comity.documents import hours
from comity.rules.state import Delivery
from decided import ALL_WEEK, Checked, window
from story import DAY, HOUR, MINUTE, SECOND, START, ZONES, Story, begun, connected, instant, words

APP, BOTH = ("app",), ("app", "email")
LATER = (START + 300 * DAY) // 1000


def stories() -> list[Checked]:
    """All of them."""
    return [
        _mutes(),
        _scopes(),
        _hidden_ends(),
        _closing(),
        _night_hours(),
        _unknown_zone(),
        _no_hours(),
        _week(),
        _two_grants(),
        _grant_budgets(),
        _periods(),
        _own_limit(),
        _thousand(),
        _freshness(),
    ]


def _mutes() -> Checked:
    """Of several mutes that apply the longest counts; its end is shown where all for this have their own."""
    story, day = connected(), (START + DAY) // 1000
    checked, now = Checked("the longest of several mutes", story, whole=False), START + HOUR
    story.go("grant", "second", START + 1, purposes=("care", "sales"), channels=BOTH)
    story.go("mute", "second", START + 2, purposes=("sales", "care"), until=day)
    checked.ask("muted", now, ends_at=day * 1000)
    story.go("mute", "second", START + 3, channels=APP, until=day + 10)
    checked.ask("muted", now, ends_at=(day + 10) * 1000)
    story.go("mute", "second", START + 4, purposes=("care",), until=day + 5)
    checked.ask("muted", now, ends_at=(day + 10) * 1000)
    checked.ask("muted", now, "care", "email", ends_at=(day + 5) * 1000)
    hidden = story.compose("mute", "second", START + 5, purposes=("care",), channels=APP)
    story.go("mute_end", "second", START + 5, mute=hidden.id, until=day + 10)
    story.send(hidden, START + 6)
    checked.ask("muted", now, ends_at=(day + 10) * 1000)
    story.go("mute_end", "second", START + 7, mute=hidden.id, until=day + 1)
    checked.ask("muted", now, ends_at=(day + 10) * 1000)
    checked.ask("muted", (day + 1) * 1000, ends_at=(day + 10) * 1000)
    story.go("mute_end", "second", START + 8, mute=hidden.id, until=day + 20)
    checked.ask("muted", now, ends_at=(day + 20) * 1000)
    checked.ask("muted", (day + 10) * 1000, ends_at=(day + 20) * 1000)
    checked.ask("granted", (day + 20) * 1000)
    checked.ask("muted", (day + 20) * 1000 - 1, ends_at=(day + 20) * 1000)
    story.go("mute", "second", START + 9, purposes=("sales",))
    checked.ask("muted", now, "sales.windows")
    checked.ask("muted", now, "care.checkin", ends_at=(day + 20) * 1000)
    checked.statuses(now, (day + 5) * 1000, (day + 10) * 1000, (day + 20) * 1000)
    story.go("unmute", "second", START + 10)
    # A hidden end may come before the shown one, and must not be read from it.
    first = story.go("mute", "second", START + 11, purposes=("care",))
    story.go("mute_end", "second", START + 12, mute=first.id, until=day)
    story.go("mute", "second", START + 13, channels=APP, until=day + 10)
    for moment in (now, day * 1000):
        checked.note(moment)
        checked.look(moment)
    checked.look(now, "sales")
    checked.look(now, "complaint", "second")
    return checked


def _scopes() -> Checked:
    """A mute stops what its purposes cover, by its channels; offline any overlap means: ask."""
    story = connected()
    checked, now = Checked("what a mute is about", story, whole=False), START + HOUR
    for number, (purposes, channels) in enumerate((
        (("care",), APP), (("care.checkin",), ("email",)), (("sales",), ("phone", "post")), (("favour",), BOTH),
    )):  # fmt: skip
        story.go("grant", "second", START + 1 + number, purposes=purposes, channels=channels)
    given = ({"purposes": ("care.checkin",)}, {"purposes": ("care", "favour.x")}, {"channels": ("email", "sms")}, {"purposes": ("sales",), "channels": ("post",)})
    for number, mute in enumerate(given):
        made = story.go("mute", "second", START + MINUTE + number * SECOND, **mute)
        for purpose, channel in (
            ("care", "app"), ("care.checkin", "app"), ("care.checkin.late", "app"), ("care.checkin", "email"),
            ("sales", "phone"), ("sales.windows", "post"), ("favour", "email"), ("favour", "app"), ("complaint", "sms"),
        ):  # fmt: skip
            checked.note(now, purpose, channel)
        checked.statuses(now)
        story.go("unmute", "second", START + MINUTE + number * SECOND + 1, mute=made.id)
    story.go("mute", "second", START + 2 * MINUTE, until=(now + HOUR) // 1000)
    checked.statuses(now, now + HOUR - 1, now + HOUR)
    checked.note(now, "security", "visit")
    checked.note(now, "care", "app", sender="second")
    return checked


def _hidden_ends() -> Checked:
    """CONN-14: of ends of mutes that are not in force the 32 newest are kept; those of mutes in force always."""
    story, now = connected(), START + HOUR
    checked = Checked("more hidden ends than are kept", story, whole=False)
    story.go("grant", "second", START + 1, purposes=("care", "sales", "favour"), channels=APP)
    in_force = story.go("mute", "second", START + 2, purposes=("care",))
    mutes = [words("mute", str(number)) for number in range(31)]
    sales = story.compose("mute", "second", START + 5 * SECOND, purposes=("sales",))
    story.go("mute_end", "second", START + 3, mute=sales.id, until=(START + 2 * DAY) // 1000)
    story.go("mute_end", "second", START + 4, mute=in_force.id, until=(START + DAY) // 1000)
    for number in range(31):
        story.go("mute_end", "second", START + 5 + number, mute=mutes[number], until=LATER)
    story.go("mute_end", "second", START + 40, mute=mutes[0], until=LATER + 1)
    at = START + 5 * SECOND
    story.send(sales, at)
    checked.ask("muted", now, "care", ends_at=(START + DAY) // 1000 * 1000)
    checked.ask("muted", now, "sales", ends_at=(START + 2 * DAY) // 1000 * 1000)
    favour = story.compose("mute", "second", at + SECOND, purposes=("favour",))
    story.go("mute_end", "second", at + 1, mute=favour.id, until=(START + 3 * DAY) // 1000)
    for number in range(32):
        story.go("mute_end", "second", at + 10 + number, mute=words("more", str(number)), until=LATER)
    story.send(favour, at + SECOND)
    checked.ask("muted", now, "care", ends_at=(START + DAY) // 1000 * 1000)
    checked.ask("muted", now, "sales", ends_at=(START + 2 * DAY) // 1000 * 1000)
    checked.ask("muted", now, "favour")
    return checked


def _hours(story: Story, at: int, shown: str, *windows: object, zone: str = "Europe/Berlin") -> None:
    story.go("hours", "second", at, zone=zone, shown=shown, windows=windows)


def _closing() -> Checked:
    """Where the end of the hours is shown, an answer is good until then and no longer; a hidden one shortens nothing."""
    story = connected()
    checked = Checked("five seconds before closing", story, whole=False)
    story.go("grant", "second", START + 1, purposes=("care",), channels=APP)
    closes = instant("2026-03-02T17:00:00")
    opens = instant("2026-03-03T07:00:00")
    for number, shown in enumerate(("end", "not_now")):
        _hours(story, START + 2 + number, shown, window("08:00", "18:00"))
        for now in (closes - 5001, closes - 5000, closes - 4999, closes - 1, closes, opens - 5001, opens - 3, opens):
            checked.note(now)
            checked.note(now, "complaint")
    _hours(story, START + 10, "end", window("08:00", "24:00", "mo"), window("00:00", "08:00", "tu"))
    midnight = instant("2026-03-02T23:00:00")
    for now in (midnight - 1, midnight, opens - 1, opens):
        checked.note(now)
    # Of a hidden end nothing shows, in a zone that a machine may have for its own either.
    _hours(story, START + 11, "not_now", window("08:00", "18:00"), zone="Etc/UTC")
    for now in (closes + HOUR - 4000, closes + HOUR):
        checked.note(now)
        checked.look(now)
    _hours(story, START + 12, "end", window("08:00", "24:00", "mo"), window("00:00", "08:00", "tu"))
    checked.look(midnight - 1)
    checked.look(opens)
    story.go("mute", "second", START + 13, until=closes // 1000)
    checked.note(closes - 2000)
    checked.note(closes - 6000)
    return checked


def _night_hours() -> Checked:
    """Over midnight, over the week's end, of 24 hours, and a second before each."""
    story = connected()
    checked = Checked("nights and whole days", story, whole=False)
    story.go("grant", "second", START + 1, purposes=("care",), channels=APP)
    _hours(story, START + 2, "end", window("23:30", "00:30", "su"), window("06:00", "06:00", "we"), window("10:15", "10:45", "th"))
    for text in (
        "2026-03-01T22:29:59", "2026-03-01T22:30:00", "2026-03-01T23:00:00", "2026-03-01T23:29:59", "2026-03-01T23:30:00",
        "2026-03-04T04:59:59", "2026-03-04T05:00:00", "2026-03-04T23:00:00", "2026-03-05T04:59:59", "2026-03-05T05:00:00",
        "2026-03-05T09:14:59", "2026-03-05T09:15:00", "2026-03-05T09:44:59", "2026-03-05T09:45:00", "2026-03-07T12:00:00",
        "2026-03-28T22:30:00", "2026-03-29T21:30:00", "2026-10-24T22:00:00", "2026-10-25T22:30:00",
    ):  # fmt: skip
        checked.note(instant(text) + 7 * DAY if text < "2026-03-02T11" else instant(text))
    _hours(story, START + 3, "end", window("01:30", "02:30", "su"), zone="Europe/Lisbon")
    for text in ("2026-03-29T00:29:00", "2026-03-29T00:59:00", "2026-03-29T01:00:00", "2026-03-29T01:29:59", "2026-03-29T01:30:00", "2026-10-25T00:30:00", "2026-10-25T01:00:00", "2026-10-25T01:30:00", "2026-10-25T02:30:00"):
        checked.note(instant(text))
    _hours(story, START + 4, "end", window("01:45", "02:30", "su"), zone="Australia/Lord_Howe")
    fallen = instant("2026-04-04T15:00:00")
    for now, end in ((fallen - 16 * MINUTE, fallen - 15 * MINUTE), (fallen - MINUTE, fallen), (fallen, fallen + 15 * MINUTE), (fallen + 59 * MINUTE, fallen + HOUR)):
        checked.note(now)
        assert hours.next_change(story.state.second.settings.windows, ZONES.zone("Australia/Lord_Howe"), now) == end  # type: ignore[arg-type]
    # And one that a spring night opens, half an hour early by the wall clock.
    _hours(story, START + 5, "end", window("02:15", "03:00", "su"), zone="Australia/Lord_Howe")
    checked.ask("outside_hours", instant("2026-10-03T15:00:00"), ends_at=instant("2026-10-03T15:30:00"))
    _hours(story, START + 6, "end", window("02:00", "03:00", "su"), zone="Australia/Lord_Howe")
    for text in ("2026-04-04T14:59:00", "2026-04-04T15:00:00", "2026-04-04T15:29:59", "2026-04-04T15:30:00", "2026-10-03T15:29:00", "2026-10-03T15:30:00", "2026-10-03T16:00:00"):
        checked.note(instant(text))
    return checked


def _unknown_zone() -> Checked:
    """HOURS-5: hours in a zone that the rules at hand do not know, as a reader with older rules meets them."""
    story = connected()
    checked = Checked("a zone that is not known here", story, whole=False)
    story.go("grant", "second", START + 1, purposes=("care",), channels=APP)
    act = story.compose("hours", "second", START + 2, zone="Mars/Olympus_Mons", shown="end", windows=(window("08:00", "18:00"),))
    story.refuse(act, START + 2, "a zone that is not known")
    story.force(act, START + 2)
    checked.note(START + HOUR)
    checked.note(START + HOUR, "complaint")
    checked.note(START + HOUR, "safety")
    return checked


def _no_hours() -> Checked:
    """Hours without windows are no hours; the zone is then nobody's."""
    story = connected()
    checked = Checked("hours that are taken back", story, whole=False)
    story.go("grant", "second", START + 1, purposes=("care",), channels=APP)
    _hours(story, START + 2, "end", window("08:00", "09:00"))
    checked.note(START + HOUR)
    _hours(story, START + 3, "end")
    checked.note(START + HOUR)
    _hours(story, START + 4, "not_now", window("08:00", "09:00"))
    checked.note(START + HOUR)
    checked.note(START + HOUR, sender="second", purpose="complaint")
    return checked


def _week() -> Checked:
    """Each day of the week has its own name and its own hour."""
    story = connected()
    checked = Checked("seven days", story, whole=False)
    story.go("grant", "second", START + 1, purposes=("care",), channels=APP)
    _hours(story, START + 2, "end", *(window(f"{10 + number:02}:00", f"{10 + number:02}:10", day) for number, day in enumerate(ALL_WEEK)))
    for number in range(8):
        checked.note(START + number * DAY)
        checked.note(instant("2026-03-02T09:05:00") + number * (DAY + HOUR))
    return checked


def _two_grants() -> Checked:
    """The first grant that has room serves; a spent one frees when its budget does, or at its own end."""
    story, exp = connected(), START + DAY
    checked, at = Checked("two grants for one purpose", story, whole=False), START + HOUR
    story.go("grant", "second", START + 1, purposes=("care",), channels=APP, budget={"max": 1, "per": "day"}, exp=LATER)
    story.go("grant", "second", START + 2, purposes=("care",), channels=APP, budget={"max": 2, "per": "week"}, exp=exp // 1000)
    story.go("grant", "second", START + 3, purposes=("care.visit",), channels=("phone",), exp=LATER)
    checked.note(at)
    checked.note(at, "care.visit", "phone")
    story.go("message", "first", at, purpose="care")
    checked.note(at + 1)
    story.go("contacted", "first", at + 2, channel="visit", purpose="care.visit")
    for now in (at + 3, exp - 1, exp, at + DAY - 1, at + DAY, at + DAY + 1):
        checked.note(now)
    story.go("message", "first", at + 4, purpose="security")
    story.go("message", "first", at + 5, purpose="complaint")
    checked.note(at + 6)
    checked.note(at + 6, "care.visit")
    checked.note(at + 6, "care", "email")
    return checked


def _grant_budgets() -> Checked:
    """A budget of none, one that frees after its grant's end, and one beside a grant without a budget."""
    story = connected()
    checked, exp = Checked("budgets of grants", story, whole=False), START + 2 * DAY
    story.go("grant", "second", START + 1, purposes=("care",), channels=APP, budget={"max": 0, "per": "day"}, exp=exp // 1000)
    checked.note(START + HOUR)
    story.go("grant", "second", START + 2, purposes=("sales",), channels=BOTH, budget={"max": 1, "per": "week"}, exp=exp // 1000)
    story.go("contacted", "first", START + HOUR, channel="email", purpose="sales.windows")
    checked.note(START + 2 * HOUR, "sales")
    checked.note(exp - 2, "sales")
    story.go("grant", "second", START + 3 * HOUR, purposes=("sales.doors",), channels=BOTH, exp=exp // 1000 + 100)
    checked.note(START + 4 * HOUR, "sales")
    checked.note(START + 4 * HOUR, "sales.doors")
    checked.note(exp - 3, "sales.doors")
    checked.note((exp // 1000 + 100) * 1000 - 1, "sales.doors")
    checked.statuses(exp - 1, exp)
    return checked


def _periods() -> Checked:
    """A day, a week and thirty days to the millisecond."""
    story = connected()
    checked, at = Checked("rolling windows", story, whole=False), START + HOUR
    lengths = {"day": DAY, "week": 7 * DAY, "month": 30 * DAY}
    for number, per in enumerate(lengths):
        budget = {"max": 2, "per": per}
        story.go("grant", "second", START + 1 + number, purposes=(f"p{number}",), channels=APP, budget=budget, exp=LATER)
    for number in range(3):
        story.go("contacted", "first", at + 2 * number, channel="phone", purpose=f"p{number}")
        story.go("contacted", "first", at + 2 * number + 1, channel="phone", purpose=f"p{number}.x")
    for number, length in enumerate(lengths.values()):
        for now in (at + 2 * number + length - 1, at + 2 * number + length):
            checked.note(now, f"p{number}")
    return checked


def _own_limit() -> Checked:
    """The receiving side's own limit counts all but exempt deliveries; its end is never shown."""
    story = connected()
    checked, at = Checked("a limit of one's own", story, whole=False), START + HOUR
    story.go("grant", "second", START + 1, purposes=("care",), channels=APP, budget={"max": 1, "per": "week"})
    story.go("budget", "second", START + 2, messages={"max": 3, "per": "day"}, asks={"max": 0, "per": "day"})
    for number, purpose in enumerate(("care", "complaint", "renewal", "safety")):
        story.go("message", "first", at + number, purpose=purpose, if_muted="drop")
        checked.note(at + number + 1, "complaint")
        checked.note(at + number + 1, "care")
    for now in (at + DAY - 1, at + DAY, at + DAY + 1):
        checked.note(now, "complaint")
        checked.note(now, "care")
    story.go("budget", "second", at + 10, messages={"max": 0, "per": "month"})
    checked.note(at + HOUR, "complaint")
    checked.note(at + HOUR, "legal_notice")
    checked.note(at + HOUR, "complaint", sender="second")
    checked.look(at + HOUR)
    checked.look(at + HOUR, "complaint")
    story.go("budget", "second", at + 11, asks={"max": 1, "per": "day"})
    checked.note(at + HOUR, "complaint")
    return checked


def _thousand() -> Checked:
    """GATE-13: a thousand within thirty days, exempt ones aside."""
    at = START + 40 * DAY
    sent = tuple(Delivery(at - 29 * DAY + number * MINUTE, "care", "email") for number in range(999))
    exempt = tuple(Delivery(at - DAY + number, "safety", "email") for number in range(2))
    story = begun(connected(), first={"sent": (*sent, *exempt)})
    checked = Checked("a thousand deliveries", story, whole=False)
    story.go("grant", "second", at, purposes=("sales",), channels=APP, exp=LATER)
    checked.note(at + 1, "sales")
    story.go("message", "first", at + 1, purpose="sales")
    for now in (at + 2, at + DAY - 1, at + DAY):
        checked.note(now, "sales")
        checked.note(now, "complaint")
    checked.note(at + 2, "security")
    story.go("budget", "second", at + 3, messages={"max": 100, "per": "day"})
    checked.note(at + 4, "sales")
    # Both are used up: a side's own limit is told first, and that is "not now".
    story.go("budget", "second", at + 5, messages={"max": 100, "per": "month"})
    checked.note(at + 6, "sales")
    checked.note(at + 6, "complaint")
    return checked


def _freshness() -> Checked:
    """An answer is good for five seconds, and not beyond what the sender may know of its end."""
    story = connected()
    checked = Checked("how long an answer is good", story, whole=False)
    exp = START + DAY
    story.go("grant", "second", START + 1, purposes=("care",), channels=APP, exp=exp // 1000)
    for now in (exp - 5001, exp - 5000, exp - 4999, exp - 1):
        checked.note(now)
        checked.note(now, "sales")
    until = START + HOUR
    story.go("mute", "second", START + 2, until=until // 1000)
    for now in (until - 5001, until - 5000, until - 4999, until - 1):
        checked.note(now)
    hidden = story.go("mute", "second", START + 3)
    story.go("mute_end", "second", START + 4, mute=hidden.id, until=until // 1000)
    for now in (until - 5001, until - 4999, until - 1):
        checked.note(now)
    return checked
