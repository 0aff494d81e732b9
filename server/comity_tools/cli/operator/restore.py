"""`comity restore`."""

import sys
from pathlib import Path

import click

from comity_server.backup.contents import Contents
from comity_server.backup.restore import check_backup, restore_backup
from comity_server.fsck.checker import CheckResult
from comity_tools.cli.json_output import failure_as_json, json_option, print_json
from comity_tools.cli.operator.backup import one_sentence_errors
from comity_tools.cli.operator.client import data_option
from comity_tools.cli.operator.fsck import FAULTS_FOUND, print_findings, result_as_json, summary_lines
from comity_tools.cli.progress import progress_bar
from comity_tools.cli.serve import read_config
from comity_tools.cli.text import say, utc_time


@click.command()
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--keys", type=click.Path(path_type=Path), help="The folder with the keys, if they are not in the backup."
)
@click.option("--verify", is_flag=True, help="Check the whole backup, and restore nothing.")
@json_option
@data_option
def restore(source: Path, keys: Path | None, verify: bool, as_json: bool, **options: object) -> None:
    """Restore a backup into the data folder, which must be empty or missing.

    The backup is checked first. With --verify everything in it is derived again and compared, and nothing is restored
    (exit code 1 if there are faults).

    A backup lacks everything that happened after it was made. So the next `comity serve` starts a new log, announces
    the restore, and delivers nothing in a connection until both sides have confirmed; wallets send what is missing. A
    backup made with `comity backup --move` continues its log instead, once.
    """
    with failure_as_json(as_json), one_sentence_errors("restore"), progress_bar(as_json) as progress:
        config = read_config(options)
        if verify:
            contents, result = check_backup(config, source, keys, progress)
        else:
            contents, result = restore_backup(config, source, keys, progress), None
    if result is not None:
        _print_result(source, contents, result, as_json)
        sys.exit(FAULTS_FOUND if result.findings.total else 0)
    if as_json:
        answer = {"ok": True, "data": str(config.data), "made_at": contents.made_at, "move": contents.move}
        print_json({**answer, "home": contents.home, "logs": contents.logs})
        return
    say(
        f"Restored the backup of {utc_time(contents.made_at)} into {config.data}: {contents.connections:,} connections."
    )
    if contents.move:
        say("`comity serve` continues where the moved server stopped. From now on the backup is an ordinary one.")
        return
    say(
        "`comity serve` starts a new log and waits in each connection until both sides have confirmed. API keys that"
        " were ended after the backup work again: end them once more."
    )


def _print_result(source: Path, contents: Contents, result: CheckResult, as_json: bool) -> None:
    if as_json:
        print_json(
            {**result_as_json(result), "backup": str(source), "made_at": contents.made_at, "move": contents.move}
        )
        return
    say(f"Checked the backup of {utc_time(contents.made_at)} in {source}; nothing was restored.")
    for name, text in summary_lines(result):
        say(f"  {name:11} {text}")
    print_findings(result)
