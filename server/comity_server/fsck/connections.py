"""Checks every connection: its agreement, its acts and events, and its stored state."""

from collections.abc import Callable

import msgspec

from comity.documents.agreements import SignedAgreement, open_agreement
from comity.documents.events import Opened
from comity.documents.types import SIDES
from comity.errors import Contradiction
from comity.rules.fold import opening
from comity.rules.state import Connection, decode_state, encode_state
from comity.transparency.entries import SALT
from comity_server.businesses.erasure_duties import duty_row
from comity_server.fsck.replay import Ground, Replay
from comity_server.fsck.snapshot import Happened, ListedDuty, StoredAgreement, StoredConnection, StoredSide
from comity_server.fsck.status_lists import check_consents


class Counted:
    """The number of connections, acts and events that were checked."""

    def __init__(self) -> None:
        self.connections = self.acts = self.events = 0


def check_connections(prefix: str, ground: Ground, told: Callable[[int], None]) -> Counted:
    """Every connection in the store; `prefix` begins the URIs of its status lists, `told` takes the number of acts
    that were looked at so far."""
    counted = Counted()
    for row in ground.snapshot.rows(StoredConnection, "all_connections"):
        replay = _replayed(row, ground, lambda acts: told(counted.acts + acts))
        _check_stored(row, replay.state, ground)
        check_consents(row.cid, prefix, replay, ground)
        counted.connections += 1
        counted.acts += replay.acts
        counted.events += replay.events
    return counted


def _replayed(row: StoredConnection, ground: Ground, told: Callable[[int], None]) -> Replay:
    """The connection, lived through."""
    signed, state = _begun(row.cid, ground)
    if len(row.tag_secret) != SALT:
        ground.findings.add(f"connection {row.cid} tag secret", f"it has {len(row.tag_secret)} bytes, not {SALT}")
    replay = Replay(row.cid, None if signed is None else signed.agreement, state, row.tag_secret, ground)
    for happened in ground.snapshot.rows(Happened, "history_of", cid=row.cid):
        replay.take(happened)
        if not replay.acts % 64:
            told(replay.acts)
    return replay


def _begun(cid: str, ground: Ground) -> tuple[SignedAgreement | None, Connection | None]:
    """The agreement, and the state with which the connection began."""
    findings, place = ground.findings, f"connection {cid} agreement"
    stored = ground.snapshot.row(StoredAgreement, "get_agreement", cid=cid)
    if stored is None:
        findings.add(place, "it is missing")
        return None, None
    signed = ground.opener.held(place, lambda: open_agreement(stored.raw))
    event = ground.opener.event(f"connection {cid} opened", stored.opened)
    if signed is None or not isinstance(event, Opened):
        findings.add(place, "without it the connection's state cannot be derived")
        return signed, None
    if signed.cid != cid:
        findings.add(place, f"it belongs to connection {signed.cid}")
    beside = ground.snapshot.value("opened_event", cid=cid, at=event.at)
    if beside != stored.opened:
        findings.add(f"connection {cid} opened", "the event stored with the agreement is not the one in the events")
    try:
        return signed, opening(signed, event)
    except Contradiction as fault:
        findings.add(place, str(fault))
        return signed, None


def _check_stored(row: StoredConnection, state: Connection | None, ground: Ground) -> None:
    """Checks that the stored row is the state that its records give."""
    place, findings = f"connection {row.cid}", ground.findings
    try:
        stored = decode_state(row.state)
    except (msgspec.DecodeError, UnicodeDecodeError):
        findings.add(f"{place} state", "it cannot be read")
        stored = None
    if state is None:
        return
    if stored is not None and encode_state(state) != row.state:
        which = ", ".join(_differing(stored, state)) or "its encoding"
        findings.add(f"{place} state", f"it is not the state that its acts and events give: {which}")
    if (row.at, row.phase) != (state.at, state.phase):
        told = f"its row says {row.phase} at {row.at}, but its acts and events say {state.phase} at {state.at}"
        findings.add(place, told)
    if (row.wake_at is None) == bool(state.first.held or state.second.held):
        findings.add(
            f"{place} wake_at",
            "messages wait, but no time is set to release them" if row.wake_at is None else "no messages wait",
        )
    _check_duties(state, ground)
    sides = {it.side: (it.did, it.stream) for it in ground.snapshot.rows(StoredSide, "sides_of", cid=row.cid)}
    for side in SIDES:
        door = state.door(side)
        if sides.pop(side, None) != (door.did, door.origin):
            findings.add(f"{place} sides", f"the {side} side must be {door.did} with the stream {door.origin}")
    for name in sides:
        findings.add(f"{place} sides", f"{name} is not a side")


def _check_duties(state: Connection, ground: Ground) -> None:
    """Checks that the listed erasure statements that are due follow from the state (ERA-7)."""
    names = {side: ground.snapshot.value("business_called", did=state.door(side).origin) for side in SIDES}
    wanted = [duty_row(state, name, state.door(side).did) for side, name in names.items() if name is not None]
    expected = {row["name"]: row for row in wanted if row is not None}
    for found in ground.snapshot.rows(ListedDuty, "duties_of", cid=state.cid):
        row = expected.pop(found.name, None)
        if row != {"cid": state.cid, **found._asdict()}:
            told = "nothing is due" if row is None else f"due at {row['due_at']}, done at {row['done_at']}"
            place = f"connection {state.cid} duty of {found.name}"
            ground.findings.add(place, f"it is due at {found.due_at}, done at {found.done_at}, but by the state {told}")
    for name in expected:
        ground.findings.add(f"connection {state.cid} duty of {name}", "it is missing")


def _differing(stored: Connection, state: Connection) -> list[str]:
    """The names of the members in which two states differ."""
    members = ("cid", "home", "phase", "at", "ended_at", "ended_by")
    names = [name for name in members if getattr(stored, name) != getattr(state, name)]
    for side in SIDES:
        mine, theirs = state.door(side), stored.door(side)
        fields = mine.__struct_fields__
        names += [f"{side}.{name}" for name in fields if getattr(mine, name) != getattr(theirs, name)]
    return names
