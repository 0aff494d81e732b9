"""Checks the status list entry of each grant against the connection's state (STATUS-3, STATUS-4)."""

from comity.rules.state import Connection
from comity_server.fsck.replay import CheckContext, GivenGrant, Replay
from comity_server.fsck.snapshot import StoredStatus
from comity_server.status_lists import status_of

_RESERVED = (None, 1, 0, 0)
"""The values of an index without a grant: grant, ended, asked until, expires at."""


def check_grants(cid: str, prefix: str, replay: Replay, context: CheckContext) -> None:
    """Checks the status entries of a connection: each grant ever given has its own, which agrees with the state; all
    others are reserved and say no."""
    grants = dict(replay.grants)
    for row in context.snapshot.rows(StoredStatus, "status_of", cid=cid):
        place = f"status list {row.list_no} index {row.idx} (connection {cid})"
        grant = grants.pop((f"{prefix}{row.list_no}", row.idx), None)
        if grant is None and row.grant_id is not None and replay.state is None:
            # Its act may be the one that could not be read.
            continue
        if grant is not None and replay.state is None and grant.act == row.grant_id:
            continue
        expected = _RESERVED if grant is None else _expected_status(grant, replay.state)
        found = (row.grant_id, row.ended, row.ask_until, row.expires_at)
        if found != expected:
            which = "no grant" if grant is None else f"grant {grant.act}"
            context.findings.add(
                place, f"it says {_status_text(found)}, but by {which} it must be {_status_text(expected)}"
            )
        if grant is not None and grant.side != row.side:
            context.findings.add(place, f"it belongs to the {row.side} side, but its grant to the {grant.side} side")
    for (uri, idx), grant in grants.items():
        context.findings.add(
            f"{uri} index {idx} (connection {cid})", f"it is missing, but grant {grant.act} refers to it"
        )


def _expected_status(grant: GivenGrant, state: Connection | None) -> tuple[str | None, int, int, int]:
    """The values that the entry of a grant must have: ended unless the grant is in force."""
    door = None if state is None else state.door(grant.side)
    live = next((it for it in door.grants if it.id == grant.act), None) if door is not None else None
    if state is None or live is None:
        return grant.act, 1, 0, grant.exp * 1000
    return grant.act, *status_of(state, grant.side, live), grant.exp * 1000


def _status_text(entry: tuple[str | None, int, int, int]) -> str:
    grant, ended, ask_until, expires_at = entry
    if grant is None and ended:
        return "free"
    status = "ended" if ended else f"ask until {ask_until}" if ask_until else "valid"
    return f"{status}, of {grant}, until {expires_at}"
