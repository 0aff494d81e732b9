"""`comity wallet away` and `back`."""

from datetime import UTC, datetime

import click

from comity.client import Connection, Wallet
from comity.documents.notices import AwayNotice, choose_text
from comity_tools.cli.parameters import Day, Finite
from comity_tools.cli.text import say
from comity_tools.cli.wallet.sentences import remaining_stops
from comity_tools.cli.wallet.session import wallet_command

group = click.Group()
"""These commands are added to the group `wallet`."""

_SPREAD = click.option(
    "--spread",
    type=Finite(0, 120),
    default=10.0,
    show_default=True,
    metavar="MINUTES",
    help="Send one after the other at random moments within this time, so that nobody can link your connections by the "
    "moment.",
)
_NOW = click.option("--now", is_flag=True, help="Send all at once.")


def _spread_seconds(connections: list[Connection], minutes: float, now: bool, again: str) -> float:
    """Seconds over which the acts are spread, after a line about it; 0 for one connection alone, which cannot be linked
    with another. `again` is the command that continues after Ctrl-C."""
    if now or not minutes or len(connections) < 2:
        return 0.0
    say(
        f"Telling {len(connections)} connections at random moments within {minutes:g} minutes; --now tells all at once."
    )
    say(f"Ctrl-C stops this. The next `{again}` continues it.")
    return minutes * 60


def away_day(seconds: int) -> str:
    """The date until which somebody is away."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def say_away(party: Connection) -> None:
    """Prints until when the other side is away, with the text of its notice, if it is away."""
    away = party.away_until()
    if away is None:
        return
    languages = next((note.value for note in party.notes("me") if note.key == "language" and note.known), ())
    notices = [
        cached_notice
        for cached_notice in party.cached_notices()
        if isinstance(cached_notice, AwayNotice) and cached_notice.until == away
    ]
    text = next((choose_text(notice.texts, languages) for notice in notices), None)
    say(f"  away    {party.name} is away until {away_day(away)}" + ("" if text is None else f": {text}"))


@group.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--until", type=Day(), required=True, help="The day on which you are back.")
@_SPREAD
@_NOW
@wallet_command
async def away(wallet: Wallet, names: tuple[str, ...], until: datetime, spread: float, now: bool) -> None:
    """Tell all your connections, or only these, that you are away. They see until when, and cannot reach you before.

    Connections that you have muted for longer stay muted. `back` ends the absence early.
    """
    chosen = [wallet.find_connection(name) for name in names] or wallet.connections()
    connections = [it for it in chosen if it.phase == "open"]
    wallet.end_of_absence(until.date())
    result = await wallet.go_away(
        until.date(), connections=connections, spread=_spread_seconds(connections, spread, now, "away")
    )
    for party in result.reached:
        say(f"{party.name} reads that you are away until {until:%Y-%m-%d}.")
    for party in result.skipped:
        say(f"{party.name} is already muted until then or longer, and stays so.")
    if not result.reached and not result.skipped:
        say("There is nobody to tell.")


@group.command()
@_SPREAD
@_NOW
@wallet_command
async def back(wallet: Wallet, spread: float, now: bool) -> None:
    """End your absence. Your other mutes stay."""
    over = _spread_seconds(wallet.away_connections(), spread, now, "back")
    for party in await wallet.come_back(spread=over):
        still = remaining_stops(party)
        say(f"{party.name} no longer reads that you are away.")
        for line in still:
            say(line)
    say("You are back.")
