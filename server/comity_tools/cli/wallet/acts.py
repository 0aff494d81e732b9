"""The commands of `comity wallet` that sign something in a connection."""

import json
from datetime import UTC, datetime
from typing import Any, Literal

import click

from comity.client import NotNamed, Party, Wallet
from comity.client.petnames import id_named
from comity_tools.cli.json_output import json_option, say_json
from comity_tools.cli.parameters import Day
from comity_tools.cli.wallet import sentences
from comity_tools.cli.wallet.away import away_day, say_away
from comity_tools.cli.wallet.rules import per
from comity_tools.cli.wallet.session import all_option, connected, day, plain, say, says_no, short, synced

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
    for line in sentences.allowed(party, token):
        say(line)
    say(f"The token is {short(token)}; `withdraw` takes it back.")


@acts.command()
@click.argument("connection")
@click.argument("token")
@says_no
async def withdraw(opened: Wallet, party: Party, token: str) -> None:
    """Take TOKEN back from CONNECTION."""

    def named() -> str:
        return id_named([it.id for it in party.state.door(party.side).grants], token, "token of yours")

    try:
        mine = named()
    except NotNamed:
        # Another copy of this wallet may have given it.
        await synced(party)
        mine = named()
    grant = next(it for it in party.state.door(party.side).grants if it.id == mine)
    await party.withdraw(mine)
    for line in sentences.taken_back(party, grant.purposes, grant.channels):
        say(line)


@acts.command()
@click.argument("connection")
@click.option("--days", type=float)
@click.option("--hours", type=float)
@click.option("-p", "--purpose", "purposes", multiple=True, help="Only this purpose.")
@click.option("--channel", "channels", multiple=True, help="Only this channel.")
@click.option("--show-end", is_flag=True, help="Let the other side see when it ends.")
@all_option
@says_no
async def mute(
    opened: Wallet,
    party: Party,
    days: float | None,
    hours: float | None,
    purposes: tuple[str, ...],
    channels: tuple[str, ...],
    show_end: bool,
) -> None:
    """Stop CONNECTION for a while, or, without an end, until `unmute`. Notices of safety, security and law come all the
    same."""
    shown: Literal["end", "not_now"] = "end" if show_end else "not_now"
    made = await party.mute(days=days, hours=hours, purposes=purposes or None, channels=channels or None, shown=shown)
    say(sentences.muted(party, made))


@acts.command()
@click.argument("connection")
@connected
async def unmute(opened: Wallet, party: Party) -> None:
    """Take back all mutes of CONNECTION."""
    await party.unmute()
    say(f"No mute of yours stops {party.name} any more.")
    for line in sentences.muted_still(party):
        say(line)


@acts.command()
@click.argument("connection")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@all_option
@says_no
async def revoke(opened: Wallet, party: Party, yes: bool) -> None:
    """End CONNECTION, for good, both ways, at once."""
    if not yes:
        click.confirm(f"End the connection with {plain(party.name)} for good?", abort=True, err=True)
    await party.revoke()
    say(f"The connection with {party.name} has ended.")


# --- words and favours ---


@acts.command()
@click.argument("connection")
@click.argument("purpose")
@click.argument("text")
@click.option("--topic")
@click.option("--if-muted", type=click.Choice(["hold", "drop", "fail"]), default="hold", show_default=True)
@click.option("--days", type=float, help="How long it waits at most; where none is given, until after their quiet.")
@connected
async def send(
    opened: Wallet,
    party: Party,
    purpose: str,
    text: str,
    topic: str | None,
    if_muted: Literal["hold", "drop", "fail"],
    days: float | None,
) -> None:
    """Write TEXT to CONNECTION, for PURPOSE."""
    message = await party.message(purpose, text, topic=topic, if_muted=if_muted, days=days)
    if message.expires_at is not None:
        end = "" if message.held_until is None else f", until {day(message.held_until)}"
        say(f"It waits: not now{end}. It expires on {day(message.expires_at)}.")
    else:
        say("Not now, so it was dropped." if message.outcome == "dropped" else "Delivered.")
    say_away(party)
    if message.warning is not None:
        say("Mind: it expires before the end that they show, so it will not be delivered.")


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
    favour = await party.ask(kind, text, effort=effort, in_return=in_return)
    say(f"You asked {party.name}. It may say yes, no or not now, and needs no reason.")
    say_away(party)
    if favour.ends_before_return:
        say(f"Mind: your ask ends on {away_day(favour.ends_at)}, before that.")


