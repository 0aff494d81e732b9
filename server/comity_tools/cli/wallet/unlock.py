"""`comity wallet unlock`, `lock` and `passphrase`."""

from pathlib import Path
from typing import Any

import click

from comity.client.storage.encrypted_file import WalletFile
from comity_tools.cli.wallet import unlocked
from comity_tools.cli.wallet.session import Where, run, say, tell_of_damage

unlocking = click.Group()
"""These commands are added to the group `wallet`."""

MINUTES = click.IntRange(1, 24 * 60)
"""For how many minutes a wallet may stay unlocked."""
_PLACES = {"keyring": "your system's keyring", "agent": "the memory of a background process"}


@unlocking.command()
@click.option(
    "--minutes",
    type=MINUTES,
    default=15,
    show_default=True,
    help="For how many minutes; at most a day.",
)
@click.pass_obj
def unlock(where: Where, minutes: int) -> None:
    """Let commands open the wallet without its passphrase for a while. `lock` ends that.

    The key is stored in the system's keyring or, without one, in the memory of a background process that ends then.
    """
    secret = where.secret()

    async def work() -> None:
        keep(where.file, _identity(where, secret), minutes)

    run(work)


def keep(file: Path, identity: str, minutes: int) -> None:
    """Stores the identity that opens the wallet, and prints where. Raises CannotUnlock."""
    place = unlocked.keep(file, identity, minutes * 60)
    say(f"Unlocked for {minutes} minutes; the key is in {_PLACES[place]}. `lock` ends it.")


@unlocking.command()
@click.pass_obj
def lock(where: Where) -> None:
    """Require the passphrase again."""

    async def work() -> None:
        say("Locked." if unlocked.forget(where.file) else "The wallet was already locked.")

    run(work)


@unlocking.command()
@click.pass_obj
def passphrase(where: Where) -> None:
    """Change the passphrase. An unlocked wallet is locked. Old copies of the file keep the old passphrase.

    The new passphrase is read from COMITY_NEW_PASSPHRASE or asked for.
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
