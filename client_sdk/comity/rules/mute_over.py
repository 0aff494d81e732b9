"""The mute of everything in the log, and whether it is over (spec/log.md, AUD-1).

The log shows the begin of a mute of everything. If it ends silently, by the end that it shows or by a hidden one, a
reader of the log cannot tell that a later delivery is allowed. So the server enters the end, but only when a delivery
relies on it: until then a hidden end remains hidden.
"""

from msgspec.structs import replace

from comity.documents.acts import Mute as MuteAct
from comity.documents.acts import Unmute
from comity.documents.events import MuteOver
from comity.documents.types import SIDES, Side
from comity.errors import Contradiction
from comity.rules.state import Connection, Door, LoggedMute, MuteEnd, Settings


def latest_mute_end(settings: Settings, mute: str) -> MuteEnd | None:
    """The hidden end that applies to the mute with that id: the latest one."""
    return next((end for end in reversed(settings.mute_ends) if end.mute == mute), None)


def ended_by(door: Door, at: int) -> str | None:
    """The id of the text that ended the mute of everything in the log by `at` (ms): its latest `mute_end`, or the mute
    itself if it shows its end. None if there is no such mute, or it is not over."""
    logged = door.settings.standing
    if logged is None:
        return None
    if logged.until is not None:
        return logged.id if logged.until * 1000 <= at else None
    end = latest_mute_end(door.settings, logged.id)
    return end.id if end is not None and end.until * 1000 <= at else None


def owner_of_mute(connection: Connection, mute: str) -> Side | None:
    """The side whose mute of everything in the log has that id."""
    for side in SIDES:
        logged = connection.door(side).settings.standing
        if logged is not None and logged.id == mute:
            return side
    return None


def with_logged_mute(door: Door, id_: str, payload: MuteAct | Unmute) -> Door:
    """The door of the side that muted or unmuted, with the new mute of everything in the log. `door` is the one before
    the act."""
    if isinstance(payload, MuteAct):
        is_of_everything = not payload.purposes and not payload.channels
        return _replace_logged_mute(door, LoggedMute(id_, payload.until)) if is_of_everything else door
    ended = next((mute for mute in door.mutes if mute.id == payload.mute), None)
    # An unmute of a part does not end the mute of everything (LOG-7, kind 12).
    return door if ended is not None and (ended.purposes or ended.channels) else _replace_logged_mute(door, None)


def apply_mute_over(connection: Connection, event: MuteOver) -> Connection:
    """The state after a `mute_over`. Raises Contradiction for one without a signed end (AUD-2)."""
    owner = owner_of_mute(connection, event.act)
    if owner is None:
        raise Contradiction("false_over: the log does not show the named mute, or it is over already")
    door = connection.door(owner)
    if ended_by(door, event.at) != event.by:
        raise Contradiction("false_over: the named text did not end the mute")
    return connection.with_door(owner, _replace_logged_mute(door, None))


def without_logged_mute(door: Door) -> Door:
    """The door after the end of the connection."""
    return _replace_logged_mute(door, None)


def _replace_logged_mute(door: Door, logged: LoggedMute | None) -> Door:
    return replace(door, settings=replace(door.settings, standing=logged))
