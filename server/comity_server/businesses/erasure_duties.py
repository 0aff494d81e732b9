"""The erasure statements that are due from hosted businesses (ERA-7), from `comity.rules.erasure`."""

from collections.abc import Callable, Iterator

from comity.documents.types import SIDES
from comity.rules.erasure import erasure_duty
from comity.rules.state import Connection
from comity_server.businesses.directory import Business


def duty_row(state: Connection, name: str, did: str) -> dict[str, object] | None:
    """The row of a business in a connection; None if no erasure statement is due from it."""
    side = state.side_of(did)
    owed = None if side is None else erasure_duty(state, side)
    if owed is None:
        return None
    return {
        "cid": state.cid,
        "name": name,
        "due_at": owed.due_at,
        "ended_by": "us" if state.ended_by == side else "them",
        "done_at": owed.done_at,
        "statement": owed.statement,
    }


def changed_duties(
    before: Connection, after: Connection, hosted: Callable[[str], Business | None]
) -> Iterator[dict[str, object]]:
    """The rows that change when the state goes from `before` to `after`."""
    if after.phase != "ended":
        return
    for side in SIDES:
        business = hosted(after.door(side).origin)
        if business is None:
            continue
        row = duty_row(after, business.name, business.did)
        if row is not None and row != duty_row(before, business.name, business.did):
            yield row
