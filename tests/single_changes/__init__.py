"""Single changes to the protocol's rules, and whether the vectors of spec/vectors notice them.

    changes     which single changes a module's text allows
    parts       what its parts say, and could say
    noticing    whether any vector comes out otherwise once a change is made
    report      what was noticed, what was not, and the list of what need not be

Started by `python tests/single_changes` (all of them, with counts), by `python3 tests --long`, and, with a sample, by
every run of the tests.
"""
