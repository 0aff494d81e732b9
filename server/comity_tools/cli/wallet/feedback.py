"""`comity wallet feedback`, `contests` and `renounce`."""

import sys
from datetime import UTC, datetime
from typing import get_args

import click

from comity.client import Party, Wallet
from comity.client.connection import feedback as opinion
from comity.client.connection.feedback import Because, Says, contest_line
from comity.client.petnames import id_named
from comity.documents.types import other
from comity_tools.cli.json_output import json_option, say_json
from comity_tools.cli.wallet.rules import per
from comity_tools.cli.wallet.session import connected, say

feedback_commands = click.Group()
"""The commands, for the group `wallet` to take over."""


@feedback_commands.command()
@click.argument("connection")
@click.argument("message")
@click.argument("word", type=click.Choice(get_args(Says)))
@click.option("--as", "as_", metavar="PURPOSE", help="With mislabelled: what it really was, as in sales.")
@click.option("--topic", help="With mislabelled: what it was really about.")
@click.option("--limit", metavar="N/PERIOD", help="With too_often: how often they may come, as in 2/month.")
@click.option("--also", is_flag=True, help="Do what is offered beside it, too.")
@connected
async def feedback(
    opened: Wallet,
    party: Party,
    message: str,
    word: Says,
    as_: str | None,
    topic: str | None,
    limit: str | None,
    also: bool,
) -> None:
    """Say how MESSAGE of CONNECTION was (its id, as `messages` shows it); the last word counts.

    `mislabelled --as sales` contests it: what calls itself so may come only if the other may come, too.
    """
    named, rate = _named(party, message), per(limit)
    for sentence in party.what_it_does(named, word, as_, topic):
        say(sentence)
    await party.feedback(named, word, as_=as_, topic=topic)
    say("Said.")
    await _offer_more(party, named, word, rate, also)


def _named(party: Party, typed: str) -> str:
    """The message, or contact, of the other side that was typed. Raises NotNamed, SeveralNamed."""
    ids = [line.act.id for line in party.lines if line.act is not None and line.act.kind in ("message", "contacted")]
    return id_named(ids, typed, "message")


async def _offer_more(party: Party, message: str, word: str, rate: tuple[int, str] | None, also: bool) -> None:
    """What belongs to the word and is another act; done only where the person says yes."""
    about = opinion.reached(party, message).topic
    if word == "too_often":
        if rate is not None:
            await party.budget(messages=rate, asks=_asks(party))
            say(f"At most {rate[0]} a {rate[1]} from now on. {party.name} is told no more than “not now”.")
        else:
            say("You can say how often they may come: `budget`, as in --messages 2/month. They do not learn it.")
    elif word == "not_interested" and about is not None:
        if _says_yes(f"Have {party.name} remember that {about} is of no interest to you?", also):
            await party.remember("no_interest", topic=about)
            say(f"{party.name} can read it: no {about}.")
    elif word == "mislabelled" and (near := opinion.near_topic(party, message)) is not None:
        await _offer_note(party, near, also)


async def _offer_note(party: Party, topic: str, also: bool) -> None:
    if _says_yes(f"Do you have {topic} from {party.name}? Note that?", also):
        await party.milestone("bought", topic)
        say("Noted, for both of you: nobody sells you that.")


def _asks(party: Party) -> tuple[int, str] | None:
    """The limit on asks that is set: another one on messages must not take it away."""
    asks = party.state.door(party.side).settings.asks
    periods = {86_400: "day", 604_800: "week", 2_592_000: "month"}
    return None if asks is None else (asks.max, periods[asks.seconds])


def _says_yes(question: str, also: bool) -> bool:
    """Yes by the option, or typed; where nobody can be asked, the question is printed, and the answer is no."""
    if also:
        return True
    if sys.stdin.isatty():
        return click.confirm(question, default=False, err=True)
    say(f"{question} With --also that is done, too.")
    return False


@feedback_commands.command()
@click.argument("connection")
@json_option
@connected
async def contests(opened: Wallet, party: Party, as_json: bool) -> None:
    """Show which messages between you and CONNECTION were something else than they said."""
    if as_json:
        say_json(party.contests())
        return
    found = contest_lines(party)
    for line in found:
        say(line)
    if not found:
        say("Nothing is contested.")


def contest_lines(party: Party) -> list[str]:
    """The contests in force, in words."""
    return [
        f"{'you' if it.by == 'me' else party.name}: {contest_line(it)}, "
        f"until {datetime.fromtimestamp(it.until, UTC):%Y-%m-%d}"
        for it in party.contests()
    ]


def given_up_lines(party: Party) -> list[str]:
    """What either side gave up of what the other allowed it, in words."""
    found = []
    for mine in (True, False):
        side = party.side if mine else other(party.side)
        for it in party.state.door(side).renounced:
            scope = " by ".join(", ".join(words) for words in (it.purposes, it.channels) if words) or "everything"
            who = f"you gave up {party.name}'s" if mine else f"{party.name} gave up your"
            found.append(f"{who} consent: {scope}")
    return found


@feedback_commands.command()
@click.argument("connection")
@click.argument("tokens", nargs=-1)
@click.option("--because", type=click.Choice(get_args(Because)), default="not_needed", show_default=True)
@click.option("-p", "--purpose", "purposes", multiple=True, help="Only this purpose.")
@click.option("--channel", "channels", multiple=True, help="Only this channel.")
@connected
async def renounce(
    opened: Wallet,
    party: Party,
    tokens: tuple[str, ...],
    because: Because,
    purposes: tuple[str, ...],
    channels: tuple[str, ...],
) -> None:
    """Give up what CONNECTION allowed you: all of it, or these TOKENS; only a new permission opens that again."""
    theirs = [it.id for it in party.state.door(other(party.side)).grants]
    named = [id_named(theirs, typed, "token of theirs") for typed in tokens] if tokens else None
    await party.renounce(because, named, purposes=purposes or None, channels=channels or None)
    say(f"You gave that up. {party.name} sees it, and can allow it again.")
