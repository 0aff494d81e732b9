"""The mute of everything that stands in the log, and whether it is over (spec/log.md, AUD-1).

The log shows that a mute of everything began. Where it is over without a word, by the end that it shows or by a hidden
one, nobody who reads the log can know that a delivery behind it is right. So the server enters the end, but only when a
delivery relies on it: until then the hidden end stays hidden.
"""

from msgspec.structs import replace

from comity.documents.acts import Mute as MuteAct
from comity.documents.acts import Unmute
from comity.documents.events import MuteOver
from comity.documents.types import SIDES, Side
from comity.errors import Contradiction
from comity.rules.state import Connection, Door, MuteEnd, Settings, Standing


def latest_end(settings: Settings, mute: str) -> MuteEnd | None:
    """The hidden end that counts for the mute of that id: the latest one."""
    return next((end for end in reversed(settings.mute_ends) if end.mute == mute), None)


def over_by(door: Door, at: int) -> str | None:
    """The id of what ended the standing mute of everything by `at` (ms): its latest `mute_end`, or the mute itself
    where it shows its end. None where none stands, or it is not over."""
    standing = door.settings.standing
    if standing is None:
        return None
    if standing.until is not None:
        return standing.id if standing.until * 1000 <= at else None
    end = latest_end(door.settings, standing.id)
    return end.id if end is not None and end.until * 1000 <= at else None


def owner_of(connection: Connection, mute: str) -> Side | None:
    """The side whose standing mute of everything has that id."""
    for side in SIDES:
        standing = connection.door(side).settings.standing
        if standing is not None and standing.id == mute:
            return side
    return None


def after_act(door: Door, id_: str, payload: MuteAct | Unmute) -> Door:
    """The door of the side that muted, or took a mute back, as to what stands; `door` is as it was before."""
    if isinstance(payload, MuteAct):
        whole = not payload.purposes and not payload.channels
        return _with(door, Standing(id_, payload.until)) if whole else door
    named = next((mute for mute in door.mutes if mute.id == payload.mute), None)
    # An unmute of a part leaves the mute of everything where it is (LOG-7, kind 12).
    return door if named is not None and (named.purposes or named.channels) else _with(door, None)


def after_over(connection: Connection, event: MuteOver) -> Connection:
    """The state after a `mute_over`. Raises Contradiction for one that no signed end bears out (AUD-2)."""
    owner = owner_of(connection, event.act)
    if owner is None:
        raise Contradiction("false_over: the mute that is said to be over does not stand")
    door = connection.door(owner)
    if over_by(door, event.at) != event.by:
        raise Contradiction("false_over: the mute was not ended by what is said to have ended it")
    return connection.with_door(owner, _with(door, None))


def nothing_stands(door: Door) -> Door:
    """The door after the end of the connection."""
    return _with(door, None)


def _with(door: Door, standing: Standing | None) -> Door:
    return replace(door, settings=replace(door.settings, standing=standing))
