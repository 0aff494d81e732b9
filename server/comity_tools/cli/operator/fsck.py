"""`comity fsck`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from comity_server.fsck.checker import CannotRead, CheckResult, check_store
from comity_server.fsck.other_records import LATEST
from comity_tools.cli.progress import progress_bar
from comity_tools.cli.serve import read_config
from comity_tools.cli.text import say, utc_time

FAULTS_FOUND, NOT_READ = 1, 2
"""Exit codes: there are faults; the folder cannot be read."""


@click.command(name="fsck")
@click.option("--data", type=click.Path(path_type=Path), help="The server's data folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def fsck(data: Path | None, as_json: bool) -> None:
    """Check a data folder: derive everything again from the signed texts, and compare.

    Nothing is changed. A server may be running: then the store is checked as it is at this moment, and its write-ahead
    log grows until the check ends.

    Exit code: 0 if everything is correct, 1 if there are faults, 2 if the folder cannot be read.
    """
    try:
        folder = read_config({"data": data}).data
        with progress_bar(as_json) as progress:
            result = check_store(folder, progress)
    except (click.ClickException, CannotRead) as fault:
        message = fault.message if isinstance(fault, click.ClickException) else str(fault)
        click.echo(json.dumps({"ok": False, "error": message}) if as_json else f"Error: {message}", err=not as_json)
        sys.exit(NOT_READ)
    if as_json:
        click.echo(json.dumps({**result_as_json(result), "data": str(folder)}))
    else:
        _print_result(folder, result)
    sys.exit(FAULTS_FOUND if result.findings.total else 0)


def _print_result(folder: Path, result: CheckResult) -> None:
    has_time = 0 < result.at <= LATEST
    say(f"Checked {folder}" + (f", as of the commit on {utc_time(result.at // 1000)}" if has_time else ""))
    for name, text in summary_lines(result):
        say(f"  {name:11} {text}")
    print_findings(result)


def print_findings(result: CheckResult) -> None:
    """Prints the faults, or that there are none."""
    for place, fault in result.findings.first:
        say(f"{place}: {fault}")
    if result.findings.more:
        say(f"and {result.findings.more:,} more")
    total = result.findings.total
    say("All checks passed." if not total else f"{total:,} {'fault' if total == 1 else 'faults'} found.")


def summary_lines(result: CheckResult) -> Iterator[tuple[str, str]]:
    """(label, amount) of everything that was checked."""
    for log, size in result.logs.items():
        yield "log", f"{log}, {size:,} entries"
    counts = result.connections
    yield "connections", f"{counts.connections:,}, with {counts.acts:,} acts and {counts.events:,} other events"
    yield (
        "other",
        f"{result.keys:,} keys of businesses, {result.offers:,} offers, {result.proposals:,} half-signed agreements",
    )
    if result.meanwhile > 0:
        yield "since then", f"{result.meanwhile:,} more entries were written, which were not checked"


def result_as_json(result: CheckResult) -> dict[str, Any]:
    """The result of a check as JSON values."""
    return {
        "ok": not result.findings.total,
        "at": result.at,
        "logs": result.logs,
        "connections": result.connections.connections,
        "acts": result.connections.acts,
        "events": result.connections.events,
        "keys": result.keys,
        "offers": result.offers,
        "proposals": result.proposals,
        "meanwhile": result.meanwhile,
        "findings": [finding._asdict() for finding in result.findings.first],
        "more": result.findings.more,
    }
