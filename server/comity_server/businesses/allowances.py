"""Records which grant of a business fulfils the promise in its offer (ALLOW-5). Pure: adds rows to a batch."""

from collections.abc import Callable

from comity.documents.acts import Grant, SignedAct, Withdraw
from comity.documents.events import Accepted
from comity.rules.state import Connection
from comity_server.businesses.directory import Business
from comity_server.store.rows import Batch


def note_grant(
    batch: Batch, hosted: Callable[[str], Business | None], signed: SignedAct, event: Accepted, before: Connection
) -> None:
    """Records a grant that a hosted business gave or withdrew in the row of its connection."""
    payload = signed.payload
    if not isinstance(payload, (Grant, Withdraw)) or (business := hosted(before.door(event.side).origin)) is None:
        return
    row = {"cid": event.cid, "name": business.name}
    if isinstance(payload, Grant):
        batch.note_grant.append({**row, "act": signed.id, "replaces": payload.replaces})
    else:
        batch.end_grant.append({**row, "act": payload.grant, "at": event.at})
