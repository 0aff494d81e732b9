"""`comity wallet show` and `notes`: the state of a connection, line by line (WHO-8)."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import click

from comity.client import Party, Wallet
from comity.client.connection.overview import (
    Allowed,
    Contact,
    FavourShown,
    Muted,
    Overview,
    Rate,
    Remembered,
    SideShown,
    muted_by,
)
from comity.client.connection.queries import value_in_words, windows_in_words
from comity.client.models import Statement
from comity.client.session import Faults
from comity_tools.cli.json_output import json_option, say_json
from comity_tools.cli.wallet import feedback
from comity_tools.cli.wallet.away import away_day, say_away
from comity_tools.cli.wallet.json_output import overview_value, party_value
from comity_tools.cli.wallet.sentences import muted_you, scope
from comity_tools.cli.wallet.session import connected, day, opened, say, short

looking = click.Group()
"""These commands are added to the group `wallet`."""


@looking.command()
@click.argument("connection", required=False)
@json_option
@opened
async def show(opened: Wallet, connection: str | None, as_json: bool) -> None:
    """List your connections, or show everything about one: permissions, mutes, notes and favours of both sides."""
    parties = [opened.find(connection)] if connection else opened.connections()
    faults = Faults()
    if connection and parties[0].phase != "closed":
        # The stored state is shown even if the server cannot be reached.
        with faults.told_later():
            await parties[0].sync()
    if as_json:
        say_json(await overview_value(parties[0]) if connection else [party_value(it) for it in parties])
    else:
        await _tell_all(parties, connection is not None, {it.did for it in opened.blocks()})
    faults.tell()


async def _tell_all(parties: list[Party], is_one: bool, blocked: set[str]) -> None:
    for it in parties:
        say(f"{short(it.cid)}  {it.phase:9} {it.name}{_in_short(it, it.did in blocked)}")
    if not parties:
        say("There are no connections yet.")
    if is_one and parties[0].phase in ("open", "ended"):
        await _tell(parties[0])


def _in_short(party: Party, is_blocked: bool) -> str:
    """What stops either side now, and until when; from the stored state alone, as there may be many connections."""
    if party.phase != "open":
        return ""
    away, snoozed = party.away_until(), party.snoozed_until()
    found = ["its server was restored and delivers nothing yet"] if party.unconfirmed() else []
    found += [] if away is None else [f"away until {away_day(away)}"]
    for mute in muted_by(party.state.door(party.side), party.now()):
        until = "" if mute.until is None else f" until {day(mute.until)}"
        found.append(("you are away" if mute.why else f"muted by you{scope(mute.purposes, mute.channels)}") + until)
    if snoozed is not None:
        found.append(f"snoozed until {day(snoozed)}")
    if is_blocked:
        found.append("blocked")
    return f"  ({'; '.join(found)})" if found else ""


@looking.command()
@click.argument("connection")
@json_option
@connected
async def notes(opened: Wallet, party: Party, as_json: bool) -> None:
    """Show the notes that you and CONNECTION asked each other to remember."""
    if as_json:
        shown = party.overview()
        say_json({"me": shown.me.remembered, "them": shown.them.remembered})
        return
    for line in _notes(party, party.overview()):
        say(line)


_PROMISES = {
    "waiting": "they promised that you may write to them; they have not allowed it yet",
    "kept": "you may write to them, as they promised",
    "broken": "BROKEN: they promised that you may write to them, but never allowed it, or took it back within a week",
}


async def _tell(party: Party) -> None:
    say(f"  id      {party.cid}\n  you     {party.own_did}\n  other   {party.did}")
    if (promise := party.promise()) is not None:
        say(f"  promise {_PROMISES[promise]}")
    if waited := party.unconfirmed():
        who = " and ".join("you" if it == "me" else party.name for it in waited)
        say(f"  server  restored from a backup: it delivers nothing until it has confirmation from {who}")
    say_away(party)
    for label, line in _lines(party, party.overview()):
        say(f"  {label:7} {' '.join(line.split())}")
    for purpose, times in sorted((await party.exempt_notices()).items()):
        say(f"  notices {purpose}: {len(times)}, the last on {day(times[-1] // 1000)}; mutes do not stop these")


def _lines(party: Party, shown: Overview) -> Iterator[tuple[str, str]]:
    """(label, sentence) for everything in the overview."""
    name, whose = party.name, ((shown.me, "you"), (shown.them, party.name))
    yield from _doors(name, shown)
    yield from _rules(name, shown)
    yield from (("note", line) for line in _notes(party, shown))
    yield from (("noted", f"{who}: {line}") for side, who in whose for line in _happened(side))
    yield from (("contest", line) for line in feedback.contest_lines(party))
    yield from (("given up", line) for line in feedback.given_up_lines(party))
    yield from (("favour", _favour(it)) for it in shown.favours)
    balance = shown.balance
    if balance.by_me or balance.by_them:
        did = f"you did {_favours(balance.by_me)} for {name}, and {name} {_favours(balance.by_them)} for you"
        yield "balance", f"within a year {did}"
    yield from (("outside", _contact(name, it)) for it in shown.contacts)
    yield from (("waiting", f"{who}: {side.waiting} messages") for side, who in whose if side.waiting)
    yield from (("erasure", _statement(name, it)) for it in shown.statements)


def _doors(name: str, shown: Overview) -> Iterator[tuple[str, str]]:
    """The permissions and mutes of both sides."""
    yield from (("allowed", f"{name} may contact you{_allowed(it)}") for it in shown.me.allowed)
    yield from (("allowed", f"you may contact {name}{_allowed(it)}") for it in shown.them.allowed)
    yield from (("muted", _own_mute(name, it)) for it in shown.me.muted)
    yield from (("muted", muted_you(name, it)) for it in shown.them.muted)


def _allowed(it: Allowed) -> str:
    often = "" if it.rate is None else f", {_often(it.rate)}"
    data = f", with {', '.join(it.data)}" if it.data else ""
    value = "" if it.value is None else f", for {it.value}"
    return f"{scope(it.purposes, it.channels)} until {day(it.until)}{often}{data}{value} ({short(it.id)})"


def _often(rate: Rate) -> str:
    return f"at most {rate[0]} a {rate[1]}"


def _own_mute(name: str, mute: Muted) -> str:
    if mute.why == "away" and mute.until is not None:
        return f"you are away until {away_day(mute.until)}, and {name} can see that"
    what = f"you have muted {name}{scope(mute.purposes, mute.channels)}"
    if mute.until is None:
        return f"{what} until you `unmute` it"
    return f"{what} until {day(mute.until)}; {name} {'can read' if mute.shown else 'is not told'} until when"


def _rules(name: str, shown: Overview) -> Iterator[tuple[str, str]]:
    """The settings of this side that the other cannot see, and the wallet's own rules."""
    if shown.hours is not None:
        reads = "reads when that is next" if shown.hours.shown else "only reads “not now”"
        windows = f"{windows_in_words(shown.hours.windows)} ({shown.hours.zone})"
        yield "hours", f"{name} may contact you {windows}; at other times it {reads}"
    for rate, what in ((shown.messages, "messages"), (shown.asks, "favours asked")):
        if rate is not None:
            yield "limit", f"{what}: {_often(rate)}; {name} only reads “not now”"
    if shown.mailbox is not None:
        yield "mailbox", f"news of {name} arrives through {shown.mailbox}"
    if shown.snoozed_until is not None:
        yield "snoozed", f"{name} is snoozed until {day(shown.snoozed_until)}"
    if shown.blocked_since is not None:
        yield (
            "blocked",
            f"offers from {name} are refused since {day(shown.blocked_since // 1000)}, until you `unblock` it",
        )


