"""`comity wallet show` and `notes`: the state of a connection, line by line (WHO-8)."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import click

from comity.client import Connection, Wallet
from comity.client.connection.overview import (
    ContactOverview,
    FavourOverview,
    GrantOverview,
    MuteOverview,
    NoteOverview,
    Overview,
    Rate,
    SideOverview,
    active_mutes,
)
from comity.client.connection.queries import format_value, format_windows
from comity.client.models import Statement
from comity.client.session import Faults
from comity_tools.cli.json_output import json_option, print_json
from comity_tools.cli.text import say, utc_time
from comity_tools.cli.wallet import feedback
from comity_tools.cli.wallet.away import away_day, say_away
from comity_tools.cli.wallet.json_output import overview_value, party_value
from comity_tools.cli.wallet.sentences import scope_phrase, their_mute_sentence
from comity_tools.cli.wallet.session import connection_command, short_id, wallet_command

group = click.Group()
"""These commands are added to the group `wallet`."""


@group.command()
@click.argument("connection", required=False)
@json_option
@wallet_command
async def show(wallet: Wallet, connection: str | None, as_json: bool) -> None:
    """List your connections, or show everything about one: permissions, mutes, notes and favours of both sides."""
    parties = [wallet.find_connection(connection)] if connection else wallet.connections()
    faults = Faults()
    if connection and parties[0].phase != "closed":
        # The stored state is shown even if the server cannot be reached.
        with faults.collect():
            await parties[0].sync()
    if as_json:
        print_json(await overview_value(parties[0]) if connection else [party_value(party) for party in parties])
    else:
        await _print_connections(parties, connection is not None, {block.did for block in wallet.blocks()})
    faults.raise_first()


async def _print_connections(parties: list[Connection], is_one: bool, blocked: set[str]) -> None:
    for party in parties:
        say(f"{short_id(party.cid)}  {party.phase:9} {party.name}{_summary(party, party.did in blocked)}")
    if not parties:
        say("There are no connections yet.")
    if is_one and parties[0].phase in ("open", "ended"):
        await _print_connection(parties[0])


def _summary(party: Connection, is_blocked: bool) -> str:
    """The reasons that stop either side now; from the stored state alone, as there may be many connections."""
    if party.phase != "open":
        return ""
    away, snoozed = party.away_until(), party.snoozed_until()
    found = ["its server was restored and delivers nothing yet"] if party.pending_confirmations() else []
    found += [] if away is None else [f"away until {away_day(away)}"]
    for mute in active_mutes(party.state.door(party.side), party.now()):
        until = "" if mute.until is None else f" until {utc_time(mute.until)}"
        found.append(
            ("you are away" if mute.why else f"muted by you{scope_phrase(mute.purposes, mute.channels)}") + until
        )
    if snoozed is not None:
        found.append(f"snoozed until {utc_time(snoozed)}")
    if is_blocked:
        found.append("blocked")
    return f"  ({'; '.join(found)})" if found else ""


@group.command()
@click.argument("connection")
@json_option
@connection_command
async def notes(wallet: Wallet, party: Connection, as_json: bool) -> None:
    """Show the notes that you and CONNECTION asked each other to remember."""
    if as_json:
        overview = party.overview()
        print_json({"me": overview.me.remembered, "them": overview.them.remembered})
        return
    for line in _note_lines(party, party.overview()):
        say(line)


_PROMISES = {
    "waiting": "they promised that you may write to them; they have not allowed it yet",
    "kept": "you may write to them, as they promised",
    "broken": "BROKEN: they promised that you may write to them, but never allowed it, or took it back within a week",
}


async def _print_connection(party: Connection) -> None:
    say(f"  id      {party.cid}\n  you     {party.own_did}\n  other   {party.did}")
    if (promise := party.promise_status()) is not None:
        say(f"  promise {_PROMISES[promise]}")
    if unconfirmed := party.pending_confirmations():
        who = " and ".join("you" if it == "me" else party.name for it in unconfirmed)
        say(f"  server  restored from a backup: it delivers nothing until it has confirmation from {who}")
    say_away(party)
    for label, line in _lines(party, party.overview()):
        say(f"  {label:7} {' '.join(line.split())}")
    for purpose, times in sorted((await party.exempt_notices()).items()):
        say(f"  notices {purpose}: {len(times)}, the last on {utc_time(times[-1] // 1000)}; mutes do not stop these")


def _lines(party: Connection, overview: Overview) -> Iterator[tuple[str, str]]:
    """(label, sentence) for everything in the overview."""
    name, whose = party.name, ((overview.me, "you"), (overview.them, party.name))
    yield from _permission_lines(name, overview)
    yield from _private_rule_lines(name, overview)
    yield from (("note", line) for line in _note_lines(party, overview))
    yield from (("noted", f"{who}: {line}") for side, who in whose for line in _milestone_lines(side))
    yield from (("contest", line) for line in feedback.contest_lines(party))
    yield from (("given up", line) for line in feedback.renunciation_lines(party))
    yield from (("favour", _favour_sentence(favour)) for favour in overview.favours)
    balance = overview.balance
    if balance.by_me or balance.by_them:
        did = f"you did {_favour_count(balance.by_me)} for {name}, and {name} {_favour_count(balance.by_them)} for you"
        yield "balance", f"within a year {did}"
    yield from (("outside", _contact_sentence(name, contact)) for contact in overview.contacts)
    yield from (("waiting", f"{who}: {side.waiting} messages") for side, who in whose if side.waiting)
    yield from (("erasure", _statement_sentence(name, statement)) for statement in overview.statements)


def _permission_lines(name: str, overview: Overview) -> Iterator[tuple[str, str]]:
    """The permissions and mutes of both sides."""
    yield from (("allowed", f"{name} may contact you{_permission_phrase(it)}") for it in overview.me.allowed)
    yield from (("allowed", f"you may contact {name}{_permission_phrase(it)}") for it in overview.them.allowed)
    yield from (("muted", _own_mute_sentence(name, it)) for it in overview.me.muted)
    yield from (("muted", their_mute_sentence(name, it)) for it in overview.them.muted)


def _permission_phrase(it: GrantOverview) -> str:
    often = "" if it.rate is None else f", {_rate_phrase(it.rate)}"
    data = f", with {', '.join(it.data)}" if it.data else ""
    value = "" if it.value is None else f", for {it.value}"
    return (
        f"{scope_phrase(it.purposes, it.channels)} until {utc_time(it.until)}{often}{data}{value} ({short_id(it.id)})"
    )


def _rate_phrase(rate: Rate) -> str:
    return f"at most {rate[0]} a {rate[1]}"


def _own_mute_sentence(name: str, mute: MuteOverview) -> str:
    if mute.why == "away" and mute.until is not None:
        return f"you are away until {away_day(mute.until)}, and {name} can see that"
    what = f"you have muted {name}{scope_phrase(mute.purposes, mute.channels)}"
    if mute.until is None:
        return f"{what} until you `unmute` it"
    return f"{what} until {utc_time(mute.until)}; {name} {'can read' if mute.shown else 'is not told'} until when"


def _private_rule_lines(name: str, overview: Overview) -> Iterator[tuple[str, str]]:
    """The settings of this side that the other cannot see, and the wallet's own rules."""
    if overview.hours is not None:
        reads = "reads when that is next" if overview.hours.shown else "only reads “not now”"
        windows = f"{format_windows(overview.hours.windows)} ({overview.hours.zone})"
        yield "hours", f"{name} may contact you {windows}; at other times it {reads}"
    for rate, what in ((overview.messages, "messages"), (overview.asks, "favours asked")):
        if rate is not None:
            yield "limit", f"{what}: {_rate_phrase(rate)}; {name} only reads “not now”"
    if overview.mailbox is not None:
        yield "mailbox", f"news of {name} arrives through {overview.mailbox}"
    if overview.snoozed_until is not None:
        yield "snoozed", f"{name} is snoozed until {utc_time(overview.snoozed_until)}"
    if overview.blocked_since is not None:
        yield (
            "blocked",
            f"offers from {name} are refused since {utc_time(overview.blocked_since // 1000)}, until you `unblock` it",
        )


