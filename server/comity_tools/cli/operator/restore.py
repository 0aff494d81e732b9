"""`comity restore`."""

import sys
from pathlib import Path

import click

from comity_server.backup.contents import Contents
from comity_server.backup.restore import look_through, put_back
from comity_server.fsck.checker import Seen
from comity_tools.cli.json_output import failure_as_json, json_option, say_json
from comity_tools.cli.operator.backup import in_one_sentence
from comity_tools.cli.operator.client import data_option
from comity_tools.cli.operator.fsck import FOUND, bar, lines_of, seen_as_json, tell_findings
from comity_tools.cli.serve import configured
from comity_tools.cli.wallet.session import day, say


@click.command()
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--keys", type=click.Path(path_type=Path), help="The folder with the keys of a backup that lie apart.")
@click.option("--verify", is_flag=True, help="Look through the whole backup, and put nothing back.")
@json_option
@data_option
def restore(source: Path, keys: Path | None, verify: bool, as_json: bool, **given: object) -> None:
    """Put a backup into the data folder, which must be empty or not be there.

    The backup is read first; with --verify everything in it is derived once more, and nothing is put back (exit code 1
    if something does not hold). It lacks what was said since it was made. So the next `comity serve` begins another
    log by itself, says that it was restored, and reaches nobody in a connection before both sides have confirmed;
    wallets hand in what is missing. What `comity backup --move` made goes on under its log instead, once.
    """
    with failure_as_json(as_json), in_one_sentence("restore"), bar(as_json) as progress:
        config = configured(given)
        if verify:
            contents, seen = look_through(config, source, keys, progress)
        else:
            contents, seen = put_back(config, source, keys, progress), None
    if seen is not None:
        _tell_seen(source, contents, seen, as_json)
        sys.exit(FOUND if seen.findings.total else 0)
    if as_json:
        told = {"ok": True, "data": str(config.data), "made_at": contents.made_at, "move": contents.move}
        say_json({**told, "home": contents.home, "logs": contents.logs})
        return
    say(f"Put the backup of {day(contents.made_at)} into {config.data}: {contents.connections:,} connections.")
    if contents.move:
        say("`comity serve` goes on where the moved server stopped. The backup is one like any other from now on.")
        return
    say(
        "`comity serve` begins another log and waits in each connection until both sides have confirmed. API keys that"
        " were ended since are good again: end them anew."
    )


def _tell_seen(source: Path, contents: Contents, seen: Seen, as_json: bool) -> None:
    if as_json:
        say_json({**seen_as_json(seen), "backup": str(source), "made_at": contents.made_at, "move": contents.move})
        return
    say(f"Looked through the backup of {day(contents.made_at)} in {source}; nothing was put back.")
    for name, text in lines_of(seen):
        say(f"  {name:11} {text}")
    tell_findings(seen)
