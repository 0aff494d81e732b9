"""Play the story: set the stage, tell it, and say whether it held."""

import tempfile
from pathlib import Path

from comity.errors import ComityError
from comity_server.demo.keepsakes import leave
from comity_server.demo.stage import DidNotHold, Narrator, Stage
from comity_server.demo.story import STARTED_AGO, Cast, Story


async def play(narrator: Narrator, out: Path | None = None) -> bool:
    """Tell the story with a real server in a folder of its own. Whether everything held."""
    narrator.tell("All people and firms in this story are examples.")
    with tempfile.TemporaryDirectory(prefix="comity-demo-") as folder:
        try:
            async with Stage(Path(folder), narrator, STARTED_AGO) as stage:
                narrator.tell(
                    f"A server listens at {stage.origin}; the story begins {STARTED_AGO // 86_400_000} days ago."
                )
                story = Story(stage, narrator, await _cast(stage))
                await story.tell()
                if out is not None:
                    files = leave(story, out)
                    narrator.chapter(f"Left in {out}: {len(files)} files")
        except (ComityError, DidNotHold, TimeoutError) as error:
            narrator.check(f"the story goes on ({type(error).__name__}: {error})", False)
    narrator.chapter(f"{narrator.held} checks held, {len(narrator.failed)} did not.")
    return not narrator.failed


async def _cast(stage: Stage) -> Cast:
    return Cast(
        mia=await stage.person("mia"),
        jonas=await stage.person("jonas"),
        ben=await stage.person("ben"),
        windows=await stage.business("clearview", "Clearview Windows (example)"),
        salon=await stage.business("maree", "Salon Marée (example)"),
    )
