"""Checks every connection: its agreement, its acts and events, and its stored state."""

from collections.abc import Callable

import msgspec

from comity.documents.agreements import SignedAgreement, open_agreement
from comity.documents.events import Opened
from comity.documents.types import SIDES
from comity.errors import Contradiction
from comity.rules.fold import initial_state
from comity.rules.state import Connection, decode_state, encode_state
from comity.transparency.entries import SALT
from comity_server.businesses.erasure_duties import duty_row
from comity_server.fsck.replay import CheckContext, Replay
from comity_server.fsck.snapshot import HistoryRow, ListedDuty, StoredAgreement, StoredConnection, StoredSide
from comity_server.fsck.status_lists import check_grants


class Counts:
    """The number of connections, acts and events that were checked."""

    def __init__(self) -> None:
        self.connections = self.acts = self.events = 0


def check_connections(prefix: str, context: CheckContext, report: Callable[[int], None]) -> Counts:
    """Checks every connection in the store. `prefix` begins the URIs of its status lists; `report` is called with the
    number of acts that were checked so far."""
    counts = Counts()
    for row in context.snapshot.rows(StoredConnection, "all_connections"):
        replay = _replay_connection(row, context, lambda acts: report(counts.acts + acts))
        _check_stored(row, replay.state, context)
        check_grants(row.cid, prefix, replay, context)
        counts.connections += 1
        counts.acts += replay.acts
        counts.events += replay.events
    return counts


def _replay_connection(row: StoredConnection, context: CheckContext, report: Callable[[int], None]) -> Replay:
    """The connection, lived through."""
    signed, state = _load_start(row.cid, context)
    if len(row.tag_secret) != SALT:
        context.findings.add(f"connection {row.cid} tag secret", f"it has {len(row.tag_secret)} bytes, not {SALT}")
    replay = Replay(row.cid, None if signed is None else signed.agreement, state, row.tag_secret, context)
    for record in context.snapshot.rows(HistoryRow, "history_of", cid=row.cid):
        replay.add(record)
        if not replay.acts % 64:
            report(replay.acts)
    return replay


def _load_start(cid: str, context: CheckContext) -> tuple[SignedAgreement | None, Connection | None]:
    """The agreement, and the state with which the connection began."""
    findings, place = context.findings, f"connection {cid} agreement"
    stored = context.snapshot.row(StoredAgreement, "get_agreement", cid=cid)
    if stored is None:
        findings.add(place, "it is missing")
        return None, None
    signed = context.opener.open_or_report(place, lambda: open_agreement(stored.raw))
    event = context.opener.event(f"connection {cid} opened", stored.opened)
    if signed is None or not isinstance(event, Opened):
        findings.add(place, "without it the connection's state cannot be derived")
        return signed, None
    if signed.cid != cid:
        findings.add(place, f"it belongs to connection {signed.cid}")
    beside = context.snapshot.value("opened_event", cid=cid, at=event.at)
    if beside != stored.opened:
        findings.add(f"connection {cid} opened", "the event stored with the agreement is not the one in the events")
    try:
        return signed, initial_state(signed, event)
    except Contradiction as contradiction:
        findings.add(place, str(contradiction))
        return signed, None


def _check_stored(row: StoredConnection, state: Connection | None, context: CheckContext) -> None:
    """Checks that the stored row is the state that its records give."""
    place, findings = f"connection {row.cid}", context.findings
    try:
        stored = decode_state(row.state)
    except (msgspec.DecodeError, UnicodeDecodeError):
        findings.add(f"{place} state", "it cannot be read")
        stored = None
    if state is None:
        return
    if stored is not None and encode_state(state) != row.state:
        which = ", ".join(_differing_members(stored, state)) or "its encoding"
        findings.add(f"{place} state", f"it is not the state that its acts and events give: {which}")
    if (row.at, row.phase) != (state.at, state.phase):
        fault = f"its row says {row.phase} at {row.at}, but its acts and events say {state.phase} at {state.at}"
        findings.add(place, fault)
    if (row.wake_at is None) == bool(state.first.held or state.second.held):
        findings.add(
            f"{place} wake_at",
            "messages wait, but no time is set to release them" if row.wake_at is None else "no messages wait",
        )
    _check_duties(state, context)
    sides = {it.side: (it.did, it.stream) for it in context.snapshot.rows(StoredSide, "sides_of", cid=row.cid)}
    for side in SIDES:
        door = state.door(side)
        if sides.pop(side, None) != (door.did, door.origin):
            findings.add(f"{place} sides", f"the {side} side must be {door.did} with the stream {door.origin}")
    for name in sides:
        findings.add(f"{place} sides", f"{name} is not a side")


def _check_duties(state: Connection, context: CheckContext) -> None:
    """Checks that the listed erasure statements that are due follow from the state (ERA-7)."""
    names = {side: context.snapshot.value("business_called", did=state.door(side).origin) for side in SIDES}
    wanted = [duty_row(state, name, state.door(side).did) for side, name in names.items() if name is not None]
    expected = {row["name"]: row for row in wanted if row is not None}
    for found in context.snapshot.rows(ListedDuty, "duties_of", cid=state.cid):
        row = expected.pop(found.name, None)
        if row != {"cid": state.cid, **found._asdict()}:
            due = "nothing is due" if row is None else f"due at {row['due_at']}, done at {row['done_at']}"
            place = f"connection {state.cid} duty of {found.name}"
            context.findings.add(place, f"it is due at {found.due_at}, done at {found.done_at}, but by the state {due}")
    for name in expected:
        context.findings.add(f"connection {state.cid} duty of {name}", "it is missing")


def _differing_members(stored: Connection, state: Connection) -> list[str]:
    """The names of the members in which two states differ."""
    members = ("cid", "home", "phase", "at", "ended_at", "ended_by")
    names = [name for name in members if getattr(stored, name) != getattr(state, name)]
    for side in SIDES:
        mine, theirs = state.door(side), stored.door(side)
        fields = mine.__struct_fields__
        names += [f"{side}.{name}" for name in fields if getattr(mine, name) != getattr(theirs, name)]
    return names
