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


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that share something costly, or must not meet, name a group; were the groups not kept, nobody would notice
    but the clock."""
    if getattr(config.option, "loadgroup", False):
        lost = [item.nodeid for item in items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid]
        assert not lost, f"pytest-xdist does not keep the group of {lost[0]}"
