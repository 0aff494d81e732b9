"""Which acts may have been accepted before: their first answer must be looked up (ACT-12)."""

from collections.abc import Iterable

from comity.documents.acts import SignedAct
from comity.rules.state import Connection


def possible_repeats(acts: Iterable[SignedAct], states: dict[str, Connection]) -> list[str]:
    """The ids of those acts that may have been accepted before: all that are not next in their chain.

    An act that was accepted is no longer next, so the common case needs no look into the store.
    """
    return [act.id for act in acts if not _is_next(act, states.get(act.payload.cid))]


def _is_next(act: SignedAct, state: Connection | None) -> bool:
    if state is None or state.phase == "ended":
        return False
    side = state.side_of(act.payload.iss)
    if side is None:
        return False
    door = state.door(side)
    if act.kind == "revoke":
        return True
    return act.payload.seq >= (door.settings.seq if act.chain == "settings" else door.seq)
