"""Drafts: messages that are not sent yet, kept sealed for the business alone (SAY-6, SAY-7).

Later commands of a group see what earlier ones did to a draft: what is put takes the place of what is dropped, and the
other way round, so that the order of writing does not matter.
"""

import hashlib
import hmac
from dataclasses import replace
from typing import Annotated, NamedTuple

from pydantic import Field, TypeAdapter

from comity.crypto.encryption import MAX_TEXT
from comity.documents.types import parse_model
from comity.encoding import b64u_encode, dump_json, parse_object
from comity.errors import Malformed, Refused
from comity_server.api.business.idempotency import change
from comity_server.api.business.outgoing import NewMessage
from comity_server.api.business.pagination import LAST, NextCursor, behind, cursor_of
from comity_server.api.business.route import Call, Reply, Route
from comity_server.businesses.master_key import CannotUnseal, MasterKey
from comity_server.schema import Cid, Cursor, Instant, Limit, Model, Query, instant
from comity_server.store.business import StoredDraft
from comity_server.writer.unit_of_work import DAY, UnitOfWork

MOST_DRAFTS = 1000
"""Drafts of one business; of messages that wait, so many texts again."""
KEPT_FOR = 90 * DAY
"""ms after its last change for which a draft is kept."""
_MESSAGE = TypeAdapter(NewMessage)


class Draft(Model):
    """A message that is not sent yet."""

    id: Annotated[str, Field(examples=["draft_3v5b1GmKJq8y2Zt0"])]
    connection: Cid
    message: NewMessage
    created_at: Instant
    updated_at: Instant
    kept_until: Annotated[Instant, Field(description="After this time it is gone, unless it is changed before.")]


class DraftPage(Model):
    """Drafts, the newest first."""

    items: tuple[Draft, ...]
    next_cursor: NextCursor | None = None


class DraftQuery(Query):
    """Which drafts."""

    cursor: Cursor | None = None
    limit: Limit = 50


class OpenedDraft(NamedTuple):
    """A draft, and where it stands."""

    cid: str
    message: NewMessage
    stored: StoredDraft


# --- kept and found again ---


def id_of(master: MasterKey, name: str, cid: str, message: NewMessage) -> str:
    """The id of a draft that a refusal leaves: the same message refused again is the same draft. Made with the master
    key, or the id would let whoever has the store alone try texts."""
    key = master.derived("drafts").lines().encode("ascii")
    told = b"\x00".join((name.encode(), cid.encode(), message.to_json()))
    return "draft_" + b64u_encode(hmac.digest(key, told, hashlib.sha256)[:12])


def sealed(master: MasterKey, name: str, id_: str, cid: str, message: NewMessage) -> bytes:
    """The draft for the store: what it says, and where it stands."""
    place = {"name": name, "id": id_, "cid": cid}
    return master.seal(dump_json({**place, "message": message.to_json().decode("utf-8")}))


def opened(master: MasterKey, stored: StoredDraft) -> OpenedDraft:
    """What is in a stored draft. Raises CannotUnseal, also for one that stands in another's place."""
    plain = parse_object(master.open(stored.sealed), limit=len(stored.sealed))
    if (plain["name"], plain["id"], plain["cid"]) != (stored.name, stored.id, stored.cid):
        raise CannotUnseal("a draft in the store stands in the place of another: restore it from a backup")
    return OpenedDraft(stored.cid, parse_model(_MESSAGE, plain["message"].encode("utf-8")), stored)


async def find(call: Call, group: UnitOfWork, id_: str) -> OpenedDraft | None:
    """The draft as it is by now, if it is this business's and still kept."""
    stored = await _stored(call, group, id_)
    if stored is None or stored.updated_at + KEPT_FOR <= group.now:
        return None
    return opened(group.grounds.kept.master, stored)


async def _stored(call: Call, group: UnitOfWork, id_: str) -> StoredDraft | None:
    place = (call.business.name, id_)
    if any((row["name"], row["id"]) == place for row in group.batch.drop_draft):
        return None
    known = await call.server.store.business.draft(*place)
    fresh = next((row for row in group.batch.put_draft if (row["name"], row["id"]) == place and not row["waits"]), None)
    if fresh is None:
        return known
    written = {name: fresh[name] for name in StoredDraft._fields}
    return StoredDraft(**{**written, "created_at": fresh["created_at"] if known is None else known.created_at})


async def keep(call: Call, group: UnitOfWork, cid: str, message: NewMessage) -> str | None:
    """Keep a message that was refused; its id as a draft, None where too many are kept already."""
    id_ = id_of(group.grounds.kept.master, call.business.name, cid, message)
    if await _stored(call, group, id_) is None and await _count(call, group) >= MOST_DRAFTS:
        return None
    put(group, call.business.name, id_, cid, message)
    return id_


async def _count(call: Call, group: UnitOfWork) -> int:
    """How many drafts the business has by now, or a few more: what this group replaces counts as well."""
    name = call.business.name
    stored = await call.server.store.business.count_drafts(name, group.now - KEPT_FOR)
    fresh = [row for row in group.batch.put_draft if row["name"] == name and not row["waits"]]
    gone = [row for row in group.batch.drop_draft if row["name"] == name]
    return stored + len(fresh) - len(gone)


