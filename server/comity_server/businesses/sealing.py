"""Whether all that is sealed can be opened, and by which key (BIZ-7)."""

from collections.abc import Mapping

from comity_server.businesses.master_key import CannotUnseal, MasterKey
from comity_server.store.business import BusinessRows
from comity_server.store.seals import SEALED, Kind


def key_of(kind: Kind, master: MasterKey) -> MasterKey:
    """What seals this kind."""
    return master if kind.purpose is None else master.derived(kind.purpose)


async def seals(rows: BusinessRows) -> dict[Kind, Mapping[bytes, int]]:
    """Of each kind, how much is sealed under which key, by the key's name."""
    return {kind: await rows.seals(kind.seals) for kind in SEALED}


async def check_seals(rows: BusinessRows, master: MasterKey) -> None:
    """Raises CannotUnseal if anything is sealed under a key that is not there: found at the start, the key can be put
    back; found later, somebody waits for what cannot be opened."""
    for kind, found in (await seals(rows)).items():
        check_kind(kind, found, master)


def check_kind(kind: Kind, found: Mapping[bytes, int], master: MasterKey) -> None:
    """The same for how much of one kind is sealed under which key. Raises CannotUnseal."""
    known = key_of(kind, master).names
    if strange := sum(n for name, n in found.items() if name not in known):
        raise CannotUnseal(
            f"the store has {strange} {kind.what} that another master key sealed: set COMITY_MASTER_KEY or"
            " COMITY_MASTER_KEY_FILE to the one that belongs to this store"
        )
