"""What every test shares."""

from hypothesis import Phase, settings

# The same examples on every run and every machine: a red build must be red again when someone looks into it.
# To search for new ones: python3 tests --hypothesis-profile=explore
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True, max_examples=1000)
# For runs that only ask whether anything fails: no time is spent on making the example small.
settings.register_profile("planted", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("ci")
