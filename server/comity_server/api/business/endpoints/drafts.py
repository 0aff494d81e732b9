"""Drafts: messages that are not sent, encrypted under the master key (SAY-6, SAY-7).

Later commands of a unit of work see the changes of earlier ones. Writing a draft cancels its deletion in the same unit
of work, and the other way round, so the order of the writes does not matter.
"""

import hashlib
import hmac
from dataclasses import replace
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, TypeAdapter

from comity.crypto.encryption import MAX_TEXT
from comity.documents.types import parse_model
from comity.encoding import b64u_encode, dump_json, parse_object
from comity.errors import Malformed, Refused
from comity_server.api.business.idempotency import run_idempotent
from comity_server.api.business.outgoing import NewMessage
from comity_server.api.business.pagination import AFTER_ALL, NextCursor, page_start, seal_cursor
from comity_server.api.business.route import Call, Reply, Route
from comity_server.businesses.master_key import CannotUnseal, MasterKey
from comity_server.schema import Cid, Cursor, Instant, Limit, Model, Query, instant
from comity_server.store.business import StoredDraft
from comity_server.writer.unit_of_work import DAY, UnitOfWork

MOST_DRAFTS = 1000
"""Maximum number of drafts of a business, and of kept texts of its held messages."""
KEPT_FOR = 90 * DAY
"""Lifetime of a draft after its last change, in ms."""
_MESSAGE = TypeAdapter(NewMessage)


class Draft(Model):
    """A message that is not sent."""

    id: Annotated[str, Field(examples=["draft_3v5b1GmKJq8y2Zt0"])]
    object: Literal["draft"] = "draft"
    connection: Cid
    message: NewMessage
    created_at: Instant
    updated_at: Instant
    expires_at: Annotated[Instant, Field(description="It is deleted then, unless it is changed before.")]


class DraftList(Model):
    """A page of drafts, the newest first."""

    object: Literal["list"] = "list"
    items: tuple[Draft, ...]
    next_cursor: NextCursor | None = None


class DraftQuery(Query):
    """The page of the list of drafts."""

    cursor: Cursor | None = None
    limit: Limit = 50


class OpenedDraft(NamedTuple):
    """A decrypted draft, with its row."""

    cid: str
    message: NewMessage
    stored: StoredDraft


# --- stored and read ---


def id_of(master: MasterKey, name: str, cid: str, message: NewMessage) -> str:
    """The id of the draft of a refused message. The same message has the same id, so that a repeated request makes one
    draft. The id is an HMAC under the master key: otherwise somebody with the store alone could guess texts."""
    key = master.derived("drafts").lines().encode("ascii")
    told = b"\x00".join((name.encode(), cid.encode(), message.to_json()))
    return "draft_" + b64u_encode(hmac.digest(key, told, hashlib.sha256)[:12])


def seal_draft(master: MasterKey, name: str, id_: str, cid: str, message: NewMessage) -> bytes:
    """The encrypted draft for the store. It includes its row's key, so that no row can take another's place."""
    place = {"name": name, "id": id_, "cid": cid}
    return master.seal(dump_json({**place, "message": message.to_json().decode("utf-8")}))


def open_draft(master: MasterKey, stored: StoredDraft) -> OpenedDraft:
    """Decrypts a stored draft. Raises CannotUnseal, also for a draft that was moved to another row."""
    plain = parse_object(master.open(stored.sealed), limit=len(stored.sealed))
    if (plain["name"], plain["id"], plain["cid"]) != (stored.name, stored.id, stored.cid):
        raise CannotUnseal("a draft in the store stands in the place of another: restore it from a backup")
    return OpenedDraft(stored.cid, parse_model(_MESSAGE, plain["message"].encode("utf-8")), stored)


async def find(call: Call, unit: UnitOfWork, id_: str) -> OpenedDraft | None:
    """The draft with the changes of this unit of work. None if it has expired or is not the business's."""
    stored = await _find_stored(call, unit, id_)
    if stored is None or stored.updated_at + KEPT_FOR <= unit.now:
        return None
    return open_draft(unit.context.kept.master, stored)


async def _find_stored(call: Call, unit: UnitOfWork, id_: str) -> StoredDraft | None:
    place = (call.business.name, id_)
    if any((row["name"], row["id"]) == place for row in unit.batch.drop_draft):
        return None
    known = await call.server.store.business.draft(*place)
    fresh = next((row for row in unit.batch.put_draft if (row["name"], row["id"]) == place and not row["waits"]), None)
    if fresh is None:
        return known
    written = {name: fresh[name] for name in StoredDraft._fields}
    return StoredDraft(**{**written, "created_at": fresh["created_at"] if known is None else known.created_at})


async def keep(call: Call, unit: UnitOfWork, cid: str, message: NewMessage) -> str | None:
    """Stores a refused message as a draft and returns the draft's id; None where there are too many drafts."""
    id_ = id_of(unit.context.kept.master, call.business.name, cid, message)
    if await _find_stored(call, unit, id_) is None and await _count(call, unit) >= MOST_DRAFTS:
        return None
    put(unit, call.business.name, id_, cid, message)
    return id_


