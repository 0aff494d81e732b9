"""What a customer wrote, opened for an answer where the business's key is kept here, and kept nowhere in clear
(INV-14)."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from comity.documents.acts import SignedAct, open_act
from comity_server.api.business.outgoing import opened
from comity_server.api.business.route import Call

Words = Mapping[str, dict[str, Any]]
"""Bodies in clear, by the acts' ids."""


async def words_in(call: Call, acts: Iterable[SignedAct]) -> Words:
    """The bodies of those of these acts that the business's kept key opens."""
    sealed = {act.id: act for act in acts if getattr(act.payload, "body", None) is not None}

    def all_of_them() -> Words:
        found = {id_: _opened(call, act) for id_, act in sealed.items()}
        return {id_: body for id_, body in found.items() if body is not None}

    return await asyncio.to_thread(all_of_them) if sealed else {}


def _opened(call: Call, act: SignedAct) -> dict[str, Any] | None:
    text: str = getattr(act.payload, "body", "")
    return opened(call.server.grounds.kept, call.business.did, text, act.payload.cid)


async def words_by_id(call: Call, ids: Iterable[str]) -> Words:
    """The same of acts that are named by their ids."""
    stored = [await call.server.store.act(id_) for id_ in ids]
    return await words_in(call, [open_act(it.raw, call.server.directory.find_key) for it in stored if it is not None])