async def room_to_wait(call: Call, group: UnitOfWork) -> bool:
    """Whether the text of one more message that waits can be kept."""
    name = call.business.name
    fresh = [row for row in group.batch.put_draft if row["name"] == name and row["waits"]]
    return len(fresh) + await call.server.store.business.count_waiting_texts(name) < MOST_DRAFTS


def put(group: UnitOfWork, name: str, id_: str, cid: str, message: NewMessage, *, waits: bool = False) -> None:
    """Write a draft, its first text or another; one that `waits` is none before its message has ended (SAY-6)."""
    _forget(group, name, id_)
    batch = group.batch
    secret = sealed(group.grounds.kept.master, name, id_, cid, message)
    row = {"name": name, "id": id_, "cid": cid, "sealed": secret, "waits": int(waits)}
    batch.put_draft.append({**row, "created_at": group.now, "updated_at": group.now})


def drop(group: UnitOfWork, name: str, id_: str) -> None:
    """Take a draft away."""
    _forget(group, name, id_)
    group.batch.drop_draft.append({"name": name, "id": id_})


def _forget(group: UnitOfWork, name: str, id_: str) -> None:
    """Leave out what this group was about to do to the draft."""
    for rows in (group.batch.put_draft, group.batch.drop_draft):
        rows[:] = [row for row in rows if (row["name"], row["id"]) != (name, id_)]


# --- over REST ---


def _told(draft: OpenedDraft) -> Draft:
    stored = draft.stored
    return Draft(
        id=stored.id,
        connection=draft.cid,
        message=draft.message,
        created_at=instant(stored.created_at),
        updated_at=instant(stored.updated_at),
        kept_until=instant(stored.updated_at + KEPT_FOR),
    )


async def list_drafts(call: Call) -> Reply:
    """A page of the business's drafts."""
    server, limit, place = call.server, call.query.limit, behind(call, "drafts", LAST)
    since = server.clock.now() - KEPT_FOR
    rows = await server.store.business.drafts_before(call.business.name, place, since, limit + 1)
    page = rows[:limit]
    cursor = cursor_of(call, "drafts", page[-1].created_at, page[-1].id) if len(rows) > limit else None
    items = tuple(_told(opened(server.grounds.kept.master, row)) for row in page)
    return Reply.of(DraftPage(items=items, next_cursor=cursor))


async def get_draft(call: Call) -> Reply:
    """One draft."""
    stored = await call.server.store.business.draft(call.business.name, call.path["id"])
    if stored is None or stored.updated_at + KEPT_FOR <= call.server.clock.now():
        raise Refused("not_found")
    return Reply.of(_told(opened(call.server.grounds.kept.master, stored)))


async def put_draft(call: Call) -> Reply:
    """Write a draft anew."""
    message: NewMessage = call.body
    message.check_expiry(call.server.clock.now())
    if len(dump_json(message.content())) > MAX_TEXT:
        raise Malformed(f"a body has at most {MAX_TEXT} bytes", errors=(("/text", "too long with the body"),))

    async def decide(group: UnitOfWork) -> Reply:
        draft = await find(call, group, call.path["id"])
        if draft is None:
            raise Refused("not_found")
        put(group, call.business.name, draft.stored.id, draft.cid, message)
        told = _told(OpenedDraft(draft.cid, message, draft.stored._replace(updated_at=group.now)))
        # What is kept for a repeated request is kept in clear: the text comes with the request once more.
        kept = told.model_dump_json(exclude={"message"}).encode("utf-8")
        return Reply(200, told.to_json(), instead=kept)

    reply = await change(call, decide)
    if "Idempotency-Replayed" not in reply.headers:
        return reply
    return replace(reply, body=Draft(**parse_object(reply.body), message=message).to_json())


async def delete_draft(call: Call) -> Reply:
    """Throw a draft away."""

    async def decide(group: UnitOfWork) -> Reply:
        if await find(call, group, call.path["id"]) is None:
            raise Refused("not_found")
        drop(group, call.business.name, call.path["id"])
        return Reply(204)

    return await change(call, decide)


ROUTES = (
    Route(
        "GET",
        "/drafts",
        "messages:write",
        list_drafts,
        "listDrafts",
        "Messages that are not sent yet",
        "drafts",
        description="The newest first. A message that was refused is here, so that nobody has to write it again; so is "
        "one that waited and will never arrive.",
        query=DraftQuery,
        answer=DraftPage,
    ),
    Route("GET", "/drafts/{id}", "messages:write", get_draft, "getDraft", "Read a draft", "drafts", answer=Draft),
    Route(
        "PUT",
        "/drafts/{id}",
        "messages:write",
        put_draft,
        "updateDraft",
        "Write a draft anew",
        "drafts",
        body=NewMessage,
        answer=Draft,
    ),
    Route(
        "DELETE",
        "/drafts/{id}",
        "messages:write",
        delete_draft,
        "deleteDraft",
        "Throw a draft away",
        "drafts",
        statuses=(204,),
    ),
)