@acts.command()
@click.argument("connection")
@click.argument("word", type=click.Choice(["yes", "no", "not_now"]))
@click.argument("text", required=False)
@connected
async def answer(opened: Wallet, party: Party, word: Literal["yes", "no", "not_now"], text: str | None) -> None:
    """Answer what CONNECTION asked."""
    favour = _favour(party, mine=False, status="asked")
    await favour.answer(word, text)
    say(f"You said {word.replace('_', ' ')} to: {favour.text or favour.kind}")


@acts.command()
@click.argument("connection")
@connected
async def done(opened: Wallet, party: Party) -> None:
    """Say that the favour CONNECTION asked for is done."""
    favour = _favour(party, mine=False, status="promised")
    await favour.done()
    say(f"{party.name} can read that you did it: {favour.text or favour.kind}")


@acts.command()
@click.argument("connection")
@click.argument("text", required=False)
@connected
async def thank(opened: Wallet, party: Party, text: str | None) -> None:
    """Thank CONNECTION for the favour it did."""
    favour = _favour(party, mine=True, status="done")
    await favour.thank(text)
    say(f"You thanked {party.name} for: {favour.text or favour.kind}")


_NO_FAVOUR = {
    "asked": "{} asks nothing that waits for an answer",
    "promised": "{} waits for nothing that you promised",
    "done": "{} has done nothing for which it was not thanked",
}
"""Of each state, that no favour is in it."""


def _favour(party: Party, *, mine: bool, status: str) -> Any:
    found = [it for it in party.favours() if it.mine == mine and it.status == status]
    if not found:
        raise click.ClickException(_NO_FAVOUR[status].format(party.name))
    return found[-1]


# --- what is between the two ---


@acts.command()
@click.argument("connection")
@click.argument("key")
@click.argument("text", required=False)
@click.option("--value", help='What is to be remembered: a word, or JSON as in \'["de", "en"]\'.')
@click.option("--topic", help="What it is about, as in no_interest.")
@connected
async def remember(
    opened: Wallet, party: Party, key: str, text: str | None, value: str | None, topic: str | None
) -> None:
    """Have CONNECTION remember a little thing: language, name, receipt, no_interest …"""
    await party.remember(key, value=None if value is None else _value(value), topic=topic, text=text)
    say(f"{party.name} can read it, and is to remember it.")


def _value(typed: str) -> Any:
    """JSON where it is some, else the text itself."""
    try:
        return json.loads(typed)
    except (ValueError, RecursionError):
        return typed


@acts.command()
@click.argument("connection")
@click.argument("key")
@click.option("--topic")
@connected
async def forget(opened: Wallet, party: Party, key: str, topic: str | None) -> None:
    """Take back what CONNECTION was to remember under KEY."""
    await party.forget(key, topic=topic)
    say(f"Taken back: {party.name} is to forget it.")


@acts.command()
@click.argument("connection")
@click.argument("kind", type=click.Choice(["bought", "installed", "serviced", "complained", "put_right"]))
@click.argument("topic")
@click.option("--when", type=Day(), help="The day it happened; today where none is given.")
@click.option("--lasts", type=Day(), help="Until when nobody needs another one.")
@click.option("--text", help="More about it, for the two of you.")
@connected
async def milestone(
    opened: Wallet,
    party: Party,
    kind: Literal["bought", "installed", "serviced", "complained", "put_right"],
    topic: str,
    when: datetime | None,
    lasts: datetime | None,
    text: str | None,
) -> None:
    """Note what happened with CONNECTION: nobody is sold what she already has."""
    await party.milestone(kind, topic, when=_utc(when), lasts=_utc(lasts), text=text)
    say("Noted, for both of you.")


@acts.command()
@click.argument("connection")
@click.argument("channel", type=click.Choice(["email", "phone", "post", "sms", "visit"]))
@click.argument("purpose")
@click.option("--topic")
@connected
async def contacted(opened: Wallet, party: Party, channel: str, purpose: str, topic: str | None) -> None:
    """Say that you reached CONNECTION outside, by CHANNEL; it counts against the same budgets."""
    verdict = await party.contacted(channel, purpose, topic)
    say(f"Recorded. The gate would have said: {verdict.replace('_', ' ')}.")


# --- after the end ---


