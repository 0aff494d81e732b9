"""Sentences of `comity wallet` that describe what is in force, not what was requested (WHO-7)."""

from collections.abc import Iterable

from comity.client import Connection
from comity.client.connection.overview import MuteOverview
from comity.client.models import News
from comity.client.sync.item_handler import RESTORED
from comity.documents.types import is_among, other
from comity.rules.gate import mute_end
from comity.rules.state import Budget, Door, Mute
from comity_tools.cli.text import utc_time
from comity_tools.cli.wallet.session import short_id

_PERIODS = {86_400: "day", 604_800: "week", 2_592_000: "month"}


def scope_phrase(purposes: Iterable[str], channels: Iterable[str]) -> str:
    """The scope of a mute or a grant as a phrase after a verb; empty for everything."""
    for_, by = ", ".join(purposes), ", ".join(channels)
    return (f" for {for_}" if for_ else "") + (f" by {by}" if by else "")


def mute_sentence(party: Connection, mute_id: str) -> str:
    """The effect of an own mute, and what the other side sees of it."""
    door = party.state.door(party.side)
    mute = next((it for it in door.mutes if it.id == mute_id), None)
    if mute is None:
        return f"That mute of {party.name} has already ended."
    end = mute_end(door, mute)
    what = f"{party.name} is muted{scope_phrase(mute.purposes, mute.channels)}"
    if end is None:
        return f"{what} until you `unmute` it, and reads: not now."
    if mute.until is None:
        return f"{what} until {utc_time(end // 1000)}, and reads: not now. It is not told until when."
    return f"{what} until {utc_time(mute.until)}, and can read until when."


def remaining_stops(party: Connection) -> list[str]:
    """The own mutes and hours that still stop the other side, a line for each."""
    door = party.state.door(party.side)
    found = []
    for mute in _in_force(door, party.now()):
        end = mute_end(door, mute)
        until = "" if end is None else f" until {utc_time(end // 1000)}"
        found.append(f"{party.name} is still muted{scope_phrase(mute.purposes, mute.channels)}{until}.")
    if door.settings.windows:
        found.append(f"Your hours still apply to {party.name}.")
    return found


def their_mute_sentence(name: str, mute: Mute | MuteOverview) -> str:
    """The scope of a mute by the other side, with its end if this side may know it."""
    until = "" if mute.until is None else f" until {utc_time(mute.until)}"
    return f"{name} has muted you{scope_phrase(mute.purposes, mute.channels)}{until}"


def find_their_mute(party: Connection, mute_id: str | None) -> str | None:
    """The sentence for one mute by the other side; None if it is not in force."""
    door = party.state.door(other(party.side))
    return next((their_mute_sentence(party.name, mute) for mute in door.mutes if mute.id == mute_id), None)


def _in_force(door: Door, now: int) -> list[Mute]:
    ends = [(mute, mute_end(door, mute)) for mute in door.mutes]
    return [it for it, end in ends if end is None or now < end]


def grant_lines(party: Connection, grant_id: str) -> list[str]:
    """The effect of a new grant, and what still stops the other side."""
    grants = party.state.door(party.side).grants
    lines = [
        f"{party.name} may contact you{scope_phrase(grant.purposes, grant.channels)}, until {utc_time(grant.exp)}."
        for grant in grants
        if grant.id == grant_id
    ]
    return lines + [f"But still: {line}" for line in remaining_stops(party)]


def withdrawal_lines(party: Connection, purposes: Iterable[str], channels: Iterable[str]) -> list[str]:
    """The grants that still allow something after one for these purposes and channels was taken back."""
    others = [
        grant
        for grant in party.state.door(party.side).grants
        if grant.exp * 1000 > party.now()
        and set(grant.channels) & set(channels)
        and any(is_among(grant.purposes, one) or is_among((one,), its) for one in purposes for its in grant.purposes)
    ]
    if not others:
        return [f"Taken back: {party.name} may no longer contact you for that."]
    lines = [f"Taken back. But {party.name} may still contact you with other tokens of yours:"]
    return lines + [
        f"  {short_id(it.id)} {scope_phrase(it.purposes, it.channels)}, until {utc_time(it.exp)}" for it in others
    ]


def limit_sentence(party: Connection) -> str:
    """The limits on the other side that are in force."""
    settings = party.state.door(party.side).settings
    messages, asks = _limit_phrase(settings.messages, "messages"), _limit_phrase(settings.asks, "asks")
    reads = f" {party.name} only reads “not now”." if settings.messages or settings.asks else ""
    return f"From now on: {messages}, {asks}.{reads}"


def _limit_phrase(budget: Budget | None, what: str) -> str:
    if budget is None:
        return f"no limit on {what}"
    return f"at most {budget.max} {what} a {_PERIODS[budget.seconds]}"


_RECOVERY = {
    "restored": "the server of {name} was restored from a backup; it delivers nothing until both of you have confirmed",
    "confirmed": "{name} confirmed the records of the restored server",
    "said_again": "the restored server has lost acts of yours towards {name} for good; each “no” is sent again",
    "unknown": "the restored server does not know {name} any more: neither of you can be reached there",
    "lost": "the restored server has lost acts between you and {name} for good",
    "declined": "the server was restored from a backup before {name} signed; accept again if you still want to",
}
"""Kind of news after a server was restored → its sentence (REC-9)."""


def restore_sentence(party: Connection, news: News) -> str | None:
    """The sentence for news about a restore of the server; None for other news."""
    is_void = party.info.closed is not None and party.info.closed.endswith(RESTORED)
    if news.kind not in _RECOVERY or (news.kind == "declined" and not is_void):
        return None
    who = "you" if news.by == "me" and news.kind == "confirmed" else party.name
    return _RECOVERY[news.kind].format(name=who)
