"""An operator at the command line of a world's server, whether it runs or not."""

import asyncio
from pathlib import Path

import structlog
from click.testing import CliRunner, Result

from comity_tools.cli import main
from support.world import World


async def comity(world: World, *words: str, code: int = 0, **settings: str) -> Result:
    """`comity …` with the settings of the world's server, in a thread of its own."""
    named = {**world.settings(), **settings}
    environment: dict[str, str | None] = {f"COMITY_{name.upper()}": str(value) for name, value in named.items()}
    try:
        result = await asyncio.to_thread(CliRunner().invoke, main, words, env=environment)
    finally:
        # The command has set up logging, to where its own output went.
        structlog.reset_defaults()
    assert result.exit_code == code, (result.output, result.exception)
    return result


def stored(data: Path) -> bytes:
    """All bytes of a stopped server's store."""
    return b"".join(path.read_bytes() for path in data.glob("comity.db*"))
