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
from comity_tools.cli.json_output import failure_as_json, json_option, print_json
from comity_tools.cli.operator.client import data_option
from comity_tools.cli.progress import progress_bar
from comity_tools.cli.serve import read_config
from comity_tools.cli.text import say


@click.command()
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--keys", type=click.Path(path_type=Path), help="Store the keys in this folder, not in the backup.")
@click.option("--move", is_flag=True, help="Move the stopped server: it continues where this backup is restored.")
@json_option
@data_option
def backup(target: Path, keys: Path | None, move: bool, as_json: bool, **options: object) -> None:
    """Back up the data folder into a new folder DIR. The server may be running.

    DIR gets its name last, after everything in it was written, synced and read again, so an interrupted backup never
    looks complete. It contains the private keys: whoever can read it can sign as this server. With --keys they are in
    a folder of their own, and both folders are needed to restore (`comity restore`). A master key stored elsewhere
    (COMITY_MASTER_KEY, COMITY_MASTER_KEY_FILE) is not included.

    With --move the server must be stopped, and its data folder is never used again. `comity restore` then restores it
    once, with the same log, and nobody has to confirm anything.
    """
    with failure_as_json(as_json), one_sentence_errors("back up"), progress_bar(as_json) as progress:
        config = read_config(options)
        try:
            contents = back_up(config, target, keys, progress, move=move)
        except FolderInUse:
            raise click.ClickException(f"a server is using {config.data}: stop it before you use --move") from None
    if as_json:
        answer = {"ok": True, "backup": str(target), "keys": None if keys is None else str(keys)}
        print_json({**answer, "made_at": contents.made_at, "move": move, "logs": contents.logs})
        return
    entries = sum(contents.logs.values())
    say(f"{target} is a complete backup: {contents.connections:,} connections, {entries:,} log entries.")
    say(f"Its keys are in {keys}." if keys else "It contains the keys: store it where nobody else can read it.")
    if "master.key" not in contents.files and keys is None:
        say("The master key is not in it: store a copy separately.")
    if move:
        say(f"{config.data} is not used any more. `comity restore {target}` continues from here, once.")


@contextmanager
def one_sentence_errors(action: str) -> Iterator[None]:
    """Turns the errors of making and restoring a backup into one sentence. Raises ClickException."""
    try:
        yield
    except (ComityError, FolderInUse, CutOff, CannotRead) as fault:
        raise click.ClickException(getattr(fault, "detail", None) or str(fault)) from None
    except OSError as fault:
        about = f" {fault.filename}" if fault.filename else ""
        raise click.ClickException(f"cannot {action}:{about} {fault.strerror or fault}") from None
    except DatabaseFault as fault:
        raise click.ClickException(f"cannot {action}: {fault}") from None
