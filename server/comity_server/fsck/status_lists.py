"""Checks the status list entry of each grant against the connection's state (STATUS-3, STATUS-4)."""

from comity.rules.state import Connection
from comity_server.fsck.replay import Given, Ground, Replay
from comity_server.fsck.snapshot import StoredStatus
from comity_server.status_lists import status_of

_RESERVED = (None, 1, 0, 0)
"""The values of an index without a grant: grant, ended, asked until, expires at."""


def check_consents(cid: str, prefix: str, replay: Replay, ground: Ground) -> None:
    """Checks the status entries of a connection: each grant ever given has its own, which agrees with the state; all
    others are reserved and say no."""
    given = dict(replay.consents)
    for row in ground.snapshot.rows(StoredStatus, "status_of", cid=cid):
        place = f"status list {row.list_no} index {row.idx} (connection {cid})"
        consent = given.pop((f"{prefix}{row.list_no}", row.idx), None)
        if consent is None and row.grant_id is not None and replay.state is None:
            # Its act may be the one that could not be read.
            continue
        if consent is not None and replay.state is None and consent.grant == row.grant_id:
            continue
        wanted = _RESERVED if consent is None else _of(consent, replay.state)
        found = (row.grant_id, row.ended, row.ask_until, row.expires_at)
        if found != wanted:
            which = "no grant" if consent is None else f"grant {consent.grant}"
            ground.findings.add(place, f"it says {_told(found)}, but by {which} it must be {_told(wanted)}")
        if consent is not None and consent.side != row.side:
            ground.findings.add(place, f"it belongs to the {row.side} side, but its grant to the {consent.side} side")
    for (uri, idx), consent in given.items():
        ground.findings.add(
            f"{uri} index {idx} (connection {cid})", f"it is missing, but grant {consent.grant} refers to it"
        )


def _of(consent: Given, state: Connection | None) -> tuple[str | None, int, int, int]:
    """The values that the entry of a grant must have: ended unless the grant is in force."""
    door = None if state is None else state.door(consent.side)
    live = next((it for it in door.grants if it.id == consent.grant), None) if door is not None else None
    if state is None or live is None:
        return consent.grant, 1, 0, consent.exp * 1000
    return consent.grant, *status_of(state, consent.side, live), consent.exp * 1000


def _told(entry: tuple[str | None, int, int, int]) -> str:
    grant, ended, ask_until, expires_at = entry
    if grant is None and ended:
        return "free"
    said = "ended" if ended else f"ask until {ask_until}" if ask_until else "valid"
    return f"{said}, of {grant}, until {expires_at}"
