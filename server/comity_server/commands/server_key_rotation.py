"""When a home server's keys are stated: the first at the first start, all of them where a log begins, and a new one
when its operator asks for it (spec/home-key.md)."""

import asyncio

from comity.transparency.server_keys import VerifiedStatement, sign_statement
from comity_server.server_keys import HomeKeyring
from comity_server.writer.unit_of_work import UnitOfWork
from comity_server.writer.writer import Writer


async def state_home_keys(accept: Writer, keys: HomeKeyring, log: str, ahead: int | None = None) -> None:
    """Before any other entry: states the first key of a new server, enters all statements into a log that has just
    begun, and states the keys whose commits were lost, one after the other. `log` is the vkey of the active log, and
    `ahead` (ms) its lead over the clock (CLOCK-4).

    Raises HomeKeyMissing, Refused("overloaded").
    """

    async def decide(unit: UnitOfWork) -> None:
        if not keys.stated:
            _state(unit, keys, sign_statement(keys.signer, unit.now, log))
            return
        origin = unit.log.place().log
        missing = keys.statements_missing_in(origin)
        for n in missing:
            unit.enter_home_statement(n, keys.stated[n])
        fresh: list[VerifiedStatement] = []
        while (pending := keys.pending_statement(fresh)) is not None:
            _state(unit, keys, pending)
            fresh.append(pending)
        stated = [*keys.stated, *fresh]
        if missing and all(it.statement.log != log for it in stated):
            # The key in force vouches for the key of the new log.
            last = stated[-1].statement
            signer = keys.signer_of(last.party)
            _state(unit, keys, sign_statement(signer, max(unit.now, last.at), log, signer, ahead))

    # Nobody may act before this is entered, not even with a "no".
    await accept.command(decide, narrows=True)


async def rotate_home(accept: Writer, keys: HomeKeyring, log: str, *, broken: bool) -> str:
    """Put a new key in the place of the one in force; its kid. With `broken` the key before does not sign the
    statement: it is lost, or others may have it (HOME-5). `log` is the vkey of the active log.

    Raises NotPossible, HomeKeyMissing, Refused("overloaded").
    """

    async def decide(unit: UnitOfWork) -> str:
        stated = await asyncio.to_thread(keys.prepare, unit.now, log, broken=broken)
        _state(unit, keys, stated)
        return stated.statement.kid

    return await accept.command(decide)


def _state(unit: UnitOfWork, keys: HomeKeyring, stated: VerifiedStatement) -> None:
    """States a key that was never stated. A further key in the same commit follows the earlier ones."""
    n = len(keys.stated) + len(unit.batch.put_home_statement)
    unit.batch.put_home_statement.append({"n": n, "statement": stated.raw, "signed": stated.signed})
    unit.enter_home_statement(n, stated)
