"""What the fault programme shares: a stopped server with people in it, which each test goes on from."""

import random
from collections.abc import Callable, Iterator

import pytest
import stamina

from comity_tools.soak.clients import people_of
from support.fault_injection import ForkedServing, Prepared

PEOPLE = 6


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """A folder in which a server ran, with people who are connected there."""
    serving = ForkedServing(tmp_path_factory.mktemp("prepared") / "data")
    serving.start()
    people = people_of(serving.folder, serving.child, PEOPLE)
    serving.end()
    yield Prepared(serving.folder, serving.port, people)


@pytest.fixture(autouse=True)
def _tries_in_silence() -> None:
    """That a request is tried again is what these tests are about, and not to be told each time."""
    stamina.instrumentation.set_on_retry_hooks([])


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How often to do it: (in short, with --long)."""
    return lambda short, long: long if request.config.getoption("--long") else short


@pytest.fixture
def chance() -> random.Random:
    """When and where a fault strikes: the same on every run."""
    return random.Random(11)
