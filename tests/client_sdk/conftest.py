"""What tests of wallets share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from terminal_world import a_host
from world import World


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[World]:
    async with a_host(tmp_path) as world:
        yield world
