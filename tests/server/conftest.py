"""The world that most tests of the server live in."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from support.world import World, a_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A world with a running server."""
    async with a_world(tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that runs in this process sets up logging, to where its own output went."""
    yield
    structlog.reset_defaults()
