"""`comity backup`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from comity.errors import ComityError
from comity_server.backup.create import back_up
from comity_server.data_dir import CutOff, FolderInUse
from comity_server.fsck.checker import CannotRead
from comity_server.store.sqlite_file import DatabaseFault
from comity_tools.cli.json_output import failure_as_json, json_option, say_json
from comity_tools.cli.operator.client import data_option
from comity_tools.cli.operator.fsck import bar
from comity_tools.cli.serve import configured
from comity_tools.cli.wallet.session import say


@click.command()
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--keys", type=click.Path(path_type=Path), help="Put the keys into this folder, not into the backup.")
@click.option("--move", is_flag=True, help="Move the log: the server is stopped, and goes on where this is put back.")
@json_option
@data_option
def backup(target: Path, keys: Path | None, move: bool, as_json: bool, **given: object) -> None:
    """Copy the data folder into a new folder DIR, while the server runs.

    DIR gets its name last, when everything in it was written, synced and read again: what was cut off is no backup. It
    has the private keys in it; whoever can read it can sign as this server. With --keys they lie in a folder of their
    own, and both are needed to put the backup back (`comity restore`). A master key that is kept elsewhere
    (COMITY_MASTER_KEY, COMITY_MASTER_KEY_FILE) is not in it.

    With --move the server must be stopped, and its data folder is never used again: `comity restore` puts it back once,
    under the same log, so that nobody has to confirm anything.
    """
    with failure_as_json(as_json), in_one_sentence("back up"), bar(as_json) as progress:
        config = configured(given)
        try:
            contents = back_up(config, target, keys, progress, move=move)
        except FolderInUse:
            raise click.ClickException(f"a server uses {config.data}: stop it first, then move its log") from None
    if as_json:
        told = {"ok": True, "backup": str(target), "keys": None if keys is None else str(keys)}
        say_json({**told, "made_at": contents.made_at, "move": move, "logs": contents.logs})
        return
    entries = sum(contents.logs.values())
    say(f"{target} is a whole backup: {contents.connections:,} connections, {entries:,} entries of the log.")
    say(f"Its keys are in {keys}." if keys else "The keys are in it: keep it where nobody else can read it.")
    if "master.key" not in contents.files and keys is None:
        say("The master key is not: keep a copy of it apart.")
    if move:
        say(f"{config.data} is not used any more. `comity restore {target}` goes on from here, once.")


@contextmanager
def in_one_sentence(what: str) -> Iterator[None]:
    """Tells in one sentence why a backup was not made or put back. Raises ClickException."""
    try:
        yield
    except (ComityError, FolderInUse, CutOff, CannotRead) as fault:
        raise click.ClickException(getattr(fault, "detail", None) or str(fault)) from None
    except OSError as fault:
        about = f" {fault.filename}" if fault.filename else ""
        raise click.ClickException(f"cannot {what}:{about} {fault.strerror or fault}") from None
    except DatabaseFault as fault:
        raise click.ClickException(f"cannot {what}: {fault}") from None
