"""`comity bench`."""

import sys

import click

from comity.encoding import dump_json
from comity_tools.bench.result import FULL, QUICK, BenchFailed, Row
from comity_tools.bench.run import NAMES, machine, measure, report


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--quick", is_flag=True, help="Fewer and shorter rounds: under a minute, less precise.")
@click.option("--only", "names", multiple=True, type=click.Choice(NAMES), help="Measure only this. May be repeated.")
def bench(as_json: bool, quick: bool, names: tuple[str, ...]) -> None:
    """Measure speed. Each figure is shown beside a baseline of the same run on the same machine.

    The servers run on loopback, in a temporary folder, and are stopped at the end.
    """
    rows: list[Row] = []
    try:
        for row in measure(names or NAMES, QUICK if quick else FULL):
            rows.append(row)
            if sys.stderr.isatty():
                click.echo(f"{row.name}: {row.figure:,.4g} {row.unit}", err=True)
    except BenchFailed as fault:
        raise click.ClickException(str(fault)) from None
    if as_json:
        click.echo(dump_json(report(rows, "quick" if quick else "full")).decode("utf-8"))
    else:
        _print_table(rows)


def _print_table(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=", ".join(f"{name} {value}" for name, value in machine().items()), title_justify="left")
    for heading in ("", "figure", "baseline", "ratio", "client CPU"):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    table.add_column("what is measured; the baseline")
    for row in rows:
        details = "".join(f"; {name} {value:,.3g}" for name, value in row.details.items())
        table.add_row(
            row.name,
            f"{row.figure:,.4g} {row.unit}",
            f"{row.baseline:,.4g}",
            f"{row.ratio:.3f}" + (" (lower is better)" if row.better == "less" else ""),
            f"{row.client_cpu_share:.2f}",
            f"{row.what}. Baseline: {row.baseline_what}{details}",
        )
    console.print(table)
