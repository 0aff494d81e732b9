"""Weekly windows on the clocks of the world, against an oracle that steps through the minutes."""

from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo, reset_tzpath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from comity.documents.hours import WEEKDAYS, Window, check_windows, is_open, next_change, spans_of
from comity.documents.timezones import InstalledZones
from support.parties import MINUTE, instant

# Where the clock does something of note, and when: half hours, two hours, midnight, a day that never was, a
# Ramadan, an offset of quarters, none at all.
PLACES = [
    ("Europe/Berlin", datetime(2024, 3, 31, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2024, 10, 27, tzinfo=UTC)),
    ("America/New_York", datetime(2025, 3, 9, tzinfo=UTC)),
    ("America/New_York", datetime(2025, 11, 2, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2025, 4, 5, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2025, 10, 4, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2025, 3, 30, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2025, 10, 26, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, tzinfo=UTC)),
    ("America/St_Johns", datetime(2010, 3, 14, tzinfo=UTC)),
    ("America/Havana", datetime(2025, 3, 9, tzinfo=UTC)),
    ("America/Santiago", datetime(2025, 9, 7, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2025, 4, 24, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2025, 2, 23, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2025, 4, 6, tzinfo=UTC)),
    ("Asia/Beirut", datetime(2025, 3, 29, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2025, 1, 1, tzinfo=UTC)),
    ("Pacific/Kiritimati", datetime(2025, 1, 1, tzinfo=UTC)),
    ("UTC", datetime(2024, 2, 29, tzinfo=UTC)),
]

minutes = st.one_of(st.sampled_from([0, 1, 59, 60, 90, 119, 120, 121, 150, 180, 181, 1320, 1439]), st.integers(0, 1439))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start, end = draw(minutes), draw(st.one_of(minutes, st.just(1440)))
    days = draw(st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=3, unique=True))
    wall = [f"{minute // 60:02}:{minute % 60:02}" for minute in (start, end)]
    return Window(days=tuple(days), start=wall[0], end=wall[1])


def oracle(found: list[Window], zone: ZoneInfo, moment: int) -> bool:
    """Read off the wall clock, word for word as the windows are written."""
    wall = datetime.fromtimestamp(moment // 1000, UTC).astimezone(zone)
    clock, today = wall.strftime("%H:%M"), wall.weekday()
    yesterday = WEEKDAYS[(today + 6) % 7]
    for window in found:
        over_midnight = window.end <= window.start
        if WEEKDAYS[today] in window.days and window.start <= clock and (over_midnight or clock < window.end):
            return True
        if yesterday in window.days and over_midnight and clock < window.end:
            return True
    return False


@given(st.sampled_from(PLACES), st.lists(windows(), min_size=1, max_size=4), st.integers(-3 * 1440, 2 * 1440))
@example(PLACES[1], [Window(days=("su",), start="02:10", end="02:50")], 55)
@example(PLACES[0], [Window(days=("su",), start="01:30", end="02:30")], 5)
def test_on_every_clock_of_the_world_a_window_is_open_when_the_wall_clock_says_so(
    place: tuple[str, datetime], found: list[Window], shift: int
) -> None:
    name, day = place
    zone, begin = ZoneInfo(name), int(day.timestamp()) * 1000 + shift * MINUTE
    packed = spans_of(tuple(found))
    opened = is_open(packed, zone, begin)
    assert opened == oracle(found, zone, begin)
    change = next_change(packed, zone, begin)
    # Nothing changes before it, and at it something does.
    last = change if change is not None else begin + 16 * 1440 * MINUTE
    for moment in range(begin, last, MINUTE):
        if oracle(found, zone, moment) != opened:
            raise AssertionError(f"it changes at {moment}, not at {change}")
    if change is not None:
        assert change > begin
        assert oracle(found, zone, change) != opened
        assert is_open(packed, zone, change) != opened


@given(st.sampled_from(PLACES), st.lists(windows(), min_size=1, max_size=3), st.integers(0, 59_999))
def test_the_next_change_is_the_same_from_every_moment_of_a_minute(
    place: tuple[str, datetime], found: list[Window], ms: int
) -> None:
    zone, begin, packed = ZoneInfo(place[0]), int(place[1].timestamp()) * 1000, spans_of(tuple(found))
    if is_open(packed, zone, begin) == is_open(packed, zone, begin + ms):
        assert next_change(packed, zone, begin + ms) == next_change(packed, zone, begin)


def test_a_window_that_a_whole_spring_night_swallows_opens_the_week_after() -> None:
    """Only on Sundays from 02:15 to 02:45, in Berlin, and on 31 March there is no such time."""
    packed = spans_of((Window(days=("su",), start="02:15", end="02:45"),))
    closed = instant("Europe/Berlin", 2024, 3, 24, 2, 45)
    assert next_change(packed, ZoneInfo("Europe/Berlin"), closed) == instant("Europe/Berlin", 2024, 4, 7, 2, 15)


def test_a_window_that_never_closes_has_no_next_change() -> None:
    always = spans_of((Window(days=WEEKDAYS, start="00:00", end="24:00"),))
    for name, day in PLACES:
        assert is_open(always, ZoneInfo(name), int(day.timestamp()) * 1000)
        assert next_change(always, ZoneInfo(name), int(day.timestamp()) * 1000) is None


def test_a_window_from_a_time_to_itself_is_a_whole_day() -> None:
    packed = spans_of((Window(days=("mo",), start="08:00", end="08:00"),))
    monday = instant("UTC", 2024, 6, 17, 8, 0)
    assert is_open(packed, ZoneInfo("UTC"), monday)
    assert next_change(packed, ZoneInfo("UTC"), monday) == monday + 1440 * MINUTE


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("8:00", "09:00"),
        ("08:60", "09:00"),
        ("24:01", "09:00"),
        ("25:00", "09:00"),
        ("08:00\n", "09:00"),
        ("٠٨:٠٠", "09:00"),
    ],
)
def test_an_invalid_wall_time_is_no_window(start: str, end: str) -> None:
    with pytest.raises(ValidationError):
        Window(days=("mo",), start=start, end=end)


