"""The commands of `comity wallet` that sign something in a connection."""

from typing import Any, Literal

import click

from comity.client import Party, Wallet
from comity_server.cli.wallet_open import connected, opened, say

acts = click.Group()
"""The commands, for the group `wallet` to take over."""


# --- the door ---


@acts.command()
@click.argument("connection")
@click.argument("purposes", nargs=-1, required=True)
@click.option("--channel", "channels", multiple=True, default=("app",), show_default=True)
@click.option("--days", default=365.0, show_default=True)
@connected
async def grant(
    opened: Wallet, party: Party, purposes: tuple[str, ...], channels: tuple[str, ...], days: float
) -> None:
    """Allow CONNECTION to come for PURPOSES."""
    token = await party.grant(purposes, channels, days=days)
    say(f"{party.name} may come for {', '.join(purposes)} by {', '.join(channels)}.")
    say(f"The token is {token[:12]}; `withdraw` takes it back.")


@acts.command()
@click.argument("connection")
@click.argument("token")
@connected
async def withdraw(opened: Wallet, party: Party, token: str) -> None:
    """Take TOKEN back from CONNECTION."""
    mine = [it.id for it in party.state.door(party.side).grants if it.id.startswith(token)]
    if len(mine) != 1:
        raise click.ClickException(f"no token of yours is called {token}")
    await party.withdraw(mine[0])
    say(f"Taken back: {party.name} may no longer come for that.")


@acts.command()
@click.argument("connection")
@click.option("--days", type=float)
@click.option("--hours", type=float)
@click.option("-p", "--purpose", "purposes", multiple=True, help="Only this purpose.")
@click.option("--channel", "channels", multiple=True, help="Only this channel.")
@click.option("--show-end", is_flag=True, help="Let the other side see when it ends.")
@connected
async def mute(
    opened: Wallet,
    party: Party,
    days: float | None,
    hours: float | None,
    purposes: tuple[str, ...],
    channels: tuple[str, ...],
    show_end: bool,
) -> None:
    """Stop CONNECTION for a while, or, without an end, until `unmute`."""
    shown: Literal["end", "not_now"] = "end" if show_end else "not_now"
    await party.mute(days=days, hours=hours, purposes=purposes or None, channels=channels or None, shown=shown)
    say(f"{party.name} is muted and told: not now.")


@acts.command()
@click.argument("connection")
@connected
async def unmute(opened: Wallet, party: Party) -> None:
    """Let CONNECTION reach you again."""
    await party.unmute()
    say(f"{party.name} may reach you again.")


@acts.command()
@click.argument("connection")
@click.option("--days", type=float)
@click.option("--hours", type=float)
@connected
async def snooze(opened: Wallet, party: Party, days: float | None, hours: float | None) -> None:
    """Keep quiet about CONNECTION; nothing is signed or sent, messages arrive quietly."""
    await party.snooze(days=days, hours=hours)
    say(f"Your wallet keeps quiet about {party.name}. E-mail, phone and post go on: only a mute stops those.")


@acts.command()
@click.argument("connection")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@connected
async def revoke(opened: Wallet, party: Party, yes: bool) -> None:
    """End CONNECTION, for good, both ways, at once."""
    if not yes:
        click.confirm(f"End the connection with {party.name} for good?", abort=True, err=True)
    await party.revoke()
    say(f"The connection with {party.name} has ended.")


@acts.command()
@click.argument("did")
@opened
async def block(opened: Wallet, did: str) -> None:
    """Refuse further offers of the business DID; nothing is signed or sent."""
    await opened.block(did)
    say(f"Offers of {did} are refused from now on.")


# --- words and favours ---


@acts.command()
@click.argument("connection")
@click.argument("purpose")
@click.argument("text")
@click.option("--topic")
@click.option("--if-muted", type=click.Choice(["hold", "drop", "fail"]), default="hold", show_default=True)
@connected
async def send(
    opened: Wallet,
    party: Party,
    purpose: str,
    text: str,
    topic: str | None,
    if_muted: Literal["hold", "drop", "fail"],
) -> None:
    """Write TEXT to CONNECTION, for PURPOSE."""
    message = await party.message(purpose, text, topic=topic, if_muted=if_muted)
    told = {"held": "It waits: not now.", "dropped": "Not now, so it was dropped."}
    say(told.get(message.outcome, "Delivered."))


@acts.command()
@click.argument("connection")
@click.argument("kind")
@click.argument("text")
@click.option("--effort", type=click.Choice(["minute", "hour", "money"]), default="minute", show_default=True)
@click.option("--in-return", help="What you offer in return.")
@connected
async def ask(
    opened: Wallet,
    party: Party,
    kind: str,
    text: str,
    effort: Literal["minute", "hour", "money"],
    in_return: str | None,
) -> None:
    """Ask CONNECTION a favour of some KIND (hold, review, lend …)."""
    await party.ask(kind, text, effort=effort, in_return=in_return)
    say(f"You asked {party.name}. It may say yes, no or not now, and needs no reason.")


@acts.command()
@click.argument("connection")
@click.argument("word", type=click.Choice(["yes", "no", "not_now"]))
@click.argument("text", required=False)
@connected
async def answer(opened: Wallet, party: Party, word: Literal["yes", "no", "not_now"], text: str | None) -> None:
    """Answer what CONNECTION asked."""
    favour = _favour(party, mine=False, status="asked")
    await favour.answer(word, text)
    say(f"You said {word.replace('_', ' ')}.")


@acts.command()
@click.argument("connection")
@connected
async def done(opened: Wallet, party: Party) -> None:
    """Say that the favour CONNECTION asked for is done."""
    await _favour(party, mine=False, status="promised").done()
    say("Done: the other side knows.")


@acts.command()
@click.argument("connection")
@click.argument("text", required=False)
@connected
async def thank(opened: Wallet, party: Party, text: str | None) -> None:
    """Thank CONNECTION for the favour it did."""
    await _favour(party, mine=True, status="done").thank(text)
    say(f"You thanked {party.name}.")


def _favour(party: Party, *, mine: bool, status: str) -> Any:
    found = [it for it in party.favours() if it.mine == mine and it.status == status]
    if not found:
        raise click.ClickException(f"no favour of {party.name} is in that state")
    return found[-1]
