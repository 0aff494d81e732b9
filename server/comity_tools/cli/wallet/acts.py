"""The commands of `comity wallet` that sign something in a connection."""

import json
from datetime import UTC, datetime
from typing import Any, Literal

import click

from comity.client import Connection, Favour, NameNotFound, Wallet
from comity.client.petnames import find_id
from comity_tools.cli.json_output import json_option, print_json
from comity_tools.cli.parameters import Day
from comity_tools.cli.text import plain, say, utc_time
from comity_tools.cli.wallet import sentences
from comity_tools.cli.wallet.away import away_day, say_away
from comity_tools.cli.wallet.rules import per
from comity_tools.cli.wallet.session import all_option, connection_command, narrowing_command, short_id, sync_quietly

group = click.Group()
"""These commands are added to the group `wallet`."""


# --- permissions ---


@group.command()
@click.argument("connection")
@click.argument("purposes", nargs=-1, required=True)
@click.option(
    "--channel", "channels", multiple=True, default=("app",), show_default=True, help="A channel. May be repeated."
)
@click.option("--days", default=365.0, show_default=True, help="For how many days.")
@connection_command
async def grant(
    wallet: Wallet, party: Connection, purposes: tuple[str, ...], channels: tuple[str, ...], days: float
) -> None:
    """Allow CONNECTION to contact you for PURPOSES."""
    token = await party.grant(purposes, channels, days=days)
    for line in sentences.grant_lines(party, token):
        say(line)
    say(f"The token is {short_id(token)}; `withdraw` takes it back.")


@group.command()
@click.argument("connection")
@click.argument("token")
@narrowing_command
async def withdraw(wallet: Wallet, party: Connection, token: str) -> None:
    """Take back the permission TOKEN from CONNECTION."""

    def find_token() -> str:
        return find_id([it.id for it in party.state.door(party.side).grants], token, "token of yours")

    try:
        own_token = find_token()
    except NameNotFound:
        # Another copy of this wallet may have given it.
        await sync_quietly(party)
        own_token = find_token()
    grant = next(it for it in party.state.door(party.side).grants if it.id == own_token)
    await party.withdraw(own_token)
    for line in sentences.withdrawal_lines(party, grant.purposes, grant.channels):
        say(line)


@group.command()
@click.argument("connection")
@click.option("--days", type=float, help="For how many days.")
@click.option("--hours", type=float, help="For how many hours.")
@click.option("-p", "--purpose", "purposes", multiple=True, help="Only this purpose. May be repeated.")
@click.option("--channel", "channels", multiple=True, help="Only this channel. May be repeated.")
@click.option("--show-end", is_flag=True, help="Let the other side see when the mute ends.")
@all_option
@narrowing_command
async def mute(
    wallet: Wallet,
    party: Connection,
    days: float | None,
    hours: float | None,
    purposes: tuple[str, ...],
    channels: tuple[str, ...],
    show_end: bool,
) -> None:
    """Mute CONNECTION for a while or, without --days and --hours, until `unmute`. Notices about safety, security and
    law still arrive."""
    shown: Literal["end", "not_now"] = "end" if show_end else "not_now"
    made = await party.mute(days=days, hours=hours, purposes=purposes or None, channels=channels or None, shown=shown)
    say(sentences.mute_sentence(party, made))


@group.command()
@click.argument("connection")
@connection_command
async def unmute(wallet: Wallet, party: Connection) -> None:
    """End all your mutes of CONNECTION."""
    await party.unmute()
    say(f"All your mutes of {party.name} have ended.")
    for line in sentences.remaining_stops(party):
        say(line)


@group.command()
@click.argument("connection")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@all_option
@narrowing_command
async def revoke(wallet: Wallet, party: Connection, yes: bool) -> None:
    """End CONNECTION for good, in both directions, at once."""
    if not yes:
        click.confirm(f"End the connection with {plain(party.name)} for good?", abort=True, err=True)
    await party.revoke()
    say(f"The connection with {party.name} has ended.")


