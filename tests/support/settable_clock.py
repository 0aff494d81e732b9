"""A server whose clock a test sets: a process of its own, that finds another time than the machine's.

The server knows nothing of it. `python tests/support/settable_clock.py FILE ARGUMENTS` is the command `comity`. FILE
holds `{"wall": ms, "since_start": ms, "boot": name}`: what is added to the wall clock and to the time since the machine
started, and the name of that start.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from comity_server import watched_clock
from support.child_server import ChildWorld

COMMAND = [sys.executable, __file__]


class AheadWorld(ChildWorld):
    """A world on the wall clock, which can be set."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        super().__init__(folder, {**settings, "clock_offset_file": None})
        self._time = folder / "time.json"
        self.command = [*COMMAND, str(self._time), "serve"]
        self.at(time.time_ns() // 1_000_000)
        self._said: dict[str, int | str] = {"wall": 0, "since_start": 0, "boot": "the first"}
        self.set()

    def settings(self) -> dict[str, Any]:
        return {name: value for name, value in super().settings().items() if value is not None}

    async def _is_ready(self) -> bool:
        """In doubt, too."""
        try:
            return "conditions" in (await self.send("GET", "/readyz")).json
        except aiohttp.ClientError:
            return False

    def set(self, **said: int | str) -> None:
        """From now on the machine says this; what is not named stays."""
        self._said |= said
        draft = self._time.with_suffix(".new")
        draft.write_text(json.dumps(self._said))
        draft.replace(self._time)


def _main(file: Path, arguments: list[str]) -> None:
    def added(name: str) -> Any:
        return json.loads(file.read_text())[name]

    wall, since_start = watched_clock.wall, watched_clock.since_start
    watched_clock.wall = lambda: wall() + added("wall")
    watched_clock.since_start = lambda: since_start() + added("since_start")
    watched_clock.boot = lambda: added("boot")

    from comity_tools.cli import main

    main(arguments)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2:])
