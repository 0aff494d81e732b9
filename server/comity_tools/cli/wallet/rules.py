"""The commands of `comity wallet` about the wallet's own rules: nothing is signed or sent."""

import click

from comity.client import AmbiguousName, Wallet
from comity.client.session import fold_host
from comity.crypto.keys import is_did
from comity_tools.cli.json_output import json_option, print_json
from comity_tools.cli.text import say, utc_time
from comity_tools.cli.wallet.json_output import party_value
from comity_tools.cli.wallet.session import short_id, wallet_command

group = click.Group()
"""These commands are added to the group `wallet`."""


@group.command()
@click.argument("business")
@wallet_command
async def block(wallet: Wallet, business: str) -> None:
    """Refuse new offers from BUSINESS (a DID, or the name of a connection with it). Nothing is signed or sent."""
    did, name = _business(wallet, business)
    await wallet.block(did)
    say(f"Offers from {name} are refused from now on.")
    going_on = wallet.connections_with(did)
    for party in going_on:
        which = short_id(party.cid)
        ends = f"take-back {which}" if party.phase == "proposed" else f"revoke --all {did}"
        say(f"Note: your connection with it stays: {party.name} ({which}, {party.phase}). `{ends}` ends it.")


@group.command()
@click.argument("business")
@wallet_command
async def unblock(wallet: Wallet, business: str) -> None:
    """Accept offers from BUSINESS again."""
    did, name = _business(wallet, business)
    was_blocked = await wallet.unblock(did)
    say(f"Offers from {name} reach you again." if was_blocked else f"Offers from {name} were not refused.")


def _business(wallet: Wallet, typed: str) -> tuple[str, str]:
    """(DID, name for people) of a business. Raises NotNamed, SeveralNamed."""
    if is_did(did := fold_host(typed)):
        return did, did
    try:
        party = wallet.find_connection(typed)
    except AmbiguousName as several:
        found = [wallet.connection(cid) for cid in several.cids]
        if not found or len({it.did for it in found}) > 1:
            raise
        party = found[0]
    return party.did, f"{party.name} ({party.did})"


@group.command()
@json_option
@wallet_command
async def blocks(wallet: Wallet, as_json: bool) -> None:
    """List the businesses whose offers are refused."""
    found = wallet.blocks()
    if as_json:
        print_json(found)
        return
    for blocked in found:
        names = sorted({party.name for party in wallet.connections() if party.did == blocked.did})
        say(f"{blocked.did}  since {utc_time(blocked.at // 1000)}" + (f"  {', '.join(names)}" if names else ""))
    if not found:
        say("No business is blocked.")


@group.command()
@click.argument("connection")
@click.option("--days", type=float, help="For how many days.")
@click.option("--hours", type=float, help="For how many hours.")
@wallet_command
async def snooze(wallet: Wallet, connection: str, days: float | None, hours: float | None) -> None:
    """Snooze CONNECTION for a while (default: a day): messages arrive quietly, and the other side does not notice.

    Nothing is signed or sent.
    """
    party = wallet.find_connection(connection)
    await party.snooze(days=days, hours=hours)
    if (until := party.snoozed_until()) is not None:
        say(f"{party.name} is snoozed until {utc_time(until)}; `wake` ends it.")
    say("E-mail, phone and post are not stopped: only a mute does that.")


@group.command()
@click.argument("connection")
@wallet_command
async def wake(wallet: Wallet, connection: str) -> None:
    """End the snooze of CONNECTION."""
    party = wallet.find_connection(connection)
    was_snoozed = party.snoozed_until() is not None
    await party.end_snooze()
    say(f"{party.name} is no longer snoozed." if was_snoozed else f"{party.name} was not snoozed.")


@group.command()
@json_option
@wallet_command
async def snoozes(wallet: Wallet, as_json: bool) -> None:
    """List the snoozed connections."""
    if as_json:
        print_json(
            [party_value(connection) for connection in wallet.connections() if connection.snoozed_until() is not None]
        )
        return
    found = [
        (connection, until) for connection in wallet.connections() if (until := connection.snoozed_until()) is not None
    ]
    for party, until in found:
        say(f"{short_id(party.cid)}  until {utc_time(until)}  {party.name}")
    if not found:
        say("Nothing is snoozed.")


@group.command(name="accept-home-key")
@click.argument("home")
@click.argument("kid")
@wallet_command
async def accept_home_key(wallet: Wallet, home: str, kid: str) -> None:
    """Accept the new key KID of the home server HOME, whose old key was lost or stolen.

    First ask the operator of the server, and not through the server itself: nobody else vouches for the new key.
    """
    await wallet.accept_server_key(home, kid)
    say(f"{kid} is the key of {home} from now on.")


@group.command()
@click.argument("purpose", required=False)
@click.option("--channel", "channels", multiple=True, show_default="app", help="A channel. May be repeated.")
@click.option("--days", type=int, show_default="365", help="For how many days.")
@click.option("--budget", "rate", metavar="N/PERIOD", help="How often, such as 2/month.")
@click.option("--none", "nothing", is_flag=True, help="Suggest nothing for it.")
@json_option
@wallet_command
async def defaults(
    wallet: Wallet,
    purpose: str | None,
    channels: tuple[str, ...],
    days: int | None,
    rate: str | None,
    nothing: bool,
    as_json: bool,
) -> None:
    """Show what is suggested when you accept an offer: for all classes of purposes, or for one (care, sales, favour …).

    With --channel, --days, --budget or --none, change the suggestion for PURPOSE.
    """
    changes = bool(channels or days is not None or rate is not None or nothing)
    if changes and purpose is None:
        raise click.UsageError("a suggestion is for one PURPOSE: name it first")
    if changes and purpose is not None:
        limits = {"channels": list(channels or ("app",)), "days": 365 if days is None else days, "budget": per(rate)}
        chosen = {name: value for name, value in limits.items() if value is not None}
        await wallet.set_default(purpose, None if nothing else chosen)
    found = wallet.defaults()
    if purpose is not None and not changes:
        # Nothing is suggested for a class that was never set.
        found = {purpose: found.get(purpose)}
    if as_json:
        print_json(found)
        return
    for root, default in found.items():
        if default is None:
            say(f"{root}: nothing")
            continue
        often = "as often as they like" if default.get("budget") is None else "{} a {}".format(*default["budget"])
        say(f"{root}: by {', '.join(default['channels'])}, {often}, for {default['days']} days")


def per(text: str | None) -> tuple[int, str] | None:
    """The budget in a text such as `3/week`. Raises ClickException."""
    number, mark, period = (text or "").partition("/")
    if text is None:
        return None
    if not mark or not number.isascii() or not number.isdigit() or len(number) > 9:
        raise click.ClickException(f"{text} is not a limit: write it as 3/week")
    return int(number), period