# --- messages and favours ---


@group.command()
@click.argument("connection")
@click.argument("purpose")
@click.argument("text")
@click.option("--topic", help="What the message is about.")
@click.option(
    "--if-muted",
    type=click.Choice(["hold", "drop", "fail"]),
    default="hold",
    show_default=True,
    help="What to do with the message if the other side says not now.",
)
@click.option("--days", type=float, help="How many days the message may wait. Default: until their mute has ended.")
@connection_command
async def send(
    wallet: Wallet,
    party: Connection,
    purpose: str,
    text: str,
    topic: str | None,
    if_muted: Literal["hold", "drop", "fail"],
    days: float | None,
) -> None:
    """Send TEXT to CONNECTION for PURPOSE."""
    message = await party.send_message(purpose, text, topic=topic, if_muted=if_muted, days=days)
    if message.expires_at is not None:
        end = "" if message.held_until is None else f", until {utc_time(message.held_until)}"
        say(f"The message waits: not now{end}. It expires on {utc_time(message.expires_at)}.")
    else:
        say("Not now: the message was dropped." if message.outcome == "dropped" else "Delivered.")
    say_away(party)
    if message.warning is not None:
        say("Note: the message expires before their mute ends, so it will not be delivered.")


@group.command()
@click.argument("connection")
@click.argument("kind")
@click.argument("text")
@click.option(
    "--effort",
    type=click.Choice(["minute", "hour", "money"]),
    default="minute",
    show_default=True,
    help="How much the favour takes.",
)
@click.option("--in-return", help="What you offer in return.")
@connection_command
async def ask(
    wallet: Wallet,
    party: Connection,
    kind: str,
    text: str,
    effort: Literal["minute", "hour", "money"],
    in_return: str | None,
) -> None:
    """Ask CONNECTION for a favour of this KIND (hold, review, lend …)."""
    favour = await party.ask(kind, text, effort=effort, in_return=in_return)
    say(f"You asked {party.name}. The answer may be yes, no or not now, without a reason.")
    say_away(party)
    if favour.ends_before_return:
        say(f"Note: your question ends on {away_day(favour.ends_at)}, before that.")


@group.command()
@click.argument("connection")
@click.argument("word", type=click.Choice(["yes", "no", "not_now"]))
@click.argument("text", required=False)
@connection_command
async def answer(wallet: Wallet, party: Connection, word: Literal["yes", "no", "not_now"], text: str | None) -> None:
    """Answer the favour that CONNECTION asked for."""
    favour = _find_favour(party, mine=False, status="asked")
    await favour.answer(word, text)
    say(f"You said {word.replace('_', ' ')} to: {favour.text or favour.kind}")


@group.command()
@click.argument("connection")
@connection_command
async def done(wallet: Wallet, party: Connection) -> None:
    """Tell CONNECTION that you did the favour it asked for."""
    favour = _find_favour(party, mine=False, status="promised")
    await favour.mark_done()
    say(f"{party.name} can see that you did it: {favour.text or favour.kind}")


@group.command()
@click.argument("connection")
@click.argument("text", required=False)
@connection_command
async def thank(wallet: Wallet, party: Connection, text: str | None) -> None:
    """Thank CONNECTION for the favour it did."""
    favour = _find_favour(party, mine=True, status="done")
    await favour.thank(text)
    say(f"You thanked {party.name} for: {favour.text or favour.kind}")


_NO_FAVOUR = {
    "asked": "{} has asked for no favour that waits for your answer",
    "promised": "{} waits for no favour that you promised",
    "done": "{} has done no favour that waits for your thanks",
}
"""Status of a favour → that no favour has it."""


def _find_favour(party: Connection, *, mine: bool, status: str) -> Favour:
    found = [favour for favour in party.favours() if favour.is_mine == mine and favour.status == status]
    if not found:
        raise click.ClickException(_NO_FAVOUR[status].format(party.name))
    return found[-1]


# --- notes and records ---


