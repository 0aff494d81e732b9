"""How another master key takes the place of the one in use (BIZ-7)."""

from pathlib import Path

from comity_server.businesses.master_key import FILE, MasterKey, check_of, write_master
from comity_server.businesses.sealing import check_seals, key_of
from comity_server.config import Config
from comity_server.errors import NotPossible
from comity_server.services import Server
from comity_server.store.seals import SEALED
from comity_server.writer.unit_of_work import UnitOfWork


def master_file(config: Config) -> Path | None:
    """The file in which the master key is; None where it is in the environment."""
    if config.master_key.get_secret_value():
        return None
    # If a link leads to the file, the new file must not replace the link.
    return (config.master_key_file or config.data / FILE).resolve()


async def rotate_master(server: Server) -> int:
    """Put a new master key in the place of the one in use, and seal everything anew; how much that was.

    Where the key is in a file, that is rewritten: a stop at any line leaves a server that starts, and a command that
    can be run again. Where it is in the environment, the operator has put the new one in front of the old one before.
    Raises NotPossible, CannotUnseal, Refused("overloaded").
    """
    kept, file = server.context.kept, master_file(server.config)
    if file is None:
        return await _reseal_under_the_first(server)
    # Several keys are left over from an earlier run that was stopped: its new key is used.
    wider = kept.master if len(kept.master.names) > 1 else kept.master.with_new_first()
    # A stop before this line: nothing has happened.
    _write(file, wider)
    # A stop from here on: the server starts with both keys, and whatever is sealed opens under one of them.
    kept.master = wider
    count = await _reseal(server)
    # A stop from here on: the old key opens nothing any more, and stays in the file until this is run again.
    narrower = wider.first_alone()
    await check_seals(server.store.business, narrower)
    if kept.master is wider:
        _write(file, narrower)
        kept.master = narrower
    # Else somebody else has asked for the same meanwhile, and was done first: the file is his by now.
    return count


async def _reseal_under_the_first(server: Server) -> int:
    master = server.context.kept.master
    if len(master.names) == 1:
        raise NotPossible(
            "COMITY_MASTER_KEY contains one key: put a new one in front of it, separated by a space, restart the"
            " server with both, and run this command again"
        )
    count = await _reseal(server)
    await check_seals(server.store.business, master.first_alone())
    return count


async def _reseal(server: Server) -> int:
    """Seals every stored secret anew in one commit; returns how many. A secret under the first key is sealed again as
    it is, so a commit of unknown outcome does no harm: the next run finds the remaining ones."""

    async def decide(unit: UnitOfWork) -> int:
        master, count = unit.context.kept.master, 0
        for kind in SEALED:
            key, rows = key_of(kind, master), getattr(unit.batch, kind.reseal)
            for name, id_, sealed in await server.store.business.sealed_secrets(kind.sealed):
                if not key.is_current(sealed):
                    rows.append({"name": name, "id": id_, "before": sealed, "sealed": key.seal(key.open(sealed))})
                    count += 1
        # The check value changes in the same commit: the next start reads it first.
        unit.batch.put_master_check.append({"value": check_of(master)})
        return count

    return await server.writer.command(decide)


def _write(file: Path, master: MasterKey) -> None:
    try:
        write_master(file, master)
    except OSError as fault:
        raise NotPossible(f"{file} cannot be written: {fault.strerror}") from None
