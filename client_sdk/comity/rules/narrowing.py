"""Acts that newly restrict the other side: no rate limit, and no flood before them, may block them (spec/connection.md,
CONN-24)."""

from comity.documents.acts import Act, Forget, Mute, Renounce, Revoke, Setting, Withdraw
from comity.documents.types import Side, covers, is_among, other
from comity.rules.gate import mute_end
from comity.rules.state import Connection, Door, Renounced
from comity.rules.state import Mute as MuteInForce


def is_new_restriction(connection: Connection, side: Side, payload: Act | Setting, at: int) -> bool:
    """True if the act of `side` closes at `at` (ms) something that no other act of this side keeps closed (CONN-24)."""
    door = connection.door(side)
    if isinstance(payload, Revoke):
        return connection.phase == "open"
    if isinstance(payload, Mute):
        return not any(_stops_as_much(door, mute, payload, at) for mute in door.mutes)
    if isinstance(payload, Withdraw):
        return any(grant.id == payload.grant and grant.exp * 1000 > at for grant in door.grants)
    if isinstance(payload, Forget):
        return any((note.key, note.topic) == (payload.key, payload.topic) for note in door.little)
    if isinstance(payload, Renounce):
        return _is_new_renunciation(connection, side, payload, at)
    return False


def _stops_as_much(door: Door, mute: MuteInForce, payload: Mute, at: int) -> bool:
    """True if the mute stops at `at` (ms) all that the new one would stop."""
    end = mute_end(door, mute)
    if end is not None and end <= at:
        return False
    purposes, channels = payload.purposes, payload.channels
    as_to_purposes = not mute.purposes or (purposes and all(is_among(mute.purposes, purpose) for purpose in purposes))
    return bool(as_to_purposes and (not mute.channels or (channels and set(channels) <= set(mute.channels))))


def _is_new_renunciation(connection: Connection, side: Side, payload: Renounce, at: int) -> bool:
    """True if a named grant is in force and the renounced part of it was not renounced before."""
    entries = connection.door(side).renounced
    purposes, channels = payload.purposes or (), payload.channels or ()
    for grant in connection.door(other(side)).grants:
        if grant.id not in payload.grants or grant.exp * 1000 <= at:
            continue
        named_purposes = [
            purpose
            for purpose in purposes
            if any(covers(had, purpose) or covers(purpose, had) for had in grant.purposes)
        ]
        named_channels = {str(channel) for channel in channels if channel in grant.channels}
        is_named = (named_purposes or not purposes) and (named_channels or not channels)
        if is_named and not any(
            _renounces_as_much(entry, grant.id, named_purposes, named_channels) for entry in entries
        ):
            return True
    return False


def _renounces_as_much(entry: Renounced, grant: str, purposes: list[str], channels: set[str]) -> bool:
    as_to_purposes = not entry.purposes or (purposes and all(is_among(entry.purposes, purpose) for purpose in purposes))
    as_to_channels = not entry.channels or (channels and channels <= set(entry.channels))
    return bool(grant in entry.grants and as_to_purposes and as_to_channels)
