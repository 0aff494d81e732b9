"""What every test shares."""

import pytest
from hypothesis import Phase, settings

# The same examples on every run and every machine: a red build must be red again when someone looks into it.
# To search for new ones: python3 tests --hypothesis-profile=explore
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True, max_examples=1000)
# For runs that only ask whether anything fails: no time is spent on making the example small.
settings.register_profile("planted", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("ci")

LONGEST = 4 * 3600
"""Seconds that a long test may take."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long` runs the tests that take many minutes as well."""
    parser.addoption("--long", action="store_true", help="run the tests that take many minutes, too")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A long test is left out without `--long`."""
    if item.get_closest_marker("long") and not item.config.getoption("--long"):
        pytest.skip("takes many minutes: --long")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A long test gets hours, unless it sets another limit. Tests that share something costly, or must not run side by
    side, name a group: one process runs it, and first of all, since a group takes long. Nothing else would show that
    pytest-xdist splits the groups."""
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONGEST))
    if getattr(config.option, "loadgroup", False):
        split = [item.nodeid for item in items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid]
        assert not split, f"pytest-xdist does not keep the group of {split[0]}"
        items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
