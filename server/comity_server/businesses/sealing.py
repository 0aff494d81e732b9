"""Checks that the master key can unseal everything in the store (BIZ-7)."""

from collections.abc import Mapping

from comity_server.businesses.master_key import CannotUnseal, MasterKey
from comity_server.store.business import BusinessRows
from comity_server.store.seals import SEALED, Kind


def key_of(kind: Kind, master: MasterKey) -> MasterKey:
    """The key that seals rows of this kind."""
    return master if kind.purpose is None else master.derived(kind.purpose)


async def seals(rows: BusinessRows) -> dict[Kind, Mapping[bytes, int]]:
    """Kind → name of a sealing key → number of rows."""
    return {kind: await rows.seals(kind.seals) for kind in SEALED}


async def check_seals(rows: BusinessRows, master: MasterKey) -> None:
    """Raises CannotUnseal if a row is sealed under a key that is missing. The check runs at the start, so that the
    operator can restore the key before a request needs it."""
    for kind, found in (await seals(rows)).items():
        check_kind(kind, found, master)


def check_kind(kind: Kind, found: Mapping[bytes, int], master: MasterKey) -> None:
    """Raises CannotUnseal if rows of one kind are sealed under a key that is missing. `found` is name of a sealing key
    → number of rows."""
    known = key_of(kind, master).names
    if strange := sum(n for name, n in found.items() if name not in known):
        raise CannotUnseal(
            f"the store has {strange} {kind.what} that another master key sealed: set COMITY_MASTER_KEY or"
            " COMITY_MASTER_KEY_FILE to the one that belongs to this store"
        )
