"""The world that most tests of the server live in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from world import World, a_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A world with a running server."""
    async with a_world(tmp_path) as made:
        yield made
