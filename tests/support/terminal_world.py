"""`comity wallet` as somebody types it, on a real server over HTTP."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from click.testing import CliRunner

from comity.client import new_identity
from comity_tools.cli import main
from support.world import World


class Terminal:
    """Runs commands on one wallet's file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.identity = new_identity()

    async def __call__(self, *words: str, code: int = 0, told: bool = False) -> str:
        # In a thread with a loop of its own, so that the server of this process can answer.
        return await asyncio.to_thread(self._run, words, code, told)

    async def outside(
        self, *words: str, most: int | None = None, out: int | IO[bytes] = PIPE, encoding: str = "utf-8"
    ) -> tuple[int, str, str]:
        """The same as a process of its own: (exit code, stdout, stderr). `most`: bytes that a file may have."""
        limited = "" if most is None else f"import resource as of; of.setrlimit(of.RLIMIT_FSIZE, ({most}, {most})); "
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", f"{limited}from comity_tools.cli import main; main(prog_name='comity')",
            "wallet", "-w", self.file, *words, stdout=out, stderr=PIPE,
            env={**os.environ, "COMITY_WALLET_IDENTITY": self.identity, "PYTHONIOENCODING": encoding},
        )  # fmt: skip
        async with asyncio.timeout(60):
            printed, failed = await child.communicate()
        assert child.returncode is not None
        return child.returncode, (printed or b"").decode(encoding), failed.decode(encoding)

    def _run(self, words: tuple[str, ...], code: int, told: bool) -> str:
        environment = {"COMITY_WALLET_IDENTITY": self.identity}
        result = CliRunner().invoke(main, ["wallet", "-w", str(self.file), *words], env=environment)
        assert result.exit_code == code, (words, result.output, result.exception)
        if code:
            # What was not asked rightly is told below the usage.
            assert len(result.stderr.strip().splitlines()) == (1 if code == 1 else 4), result.stderr
            return result.stdout if told else result.stderr
        return result.stdout


@asynccontextmanager
async def a_host(folder: Path, behind: int = 0) -> AsyncIterator[World]:
    """A running server whose clock is the machine's, which the commands have, or so many ms behind it."""
    world = World(folder, {"log_level": "error", "stop_timeout": 0.5})
    (folder / "clock").write_text(str(-behind))
    await world.start()
    try:
        yield world
    finally:
        await world.close()


async def a_shop(host: World, folder: Path, name: str = "The Blue Shop", segment: str = "shop") -> Terminal:
    """A business with a wallet, whose key the server publishes, and terms in `terms.txt`."""
    (folder / "terms.txt").write_text("We write for what you allowed.")
    shop = Terminal(folder / segment)
    await shop("create", "--business", f"did:web:localhost%3A{host.port}:b:{segment}", "--name", name)
    await host.server.add_business_key(segment, (await shop("key")).strip())
    return shop


async def an_offer(host: World, shop: Terminal, *more: str) -> str:
    """The link of a new offer."""
    terms = ("--terms", str(shop.file.parent / "terms.txt"))
    return (await shop("offer", host.origin, "-p", "care", *terms, *more)).split()[0]


async def connected(host: World, folder: Path) -> tuple[Terminal, Terminal]:
    """Mia and a shop with an open connection, each calling the other by name."""
    mia, shop = Terminal(folder / "mia"), await a_shop(host, folder)
    await mia("create")
    await mia("accept", await an_offer(host, shop), "--grant", "care", "--grant", "sales")
    await shop("countersign", "--call", "Mia")
    await mia("sync")
    return mia, shop
