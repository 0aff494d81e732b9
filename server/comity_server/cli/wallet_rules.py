"""The commands of `comity wallet` about the wallet's own rules: nothing is signed or sent."""

import click

from comity.client import Wallet
from comity_server.cli.wallet_open import opened, say

rules = click.Group()
"""The commands, for the group `wallet` to take over."""


@rules.command()
@click.argument("did")
@opened
async def block(opened: Wallet, did: str) -> None:
    """Refuse further offers of the business DID; nothing is signed or sent."""
    await opened.block(did)
    say(f"Offers of {did} are refused from now on.")


@rules.command(name="accept-home-key")
@click.argument("home")
@click.argument("kid")
@opened
async def accept_home_key(opened: Wallet, home: str, kid: str) -> None:
    """Go on with the key KID of the home server HOME, which said that its key was lost or stolen.

    Ask whoever runs the server first, by another way than the server itself: nobody else vouches for the new key.
    """
    await opened.accept_home_key(home, kid)
    say(f"{kid} is the key of {home} from now on.")


@rules.command()
@click.argument("purpose", required=False)
@click.option("--channel", "channels", multiple=True, default=("app",), show_default=True)
@click.option("--days", default=365, show_default=True)
@click.option("--budget", "rate", metavar="N/PERIOD", help="How often, as in 2/month.")
@click.option("--none", "nothing", is_flag=True, help="Suggest nothing for it.")
@opened
async def defaults(
    opened: Wallet, purpose: str | None, channels: tuple[str, ...], days: int, rate: str | None, nothing: bool
) -> None:
    """Show what is suggested when you accept an offer, or change it for one class: PURPOSE (care, sales, favour …)."""
    if purpose is not None:
        limits = {"channels": list(channels), "days": days, "budget": per(rate)}
        chosen = {name: value for name, value in limits.items() if value is not None}
        await opened.set_default(purpose, None if nothing else chosen)
    for root, default in opened.defaults().items():
        if default is None:
            say(f"{root}: nothing")
            continue
        often = "as often as they like" if default.get("budget") is None else "{} a {}".format(*default["budget"])
        say(f"{root}: by {', '.join(default['channels'])}, {often}, for {default['days']} days")


def per(text: str | None) -> tuple[int, str] | None:
    """The budget in a text as `3/week`. Raises ClickException."""
    number, mark, period = (text or "").partition("/")
    if text is None:
        return None
    if not mark or not number.isascii() or not number.isdigit():
        raise click.ClickException(f"{text} is not a budget: write it as 3/week")
    return int(number), period
