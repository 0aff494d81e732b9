"""Plays the story on a real server, and reports whether every check passed."""

import asyncio
import tempfile
from contextlib import aclosing
from pathlib import Path

from comity.errors import ComityError
from comity_tools.demo.common import STARTED_AGO, Cast
from comity_tools.demo.monitor import LogMonitor
from comity_tools.demo.output import FILE_LIST, write_results
from comity_tools.demo.processes import DidNotHold
from comity_tools.demo.stage import Narrator, Stage
from comity_tools.demo.story import Story


async def play(narrator: Narrator, out: Path | None = None) -> bool:
    """Plays the story with a real server in a folder of its own. Returns whether every check passed."""
    narrator.tell("All people and firms in this story are examples.")
    with tempfile.TemporaryDirectory(prefix="comity-demo-") as folder:
        try:
            async with Stage(Path(folder), narrator, STARTED_AGO) as stage:
                days = STARTED_AGO // 86_400_000
                narrator.tell(f"A server listens at {stage.origin}; the story begins {days} days ago.")
                narrator.tell(f"A witness of its log listens at {stage.witness.url}.")
                async with aclosing(LogMonitor(stage.log_url, stage.log_key, stage.witness.key)) as log_monitor:
                    story = Story(stage, narrator, await _cast(stage), log_monitor)
                    await story.tell()
                if out is not None:
                    files = write_results(story, out)
                    narrator.chapter(f"{len(files)} files written to {out}")
                    narrator.show(FILE_LIST.rstrip())
        except (ComityError, DidNotHold, TimeoutError) as error:
            narrator.check(f"the story goes on ({type(error).__name__}: {error})", False)
    narrator.chapter(f"{narrator.held} checks passed, {len(narrator.failed)} failed.")
    return not narrator.failed


async def _cast(stage: Stage) -> Cast:
    windows, salon = await asyncio.gather(
        stage.business("clearview", "Clearview Windows (example)"),
        stage.business("maree", "Salon Marée (example)"),
    )
    mia, jonas, ben = [await stage.person(name) for name in ("mia", "jonas", "ben")]
    return Cast(mia=mia, jonas=jonas, ben=ben, windows=windows, salon=salon)
