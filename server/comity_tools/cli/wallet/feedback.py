"""`comity wallet feedback`, `contests` and `renounce`."""

import sys
from datetime import UTC, datetime
from typing import get_args

import click

from comity.client import Connection, Wallet
from comity.client.connection import feedback as opinion
from comity.client.connection.feedback import Because, Says, describe_contest
from comity.client.petnames import find_id
from comity.documents.types import other
from comity_tools.cli.json_output import json_option, print_json
from comity_tools.cli.text import say
from comity_tools.cli.wallet.rules import per
from comity_tools.cli.wallet.session import connection_command

group = click.Group()
"""These commands are added to the group `wallet`."""


@group.command()
@click.argument("connection")
@click.argument("message")
@click.argument("word", type=click.Choice(get_args(Says)))
@click.option("--as", "as_", metavar="PURPOSE", help="With mislabelled: the real purpose, such as sales.")
@click.option("--topic", help="With mislabelled: the real topic.")
@click.option("--limit", metavar="N/PERIOD", help="With too_often: the new limit on messages, such as 2/month.")
@click.option("--also", is_flag=True, help="Also do what the command suggests, without asking.")
@connection_command
async def feedback(
    wallet: Wallet,
    party: Connection,
    message: str,
    word: Says,
    as_: str | None,
    topic: str | None,
    limit: str | None,
    also: bool,
) -> None:
    """Give feedback on MESSAGE of CONNECTION (its id, as `messages` shows it). The last feedback counts.

    `mislabelled --as sales` contests the message: others with its purpose then arrive only if sales may arrive too.
    """
    message_id, rate = _find_message(party, message), per(limit)
    for sentence in party.explain_feedback(message_id, word, as_, topic):
        say(sentence)
    await party.give_feedback(message_id, word, as_=as_, topic=topic)
    say("Feedback given.")
    await _suggest_act(party, message_id, word, rate, also)


def _find_message(party: Connection, typed: str) -> str:
    """The id of the message, or contact, that `typed` names. Raises NotNamed, SeveralNamed."""
    ids = [line.act.id for line in party.records if line.act is not None and line.act.kind in ("message", "contacted")]
    return find_id(ids, typed, "message")


async def _suggest_act(party: Connection, message: str, word: str, rate: tuple[int, str] | None, also: bool) -> None:
    """Suggests the act that goes with the feedback, and does it if the person says yes."""
    about = opinion.find_reached_message(party, message).topic
    if word == "too_often":
        if rate is not None:
            await party.set_budget(messages=rate, asks=_current_ask_limit(party))
            say(f"At most {rate[0]} a {rate[1]} from now on. {party.name} only reads “not now”.")
        else:
            say("You can limit their messages with `budget`, such as --messages 2/month. They do not see the limit.")
    elif word == "not_interested" and about is not None:
        if _confirm(f"Tell {party.name} that {about} does not interest you?", also):
            await party.remember("no_interest", topic=about)
            say(f"{party.name} can read your note: no interest in {about}.")
    elif word == "mislabelled" and (near := opinion.suggest_topic(party, message)) is not None:
        await _suggest_milestone(party, near, also)


async def _suggest_milestone(party: Connection, topic: str, also: bool) -> None:
    if _confirm(f"Do you have {topic} from {party.name}? Record that?", also):
        await party.record_milestone("bought", topic)
        say("Recorded for both of you: you get no offers for it.")


def _current_ask_limit(party: Connection) -> tuple[int, str] | None:
    """The limit on asks in force: a new limit on messages must not remove it."""
    asks = party.state.door(party.side).settings.asks
    periods = {86_400: "day", 604_800: "week", 2_592_000: "month"}
    return None if asks is None else (asks.max, periods[asks.seconds])


def _confirm(question: str, also: bool) -> bool:
    """True with the option, or if the person types yes. Without a terminal the question is printed, and the answer is
    no."""
    if also:
        return True
    if sys.stdin.isatty():
        return click.confirm(question, default=False, err=True)
    say(f"{question} To do it, use --also.")
    return False


@group.command()
@click.argument("connection")
@json_option
@connection_command
async def contests(wallet: Wallet, party: Connection, as_json: bool) -> None:
    """Show which messages between you and CONNECTION are contested as mislabelled."""
    if as_json:
        print_json(party.contests())
        return
    found = contest_lines(party)
    for line in found:
        say(line)
    if not found:
        say("Nothing is contested.")


def contest_lines(party: Connection) -> list[str]:
    """The contests in force, in words."""
    return [
        f"{'you' if contest.by == 'me' else party.name}: {describe_contest(contest)}, "
        f"until {datetime.fromtimestamp(contest.until, UTC):%Y-%m-%d}"
        for contest in party.contests()
    ]


def renunciation_lines(party: Connection) -> list[str]:
    """The permissions that either side gave up, in words."""
    found = []
    for mine in (True, False):
        side = party.side if mine else other(party.side)
        for it in party.state.door(side).renounced:
            scope = " by ".join(", ".join(words) for words in (it.purposes, it.channels) if words) or "everything"
            who = f"you gave up {party.name}'s" if mine else f"{party.name} gave up your"
            found.append(f"{who} consent: {scope}")
    return found


@group.command()
@click.argument("connection")
@click.argument("tokens", nargs=-1)
@click.option(
    "--because", type=click.Choice(get_args(Because)), default="not_needed", show_default=True, help="The reason."
)
@click.option("-p", "--purpose", "purposes", multiple=True, help="Only this purpose. May be repeated.")
@click.option("--channel", "channels", multiple=True, help="Only this channel. May be repeated.")
@connection_command
async def renounce(
    wallet: Wallet,
    party: Connection,
    tokens: tuple[str, ...],
    because: Because,
    purposes: tuple[str, ...],
    channels: tuple[str, ...],
) -> None:
    """Give up what CONNECTION allowed you: everything, or these TOKENS. Only CONNECTION can allow it again."""
    theirs = [grant.id for grant in party.state.door(other(party.side)).grants]
    token_ids = [find_id(theirs, typed, "token of theirs") for typed in tokens] if tokens else None
    await party.renounce(because, token_ids, purposes=purposes or None, channels=channels or None)
    say(f"You gave that up. {party.name} sees it and can allow it again.")
