"""Servers that tests of wallets act on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.sdk_world import SdkWorld, sdk_world
from support.terminal_world import a_host
from support.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SdkWorld]:
    """A running server, and nobody in it; its clock can be moved."""
    async with sdk_world(tmp_path) as made:
        yield made


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[World]:
    """A running server on the machine's clock, which commands have."""
    async with a_host(tmp_path) as world:
        yield world
