"""After a server was put back from an older copy: what it lacks is handed in, and what this side holds is confirmed
(spec/connection.md, REC-9)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from comity import http_api
from comity.client.connection.history import Ledger, Line
from comity.client.connection.stored_connection import StoredConnection
from comity.client.http.server_api import Home
from comity.client.models import News
from comity.client.storage.records import Entered, Unsent
from comity.documents.acts import SignedAct, is_narrowing
from comity.documents.events import Accepted, Restored
from comity.documents.types import Side
from comity.errors import Refused

UNKNOWN = frozenset({"not_found", "unknown_key", "key_replaced"})
"""What a server says of a connection that it does not know, or not by that key."""
_AT_ONCE = 60
"""Records in one request: a record has at most twice the bytes of a signed text, and a batch 8 MiB."""


def is_owed(writing: StoredConnection) -> bool:
    """Whether the server was restored, and this side has not confirmed yet that it has everything again."""
    book = writing.ledger
    done = writing.core.kept.get("recovered", writing.link.cid, int) or 0
    return book is not None and book.state.restored_at > done


def may_be_unknown(writing: StoredConnection) -> bool:
    """Whether the home server says that it was restored, and this connection has nothing of that yet: it may be one
    that opened after the copy was made (REC-10)."""
    return writing.ledger is not None and _restored_without(writing) is not None


def _restored_without(writing: StoredConnection) -> int | None:
    """When (ms) the home server was restored, where nothing of that was stated here, and it was not asked since."""
    at = writing.core.logs.restored_at(writing.link.home)
    done = writing.core.kept.get("recovered", writing.link.cid, int) or 0
    return at if at > max(writing.book.state.restored_at, done) else None


async def bring_back_unknown(writing: StoredConnection) -> bool:
    """Hands in the whole connection where a restored server does not know it, or not by the name that this side has by
    now: what opened it, a revoke, the rest. Whether that was so. Raises Refused, Unreachable."""
    core, book, cid = writing.core, writing.book, writing.link.cid
    at, home = _restored_without(writing), core.home(writing.link.home)
    if at is None:
        return False
    try:
        answer, _ = await home.connection(cid, writing.signer)
    except Refused as refused:
        if refused.code not in UNKNOWN:
            raise
    else:
        # It is there; of an open one the inbox of its own key brings what was stated.
        stated = answer.state.get("restored_at")
        if not isinstance(stated, int) or stated <= book.state.restored_at:
            await core.kept.keep(("recovered", cid, at))
        return False
    opened = http_api.RecordBody(event=book.opened.raw, agreement=json.loads(writing.link.agreement))
    if (why := await _why_not(home, opened)) is not None:
        if why.code not in UNKNOWN:
            raise why
        # Nobody can be reached in it any more, and nothing can be said: the owner is told, once.
        await core.kept.keep(("recovered", cid, at))
        core.untold.append(News(cid, "unknown", core.clock(), "me"))
        return False
    for records in _in_order(list(book.lines)):
        await home.records(records)
    return True


async def _why_not(home: Home, record: http_api.RecordBody) -> Refused | None:
    try:
        (why,) = await home.records([record])
    except Refused as refused:
        return refused
    return why


async def bring_back(writing: StoredConnection) -> bool:
    """Hands in what this wallet holds and a restored server may lack, and says which heads it knows. Whether the server
    has all of it now: what only the other side has is waited for. Raises Refused, Unreachable, Contradiction."""
    core, book, cid = writing.core, writing.book, writing.link.cid
    home, restored_at = core.home(writing.link.home), book.state.restored_at
    for records in _in_order(list(_lost(book))):
        await home.records(records)
    state = book.state
    settings = state.door(writing.link.side).settings.head or cid
    known = http_api.HeadsKnown(first=state.first.head, second=state.second.head, settings=settings)
    answer = await home.heads(cid, known, writing.signer)
    side = writing.link.side
    # What is behind an end is taken back at any time.
    is_over = side not in answer.recovering and (state.phase == "open" or side in answer.lacks)
    if answer.lacks and is_over:
        # Another device of this side confirmed without what this one knows, or an act of this side did.
        await _go_on_without(writing)
    elif answer.lacks:
        return False
    await core.kept.keep(("recovered", cid, restored_at))
    return True


async def _go_on_without(writing: StoredConnection) -> None:
    """Leaves out what the server lost and takes back no more; what of it said no, is to be said again (REC-9)."""
    core, book, cid = writing.core, writing.book, writing.link.cid
    there, cursor = set[str](), None
    home = core.home(writing.link.home)
    while (page := await home.records_of(cid, writing.signer, cursor)).items:
        there |= {it.event for it in page.items}
        cursor = page.cursor
    gone = [it for it in _lost(book) if it.raw not in there]
    if not gone:
        return
    latest = max((it.at for it in book.lines if _is_own_setting(it, writing.link.side)), default=0)
    book.leave_out([it.at for it in gone])
    kept = core.kept.get("unsent", cid, Unsent)
    again = [act.raw for it in gone if (act := _to_say_again(it, writing.link.side, latest)) is not None]
    owed = [("owed", it.act.id, None) for it in gone if it.act is not None]
    # They stay in the file as evidence: the server did acknowledge them.
    lost = [(f"lost/{cid}", f"{it.at:015d}", Entered(it.raw, None if it.act is None else it.act.raw)) for it in gone]
    unsent = Unsent((*again, *(kept.acts if kept else ())))
    await core.kept.keep(*owed, *lost, *writing.left_out(), ("unsent", cid, unsent if unsent.acts else None))
    core.untold.append(News(cid, "said_again" if again else "lost", core.clock(), "me"))


def _is_own_setting(line: Line, side: Side) -> bool:
    return isinstance(line.event, Accepted) and (line.event.side, line.event.chain) == (side, "settings")


def _to_say_again(line: Line, side: Side, latest: int) -> SignedAct | None:
    """The own act of a lost line, if it said no, or set what nobody set anew since (`latest`: the last setting, ms)."""
    act = line.act
    if not isinstance(line.event, Accepted) or act is None or line.event.side != side:
        return None
    sets = act.kind in ("hours", "budget") and line.at == latest
    return act if sets or (is_narrowing(act.payload) and act.kind != "mute_end") else None


def _lost(book: Ledger) -> Iterator[Line]:
    """The lines that the server may have lost: of earlier logs, and later than the last act that it kept."""
    restored = next(it.event for it in reversed(book.lines) if isinstance(it.event, Restored))
    kept = [
        it.at
        for it in book.lines
        if isinstance(it.event, Accepted) and it.event.act in (restored.first, restored.second)
    ]
    for line in book.lines:
        if line.at > max(kept, default=0) and line.event.log != restored.log:
            yield line


def _in_order(lines: list[Line]) -> Iterator[list[http_api.RecordBody]]:
    """A revoke first, and alone: nothing that may be wrong with the rest keeps it back. Then the others by their
    times."""
    revokes = [it for it in lines if isinstance(it.event, Accepted) and it.event.kind == "revoke"]
    if revokes:
        yield [_handed(it) for it in revokes]
    rest = [_handed(it) for it in lines if it not in revokes]
    for start in range(0, len(rest), _AT_ONCE):
        yield rest[start : start + _AT_ONCE]


def _handed(line: Line) -> http_api.RecordBody:
    return http_api.RecordBody(event=line.raw, act=None if line.act is None else line.act.raw)


def waits(refused: Refused) -> bool:
    """Whether an act is refused only until both sides have confirmed: it is kept, and sent again."""
    return refused.code == "recovering"