@acts.command()
@click.argument("connection")
@click.argument("deleted", nargs=-1)
@click.option(
    "--keep", "kept", multiple=True, metavar="WHAT=GROUND[=YYYY-MM-DD]", help="What is kept, why, until when."
)
@click.option("--told", multiple=True, help="Who else had the data, and was told.")
@connected
async def erasure(
    opened: Wallet, party: Party, deleted: tuple[Any, ...], kept: tuple[str, ...], told: tuple[str, ...]
) -> None:
    """Say what became of what you knew of CONNECTION, which has ended: what you DELETED, and what you keep.

    As in `contact messages --keep payments=legal_obligation=2034-12-31`. A later statement takes its place.
    """
    await party.erasure(deleted, kept=[_kept(it) for it in kept], passed_on=told)
    say(f"Signed: {party.name} can read what you said.")


@acts.command()
@click.argument("connection")
@json_option
@connected
async def statement(opened: Wallet, party: Party, as_json: bool) -> None:
    """Show what CONNECTION said became of your data, and who else had it and was told."""
    said = party.statement()
    if as_json:
        say_json(said)
        return
    if said is None:
        say(f"{party.name} has said nothing of it yet.")
        return
    say(f"deleted: {', '.join(said.deleted) or 'nothing'}")
    for it in said.kept:
        until = "" if it.until is None else f" until {datetime.fromtimestamp(it.until, UTC):%Y-%m-%d}"
        say(f"kept: {it.what}{until} ({it.ground.replace('_', ' ')})")
    for name in said.passed_on:
        say(f"told: {name}")


# --- what stays between you and the server ---


@acts.command()
@click.argument("connection")
@click.option("--off", is_flag=True, help="Ask for its news by its own key again.")
@connected
async def mailbox(opened: Wallet, party: Party, off: bool) -> None:
    """Let one stream bring the news of CONNECTION and of others on its server: faster, and the server knows then that
    they share a wallet. CONNECTION does not."""
    await opened.use_mailbox(party, on=not off)
    say(f"News of {party.name} come {'by themselves' if off else 'through your mailbox on its server'}.")


@acts.command()
@click.argument("connection")
@click.argument("zone")
@click.argument("windows", nargs=-1, metavar="[DAYS=HH:MM-HH:MM]...")
@click.option("--show-end", is_flag=True, help="Let the other side read when you can be reached again.")
@connected
async def hours(opened: Wallet, party: Party, zone: str, windows: tuple[str, ...], show_end: bool) -> None:
    """Say when CONNECTION may come, by the clock of ZONE: `mo,tu,we=09:00-17:30 sa=22:00-04:00`; none: at any time.

    CONNECTION is told no more than "not now"; with --show-end, when it can reach you again.
    """
    shown: Literal["end", "not_now"] = "end" if show_end else "not_now"
    await party.hours(zone, [_window(it) for it in windows], shown=shown)
    if not windows:
        say(f"No hours of yours stop {party.name} any more.")
    elif show_end:
        say(f"{party.name} may come then. At other times it reads when it can reach you again.")
    else:
        say(f"{party.name} may come then. At other times it reads: not now, and is not told your hours.")


@acts.command()
@click.argument("connection")
@click.option("--messages", metavar="N/PERIOD", help="Messages, as in 3/week (day, week, month).")
@click.option("--asks", metavar="N/PERIOD", help="Favours asked.")
@connected
async def budget(opened: Wallet, party: Party, messages: str | None, asks: str | None) -> None:
    """Say how often CONNECTION may come; nothing named means no limit of yours."""
    await party.budget(messages=per(messages), asks=per(asks))
    say(sentences.limits(party))


@acts.command()
@click.argument("connection")
@click.option("--again", is_flag=True, help="Give what they gave up once more, too.")
@connected
async def rotate(opened: Wallet, party: Party, again: bool) -> None:
    """Take a new key for your side of CONNECTION; what you granted is signed anew. (A business: `key --turn`.)"""
    if opened.did is not None:
        raise click.ClickException("a business turns its key everywhere at once: `comity wallet key --next`, `--turn`")
    await party.rotate(again=again)
    say("Done: the old key signs nothing any more. It is kept, to read what was written to it.")
    if party.state.door(party.side).grants:
        say(f"What you granted is signed anew{'' if again else ', without what they gave up of it'}.")


def _utc(day: datetime | None) -> datetime | None:
    return None if day is None else day.replace(tzinfo=UTC)


def _kept(text: str) -> Any:
    what, ground, day = [*text.split("="), "", ""][:3]
    if not day:
        return what, ground
    try:
        return what, ground, datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise click.ClickException(f"{day} is not a day: write it as 2034-12-31") from None


def _window(text: str) -> tuple[list[str], str, str]:
    days, mark, times = text.partition("=")
    start, dash, end = times.partition("-")
    if not mark or not dash:
        raise click.ClickException(f"{text} is not a window: write it as mo,tu=09:00-17:30")
    return days.split(","), start, end
