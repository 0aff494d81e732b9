"""What every `comity wallet` command does around its one sentence: open the file, find the connection, tell what went
wrong in one line."""

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import stamina

from comity.client import AlreadyConnected, Party, SeveralNamed, Wallet
from comity.client.petnames import MARK
from comity.client.session import Faults
from comity.client.storage.frames import WrongIdentity
from comity.errors import ComityError, Refused
from comity.transparency.checkpoints import NO_WITNESSES, Policy
from comity_tools.cli.wallet import unlocked

Work = Callable[..., Awaitable[None]]


all_option = click.option("--all", "every", is_flag=True, help="Every open connection with that party.")


class Where:
    """Which wallet, how it is opened, and which witnesses it wants on its logs."""

    def __init__(self, file: Path, witnesses: Policy = NO_WITNESSES) -> None:
        self.file = file
        self.witnesses = witnesses

    def secret(self, *, new: bool = False) -> dict[str, Any]:
        """The passphrase, asked for where the environment has none. Never an option: others can read a command line."""
        if identity := os.environ.get("COMITY_WALLET_IDENTITY"):
            return {"identity": identity}
        if not new and not self.file.exists():
            # Before anybody is asked for the passphrase of what is not there.
            raise click.ClickException(f"there is no wallet in {self.file}: `comity wallet create` makes one")
        found = os.environ.get("COMITY_PASSPHRASE")
        asked = found or click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True)
        return {"passphrase": str(asked)}

    def new_passphrase(self) -> str:
        """The passphrase that is to take the place of the one before; asked for twice."""
        found = os.environ.get("COMITY_NEW_PASSPHRASE")
        return found or str(click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True))

    async def wallet(self) -> Wallet:
        """The open wallet: by what `unlock` kept, else by the passphrase. Raises WalletFileError."""
        if not os.environ.get("COMITY_WALLET_IDENTITY") and (identity := unlocked.identity_of(self.file)) is not None:
            # What somebody else put in its place opens nothing, and is passed over.
            with suppress(WrongIdentity):
                return await Wallet.open(self.file, witnesses=self.witnesses, identity=identity)
        return await Wallet.open(self.file, witnesses=self.witnesses, **self.secret())


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Does the work; what goes wrong is told in one line, with exit code 1."""
    # Tries again are not told to a person who waits for one sentence.
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        asyncio.run(_plainly(work))
    except Refused as refused:
        where = "; ".join(f"{pointer[1:]}: {what}" if pointer else what for pointer, what in refused.errors)
        told = where or refused.detail or refused.title.rstrip(".")
        until = "" if refused.until is None else f", until {day(refused.until)}"
        raise click.ClickException(_one_line(f"{told}{until} ({refused.code})")) from None
    except AlreadyConnected as known:
        raise click.ClickException(_one_line(f"{known}; --again makes another one")) from None
    except ComityError as error:
        raise click.ClickException(_one_line(str(error))) from None
    except TimeoutError:
        raise click.ClickException("nothing came in time") from None


def _one_line(text: str) -> str:
    return " ".join(plain(text).split())


async def _plainly(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except BaseExceptionGroup as group:
        # One reason is enough for one line.
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


@asynccontextmanager
async def _closing(wallet: Wallet) -> AsyncIterator[Wallet]:
    try:
        yield wallet
    finally:
        await wallet.close()


def opened(work: Work) -> Callable[..., None]:
    """A command that works on the open wallet."""

    def command(where: Where, /, **given: Any) -> None:
        async def with_wallet() -> None:
            async with _closing(await where.wallet()) as opened:
                try:
                    await work(opened, **given)
                except ComityError:
                    if opened.taken:
                        say(f"It took effect: {', '.join(opened.taken)}. But what came after it did not go well.")
                    raise
                finally:
                    _tell_of_clocks(opened)
                    tell_of_damage(opened.damaged)
                if opened.unkept is not None:
                    say(f"Mind: {opened.unkept}. It is in force, but not in this file: `sync` reads it back.")

        run(with_wallet)

    functools.update_wrapper(command, work)
    return click.pass_obj(command)


def tell_of_damage(copies: Sequence[Path]) -> None:
    """Beside what is printed: that the end of the wallet's file was damaged (WALLET-10)."""
    for copy in copies:
        say(f"Mind: the end of this wallet's file could not be read. {copy} is a copy of it as it was found.", err=True)
        say("`sync` reads back what servers accepted. Once you need that copy no more, take it away.", err=True)


