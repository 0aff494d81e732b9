"""`comity fsck`."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from comity_server.fsck.checker import CannotRead, CheckResult, Progress, check_store
from comity_server.fsck.other_records import LATEST
from comity_tools.cli.serve import configured
from comity_tools.cli.wallet.session import day, say

FOUND, NOT_READ = 1, 2
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
        folder = configured({"data": data}).data
        with bar(as_json) as progress:
            seen = check_store(folder, progress)
    except (click.ClickException, CannotRead) as fault:
        told = fault.message if isinstance(fault, click.ClickException) else str(fault)
        click.echo(json.dumps({"ok": False, "error": told}) if as_json else f"Error: {told}", err=not as_json)
        sys.exit(NOT_READ)
    if as_json:
        click.echo(json.dumps({**seen_as_json(seen), "data": str(folder)}))
    else:
        _tell(folder, seen)
    sys.exit(FOUND if seen.findings.total else 0)


@contextmanager
def bar(quiet: bool) -> Iterator[Progress]:
    """Shows progress on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _what, _done, _all: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, size: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=size or None)
            shown.update(tasks[what], completed=done)

        yield progress


def _tell(folder: Path, seen: CheckResult) -> None:
    known = 0 < seen.at <= LATEST
    say(f"Checked {folder}" + (f", as of the commit on {day(seen.at // 1000)}" if known else ""))
    for name, text in lines_of(seen):
        say(f"  {name:11} {text}")
    tell_findings(seen)


def tell_findings(seen: CheckResult) -> None:
    """Prints the faults, or that there are none."""
    for place, fault in seen.findings.first:
        say(f"{place}: {fault}")
    if seen.findings.more:
        say(f"and {seen.findings.more:,} more")
    total = seen.findings.total
    say("All checks passed." if not total else f"{total:,} {'fault' if total == 1 else 'faults'} found.")


def lines_of(seen: CheckResult) -> Iterator[tuple[str, str]]:
    """(label, amount) of everything that was checked."""
    for log, size in seen.logs.items():
        yield "log", f"{log}, {size:,} entries"
    counted = seen.connections
    yield "connections", f"{counted.connections:,}, with {counted.acts:,} acts and {counted.events:,} other events"
    yield (
        "other",
        f"{seen.keys:,} keys of businesses, {seen.offers:,} offers, {seen.proposals:,} half-signed agreements",
    )
    if seen.meanwhile > 0:
        yield "since then", f"{seen.meanwhile:,} more entries were written, which were not checked"


def seen_as_json(seen: CheckResult) -> dict[str, Any]:
    """The result of a check as JSON values."""
    return {
        "ok": not seen.findings.total,
        "at": seen.at,
        "logs": seen.logs,
        "connections": seen.connections.connections,
        "acts": seen.connections.acts,
        "events": seen.connections.events,
        "keys": seen.keys,
        "offers": seen.offers,
        "proposals": seen.proposals,
        "meanwhile": seen.meanwhile,
        "findings": [finding._asdict() for finding in seen.findings.first],
        "more": seen.findings.more,
    }