@group.command()
@click.argument("connection")
@click.argument("key")
@click.argument("text", required=False)
@click.option("--value", help='The value of the note: a word, or JSON such as \'["de", "en"]\'.')
@click.option("--topic", help="The topic of the note, as for no_interest.")
@connection_command
async def remember(
    wallet: Wallet, party: Connection, key: str, text: str | None, value: str | None, topic: str | None
) -> None:
    """Ask CONNECTION to remember a note. KEY is language, name, receipt, no_interest …"""
    await party.remember(key, value=None if value is None else _parse_value(value), topic=topic, text=text)
    say(f"{party.name} can read your note.")


def _parse_value(typed: str) -> Any:
    """The value of a text that is JSON, else the text itself."""
    try:
        return json.loads(typed)
    except (ValueError, RecursionError):
        return typed


@group.command()
@click.argument("connection")
@click.argument("key")
@click.option("--topic", help="The topic of the note.")
@connection_command
async def forget(wallet: Wallet, party: Connection, key: str, topic: str | None) -> None:
    """Ask CONNECTION to forget your note KEY."""
    await party.forget(key, topic=topic)
    say(f"Your note is taken back: {party.name} should forget it.")


@group.command()
@click.argument("connection")
@click.argument("kind", type=click.Choice(["bought", "installed", "serviced", "complained", "put_right"]))
@click.argument("topic")
@click.option("--when", type=Day(), help="The day it happened. Default: today.")
@click.option("--lasts", type=Day(), help="The day until which no new one is needed.")
@click.option("--text", help="A text about it, which only the two of you can read.")
@connection_command
async def milestone(
    wallet: Wallet,
    party: Connection,
    kind: Literal["bought", "installed", "serviced", "complained", "put_right"],
    topic: str,
    when: datetime | None,
    lasts: datetime | None,
    text: str | None,
) -> None:
    """Record an event with CONNECTION, such as a purchase: customers get no offers for what they already have."""
    await party.record_milestone(kind, topic, when=_utc(when), lasts=_utc(lasts), text=text)
    say("Recorded for both of you.")


@group.command()
@click.argument("connection")
@click.argument("channel", type=click.Choice(["email", "phone", "post", "sms", "visit"]))
@click.argument("purpose")
@click.option("--topic", help="What the contact was about.")
@connection_command
async def contacted(wallet: Wallet, party: Connection, channel: str, purpose: str, topic: str | None) -> None:
    """Record that you contacted CONNECTION by CHANNEL, outside Comity. It counts towards the same limits."""
    verdict = await party.record_contact(channel, purpose, topic)
    say(f"Recorded. The gate would have said: {verdict.replace('_', ' ')}.")


# --- after the end ---


@group.command()
@click.argument("connection")
@click.argument("deleted", nargs=-1)
@click.option(
    "--keep",
    "kept",
    multiple=True,
    metavar="WHAT=GROUND[=YYYY-MM-DD]",
    help="Data that you keep, the legal ground, and until when. May be repeated.",
)
@click.option("--told", multiple=True, help="Another party that had the data and was informed. May be repeated.")
@connection_command
async def erasure(
    wallet: Wallet, party: Connection, deleted: tuple[Any, ...], kept: tuple[str, ...], told: tuple[str, ...]
) -> None:
    """State what happened to the data of CONNECTION after its end: what you DELETED, and what you keep.

    Example: `contact messages --keep payments=legal_obligation=2034-12-31`. A later statement replaces this one.
    """
    await party.state_erasure(deleted, kept=[_parse_kept(it) for it in kept], passed_on=told)
    say(f"Signed. {party.name} can read your statement.")


@group.command()
@click.argument("connection")
@json_option
@connection_command
async def statement(wallet: Wallet, party: Connection, as_json: bool) -> None:
    """Show what CONNECTION stated about your data: deleted, kept, and who else had it and was informed."""
    said = party.statement()
    if as_json:
        print_json(said)
        return
    if said is None:
        say(f"{party.name} has made no statement yet.")
        return
    say(f"deleted: {', '.join(said.deleted) or 'nothing'}")
    for kept in said.kept:
        until = "" if kept.until is None else f" until {datetime.fromtimestamp(kept.until, UTC):%Y-%m-%d}"
        say(f"kept: {kept.what}{until} ({kept.ground.replace('_', ' ')})")
    for name in said.passed_on:
        say(f"informed: {name}")