def _tell_of_clocks(opened: Wallet) -> None:
    """Beside what is printed, which may go into a file: that this device's clock is not that of a server (HTTP-24)."""
    for home, ahead in opened.clocks_off.items():
        apart = f"{abs(ahead)} seconds {'behind' if ahead > 0 else 'ahead of'}"
        say(f"Mind: this device's clock is {apart} that of {home}, by which requests were signed now.", err=True)
        say("Set the right one: acts are signed by this device's, and refused from ten minutes on.", err=True)


def connected(work: Work) -> Callable[..., None]:
    """A command that works on one connection (its first argument); reads its news first."""
    return _on_one(work, says_no=False)


def says_no(work: Work) -> Callable[..., None]:
    """A command that says no to one connection: first that, and only then what is new is read. A log that stands still
    or lies, or witnesses that are away, are told of when it is done."""
    return _on_one(work, says_no=True)


def _on_one(work: Work, *, says_no: bool) -> Callable[..., None]:
    async def with_parties(opened: Wallet, connection: str, every: bool = False, **given: Any) -> None:
        faults = Faults()
        parties = _chosen(opened, connection, every, says_no)
        for party in parties:
            with faults.told_later():
                await (_say_no if says_no else _with_news)(work, opened, party, given)
        faults.tell()
        if says_no:
            _tell_of_others(opened, parties)

    functools.update_wrapper(with_parties, work)
    return opened(with_parties)


def _chosen(opened: Wallet, typed: str, every: bool, says_no: bool) -> list[Party]:
    """The connection that was typed; with `every`, all with that party that can still be closed. A "no" is for one that
    is open before one that is not yet (WHO-3). Raises NotNamed, SeveralNamed."""
    try:
        found = [opened.find(typed)]
    except SeveralNamed as several:
        found = [opened.party(cid) for cid in several.cids]
        if not found or len({it.did for it in found}) > 1:
            raise
        are_open = [it for it in found if it.phase == "open"]
        if says_no and len(are_open) == 1:
            found = are_open
        elif not every:
            hint = "; --all means every one of them" if _takes_all() else ""
            raise SeveralNamed(f"{several}{hint}", several.cids) from None
    return [it for it in opened.connections_with(found[0].did) if it.phase == "open"] or found[:1] if every else found


def _takes_all() -> bool:
    context = click.get_current_context()
    return any(it.name == "every" for it in context.command.params)


def _tell_of_others(opened: Wallet, parties: list[Party]) -> None:
    """What a "no" to some connections with a party leaves as it was (WHO-5)."""
    for other in opened.connections_with(parties[0].did):
        if other in parties:
            continue
        more = ""
        if other.phase == "proposed":
            more = ": `take-back` ends it before it begins"
        elif _takes_all():
            more = f": `{click.get_current_context().info_name} --all` takes every one"
        say(f"Mind: there is another connection with {other.name}, {short(other.cid)} ({other.phase}){more}.")


async def _with_news(work: Work, opened: Wallet, party: Party, given: dict[str, Any]) -> None:
    if party.phase != "closed":
        await party.sync()
    await work(opened, party, **given)


async def _say_no(work: Work, opened: Wallet, party: Party, given: dict[str, Any]) -> None:
    if party.phase == "proposed":
        # It may be open by now.
        await synced(party)
    await work(opened, party, **given)
    if party.phase in ("open", "ended") and opened.unkept is None:
        with opened.keeping_after():
            await party.sync()


async def synced(party: Party) -> None:
    """Reads what is new as far as it can be: what goes wrong is told when this is done again."""
    with suppress(ComityError):
        await party.sync()


def short(id_: str) -> str:
    """An id as it is shown and typed."""
    return f"{MARK}{id_[:12]}"


def say(text: str, *, err: bool = False) -> None:
    """Prints a line, or with `err` one beside what is printed."""
    click.echo(plain(text), err=err)


def plain(text: str) -> str:
    """The text without what could drive a terminal: others wrote it, a server or the other side."""
    return "".join(it if it.isprintable() or it in "\n\t" else "\N{REPLACEMENT CHARACTER}" for it in text)


def day(seconds: int) -> str:
    """A time as people read it; one that no calendar has, as a number."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return f"second {seconds} since 1970, which no calendar has"