def _notes(party: Party, shown: Overview) -> list[str]:
    """The notes of both sides, with their values."""
    return [
        " ".join(f"{whose}: {_note(it)}".split())
        for side, whose in ((shown.them, party.name), (shown.me, "you"))
        for it in side.remembered
    ]


def _note(note: Remembered) -> str:
    about = "" if note.topic is None else f" ({note.topic})"
    value = "" if note.value is None else f": {value_in_words(note.value)}"
    return f"{note.key}{about}{value}" + ("" if note.text is None else f" – {note.text}")


def _happened(side: SideShown) -> Iterable[str]:
    for it in side.happened:
        lasts = "" if it.lasts is None else f", lasts until {_date(it.lasts)}"
        yield f"{it.kind.replace('_', ' ')} {it.topic} on {_date(it.when)}{lasts}{_said(it.text)}"


def _favour(it: FavourShown) -> str:
    by = "" if it.answer_by is None else f", by {_date(it.answer_by)}"
    told = f"{'you asked' if it.by == 'me' else 'asked of you'}: {it.text or 'it cannot be read'} ({it.status})"
    told += f"; {it.kind}, {it.effort}{by}"
    if it.in_return is not None:
        told += f"; in return: “{it.in_return}”"
    if it.answer is not None:
        told += f"; answer: {it.answer.replace('_', ' ')}{_said(it.answer_text)}"
    return told + ("" if it.thanks is None else f"; thanks: “{it.thanks}”")


def _said(text: str | None) -> str:
    return "" if text is None else f" – “{text}”"


def _favours(count: int) -> str:
    return "1 favour" if count == 1 else f"{count} favours"


def _contact(name: str, it: Contact) -> str:
    who = f"you contacted {name}" if it.by == "me" else f"{name} contacted you"
    topic = f" ({it.topic})" if it.topic else ""
    verdict = "" if it.verdict is None else f"; the gate would have said: {it.verdict.replace('_', ' ')}"
    return f"{who} by {it.channel} for {it.purpose}{topic} on {day(it.at // 1000)}{verdict}"


def _statement(name: str, said: Statement) -> str:
    kept = [
        f"{it.what} ({it.ground.replace('_', ' ')}" + ("" if it.until is None else f", until {_date(it.until)}") + ")"
        for it in said.kept
    ]
    whose = f"you stated about {name}'s data" if said.by == "me" else f"{name} stated about your data"
    told = f"; informed: {', '.join(said.passed_on)}" if said.by == "me" and said.passed_on else ""
    return f"{whose}: deleted {', '.join(said.deleted) or 'nothing'}; kept {', '.join(kept) or 'nothing'}{told}"


def _date(seconds: int) -> str:
    """The date of a time; a time outside the calendar as a number."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return day(seconds)
