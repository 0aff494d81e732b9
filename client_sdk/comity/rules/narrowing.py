"""What a "no" closes: what no rate, and no flood before it, may keep out (spec/connection.md, CONN-24)."""

from comity.documents.acts import Act, Forget, Mute, Renounce, Revoke, Setting, Withdraw
from comity.documents.types import Side, covers, is_among, other
from comity.rules.gate import mute_end
from comity.rules.state import Connection, Door, Renounced
from comity.rules.state import Mute as MuteInForce


def closes_something(connection: Connection, side: Side, payload: Act | Setting, at: int) -> bool:
    """True if the act of `side` closes at `at` (ms) what nothing else of this side keeps closed (CONN-24)."""
    door = connection.door(side)
    if isinstance(payload, Revoke):
        return connection.phase == "open"
    if isinstance(payload, Mute):
        return not any(_stops_as_much(door, it, payload, at) for it in door.mutes)
    if isinstance(payload, Withdraw):
        return any(it.id == payload.grant and it.exp * 1000 > at for it in door.grants)
    if isinstance(payload, Forget):
        return any((it.key, it.topic) == (payload.key, payload.topic) for it in door.little)
    if isinstance(payload, Renounce):
        return _gives_something_up(connection, side, payload, at)
    return False


def _stops_as_much(door: Door, mute: MuteInForce, payload: Mute, at: int) -> bool:
    """True if the mute stops at `at` (ms) all that the new one would stop."""
    end = mute_end(door, mute)
    if end is not None and end <= at:
        return False
    purposes, channels = payload.purposes, payload.channels
    as_to_purposes = not mute.purposes or (purposes and all(is_among(mute.purposes, it) for it in purposes))
    return bool(as_to_purposes and (not mute.channels or (channels and set(channels) <= set(mute.channels))))


def _gives_something_up(connection: Connection, side: Side, payload: Renounce, at: int) -> bool:
    """True if a grant that is named is in force, and the part that is given up of it was not given up before."""
    given_up = connection.door(side).renounced
    purposes, channels = payload.purposes or (), payload.channels or ()
    for grant in connection.door(other(side)).grants:
        if grant.id not in payload.grants or grant.exp * 1000 <= at:
            continue
        named = [it for it in purposes if any(covers(had, it) or covers(it, had) for had in grant.purposes)]
        ways = {str(it) for it in channels if it in grant.channels}
        is_about_it = (named or not purposes) and (ways or not channels)
        if is_about_it and not any(_gave_up_as_much(it, grant.id, named, ways) for it in given_up):
            return True
    return False


def _gave_up_as_much(entry: Renounced, grant: str, purposes: list[str], channels: set[str]) -> bool:
    as_to_purposes = not entry.purposes or (purposes and all(is_among(entry.purposes, it) for it in purposes))
    as_to_channels = not entry.channels or (channels and channels <= set(entry.channels))
    return bool(grant in entry.grants and as_to_purposes and as_to_channels)