# --- settings that only the server sees ---


@group.command()
@click.argument("connection")
@click.option("--off", is_flag=True, help="Fetch the news of CONNECTION separately again.")
@connection_command
async def mailbox(wallet: Wallet, party: Connection, off: bool) -> None:
    """Fetch the news of CONNECTION together with others on the same server. This is faster, but the server then knows
    that they share a wallet. CONNECTION does not learn it."""
    await wallet.use_mailbox(party, on=not off)
    say(f"News of {party.name} is fetched {'separately' if off else 'through your mailbox on its server'}.")


@group.command()
@click.argument("connection")
@click.argument("zone")
@click.argument("windows", nargs=-1, metavar="[DAYS=HH:MM-HH:MM]...")
@click.option("--show-end", is_flag=True, help="Let the other side see when you can be reached again.")
@connection_command
async def hours(wallet: Wallet, party: Connection, zone: str, windows: tuple[str, ...], show_end: bool) -> None:
    """Set the hours in which CONNECTION may contact you, in the time zone ZONE: `mo,tu,we=09:00-17:30 sa=22:00-04:00`.
    Without hours: at any time.

    At other times CONNECTION only reads "not now"; with --show-end, also when you can be reached again.
    """
    shown: Literal["end", "not_now"] = "end" if show_end else "not_now"
    await party.set_hours(zone, [_parse_window(window) for window in windows], shown=shown)
    if not windows:
        say(f"{party.name} may contact you at any time.")
    elif show_end:
        say(f"{party.name} may contact you then. At other times it reads when you can be reached again.")
    else:
        say(f"{party.name} may contact you then. At other times it reads: not now, and is not told your hours.")


@group.command()
@click.argument("connection")
@click.option("--messages", metavar="N/PERIOD", help="How many messages, such as 3/week (day, week, month).")
@click.option("--asks", metavar="N/PERIOD", help="How many favours it may ask for, such as 1/month.")
@connection_command
async def budget(wallet: Wallet, party: Connection, messages: str | None, asks: str | None) -> None:
    """Limit how often CONNECTION may contact you. Without an option there is no limit."""
    await party.set_budget(messages=per(messages), asks=per(asks))
    say(sentences.limit_sentence(party))


@group.command()
@click.argument("connection")
@click.option("--again", is_flag=True, help="Also give permissions again that they gave up.")
@connection_command
async def rotate(wallet: Wallet, party: Connection, again: bool) -> None:
    """Use a new key for your side of CONNECTION. Your permissions are signed again. (A business: `key --turn`.)"""
    if wallet.did is not None:
        raise click.ClickException(
            "a business changes its key in all connections at once: `comity wallet key --next`, then `--turn`"
        )
    await party.rotate_key(again=again)
    say("Done. The old key signs nothing any more. It is stored to read older messages.")
    if party.state.door(party.side).grants:
        say(f"Your permissions are signed again{'' if again else ', without those that they gave up'}.")


def _utc(day: datetime | None) -> datetime | None:
    return None if day is None else day.replace(tzinfo=UTC)


def _parse_kept(text: str) -> Any:
    what, ground, day = [*text.split("="), "", ""][:3]
    if not day:
        return what, ground
    try:
        return what, ground, datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise click.ClickException(f"{day} is not a date: write it as 2034-12-31") from None


def _parse_window(text: str) -> tuple[list[str], str, str]:
    days, mark, times = text.partition("=")
    start, dash, end = times.partition("-")
    if not mark or not dash:
        raise click.ClickException(f"{text} is not a window of hours: write it as mo,tu=09:00-17:30")
    return days.split(","), start, end
