"""`comity soak`."""

import asyncio
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from comity.encoding import dump_json
from comity.errors import ComityError
from comity_server import logging
from comity_tools.bench.result import BenchFailed
from comity_tools.soak.ledger import MOST_NAMED
from comity_tools.soak.run import Report
from comity_tools.soak.run import soak as live


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="How long to test.")
@click.option("--seed", type=int, help="Repeat the faults of an earlier run, at about the same moments.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def soak(minutes: float, seed: int | None, as_json: bool) -> None:
    """Test a server under load and random faults: nothing that it acknowledged may be lost.

    The server runs on loopback in a temporary folder, with a witness, people, wallets, and a business with a webhook
    endpoint. Its processes are killed, paused and stopped at random moments. A ledger holds every answer to a client,
    and is compared with the records, the log and the receipts. In the last part of the time there are no faults, and
    growth is measured.

    Exit code 1 if anything was lost, changed or forked, or grew beyond its limit.
    """
    logging.configure("pretty", "error")
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    # The seed is no secret, and a run must be repeatable.
    rng = random.Random(seed)  # noqa: S311
    tell = (lambda line: click.echo(line, err=True)) if sys.stderr.isatty() else (lambda _line: None)
    with tempfile.TemporaryDirectory(prefix="comity-soak-") as folder:
        try:
            report = asyncio.run(live(Path(folder), minutes, rng, tell))
        except (BenchFailed, ComityError, TimeoutError, subprocess.TimeoutExpired) as fault:
            raise click.ClickException(
                f"the test did not finish (seed {seed}): {fault or 'no answer in time'}"
            ) from None
    click.echo(dump_json({"seed": seed, **report.as_json()}).decode() if as_json else _report_text(report, seed))
    if not report.is_good:
        sys.exit(1)


def _report_text(report: Report, seed: int) -> str:
    ledger = report.ledger
    faults = ", ".join(f"{count} times {name}" for name, count in sorted(report.faults.items())) or "none"
    lines = [
        f"{report.seconds / 60:.1f} minutes (seed {seed}). Faults: {faults}.",
        f"Acknowledged: {ledger.acknowledged}; lost: {len(ledger.lost)}; wrong: {len(ledger.wrong)}.",
        f"Webhooks expected: {report.awaited}; missing: {report.missing}.",
    ]
    lines += [f"  {id_}: {what}" for id_, what in list(ledger.lost.items())[:MOST_NAMED]]
    lines += [f"  {what}" for what in ledger.wrong[:MOST_NAMED]]
    for grown in report.growth:
        minute = "" if grown.a_minute is None else f", {grown.a_minute:+.2f} a minute"
        bound = "" if grown.is_bounded else ": ABOVE ITS LIMIT"
        resource, span = grown.resource, f"{grown.first:.1f} to {grown.last:.1f}"
        lines.append(f"{resource.name}: {span} {resource.unit}, at most {grown.largest:.1f}{minute}{bound}")
    lines.append(f"store growth for a thousand acts: {report.store:.2f} MiB")
    return "\n".join(lines)