async def _count(call: Call, unit: UnitOfWork) -> int:
    """The number of drafts of the business. Drafts that this unit of work replaces count twice."""
    name = call.business.name
    stored = await call.server.store.business.count_drafts(name, unit.now - KEPT_FOR)
    fresh = [row for row in unit.batch.put_draft if row["name"] == name and not row["waits"]]
    gone = [row for row in unit.batch.drop_draft if row["name"] == name]
    return stored + len(fresh) - len(gone)


async def room_to_wait(call: Call, unit: UnitOfWork) -> bool:
    """Whether the text of one more held message can be stored."""
    name = call.business.name
    fresh = [row for row in unit.batch.put_draft if row["name"] == name and row["waits"]]
    return len(fresh) + await call.server.store.business.count_waiting_texts(name) < MOST_DRAFTS


def put(unit: UnitOfWork, name: str, id_: str, cid: str, message: NewMessage, *, waits: bool = False) -> None:
    """Stores a draft. With `waits` it is the text of a held message, which is no draft yet (SAY-6)."""
    _forget(unit, name, id_)
    batch = unit.batch
    secret = seal_draft(unit.context.kept.master, name, id_, cid, message)
    row = {"name": name, "id": id_, "cid": cid, "sealed": secret, "waits": int(waits)}
    batch.put_draft.append({**row, "created_at": unit.now, "updated_at": unit.now})


def drop(unit: UnitOfWork, name: str, id_: str) -> None:
    """Deletes a draft."""
    _forget(unit, name, id_)
    unit.batch.drop_draft.append({"name": name, "id": id_})


def _forget(unit: UnitOfWork, name: str, id_: str) -> None:
    """Cancels the changes of this unit of work to the draft."""
    for rows in (unit.batch.put_draft, unit.batch.drop_draft):
        rows[:] = [row for row in rows if (row["name"], row["id"]) != (name, id_)]


# --- over REST ---


def _draft_answer(draft: OpenedDraft) -> Draft:
    stored = draft.stored
    return Draft(
        id=stored.id,
        connection=draft.cid,
        message=draft.message,
        created_at=instant(stored.created_at),
        updated_at=instant(stored.updated_at),
        expires_at=instant(stored.updated_at + KEPT_FOR),
    )


async def list_drafts(call: Call) -> Reply:
    """Lists the business's drafts."""
    server, limit, place = call.server, call.query.limit, page_start(call, "drafts", AFTER_ALL)
    since = server.clock.now() - KEPT_FOR
    rows = await server.store.business.drafts_before(call.business.name, place, since, limit + 1)
    page = rows[:limit]
    cursor = seal_cursor(call, "drafts", page[-1].created_at, page[-1].id) if len(rows) > limit else None
    items = tuple(_draft_answer(open_draft(server.context.kept.master, row)) for row in page)
    return Reply.of(DraftList(items=items, next_cursor=cursor))


async def get_draft(call: Call) -> Reply:
    """Reads a draft."""
    stored = await call.server.store.business.draft(call.business.name, call.path["id"])
    if stored is None or stored.updated_at + KEPT_FOR <= call.server.clock.now():
        raise Refused("not_found")
    return Reply.of(_draft_answer(open_draft(call.server.context.kept.master, stored)))


async def put_draft(call: Call) -> Reply:
    """Replaces the message of a draft."""
    message: NewMessage = call.body
    message.check_expiry(call.server.clock.now())
    if len(dump_json(message.content())) > MAX_TEXT:
        raise Malformed(f"a body has at most {MAX_TEXT} bytes", errors=(("/text", "too long with the body"),))

    async def decide(unit: UnitOfWork) -> Reply:
        draft = await find(call, unit, call.path["id"])
        if draft is None:
            raise Refused("not_found")
        put(unit, call.business.name, draft.stored.id, draft.cid, message)
        told = _draft_answer(OpenedDraft(draft.cid, message, draft.stored._replace(updated_at=unit.now)))
        # The answer for a repeated request is stored as plain text. It leaves the message out, which a repeated
        # request has in its body.
        kept = told.model_dump_json(exclude={"message"}).encode("utf-8")
        return Reply(200, told.to_json(), replay_body=kept)

    reply = await run_idempotent(call, decide)
    if "Idempotency-Replayed" not in reply.headers:
        return reply
    members = dict(parse_object(reply.body))
    if "kept_until" in members:
        # Stored by an earlier version.
        members["expires_at"] = members.pop("kept_until")
    return replace(reply, body=Draft(**members, message=message).to_json())


async def delete_draft(call: Call) -> Reply:
    """Deletes a draft."""

    async def decide(unit: UnitOfWork) -> Reply:
        if await find(call, unit, call.path["id"]) is None:
            raise Refused("not_found")
        drop(unit, call.business.name, call.path["id"])
        return Reply(204)

    return await run_idempotent(call, decide)


ROUTES = (
    Route(
        "GET",
        "/drafts",
        "messages:write",
        list_drafts,
        "listDrafts",
        "List the drafts",
        "drafts",
        description="Refused messages, and held messages that were never delivered. The newest first.",
        query=DraftQuery,
        answer=DraftList,
    ),
    Route("GET", "/drafts/{id}", "messages:write", get_draft, "getDraft", "Read a draft", "drafts", answer=Draft),
    Route(
        "PUT",
        "/drafts/{id}",
        "messages:write",
        put_draft,
        "updateDraft",
        "Replace the message of a draft",
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
        "Delete a draft",
        "drafts",
        statuses=(204,),
    ),
)
