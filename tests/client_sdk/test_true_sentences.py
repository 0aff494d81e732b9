"""What a terminal says of an act is what is in force then, for the one who acts and for the other side (WHO-7)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.terminal_world import Terminal, connected
from support.world import World

SHOP = "The Blue Shop"


async def refused(who: Terminal, purpose: str = "care") -> str:
    """What who writes now, and will not wait, reads in place of an answer."""
    return await who("send", "Mia", purpose, "Hello?", "--if-muted", "fail", code=1)


def in_days(days: float) -> str:
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"


async def test_a_mute_says_whether_its_end_can_be_read_and_the_other_side_reads_it(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    told = await mia("mute", SHOP)
    assert f"{SHOP} is muted until you `unmute` it, and reads: not now." in told
    assert "Mia has muted you\n" in await shop("show", "Mia")
    told = await mia("mute", SHOP, "--days", "3")
    assert f"is muted until {in_days(3)}" in told and "It is not told until when." in told
    assert in_days(3) not in await shop("show", "Mia") and in_days(3) not in await refused(shop)
    told = await mia("mute", SHOP, "--days", "3", "--show-end")
    assert f"is muted until {in_days(3)}" in told and "can read until when" in told and "not told" not in told
    assert f"Mia has muted you until {in_days(3)}" in await shop("sync")
    assert f"  muted   Mia has muted you until {in_days(3)}" in await shop("show", "Mia")
    assert f"Mia muted you: until {in_days(3)}" in await shop("timeline", "Mia")
    assert f"until {in_days(3)}" in await refused(shop)
    assert f"The message waits: not now, until {in_days(3)}" in await shop("send", "Mia", "care", "Hello?")


async def test_a_mute_of_a_part_says_of_which(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    assert f"{SHOP} is muted for sales until you" in await mia("mute", SHOP, "-p", "sales")
    assert "Mia has muted you for sales\n" in await shop("show", "Mia")
    await mia("away", "--until", in_days(20))
    told = await mia("back")
    assert "no longer reads that you are away" in told and f"{SHOP} is still muted for sales." in told
    told = await mia("grant", SHOP, "sales")
    assert f"{SHOP} may contact you for sales by app, until " in told
    assert f"But still: {SHOP} is still muted for sales." in told
    assert f"All your mutes of {SHOP} have ended.\n" == await mia("unmute", SHOP)


async def test_hours_say_whether_they_can_be_read(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    now = datetime.now(UTC)
    later, end = (f"{now + timedelta(hours=hours):%H:00}" for hours in (3, 4))
    window = f"mo,tu,we,th,fr,sa,su={later}-{end}"
    assert "is not told your hours" in await mia("hours", SHOP, "UTC", window)
    assert "until 20" not in await refused(shop)
    told = await mia("hours", SHOP, "UTC", window, "--show-end")
    assert "reads when you can be reached again" in told and "not told" not in told
    assert f"until {now + timedelta(hours=3):%Y-%m-%d %H}:00 UTC" in await refused(shop)
    await mia("mute", SHOP)
    assert f"Your hours still apply to {SHOP}." in await mia("unmute", SHOP)
    assert f"{SHOP} may contact you at any time." in await mia("hours", SHOP, "UTC")


async def test_a_withdrawal_or_limit_shows_what_is_left(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    token = (await mia("grant", SHOP, "care.checkin")).rpartition("The token is ")[2].split(";")[0]
    told = await mia("withdraw", SHOP, token)
    assert f"But {SHOP} may still contact you with other tokens" in told and "for care, sales by app, until" in told
    assert "Delivered." in await shop("send", "Mia", "care.checkin", "Hello?")
    other = told.splitlines()[1].split()[0]
    assert "may no longer contact you for that" in await mia("withdraw", SHOP, other)
    assert "(no_grant)" in await refused(shop)
    told = await mia("budget", SHOP, "--asks", "0/month")
    assert "no limit on messages, at most 0 asks a month" in told and "only reads" in told
    told = await mia("budget", SHOP)
    assert told == "From now on: no limit on messages, no limit on asks.\n"


async def test_a_token_that_a_topic_may_stand_in_the_way_of_is_in_force(host: World, tmp_path: Path) -> None:
    mia, shop = await connected(host, tmp_path)
    await mia("milestone", SHOP, "bought", "windows")
    told = await mia("tokens", SHOP)
    assert "(in force, unless a mute, topic or contest forbids it)" in told and "not now" not in told
    assert "Delivered." in await shop("send", "Mia", "care", "How are the windows?")


async def test_looking_at_suggestions_changes_nothing(host: World, tmp_path: Path) -> None:
    mia = Terminal(tmp_path / "mia")
    await mia("create")
    before = await mia("defaults")
    assert await mia("defaults", "sales") == "sales: nothing\n" and await mia("defaults", "news") == "news: nothing\n"
    assert "for one PURPOSE" in await mia("defaults", "--days", "30", code=2)
    assert await mia("defaults") == before
    assert "sales: by app, as often as they like, for 30 days" in await mia("defaults", "sales", "--days", "30")


async def test_a_business_without_a_grant_has_nothing_to_give_up(host: World, tmp_path: Path) -> None:
    mia, _ = await connected(host, tmp_path)
    assert "has no grant in force that could be renounced" in await mia("renounce", SHOP, code=1)