def test_a_window_names_each_day_once_and_starts_on_a_day() -> None:
    windows_of = TypeAdapter(tuple[Window, ...])
    for text in (
        '[{"days":["mo","mo"],"start":"08:00","end":"09:00"}]',
        '[{"days":["mo"],"start":"24:00","end":"09:00"}]',
    ):
        with pytest.raises(ValueError, match=r"twice|24:00"):
            check_windows(windows_of.validate_json(text))


def test_the_oracle_itself_knows_midnight() -> None:
    late = [Window(days=("fr",), start="22:00", end="02:00")]
    friday = instant("America/New_York", 2024, 6, 21, 22, 0)
    assert [oracle(late, ZoneInfo("America/New_York"), friday + hours * 60 * MINUTE) for hours in range(-1, 5)] == [
        False, True, True, True, True, False,
    ]  # fmt: skip


def test_the_rules_are_those_of_the_release_that_verdicts_name(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    tokyo = files("tzdata.zoneinfo").joinpath("Asia", "Tokyo").read_bytes()
    (tmp_path / "Europe" / "Malta").write_bytes(tokyo)
    try:
        # A system whose database says something else.
        reset_tzpath([tmp_path])
        zone = InstalledZones().zone("Europe/Malta")
    finally:
        reset_tzpath()
    assert zone is not None
    assert datetime(2024, 1, 1, tzinfo=zone).utcoffset() == timedelta(hours=1)


@pytest.mark.parametrize("name", ["Europe/Nowhere", "Europe", "zone.tab", "tzdata.zi", "", "/", "../zones"])
def test_an_invalid_zone_is_unknown(name: str) -> None:
    assert InstalledZones().zone(name) is None


class Folded:
    """A folder as some file systems have it: europe/berlin opens Europe/Berlin."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def joinpath(self, *names: str) -> Path:
        found = self.path
        for name in names:
            found = next((it for it in found.iterdir() if it.name.casefold() == name.casefold()), found / name)
        return found


@pytest.mark.parametrize("name", ["europe/berlin", "EUROPE/BERLIN", "Europe/berlin", "utc"])
def test_a_zone_is_compared_letter_for_letter_whatever_the_file_system_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HOURS-5."""
    installed = {folder: Path(str(files(folder))) for folder in ("tzdata", "tzdata.zoneinfo")}
    monkeypatch.setattr("comity.documents.timezones.files", lambda folder: Folded(installed[folder]))
    assert Folded(installed["tzdata.zoneinfo"]).joinpath(*name.split("/")).exists()
    assert InstalledZones().zone(name) is None
    assert InstalledZones().zone("Asia/Tokyo") is not None


def test_the_list_of_a_release_names_what_is_in_its_folder() -> None:
    folder = Path(str(files("tzdata.zoneinfo")))
    found = {str(it.relative_to(folder)) for it in folder.rglob("*") if it.is_file() and it.read_bytes()[:4] == b"TZif"}
    assert {name for name in found if InstalledZones().zone(name) is not None} == found
