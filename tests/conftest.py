"""What every test shares."""

from hypothesis import settings

# The same examples on every run and every machine: a red build must be red again when someone looks into it.
# To search for new ones: python3 tests --hypothesis-profile=explore
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True, max_examples=1000)
settings.load_profile("ci")
