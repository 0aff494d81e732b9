"""`comity wallet unlock`, `lock` and `passphrase`."""

from pathlib import Path
from typing import Any

import click

from comity.client.storage.encrypted_file import WalletFile
from comity_tools.cli.wallet import unlocked
from comity_tools.cli.wallet.session import Where, run, say, tell_of_damage

unlocking = click.Group()
"""The commands, for the group `wallet` to take over."""

MINUTES = click.IntRange(1, 24 * 60)
"""For how long a wallet may stay unlocked."""
_PLACES = {"keyring": "your system's keyring", "agent": "the memory of a process of yours"}


@unlocking.command()
@click.option(
    "--minutes",
    type=MINUTES,
    default=15,
    show_default=True,
    help="How long; at most a day.",
)
@click.pass_obj
def unlock(where: Where, minutes: int) -> None:
    """Let commands open the wallet without its passphrase for a while; `lock` ends that.

    What opens it is kept in the system's keyring where there is one, else in the memory of a process that then ends.
    """
    secret = where.secret()

    async def work() -> None:
        keep(where.file, _identity(where, secret), minutes)

    run(work)


def keep(file: Path, identity: str, minutes: int) -> None:
    """Keeps what opens the wallet, and says where. Raises CannotUnlock."""
    place = unlocked.keep(file, identity, minutes * 60)
    say(f"Unlocked for {minutes} minutes, in {_PLACES[place]}; `lock` ends it.")


@unlocking.command()
@click.pass_obj
def lock(where: Where) -> None:
    """Let the wallet open with its passphrase alone again."""

    async def work() -> None:
        say("Locked." if unlocked.forget(where.file) else "It was locked already.")

    run(work)


@unlocking.command()
@click.pass_obj
def passphrase(where: Where) -> None:
    """Change the passphrase; whoever unlocked the wallet has to do so again. An old copy of the file keeps the old one.

    The new one comes from COMITY_NEW_PASSPHRASE or is asked for.
    """
    secret, new = where.secret(), where.new_passphrase()

    async def work() -> None:
        unlocked.forget(where.file)
        file = WalletFile.open(where.file, **secret)
        try:
            file.change_passphrase(new)
        finally:
            file.close()
        say("The wallet opens with the new passphrase from now on.")

    run(work)


def _identity(where: Where, secret: dict[str, Any]) -> str:
    file = WalletFile.open(where.file, **secret)
    try:
        tell_of_damage(file.damaged)
        return file.identity
    finally:
        file.close()
