"""`comity wallet unlock`, `lock` and `passphrase`."""

from pathlib import Path
from typing import Any

import click

from comity.client.storage.encrypted_file import WalletFile
from comity_tools.cli.text import say
from comity_tools.cli.wallet import unlocked_identities
from comity_tools.cli.wallet.session import WalletAccess, report_damage, run

group = click.Group()
"""These commands are added to the group `wallet`."""

MINUTES = click.IntRange(1, 24 * 60)
"""For how many minutes a wallet may stay unlocked."""
_PLACES = {"keyring": "your system's keyring", "agent": "the memory of a background process"}


@group.command()
@click.option(
    "--minutes",
    type=MINUTES,
    default=15,
    show_default=True,
    help="For how many minutes; at most a day.",
)
@click.pass_obj
def unlock(access: WalletAccess, minutes: int) -> None:
    """Let commands open the wallet without its passphrase for a while. `lock` ends that.

    The key is stored in the system's keyring or, without one, in the memory of a background process that ends then.
    """
    secret = access.secret()

    async def work() -> None:
        unlock_wallet(access.file, _identity(access, secret), minutes)

    run(work)


def unlock_wallet(file: Path, identity: str, minutes: int) -> None:
    """Stores the identity that opens the wallet, and prints where. Raises CannotUnlock."""
    place = unlocked_identities.store_identity(file, identity, minutes * 60)
    say(f"Unlocked for {minutes} minutes; the key is in {_PLACES[place]}. `lock` ends it.")


@group.command()
@click.pass_obj
def lock(access: WalletAccess) -> None:
    """Require the passphrase again."""

    async def work() -> None:
        say("Locked." if unlocked_identities.remove_identity(access.file) else "The wallet was already locked.")

    run(work)


@group.command()
@click.pass_obj
def passphrase(access: WalletAccess) -> None:
    """Change the passphrase. An unlocked wallet is locked. Old copies of the file keep the old passphrase.

    The new passphrase is read from COMITY_NEW_PASSPHRASE or asked for.
    """
    secret, new = access.secret(), access.new_passphrase()

    async def work() -> None:
        unlocked_identities.remove_identity(access.file)
        file = WalletFile.open(access.file, **secret)
        try:
            file.change_passphrase(new)
        finally:
            file.close()
        say("The wallet opens with the new passphrase from now on.")

    run(work)


def _identity(access: WalletAccess, secret: dict[str, Any]) -> str:
    file = WalletFile.open(access.file, **secret)
    try:
        report_damage(file.damaged_copies)
        return file.identity
    finally:
        file.close()