def _note_lines(party: Connection, overview: Overview) -> list[str]:
    """The notes of both sides, with their values."""
    return [
        " ".join(f"{whose}: {_note_phrase(it)}".split())
        for side, whose in ((overview.them, party.name), (overview.me, "you"))
        for it in side.remembered
    ]


def _note_phrase(note: NoteOverview) -> str:
    about = "" if note.topic is None else f" ({note.topic})"
    value = "" if note.value is None else f": {format_value(note.value)}"
    return f"{note.key}{about}{value}" + ("" if note.text is None else f" – {note.text}")


def _milestone_lines(side: SideOverview) -> Iterable[str]:
    for event in side.happened:
        lasts = "" if event.lasts is None else f", lasts until {_date_text(event.lasts)}"
        kind = event.kind.replace("_", " ")
        yield f"{kind} {event.topic} on {_date_text(event.when)}{lasts}{_quoted_suffix(event.text)}"


def _favour_sentence(it: FavourOverview) -> str:
    by = "" if it.answer_by is None else f", by {_date_text(it.answer_by)}"
    sentence = f"{'you asked' if it.by == 'me' else 'asked of you'}: {it.text or 'it cannot be read'} ({it.status})"
    sentence += f"; {it.kind}, {it.effort}{by}"
    if it.in_return is not None:
        sentence += f"; in return: “{it.in_return}”"
    if it.answer is not None:
        sentence += f"; answer: {it.answer.replace('_', ' ')}{_quoted_suffix(it.answer_text)}"
    return sentence + ("" if it.thanks is None else f"; thanks: “{it.thanks}”")


def _quoted_suffix(text: str | None) -> str:
    return "" if text is None else f" – “{text}”"


def _favour_count(count: int) -> str:
    return "1 favour" if count == 1 else f"{count} favours"


def _contact_sentence(name: str, it: ContactOverview) -> str:
    who = f"you contacted {name}" if it.by == "me" else f"{name} contacted you"
    topic = f" ({it.topic})" if it.topic else ""
    verdict = "" if it.verdict is None else f"; the gate would have said: {it.verdict.replace('_', ' ')}"
    return f"{who} by {it.channel} for {it.purpose}{topic} on {utc_time(it.at // 1000)}{verdict}"


def _statement_sentence(name: str, statement: Statement) -> str:
    kept = [
        f"{it.what} ({it.ground.replace('_', ' ')}"
        + ("" if it.until is None else f", until {_date_text(it.until)}")
        + ")"
        for it in statement.kept
    ]
    whose = f"you stated about {name}'s data" if statement.by == "me" else f"{name} stated about your data"
    sentence = f"; informed: {', '.join(statement.passed_on)}" if statement.by == "me" and statement.passed_on else ""
    return (
        f"{whose}: deleted {', '.join(statement.deleted) or 'nothing'}; kept {', '.join(kept) or 'nothing'}{sentence}"
    )


def _date_text(seconds: int) -> str:
    """The date of a time; a time outside the calendar as a number."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return utc_time(seconds)
