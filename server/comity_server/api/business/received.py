"""Decryption of what customers wrote, for an answer. It works only for a business whose signing key the server keeps,
and no plain text is stored (INV-14)."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from comity.documents.acts import SignedAct, open_act
from comity_server.api.business.outgoing import decrypt_for_business
from comity_server.api.business.route import Call

Bodies = Mapping[str, dict[str, Any]]
"""Id of an act → its decrypted body."""


async def decrypt_bodies(call: Call, acts: Iterable[SignedAct]) -> Bodies:
    """The bodies of these acts that the server can decrypt."""
    sealed = {act.id: act for act in acts if getattr(act.payload, "body", None) is not None}

    def decrypt_all() -> Bodies:
        found = {id_: _decrypt(call, act) for id_, act in sealed.items()}
        return {id_: body for id_, body in found.items() if body is not None}

    return await asyncio.to_thread(decrypt_all) if sealed else {}


def _decrypt(call: Call, act: SignedAct) -> dict[str, Any] | None:
    text: str = getattr(act.payload, "body", "")
    return decrypt_for_business(call.server.context.kept, call.business.did, text, act.payload.cid)


async def decrypt_bodies_by_id(call: Call, ids: Iterable[str]) -> Bodies:
    """The bodies of the acts with these ids that the server can decrypt."""
    stored = [await call.server.store.act(id_) for id_ in ids]
    return await decrypt_bodies(
        call, [open_act(act.raw, call.server.directory.find_key) for act in stored if act is not None]
    )
