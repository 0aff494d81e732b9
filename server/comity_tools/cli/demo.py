"""`comity demo`."""

import asyncio
import sys
from pathlib import Path

import click
import stamina

from comity_tools.demo.output import LISTED
from comity_tools.demo.run import play
from comity_tools.demo.stage import Narrator

HELP = f"""Three people, two businesses, a real server and its witness live through a story; every step is checked.

Exits with 1 if one did not hold. Nothing outside a temporary folder (and --out) is touched.

\b
What --out leaves can be checked with software of your own:
{LISTED}"""


@click.command(help=HELP)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Leave what was made in this folder.")
def demo(out: Path | None) -> None:
    """Tells the story; ends the process."""
    if out is not None and out.exists() and any(out.iterdir()):
        raise click.ClickException(f"{out} is not empty")
    if out is not None:
        # Who cannot be left anything is told so before the story, not after it.
        out.mkdir(parents=True, exist_ok=True)
    # The story kills its server on purpose; that the wallets try again is not news.
    stamina.instrumentation.set_on_retry_hooks([])
    sys.exit(0 if asyncio.run(play(Narrator(), out)) else 1)
