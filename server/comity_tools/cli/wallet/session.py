"""The frame of every `comity wallet` command: open the file, find the connection, report errors in one line."""

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import click
import stamina

from comity.client import AlreadyConnected, AmbiguousName, Connection, Wallet
from comity.client.petnames import MARK
from comity.client.session import Faults
from comity.client.storage.frames import WrongIdentity
from comity.errors import ComityError, Refused
from comity.transparency.checkpoints import NO_WITNESSES, Policy
from comity_tools.cli.text import plain, say, utc_time
from comity_tools.cli.wallet import unlocked_identities

Work = Callable[..., Awaitable[None]]


all_option = click.option("--all", "every", is_flag=True, help="Apply to every open connection with this party.")


class WalletAccess:
    """The wallet's file, how it is opened, and the witnesses that must have cosigned its logs."""

    def __init__(self, file: Path, witnesses: Policy = NO_WITNESSES) -> None:
        self.file = file
        self.witnesses = witnesses

    def secret(self, *, new: bool = False) -> dict[str, Any]:
        """The passphrase, asked for if the environment has none. Never an option: others can read a command line."""
        if identity := os.environ.get("COMITY_WALLET_IDENTITY"):
            return {"identity": identity}
        if not new and not self.file.exists():
            # Before the passphrase of a missing file is asked for.
            raise click.ClickException(f"there is no wallet in {self.file}: `comity wallet create` makes one")
        found = os.environ.get("COMITY_PASSPHRASE")
        passphrase = found or click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True)
        return {"passphrase": str(passphrase)}

    def new_passphrase(self) -> str:
        """The new passphrase; asked for twice if the environment has none."""
        found = os.environ.get("COMITY_NEW_PASSPHRASE")
        return found or str(click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True))

    async def open(self) -> Wallet:
        """Opens the wallet with the identity that `unlock` stored, else with the passphrase. Raises WalletFileError."""
        if (
            not os.environ.get("COMITY_WALLET_IDENTITY")
            and (identity := unlocked_identities.find_identity(self.file)) is not None
        ):
            # An identity that somebody else put there does not open the file, and is ignored.
            with suppress(WrongIdentity):
                return await Wallet.open(self.file, witnesses=self.witnesses, identity=identity)
        return await Wallet.open(self.file, witnesses=self.witnesses, **self.secret())


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Does the work; an error ends the command with one line and exit code 1."""
    # Retries are not reported to a person who waits for one sentence.
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        asyncio.run(_unwrap_group(work))
    except Refused as refused:
        where = "; ".join(f"{pointer[1:]}: {what}" if pointer else what for pointer, what in refused.errors)
        reason = where or refused.detail or refused.title.rstrip(".")
        until = "" if refused.until is None else f", until {utc_time(refused.until)}"
        raise click.ClickException(_one_line(f"{reason}{until} ({refused.code})")) from None
    except AlreadyConnected as known:
        raise click.ClickException(_one_line(f"{known}; --again makes another one")) from None
    except ComityError as error:
        raise click.ClickException(_one_line(str(error))) from None
    except TimeoutError:
        raise click.ClickException("no answer in time") from None


def _one_line(text: str) -> str:
    return " ".join(plain(text).split())


async def _unwrap_group(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except BaseExceptionGroup as group:
        # One line has room for one reason.
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


@asynccontextmanager
async def _wallet_context(wallet: Wallet) -> AsyncIterator[Wallet]:
    try:
        yield wallet
    finally:
        await wallet.close()


def wallet_command(work: Work) -> Callable[..., None]:
    """A command that works on the open wallet."""

    def command(access: WalletAccess, /, **given: Any) -> None:
        async def open_and_work() -> None:
            async with _wallet_context(await access.open()) as wallet:
                try:
                    await work(wallet, **given)
                except ComityError:
                    if wallet.accepted_kinds:
                        say(f"It took effect: {', '.join(wallet.accepted_kinds)}. But a later step failed.")
                    raise
                finally:
                    _report_clocks(wallet)
                    report_damage(wallet.damaged_copies)
                if wallet.write_error is not None:
                    say(f"Note: {wallet.write_error}. It is in force, but not in this file: `sync` fetches it.")

        run(open_and_work)

    functools.update_wrapper(command, work)
    return click.pass_obj(command)


def report_damage(copies: Sequence[Path]) -> None:
    """Reports on standard error that the end of the wallet file was damaged (WALLET-10)."""
    for copy in copies:
        say(f"Note: the end of this wallet file could not be read. {copy} is a copy of the damaged file.", err=True)
        say("`sync` fetches what servers accepted. Delete the copy when you no longer need it.", err=True)


def _report_clocks(wallet: Wallet) -> None:
    """Reports on standard error that this device's clock differs from a server's (HTTP-24)."""
    for home, ahead in wallet.clock_offsets.items():
        apart = f"{abs(ahead)} seconds {'behind' if ahead > 0 else 'ahead of'}"
        say(f"Note: this device's clock is {apart} that of {home}, whose time requests were signed with.", err=True)
        say(
            "Set this device's clock: acts are signed with its time, and refused if it is off by ten minutes.", err=True
        )


def connection_command(work: Work) -> Callable[..., None]:
    """A command that works on one connection (its first argument) after reading its news."""
    return _connection_command(work, is_narrowing=False)


def narrowing_command(work: Work) -> Callable[..., None]:
    """A command that says no to one connection, and reads its news only afterwards. A log that has stopped or lies, or
    witnesses that are away, are reported after that."""
    return _connection_command(work, is_narrowing=True)


def _connection_command(work: Work, *, is_narrowing: bool) -> Callable[..., None]:
    async def with_parties(wallet: Wallet, connection: str, every: bool = False, **given: Any) -> None:
        faults = Faults()
        parties = _choose_connections(wallet, connection, every, is_narrowing)
        for party in parties:
            with faults.collect():
                await (_work_then_sync if is_narrowing else _sync_then_work)(work, wallet, party, given)
        faults.raise_first()
        if is_narrowing:
            _report_other_connections(wallet, parties)

    functools.update_wrapper(with_parties, work)
    return wallet_command(with_parties)


def _choose_connections(wallet: Wallet, typed: str, every: bool, is_narrowing: bool) -> list[Connection]:
    """The connection that `typed` names; with `every`, all open ones with that party. A "no" prefers an open connection
    to one that is not open yet (WHO-3). Raises NotNamed, SeveralNamed."""
    try:
        found = [wallet.find_connection(typed)]
    except AmbiguousName as several:
        found = [wallet.connection(cid) for cid in several.cids]
        if not found or len({it.did for it in found}) > 1:
            raise
        are_open = [it for it in found if it.phase == "open"]
        if is_narrowing and len(are_open) == 1:
            found = are_open
        elif not every:
            hint = "; --all means all of them" if _has_all_option() else ""
            raise AmbiguousName(f"{several}{hint}", several.cids) from None
    return [it for it in wallet.connections_with(found[0].did) if it.phase == "open"] or found[:1] if every else found


def _has_all_option() -> bool:
    context = click.get_current_context()
    return any(param.name == "every" for param in context.command.params)


def _report_other_connections(wallet: Wallet, parties: list[Connection]) -> None:
    """Names the other connections with a party, which a "no" to some of them does not change (WHO-5)."""
    for other in wallet.connections_with(parties[0].did):
        if other in parties:
            continue
        more = ""
        if other.phase == "proposed":
            more = ": `take-back` ends it before it begins"
        elif _has_all_option():
            more = f": `{click.get_current_context().info_name} --all` applies to all of them"
        say(f"Note: there is another connection with {other.name}, {short_id(other.cid)} ({other.phase}){more}.")


async def _sync_then_work(work: Work, wallet: Wallet, party: Connection, given: dict[str, Any]) -> None:
    if party.phase != "closed":
        await party.sync()
    await work(wallet, party, **given)


async def _work_then_sync(work: Work, wallet: Wallet, party: Connection, given: dict[str, Any]) -> None:
    if party.phase == "proposed":
        # It may have been opened meanwhile.
        await sync_quietly(party)
    await work(wallet, party, **given)
    if party.phase in ("open", "ended") and wallet.write_error is None:
        with wallet.tolerate_write_errors():
            await party.sync()


async def sync_quietly(party: Connection) -> None:
    """Reads news, ignoring errors: the next read reports them."""
    with suppress(ComityError):
        await party.sync()


def short_id(id_: str) -> str:
    """An id in its short form, as it is shown and typed."""
    return f"{MARK}{id_[:12]}"
