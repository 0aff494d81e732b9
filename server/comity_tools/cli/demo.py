"""`comity demo`."""

import asyncio
import sys
from pathlib import Path

import click
import stamina

from comity_tools.demo.output import FILE_LIST
from comity_tools.demo.run import play
from comity_tools.demo.stage import Narrator

HELP = f"""Play a story with three people, two businesses, a real server and its witness. Every step is checked.

Exit code 1 if a check fails. Files are written only to a temporary folder (and to --out).

\b
The files in --out, which you can check with your own software:
{FILE_LIST}"""


@click.command(help=HELP)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Save the results in this folder.")
def demo(out: Path | None) -> None:
    """Plays the story; ends the process."""
    if out is not None and out.exists() and any(out.iterdir()):
        raise click.ClickException(f"{out} is not empty")
    if out is not None:
        # A folder that cannot be written is reported before the story, not after it.
        out.mkdir(parents=True, exist_ok=True)
    # The story kills its server on purpose: retries of the wallets are not worth a line.
    stamina.instrumentation.set_on_retry_hooks([])
    sys.exit(0 if asyncio.run(play(Narrator(), out)) else 1)
